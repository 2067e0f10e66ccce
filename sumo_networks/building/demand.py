"""Demand as streams of vehicles on fixed routes, written as SUMO flows.

Departures are Poisson: how many and when follows from SUMO's seed alone, so that seeds are different days and
the same seed is the same day.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SLICE_S = 900


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Vehicles that take one route. ``vehicles_per_hour`` holds at the peak, where the profile is 1."""

    name: str
    edges: str
    vehicles_per_hour: float
    truck_share: float = 0.0
    depart_speed: str = "max"


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Streams under one profile: a factor for every quarter of an hour from ``begin_s`` on."""

    begin_s: int
    profile: Sequence[float]
    streams: Sequence[Stream]
    vehicle_types: str
    about: str

    @property
    def end_s(self) -> int:
        """Second of the day at which the last slice ends."""
        return self.begin_s + SLICE_S * len(self.profile)

    @property
    def vehicles(self) -> float:
        """Expected number of vehicles."""
        return sum(self.profile) * SLICE_S / 3600 * sum(stream.vehicles_per_hour for stream in self.streams)


def write_routes(demand: Demand, path: Path) -> None:
    """Write vehicle types, routes and flows, the flows in order of time."""
    lines = ["<routes>", f"    <!-- {demand.about} -->", demand.vehicle_types.rstrip(), ""]
    lines += [f'    <route id="{stream.name}" edges="{stream.edges}"/>' for stream in demand.streams]
    for number, factor in enumerate(demand.profile):
        begin_s = demand.begin_s + number * SLICE_S
        lines += ["", f"    <!-- from {begin_s // 3600:02d}:{begin_s % 3600 // 60:02d} -->"]
        for stream in demand.streams:
            lines += _flows(stream, stream.vehicles_per_hour * factor, begin_s)
    path.write_text("\n".join([*lines, "</routes>", ""]), encoding="utf-8")


def _flows(stream: Stream, vehicles_per_hour: float, begin_s: int) -> list[str]:
    shares = {"car": 1 - stream.truck_share, "truck": stream.truck_share}
    return [
        f'    <flow id="{stream.name}_{kind}_{begin_s}" type="{kind}" route="{stream.name}" begin="{begin_s}" '
        f'end="{begin_s + SLICE_S}" period="exp({vehicles_per_hour * share / 3600:.6f})" departLane="best" '
        f'departSpeed="{stream.depart_speed}"/>'
        for kind, share in shares.items()
        if share > 0
    ]
