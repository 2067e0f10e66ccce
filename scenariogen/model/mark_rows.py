"""What the marks learn from: detected incidents, records of a log, and draws from the published priors.

A row is an incident. Where its lanes are not known for sure it has several *places*, one for each option that is
possible; the likelihood sums over them. What is not known is nan and contributes nothing.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scenariogen.incidents.capacity import published_capacity_left
from scenariogen.incidents.priors import PASSABLE_CAPACITY, PRIOR_WEIGHT_INCIDENTS, kind_shares
from scenariogen.incidents.recorded import RecordedIncidents
from scenariogen.incidents.records import KINDS
from scenariogen.model.features import CLASSES, RoadGraph
from scenariogen.model.lane_evidence import lane_evidence
from scenariogen.model.options import NEVER, LaneOptions
from scenariogen.network import RoadClass, RoadNetwork
from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.discrete import draw_category

CAPACITY_SPREAD = 0.06
"""Assumption: standard deviation of the capacity left round its published value."""
STREET_PASSING = (0.5, 1.0)
"""Assumption: on streets the capacity left is the share of open lanes times a passing-speed factor in this range."""


@dataclass(frozen=True, kw_only=True)
class MarkRows:
    """Incidents as the marks see them; tensors of shape (row,) but ``owner``, ``option``, ``evidence``: (place,).

    ``edge``, ``kind``   indices
    ``owner``            row of each place, ascending
    ``option``, ``evidence``  option of each place, and log p(what was said of the lanes | option)
    ``capacity``         share left; nan: not known. ``bounded``: it is a lower bound
    ``duration``         seconds; nan: not known. ``censored``: it is a lower bound
    ``shortest``, ``longest``  durations between which an incident could get into the data at all, seconds
    ``position``         metres from the start of the edge; nan: not known
    ``weight``           how many incidents the row stands for
    """

    edge: Tensor
    kind: Tensor
    owner: Tensor
    option: Tensor
    evidence: Tensor
    capacity: Tensor
    bounded: Tensor
    duration: Tensor
    censored: Tensor
    shortest: Tensor
    longest: Tensor
    position: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.edge)

    @property
    def selected(self) -> Tensor:
        """Rows that are in the data only because their duration is neither too short nor too long, (row,) bool."""
        return (self.shortest > 0) | torch.isfinite(self.longest)


def joined(parts: list[MarkRows]) -> MarkRows:
    """Several sets of rows one after the other."""
    before = np.cumsum([0, *(len(part) for part in parts[:-1])])
    columns = {each.name: torch.cat([getattr(part, each.name) for part in parts]) for each in fields(MarkRows)}
    columns["owner"] = torch.cat([part.owner + int(first) for part, first in zip(parts, before, strict=True)])
    return MarkRows(**columns)


def detected_rows(table: pd.DataFrame, network: RoadNetwork, options: LaneOptions) -> MarkRows:
    """Incidents found in trajectories: lanes are known, capacity left and duration are values or lower bounds."""
    edge = [network.edge_index[name] for name in table["edge"]]
    lanes = [tuple(int(lane) for lane in found) for found in table["lanes"]]
    option = [_nearest_option(options, row, found) for row, found in zip(edge, lanes, strict=True)]
    rows = len(table)
    return MarkRows(
        edge=torch.tensor(edge, dtype=torch.int64),
        kind=_kinds(table),
        owner=torch.arange(rows),
        option=torch.tensor(option, dtype=torch.int64),
        evidence=torch.zeros(rows, dtype=torch.float64),
        capacity=_column(table, "capacity_left"),
        bounded=torch.tensor(table["capacity_left_is_lower_bound"].to_numpy(dtype=bool)),
        duration=_column(table, "duration_s"),
        censored=torch.tensor(table["duration_is_censored"].to_numpy(dtype=bool)),
        shortest=torch.zeros(rows, dtype=torch.float64),
        longest=torch.full((rows,), torch.inf, dtype=torch.float64),
        position=_column(table, "position_m"),
        weight=torch.ones(rows, dtype=torch.float64),
    )


def record_rows(records: RecordedIncidents, network: RoadNetwork, options: LaneOptions) -> MarkRows:
    """Records of a log: lanes as far as they were said, no capacity left, durations given how the log selects."""
    table = records.table
    evidence = lane_evidence(table, network, options)
    owner, option = torch.nonzero(evidence > NEVER, as_tuple=True)
    rows = len(table)
    return MarkRows(
        edge=torch.tensor([network.edge_index[name] for name in table["edge"]], dtype=torch.int64),
        kind=_kinds(table),
        owner=owner,
        option=option,
        evidence=evidence[owner, option],
        capacity=torch.full((rows,), torch.nan, dtype=torch.float64),
        bounded=torch.zeros(rows, dtype=torch.bool),
        duration=_column(table, "duration_s"),
        censored=torch.tensor(table["duration_is_censored"].to_numpy(dtype=bool)),
        shortest=torch.full((rows,), records.settings.least_duration_s, dtype=torch.float64),
        longest=torch.tensor(records.longest_s, dtype=torch.float64),
        position=_column(table, "position_m"),
        weight=torch.ones(rows, dtype=torch.float64),
    )


def _kinds(table: pd.DataFrame) -> Tensor:
    names = [kind.value for kind in KINDS]
    return torch.tensor([names.index(str(name)) for name in table["kind"]], dtype=torch.int64)


def _column(table: pd.DataFrame, name: str) -> Tensor:
    return torch.tensor(table[name].to_numpy(dtype=float))


def _nearest_option(options: LaneOptions, edge: int, lanes: tuple[int, ...]) -> int:
    """The option with these lanes, or with as many and the most in common where they are not adjacent."""
    exact = options.find(edge, lanes)
    if exact is not None:
        return exact
    scored = [
        (len(set(option) & set(lanes)) - abs(len(option) - len(lanes)), -index)
        for index, option in enumerate(options.lanes[edge])
    ]
    return -max(scored)[1]


def prior_rows(
    network: RoadNetwork, graph: RoadGraph, options: LaneOptions, exposure: Tensor, *, draws: int, seed: int
) -> MarkRows:
    """Pseudo-incidents: places by exposure, kinds, lanes, capacity and durations by the published tables."""
    names = torch.arange(draws)
    noise = uniform(child_seed(seed, "prior"), names, 6)
    bell = normal(child_seed(seed, "prior bell"), names, 2)
    edge = draw_category(noise[:, 0], exposure.sum(1))
    kind = draw_category(noise[:, 1], torch.tensor(kind_shares(), dtype=torch.float64))
    option = draw_category(noise[:, 2], torch.exp(options.log_prior)[edge])
    capacity = torch.empty(draws, dtype=torch.float64)
    for row in range(draws):
        capacity[row] = _prior_capacity(
            network, options, int(edge[row]), int(kind[row]), int(option[row]), noise[row], float(bell[row, 0])
        )
    log_minutes = options.log_minutes[edge, option]
    return MarkRows(
        edge=edge,
        kind=kind,
        owner=names,
        option=option,
        evidence=torch.zeros(draws, dtype=torch.float64),
        capacity=capacity,
        bounded=torch.zeros(draws, dtype=torch.bool),
        duration=60.0 * torch.exp(log_minutes[:, 0] + log_minutes[:, 1] * bell[:, 1]),
        censored=torch.zeros(draws, dtype=torch.bool),
        shortest=torch.zeros(draws, dtype=torch.float64),
        longest=torch.full((draws,), torch.inf, dtype=torch.float64),
        position=noise[:, 5] * graph.lengths_m[edge],
        weight=torch.full((draws,), PRIOR_WEIGHT_INCIDENTS / draws, dtype=torch.float64),
    )


def _prior_capacity(
    network, options: LaneOptions, edge: int, kind: int, option: int, noise: Tensor, bell: float
) -> float:
    road = network.edges[network.edge_ids[edge]]
    lanes, blocked = len(road.driving_lanes), len(options.lanes[edge][option])
    atom, spread = float(noise[3]), float(noise[4])
    shares = torch.exp(options.atoms[edge, option]).tolist()
    if atom < shares[0]:
        return 0.0
    if atom >= 1 - shares[2]:
        return 1.0
    low, high = float(options.low[edge, option]), float(options.high[edge, option])
    published = published_capacity_left(min(max(lanes, 2), 8), blocked, crash=KINDS[kind].value == "crash")
    if lanes == 1 and blocked == 1:
        value = PASSABLE_CAPACITY[0] + spread * (PASSABLE_CAPACITY[1] - PASSABLE_CAPACITY[0])
    elif blocked == 0 or (
        CLASSES[int(CLASSES.index(road.road_class))] is not RoadClass.STREET and published is not None
    ):
        value = (published if published is not None else 0.9) + CAPACITY_SPREAD * bell
    else:
        value = (lanes - blocked) / lanes * (STREET_PASSING[0] + spread * (STREET_PASSING[1] - STREET_PASSING[0]))
    margin = 1e-3 * (high - low)
    return float(np.clip(value, low + margin, high - margin))
