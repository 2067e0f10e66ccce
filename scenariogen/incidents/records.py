"""What an incident is, in one record that every later stage shares."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from scenariogen.errors import DataError, Problems
from scenariogen.network import RoadNetwork


class IncidentKind(StrEnum):
    """The one vocabulary of kinds. Readers map their own words to it and show the mapping."""

    CRASH = "crash"
    BREAKDOWN = "breakdown"
    OBSTRUCTION = "obstruction"
    """Debris, a vehicle parked in the carriageway, unplanned works."""


KINDS: tuple[IncidentKind, ...] = tuple(IncidentKind)
"""The kinds in the order of every ``kind`` axis."""


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One incident on one edge.

    ``edge``           edge id
    ``start_s``        SUMO simulation second at which the road is obstructed
    ``position_m``     front of the blockage, metres from the start of the edge
    ``kind``           what happened
    ``lanes``          SUMO lane indices that are blocked, ascending and adjacent; empty: on the shoulder
    ``capacity_left``  share of the undisturbed saturation discharge of the cross-section, 0 to 1. With all
                       lanes blocked, 0 is a full closure; above 0 traffic squeezes past (single-lane edges)
    ``detection_s``, ``response_s``, ``clearance_s``
                       the phases: until someone knows, until responders are there, until the road is clear
    """

    edge: str
    start_s: float
    position_m: float
    kind: IncidentKind
    lanes: tuple[int, ...]
    capacity_left: float
    detection_s: float
    response_s: float
    clearance_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", IncidentKind(self.kind))
        object.__setattr__(self, "lanes", tuple(sorted(int(lane) for lane in self.lanes)))
        for name in ("start_s", "position_m", "capacity_left", "detection_s", "response_s", "clearance_s"):
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def duration_s(self) -> float:
        """Seconds from the obstruction to the clear road."""
        return self.detection_s + self.response_s + self.clearance_s

    @property
    def end_s(self) -> float:
        """Simulation second at which the road is clear."""
        return self.start_s + self.duration_s

    @property
    def blocks_lane(self) -> bool:
        """True where at least one driving lane is obstructed."""
        return bool(self.lanes)

    def problems(self, network: RoadNetwork) -> list[str]:
        """Every reason why this incident cannot happen on that network, in words."""
        return [*_value_problems(self), *_place_problems(self, network)]


def _value_problems(incident: Incident) -> list[str]:
    found = []
    numbers = {
        "start_s": incident.start_s,
        "position_m": incident.position_m,
        "capacity_left": incident.capacity_left,
        "detection_s": incident.detection_s,
        "response_s": incident.response_s,
        "clearance_s": incident.clearance_s,
    }
    for name, value in numbers.items():
        if not np.isfinite(value):
            found.append(f"{name} is {value}, expected a finite number")
        elif name != "start_s" and value < 0:
            found.append(f"{name} is {value:g}, expected a number of at least 0")
    if incident.capacity_left > 1:
        found.append(f"capacity_left is {incident.capacity_left:g}, expected a share between 0 and 1")
    if incident.duration_s == 0:
        found.append("the duration is 0 s, expected more")
    return found


def _place_problems(incident: Incident, network: RoadNetwork) -> list[str]:
    if incident.edge not in network.edges:
        return [network.unknown_edge(incident.edge)]
    found = []
    edge = network.edges[incident.edge]
    driving = edge.driving_lanes
    if not driving:
        found.append(f"edge {edge.id!r} has no lane for cars, so no incident can stand there")
    missing = [lane for lane in incident.lanes if lane not in {lane.index for lane in edge.lanes}]
    if missing:
        found.append(
            f"lanes {missing} are not on edge {edge.id!r}, which has {len(edge.lanes)} lanes, "
            f"{', '.join(str(lane.index) for lane in edge.lanes)} counted from the right"
        )
    idle = [lane for lane in incident.lanes if lane not in driving and lane not in missing]
    if idle:
        found.append(f"lanes {idle} of edge {edge.id!r} are not for cars; driving lanes are {list(driving)}")
    if incident.position_m > edge.length_m:
        found.append(f"position_m is {incident.position_m:g} on edge {edge.id!r} of {edge.length_m:.1f} m")
    blocked = [lane for lane in incident.lanes if lane in driving]
    if len(blocked) == len(driving) >= 2 and incident.capacity_left > 0:
        found.append(
            f"all {len(driving)} lanes of edge {edge.id!r} are blocked, so capacity_left must be 0, "
            f"not {incident.capacity_left:g}"
        )
    if driving and len(blocked) < len(driving) and incident.capacity_left <= 0:
        found.append(
            f"capacity_left is {incident.capacity_left:g} with {len(driving) - len(blocked)} of {len(driving)} "
            "lanes open; expected more than 0, or all lanes blocked"
        )
    return found


OBSERVED_COLUMNS: dict[str, str] = {
    "day": "int64",  # recorded day, counted from 0
    "edge": "str",
    "start_s": "float64",  # simulation second of that day
    "position_m": "float64",  # front of the blockage, metres from the start of the edge
    "kind": "str",
    "lanes": "object",  # list of SUMO lane indices; empty on the shoulder
    "duration_s": "float64",
    "duration_is_censored": "bool",  # the recording ended first: a lower bound
    "capacity_left": "float64",
    "capacity_left_se": "float64",
    "capacity_left_is_lower_bound": "bool",  # no queue stood, so more was never asked of the road
    "confidence": "float64",  # 0 to 1, that this is an incident
}
"""Columns of a table of observed incidents (``detect`` writes it, ``fit`` reads it), with pandas types."""


def check_observed(table: pd.DataFrame, network: RoadNetwork | None = None) -> pd.DataFrame:
    """The table with the columns of :data:`OBSERVED_COLUMNS`, or a ``DataError`` that lists every problem.

    An empty table passes: that nothing was seen is an observation too.
    """
    problems = Problems("incident table")
    missing = [name for name in OBSERVED_COLUMNS if name not in table.columns]
    if missing:
        problems.add(f"columns {', '.join(missing)} are missing; it has {', '.join(map(str, table.columns))}")
        problems.raise_as(DataError)
    for name in ("start_s", "position_m", "duration_s", "capacity_left"):
        values = numbers(table, name)
        wrong = ~np.isfinite(values) | ((values < 0) & (name != "start_s"))
        if wrong.any():
            problems.add(f"{int(wrong.sum())} rows have no usable {name}, the first is row {int(np.argmax(wrong))}")
    if (numbers(table, "capacity_left") > 1).any():
        problems.add("capacity_left is above 1 in some rows, expected a share between 0 and 1")
    unknown = sorted(set(map(str, table["kind"])) - {kind.value for kind in KINDS})
    if unknown:
        problems.add(f"kinds {unknown} are unknown, expected {[kind.value for kind in KINDS]}")
    if network is not None:
        strangers = sorted(set(map(str, table["edge"])) - set(network.edges))
        if strangers:
            problems.add(f"{len(strangers)} edges are not in {network.path.name}, the first: {strangers[:3]}")
    problems.raise_as(DataError)
    return table.loc[:, list(OBSERVED_COLUMNS)].reset_index(drop=True)


def numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    """A column as float64; what is no number becomes nan."""
    return np.asarray(pd.to_numeric(table[name], errors="coerce"), dtype=float)
