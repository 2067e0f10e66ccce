"""The conditional generative model: a marked Poisson process over edges and time, given a condition.

    log p(ω) = log p(c) + Σ_i [log Λ_{e_i b_i k_i}(c) − log |b_i| + log p(m_i | e_i, k_i)] − Σ Λ(c)

with respect to counting measure on edges, kinds and lane sets and Lebesgue measure on start, position, capacity left
(atoms at 0 and 1) and the three phase durations, on unordered sets: Σ over n of 1/n! times the n-fold product. Given c,
incidents are independent; Λ(c) = demand scale × day multiplier × Λ.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from scenariogen.incidents.records import KINDS, Incident
from scenariogen.model.condition import ConditionTable
from scenariogen.model.features import RoadGraph, road_graph
from scenariogen.model.given import Given, allowed_table
from scenariogen.model.marks import (
    Marks,
    MarkTables,
    draw_phases,
    duration_to_unit,
    phases_log_prob,
    unit_to_duration,
)
from scenariogen.model.options import LaneOptions, lane_options
from scenariogen.model.rates import RateShape, base_rates, group_normalised, time_features
from scenariogen.network import RoadNetwork
from scenariogen.sampling.discrete import draw_category
from scenariogen.window import StudyWindow

NOISE_COLUMNS = 9
"""Uniform numbers that one incident takes."""


@dataclass(frozen=True)
class IncidentRows:
    """Incidents in tensors, one row each: edge, cell, kind, option (indices) and marks in SI units."""

    edge: Tensor
    cell: Tensor
    kind: Tensor
    option: Tensor
    start_s: Tensor
    position_m: Tensor
    capacity_left: Tensor
    phases_s: Tensor

    def __len__(self) -> int:
        return len(self.edge)


@dataclass(frozen=True)
class ScenarioModel:
    """A fitted model of one network. Tensors are float64; ``exposure`` is (edge, cell) in vehicle-kilometres a day.

    ``multipliers``        posterior means of u, (kind, class)
    ``posterior``          Gamma shape and rate of u, (2, kind, class)
    ``info``               what ``fit`` did: seeds, settings, versions, hashes, sources of the numbers
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

    @cached_property
    def graph(self) -> RoadGraph:
        return road_graph(self.network)

    @cached_property
    def options(self) -> LaneOptions:
        return lane_options(self.network)

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

    def capacity_mass(self, given: Given) -> Tensor:
        """P(capacity left as given | edge, kind, option), or its density at an exact value; (edge, kind, option)."""
        low, high = self.options.low[:, None, :], self.options.high[:, None, :]
        width = (high - low).clamp_min(1e-12)
        atoms = torch.exp(self.tables.log_atoms)
        spline = self.marks.spline(self.tables.capacity)
        if given.value is not None:
            at = (given.value - low) / width
            return atoms[..., 1] * torch.exp(spline.log_prob(at.expand_as(atoms[..., 1]))) / width
        ends = [((torch.full_like(low, end) - low) / width).expand_as(atoms[..., 1]) for end in (given.low, given.high)]
        between = spline.cdf(ends[1]) - spline.cdf(ends[0])
        zero = float(given.with_zero and given.low <= 0)
        one = float(given.with_one and given.high >= 1)
        return atoms[..., 0] * zero + atoms[..., 1] * between + atoms[..., 2] * one

    def given_weights(self, given: Given) -> Tensor:
        """p(option | edge, kind) · P(A | edge, kind, option), of shape (edge, kind, option)."""
        allowed = allowed_table(given, self.network, self.options.lanes) & self.options.allowed[:, None, :]
        return torch.exp(self.tables.log_lanes) * self.capacity_mass(given) * allowed

    def draw(
        self, noise: Tensor, multipliers: Tensor, weights: Tensor, given: Given | None, *, complement: bool = False
    ) -> IncidentRows:
        """One incident per row of ``noise`` (batch, ``NOISE_COLUMNS``).

        ``multipliers`` (batch, kind) re-weight the kinds; ``weights`` (edge, kind, option) is what each option weighs
        (:meth:`given_weights`, or its complement); ``given`` restricts the capacity left (None: no restriction).
        ``complement`` draws incidents outside A: ``weights`` are p(option) less :meth:`given_weights`.
        """
        per_cell = self.intensity * weights.sum(-1)[:, None, :]  # edge, cell, kind
        kind = draw_category(noise[:, 0], per_cell.sum((0, 1)) * multipliers)
        place = torch.zeros_like(kind)
        # One inverse CDF per kind keeps the table small however many rows are drawn.
        for index in range(len(KINDS)):
            rows = kind == index
            if rows.any():
                place[rows] = draw_category(noise[rows, 1], per_cell[..., index].flatten())
        cells = per_cell.shape[1]
        edge, cell = place // cells, place % cells
        option = draw_category(noise[:, 2], weights[edge, kind])
        at = (edge, kind, option)
        begin, end = self.cell_edges_s[cell], self.cell_edges_s[cell + 1]
        if given is not None and given.value is not None and not complement:
            capacity = torch.full_like(noise[:, 4], given.value)
        else:
            ranges = self._capacity_ranges(edge, kind, option, given, complement=complement)
            capacity = self._draw_capacity(noise[:, 4], edge, kind, option, ranges)
            if given is not None and not complement:
                capacity = capacity.clamp(given.low, given.high)  # rounding of the inverse CDF at the ends
        v = self.marks.spline(self.tables.duration[at]).icdf(noise[:, 5])
        duration = unit_to_duration(v, self.options.log_minutes[edge, option])
        position = self.marks.spline(self.tables.position[at]).icdf(noise[:, 6]) * self.graph.lengths_m[edge]
        return IncidentRows(
            edge,
            cell,
            kind,
            option,
            begin + noise[:, 3] * (end - begin),
            position,
            capacity,
            draw_phases(noise[:, 7:9], duration),
        )

    def _capacity_ranges(self, edge, kind, option, given: Given | None, *, complement: bool) -> Tensor:
        """What of the capacity left is allowed, shape (batch, 6).

        Columns: atom at 0, two intervals of the spline's CDF [a, b] and [c, d], atom at 1; atoms are 0 or 1.
        """
        given = given or Given()
        one = torch.ones(len(edge), dtype=torch.float64)
        low, high = self.options.low[edge, option], self.options.high[edge, option]
        width = (high - low).clamp_min(1e-12)
        spline = self.marks.spline(self.tables.capacity[edge, kind, option])
        p_low, p_high = (spline.cdf((end - low) / width) for end in (given.low, given.high))
        zero = one * float(given.with_zero and given.low <= 0)
        full = one * float(given.with_one and given.high >= 1)
        if not complement:
            return torch.stack([zero, p_low, p_high, one, one, full], dim=-1)
        # An option that A does not allow at all is free in everything; one that it allows, in the rest.
        allowed = allowed_table(given, self.network, self.options.lanes)[edge, kind, option]
        inside = torch.stack([1 - zero, 0 * one, p_low, p_high, one, 1 - full], dim=-1)
        everything = torch.stack([one, 0 * one, one, one, one, one], dim=-1)
        return torch.where(allowed[:, None], inside, everything)

    def _draw_capacity(self, noise: Tensor, edge: Tensor, kind: Tensor, option: Tensor, ranges: Tensor) -> Tensor:
        """Inverse CDF over the atom at 0, two stretches of the spline, and the atom at 1."""
        low, high = self.options.low[edge, option], self.options.high[edge, option]
        log_atoms = self.tables.log_atoms[edge, kind, option]
        spline = self.marks.spline(self.tables.capacity[edge, kind, option])
        zero_ok, a, b, c, d, one_ok = ranges.unbind(-1)
        atoms = torch.exp(log_atoms)
        masses = torch.stack(
            [atoms[:, 0] * zero_ok, atoms[:, 1] * (b - a), atoms[:, 1] * (d - c), atoms[:, 2] * one_ok], -1
        )
        choice = draw_category(noise, masses)
        before = torch.cat([torch.zeros_like(masses[:, :1]), masses.cumsum(-1)], dim=-1)
        start = before.gather(1, choice[:, None]).squeeze(1)
        mass = masses.gather(1, choice[:, None]).squeeze(1)
        inside = ((noise * before[:, -1] - start) / mass).clamp(0.0, 1.0)
        first, last = torch.where(choice == 2, c, a), torch.where(choice == 2, d, b)
        drawn = low + (high - low) * spline.icdf(first + inside * (last - first))
        out = torch.where(choice == 0, torch.zeros_like(drawn), drawn)
        return torch.where(choice == 3, torch.ones_like(drawn), out)

    def log_intensity(self, rows: IncidentRows) -> Tensor:
        """log λ of each incident (its density in the process at demand scale and day multiplier 1), shape (batch,)."""
        at = (rows.edge, rows.kind, rows.option)
        cell_s = self.cell_edges_s[rows.cell + 1] - self.cell_edges_s[rows.cell]
        out = torch.log(self.intensity[rows.edge, rows.cell, rows.kind]) - torch.log(cell_s)
        out = out + self.tables.log_lanes[at] + self._capacity_log_prob(rows)
        duration = rows.phases_s.sum(-1)
        v, log_slope = duration_to_unit(duration, self.options.log_minutes[rows.edge, rows.option])
        out = out + self.marks.spline(self.tables.duration[at]).log_prob(v) + log_slope
        out = out + phases_log_prob(rows.phases_s)
        length = self.graph.lengths_m[rows.edge]
        out = out + self.marks.spline(self.tables.position[at]).log_prob(rows.position_m / length) - torch.log(length)
        inside = (rows.start_s >= self.cell_edges_s[rows.cell]) & (rows.start_s <= self.cell_edges_s[rows.cell + 1])
        return torch.where(inside, out, torch.full_like(out, -torch.inf))

    def _capacity_log_prob(self, rows: IncidentRows) -> Tensor:
        at = (rows.edge, rows.kind, rows.option)
        low, high = self.options.low[rows.edge, rows.option], self.options.high[rows.edge, rows.option]
        width = (high - low).clamp_min(1e-12)
        log_atoms = self.tables.log_atoms[at]
        inside = self.marks.spline(self.tables.capacity[at]).log_prob((rows.capacity_left - low) / width)
        continuous = log_atoms[:, 1] + inside - torch.log(width)
        out = torch.where(rows.capacity_left == 0, log_atoms[:, 0], continuous)
        return torch.where(rows.capacity_left == 1, log_atoms[:, 2], out)

    def incident(self, rows: IncidentRows, index: int) -> Incident:
        """Row ``index`` as a record."""
        edge = int(rows.edge[index])
        phases = rows.phases_s[index].tolist()
        return Incident(
            edge=self.network.edge_ids[edge],
            start_s=float(rows.start_s[index]),
            position_m=float(rows.position_m[index]),
            kind=KINDS[int(rows.kind[index])],
            lanes=self.options.lanes[edge][int(rows.option[index])],
            capacity_left=float(rows.capacity_left[index]),
            detection_s=phases[0],
            response_s=phases[1],
            clearance_s=phases[2],
        )

    def rows(self, incidents: list[Incident] | tuple[Incident, ...]) -> IncidentRows:
        """Incidents as tensors. ``ModelError`` names those that are outside the model's support by their place."""
        from scenariogen.errors import ModelError, Problems

        problems = Problems("incidents outside the model's support")
        table = []
        for number, incident in enumerate(incidents):
            edge = self.network.edge_index.get(incident.edge)
            option = None if edge is None else self.options.find(edge, incident.lanes)
            cell = int(torch.searchsorted(self.cell_edges_s, incident.start_s, right=True)) - 1
            if edge is None:
                problems.add(f"incident {number}: {self.network.unknown_edge(incident.edge)}")
            elif option is None:
                problems.add(f"incident {number}: lanes {list(incident.lanes)} are no adjacent driving lanes there")
            elif not 0 <= cell < len(self.cell_edges_s) - 1:
                problems.add(f"incident {number}: it starts at {incident.start_s:g} s, outside the span of starts")
            else:
                table.append((edge, cell, KINDS.index(incident.kind), option))
        problems.raise_as(ModelError)
        index = torch.tensor(table, dtype=torch.int64).reshape(-1, 4)
        marks = torch.tensor(
            [[i.start_s, i.position_m, i.capacity_left, i.detection_s, i.response_s, i.clearance_s] for i in incidents],
            dtype=torch.float64,
        ).reshape(-1, 6)
        edge, cell, kind, lanes = index.unbind(1)
        return IncidentRows(edge, cell, kind, lanes, marks[:, 0], marks[:, 1], marks[:, 2], marks[:, 3:])

    def log_prob(self, incidents: list[Incident] | tuple[Incident, ...], *, scale: float, day: float) -> float:
        """log p(c) + log p(incidents | c), exact, in the measure stated at the top of this module."""
        factor = torch.tensor(scale * day, dtype=torch.float64)
        condition = self.condition.log_prob(
            torch.tensor([scale], dtype=torch.float64), torch.tensor([day], dtype=torch.float64)
        )[0]
        terms = self.log_intensity(self.rows(incidents)) + torch.log(factor)
        return float(condition + terms.sum() - factor * self.expected.sum())
