"""The conditional generative model: a marked Poisson process over edges and time, given a condition.

    log p(ω) = log p(c) + Σ_i [log Λ_{e_i b_i k_i}(c) − log |b_i| + log p(m_i | e_i, k_i)] − Σ Λ(c)

with respect to counting measure on edges, kinds and lane sets and Lebesgue measure on start, position, capacity left
(atoms at 0 and 1) and the three phase durations, on unordered sets: Σ over n of 1/n! times the n-fold product. Given c,
incidents are independent; Λ(c) = demand scale × day multiplier × Λ, the demand scale being that of the network also
where entries have scales of their own: exposure then follows the whole, not the way each vehicle takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from scenariogen.errors import ModelError, Problems
from scenariogen.incidents.capacity_tables import CapacityTable
from scenariogen.incidents.records import KINDS, Incident
from scenariogen.model.condition import ConditionTable
from scenariogen.model.features import RoadGraph, road_graph
from scenariogen.model.given import Given
from scenariogen.model.incident_marks import (
    CAPACITY,
    OPTION,
    PHASES_S,
    POSITION_M,
    IncidentMarks,
    IncidentRegion,
)
from scenariogen.model.marks import Marks, MarkTables
from scenariogen.model.options import LaneOptions, lane_options
from scenariogen.model.rates import RateShape, base_rates, group_normalised, time_features
from scenariogen.network import RoadNetwork
from scenariogen.sampling.points import Cells, Points
from scenariogen.sampling.poisson import MarkedPoisson
from scenariogen.window import StudyWindow


@dataclass(frozen=True)
class ScenarioModel:
    """A fitted model of one network. Tensors are float64; ``exposure`` is (edge, cell) in vehicle-kilometres a day.

    ``multipliers``        posterior means of u, (kind, class)
    ``posterior``          Gamma shape and rate of u, (2, kind, class)
    ``info``               what ``fit`` did: seeds, settings, versions, hashes, sources of the numbers
    ``capacity_table``     what the project's own traffic can be made to leave of a road's capacity, where that was
                           measured: the support of the capacity left ends there
    """

    network: RoadNetwork
    window: StudyWindow
    cell_edges_s: Tensor
    exposure: Tensor
    shape: RateShape
    marks: Marks
    posterior: Tensor
    condition: ConditionTable
    info: dict
    capacity_table: CapacityTable | None = None

    @cached_property
    def graph(self) -> RoadGraph:
        return road_graph(self.network)

    @cached_property
    def options(self) -> LaneOptions:
        return lane_options(self.network, self.capacity_table)

    @cached_property
    def tables(self) -> MarkTables:
        return self.marks.tables(self.graph, self.options)

    @property
    def multipliers(self) -> Tensor:
        return self.posterior[0] / self.posterior[1]

    @cached_property
    def intensity(self) -> Tensor:
        """Λ of a day at demand scale and day multiplier 1, of shape (edge, cell, kind)."""
        with torch.no_grad():
            shape = self.shape(self.graph, self.times)
            log_shape = group_normalised(shape, self.exposure, self.graph.road_class)
        level = base_rates(self.graph) * self.multipliers.T[self.graph.road_class]
        return self.exposure[..., None] * torch.exp(log_shape) * level[:, None, :]

    @cached_property
    def times(self) -> Tensor:
        middle = (self.cell_edges_s[1:] + self.cell_edges_s[:-1]) / 2
        window = self.window
        return time_features(
            middle, start_s=window.count_from_s, span_s=window.start_span_s, clock_s=self.condition.clock_s
        )

    @cached_property
    def expected(self) -> Tensor:
        """Λ by kind over the whole network and span of starts, shape (kind,)."""
        return self.intensity.sum((0, 1))

    @cached_property
    def lane_blocking(self) -> float:
        """Expected lane-blocking incidents per run at frequency 1."""
        blocks = self.options.features[:, None, :, 2] == 0
        share = (torch.exp(self.tables.log_lanes) * (blocks & self.options.allowed[:, None, :])).sum(-1)
        return float((self.intensity.sum(1) * share).sum())

    @cached_property
    def incident_marks(self) -> IncidentMarks:
        """What one incident is like, given its edge and kind."""
        cells = len(self.cell_edges_s) - 1
        return IncidentMarks(self.network, self.marks, self.tables, self.options, self.graph.lengths_m, cells)

    @cached_property
    def process(self) -> MarkedPoisson:
        """The incidents of a day at demand scale and day multiplier 1; a cell is (edge, time cell), flattened."""
        edges, cells, kinds = self.intensity.shape
        begin, end = (part.repeat(edges)[:, None] for part in (self.cell_edges_s[:-1], self.cell_edges_s[1:]))
        return MarkedPoisson(self.intensity.reshape(edges * cells, kinds), Cells(begin, end), self.incident_marks)

    def region(self, given: Given) -> IncidentRegion:
        """The set A of incidents that a condition takes."""
        return IncidentRegion(self.incident_marks, given)

    def expected_in(self, region: IncidentRegion) -> Tensor:
        """Λ of incidents in A by kind, shape (kind,)."""
        return (self.intensity.sum(1) * region.weights.sum(-1)).sum(0)

    def incident(self, points: Points, index: int) -> Incident:
        """Point ``index`` as a record."""
        edge = int(points.cell[index]) // self.incident_marks.cells
        marks = points.marks[index]
        phases = marks[PHASES_S].tolist()
        return Incident(
            edge=self.network.edge_ids[edge],
            start_s=float(points.location[index, 0]),
            position_m=float(marks[POSITION_M]),
            kind=KINDS[int(points.kind[index])],
            lanes=self.options.lanes[edge][int(marks[OPTION])],
            capacity_left=float(marks[CAPACITY]),
            detection_s=phases[0],
            response_s=phases[1],
            clearance_s=phases[2],
        )

    def points(self, incidents: Sequence[Incident]) -> Points:
        """One set of incidents as points. ``ModelError`` names those outside the model's support by their place."""
        problems = Problems("incidents outside the model's support")
        cells = self.incident_marks.cells
        table = []
        for number, incident in enumerate(incidents):
            edge = self.network.edge_index.get(incident.edge)
            option = None if edge is None else self.options.find(edge, incident.lanes)
            cell = int(torch.searchsorted(self.cell_edges_s, incident.start_s, right=True)) - 1
            if edge is None:
                problems.add(f"incident {number}: {self.network.unknown_edge(incident.edge)}")
            elif option is None:
                problems.add(f"incident {number}: lanes {list(incident.lanes)} are no adjacent driving lanes there")
            elif not 0 <= cell < cells:
                problems.add(f"incident {number}: it starts at {incident.start_s:g} s, outside the span of starts")
            else:
                table.append((edge * cells + cell, KINDS.index(incident.kind), option))
        problems.raise_as(ModelError)
        cell, kind, option = torch.tensor(table, dtype=torch.int64).reshape(-1, 3).unbind(1)
        numbers = torch.tensor(
            [[i.start_s, i.position_m, i.capacity_left, i.detection_s, i.response_s, i.clearance_s] for i in incidents],
            dtype=torch.float64,
        ).reshape(-1, 6)
        return Points(
            batch=1,
            owner=torch.zeros_like(cell),
            cell=cell,
            kind=kind,
            location=numbers[:, :1],
            marks=torch.cat([option.to(numbers.dtype)[:, None], numbers[:, 1:]], dim=1),
            inside=torch.zeros_like(cell, dtype=torch.bool),
        )

    def log_prob(
        self,
        incidents: Sequence[Incident],
        *,
        scale: float,
        day: float,
        kind: int = 0,
        factors: Sequence[float] = (),
        rest: Sequence[float] = (),
    ) -> float:
        """log p(c) + log p(incidents | c), exact, in the measure stated at the top of this module.

        ``kind``     number of the kind of day in the table of conditions
        ``factors``  demand factors where that table has a pattern of demand; ``scale`` then follows from them
        ``rest``     log of each entry's own deviation, where the pattern has such
        """
        scales, days = (torch.tensor([each], dtype=torch.float64) for each in (scale, day))
        own, rests = (torch.tensor([list(each)], dtype=torch.float64) for each in (factors, rest))
        context = self.condition.log_prob(scales, days, kind=torch.tensor([kind]), factors=own, rest=rests)
        return float(self.process.at(factor=scales * days).log_prob(self.points(incidents), log_context=context))
