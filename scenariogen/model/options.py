"""Which lanes an incident can block on each edge: every run of adjacent driving lanes, none, or all."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scenariogen.incidents.capacity import is_inner, reachable
from scenariogen.incidents.capacity_tables import CapacityTable
from scenariogen.incidents.priors import (
    PASSABLE_CAPACITY,
    SHOULDER_UNNOTICED,
    SINGLE_LANE_CLOSURE,
    blocked_shares,
    duration_parameters,
)
from scenariogen.network import RoadClass, RoadNetwork

OPTION_FEATURES = 7
NEVER = -1e9
"""Stands for log 0 where a finite number is needed."""


@dataclass(frozen=True)
class LaneOptions:
    """The choices of every edge, padded to the longest list; tensors of shape (edge, option, ...).

    ``lanes``        per edge, the tuple of SUMO lane indices of each option
    ``allowed``      (edge, option) bool
    ``features``     (edge, option, feature)
    ``log_prior``    log of the published share of each option
    ``low``, ``high``  support of the capacity left between the atoms
    ``atoms``        (edge, option, 3): log-shares at the start of [0, strictly between, 1]
    ``log_minutes``  (edge, option, 2): published mean and standard deviation of the log duration in minutes
    """

    lanes: tuple[tuple[tuple[int, ...], ...], ...]
    allowed: Tensor
    features: Tensor
    log_prior: Tensor
    low: Tensor
    high: Tensor
    atoms: Tensor
    log_minutes: Tensor

    def find(self, edge: int, lanes: tuple[int, ...]) -> int | None:
        """Index of the option with these lanes on an edge; None where it is not one."""
        try:
            return self.lanes[edge].index(tuple(lanes))
        except ValueError:
            return None


def lane_options(network: RoadNetwork, table: CapacityTable | None = None) -> LaneOptions:
    """All options of all edges of a network.

    ``table``  what can be brought about with the traffic of a project of its own, where that is less than with SUMO's
               default car: the support of the capacity left ends there
    """
    per_edge = [_edge_options(network, edge_id, table) for edge_id in network.edge_ids]
    width = max(1, max(len(options) for options in per_edge))
    shape = (len(per_edge), width)
    allowed = torch.zeros(shape, dtype=torch.bool)
    features = torch.zeros((*shape, OPTION_FEATURES), dtype=torch.float64)
    log_prior = torch.full(shape, NEVER, dtype=torch.float64)
    low, high = torch.zeros(shape, dtype=torch.float64), torch.ones(shape, dtype=torch.float64)
    atoms = torch.full((*shape, 3), NEVER, dtype=torch.float64)
    atoms[..., 1] = 0.0
    log_minutes = torch.zeros((*shape, 2), dtype=torch.float64)
    log_minutes[..., 1] = 1.0
    for row, options in enumerate(per_edge):
        for column, option in enumerate(options):
            allowed[row, column] = True
            features[row, column] = torch.tensor(option.features, dtype=torch.float64)
            log_prior[row, column] = torch.tensor(max(option.share, 1e-300), dtype=torch.float64).log()
            low[row, column], high[row, column] = option.support
            shares = torch.tensor(option.atoms, dtype=torch.float64)
            atoms[row, column] = torch.where(shares > 0, shares.log(), torch.full_like(shares, NEVER))
            log_minutes[row, column] = torch.tensor(duration_parameters(option.blocked), dtype=torch.float64)
    return LaneOptions(
        tuple(tuple(option.lanes for option in options) for options in per_edge),
        allowed,
        features,
        log_prior,
        low,
        high,
        atoms,
        log_minutes,
    )


@dataclass(frozen=True)
class _Option:
    lanes: tuple[int, ...]
    blocked: int
    features: tuple[float, ...]
    share: float
    support: tuple[float, float]
    atoms: tuple[float, float, float]


def _edge_options(network: RoadNetwork, edge_id: str, table: CapacityTable | None) -> list[_Option]:
    edge = network.edges[edge_id]
    driving = edge.driving_lanes
    n = len(driving)
    if n == 0:
        return []
    shares = blocked_shares(n)
    options = []
    for blocked in range(n + 1):
        starts = range(n - blocked + 1) if blocked else range(1)
        for start in starts:
            lanes = driving[start : start + blocked]
            inner = is_inner(driving, lanes)
            low, high = _support(edge.road_class, n, blocked, inner=inner, table=table)
            options.append(
                _Option(
                    lanes=lanes,
                    blocked=blocked,
                    features=(
                        blocked / 3.0,
                        blocked / n,
                        float(blocked == 0),
                        float(blocked == n),
                        float(inner),
                        start / n,
                        (n - start - blocked) / n,
                    ),
                    share=shares[blocked] / len(starts),
                    support=(low, high),
                    atoms=_atoms(n, blocked),
                )
            )
    return options


def _support(
    road_class: RoadClass, lanes: int, blocked: int, *, inner: bool, table: CapacityTable | None
) -> tuple[float, float]:
    """Shares that can be had by both tables, the shipped one and the project's; by the latter where they share none."""
    low, high = reachable(road_class, lanes, blocked, inner=inner)
    if table is None or not table.holds(road_class, lanes, blocked, inner=inner):
        return low, high
    own_low, own_high = table.reachable(road_class, lanes, blocked, inner=inner)
    both = max(low, own_low), min(high, own_high)
    return both if both[0] <= both[1] else (own_low, own_high)


def _atoms(lanes: int, blocked: int) -> tuple[float, float, float]:
    """Prior shares of capacity left at 0, strictly between, and at 1."""
    if blocked == 0:
        return 0.0, 1 - SHOULDER_UNNOTICED, SHOULDER_UNNOTICED
    if blocked < lanes:
        return 0.0, 1.0, 0.0
    return (1.0, 0.0, 0.0) if lanes >= 2 else (SINGLE_LANE_CLOSURE, 1 - SINGLE_LANE_CLOSURE, 0.0)


__all__ = ["NEVER", "OPTION_FEATURES", "PASSABLE_CAPACITY", "LaneOptions", "lane_options"]
