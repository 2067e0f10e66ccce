"""Lanes that a project's own rerouters close for a time, while a closure stands on them too.

SUMO's ``closingLaneReroute`` changes what a lane allows until its interval ends and then goes back to what was written
for good. Only one value can be read, and whatever is written is for good: a closure that began or ended within such an
interval would leave the lane closed for ever. So the rerouter's part is a claim of its own here, over what the lane
allows for good, from the start of the closure until neither of them closes it. ``closingReroute`` with ``allow`` or
``disallow`` does the same to all lanes of an edge; without them it changes nothing that a lane allows.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from scenariogen.errors import ProjectError
from scenariogen.injection.attributes import LANE_PERMISSIONS
from scenariogen.injection.effects.closure import claimed_lanes
from scenariogen.injection.effects.contract import Scene
from scenariogen.injection.records import InjectionWarning
from scenariogen.injection.started_files import started_files
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.effects import VEHICLE_CLASSES, Closure
from scenariogen.simulation.options import parse_time_s
from scenariogen.simulation.references import input_references
from scenariogen.simulation.xmlfiles import children, has_sign
from scenariogen.units import clock_text

_SIGN = re.compile(rb"<closing(Lane)?Reroute")
_STILL_PASSES = "authority"
"""Who may use a lane that a rerouter closes without saying for whom."""


@dataclass(frozen=True, kw_only=True)
class Closing:
    """Vehicle classes that may not use a lane between two simulation seconds."""

    begin_s: float
    end_s: float
    denied: frozenset[str]


class RerouterClosures:
    """Claims what rerouters close on the lanes of a scenario's closures, as long as one of those stands there."""

    def __init__(self, closures: Iterable[Closure], scene: Scene) -> None:
        self._link, self._ledger, self._network = scene.link, scene.ledger, scene.network
        spans: dict[str, list[tuple[float, float]]] = {}
        for closure in closures:
            for lane in claimed_lanes(scene, closure):
                spans.setdefault(lane, []).append((closure.start_s, closure.end_s))
        self._closings = self._read(set(spans)) if spans else {}
        self._spans = {lane: spans[lane] for lane in self._closings}
        self._held: dict[str, frozenset[str]] = {}
        now_s = self._link.time_s()
        self._for_good = {
            lane: LANE_PERMISSIONS.read(self._link, lane) for lane in self._closings if not self._denied(lane, now_s)
        }
        self._now_s = now_s

    @property
    def due_s(self) -> float:
        """When :meth:`update` has something to do next, starts of closures excepted."""
        closings = (each for lane in self._held for each in self._closings[lane])
        times = (time + self._link.step_s for each in closings for time in (each.begin_s, each.end_s))
        return min((time for time in times if time > self._now_s + 1e-6), default=float("inf"))

    def update(self, now_s: float) -> None:
        """Follow the rerouters. To be called before closures that begin now claim their lanes."""
        self._now_s = now_s
        for lane, spans in self._spans.items():
            denied = self._denied(lane, now_s)
            is_closed = any(start_s - 1e-6 <= now_s < end_s - 1e-6 for start_s, end_s in spans)
            if lane in self._held:
                self._follow(lane, denied)
                if not (is_closed or denied):
                    self._ledger.release(_owner(lane))
                    del self._held[lane]
            elif is_closed:
                self._hold(lane, denied)

    def end(self, now_s: float) -> None:
        """Closures end before their time: rerouters that still close a lane of theirs cannot do so any more."""
        open_again = [lane for lane, denied in self._held.items() if denied]
        if open_again:
            what = f"the injection ends at {clock_text(now_s)}, while a rerouter closes {', '.join(open_again)}"
            text = f"{what}: open from then on, since SUMO cannot be told to close a lane for a time"
            warnings.warn(text, InjectionWarning, stacklevel=2)

    def _hold(self, lane: str, denied: frozenset[str]) -> None:
        base = (self._for_good.get(lane) or allowed_for_good(self._network, lane)) if denied else None
        self._ledger.claim(_owner(lane), LANE_PERMISSIONS, lane, denied, base=base)
        self._held[lane] = denied

    def _follow(self, lane: str, denied: frozenset[str]) -> None:
        """What SUMO itself wrote at the beginning or end of an interval is nobody's base."""
        if denied == self._held[lane]:
            return
        base = self._ledger.base(LANE_PERMISSIONS, lane)
        self._ledger.claim(_owner(lane), LANE_PERMISSIONS, lane, denied)
        self._ledger.rebase(LANE_PERMISSIONS, lane, base)
        self._held[lane] = denied

    def _denied(self, lane: str, now_s: float) -> frozenset[str]:
        """An interval begins and ends with the step that begins at its time, which is seen after that step."""
        begun_s = now_s - self._link.step_s + 1e-6
        in_force = (each for each in self._closings[lane] if each.begin_s <= begun_s < each.end_s)
        return frozenset().union(*(each.denied for each in in_force))

    def _read(self, lanes: set[str]) -> Mapping[str, Sequence[Closing]]:
        try:
            return read_closings(started_files(self._link, "additional-files"), lanes)
        except ProjectError as error:
            text = f"whether rerouters close lanes that the scenario closes is not known: {error}"
            warnings.warn(text, InjectionWarning, stacklevel=2)
            return {}


def read_closings(files: Iterable[Path], lanes: set[str]) -> dict[str, list[Closing]]:
    """What the rerouters in these files, and in those that they include, close of some lanes.

    Intervals that a rerouter keeps in a ``file`` of its own change nothing that a lane allows (SUMO 1.28).
    """
    found: dict[str, list[Closing]] = {}
    for file in files:
        if not any(has_sign(each, _SIGN) for each in (file, *input_references(file))):
            continue
        for _, element in children(file):
            for interval in element.iter("interval") if element.tag == "rerouter" else ():
                for place, closing in _closings_in(interval):
                    for lane in lanes:
                        if place in (lane, lane.rpartition("_")[0]):
                            found.setdefault(lane, []).append(closing)
    return found


def _closings_in(interval: Element) -> Iterator[tuple[str, Closing]]:
    """Each lane or edge that a rerouter closes for that time."""
    for each in interval:
        allow, disallow = each.get("allow"), each.get("disallow")
        if each.tag == "closingLaneReroute" and allow is None and disallow is None:
            allow = _STILL_PASSES
        if each.tag in ("closingLaneReroute", "closingReroute") and (allow, disallow) != (None, None):
            yield (
                each.get("id", ""),
                Closing(
                    begin_s=parse_time_s(interval.get("begin", "0")),
                    end_s=parse_time_s(interval.get("end", "inf")),
                    denied=VEHICLE_CLASSES - _allowed(allow, disallow),
                ),
            )


def allowed_for_good(network: RoadNetwork, lane: str) -> tuple[str, ...]:
    """Vehicle classes that a lane allows as its network file says."""
    edge, _, _ = lane.rpartition("_")
    for _, element in children(network.path):
        if element.tag == "edge" and element.get("id") == edge:
            own = next(each for each in element.iter("lane") if each.get("id") == lane)
            return tuple(sorted(_allowed(own.get("allow"), own.get("disallow"))))
    raise ProjectError(f"lane {lane!r} is not in {network.path}")


def _allowed(allow: str | None, disallow: str | None) -> frozenset[str]:
    if allow is not None:
        return VEHICLE_CLASSES if allow.strip() == "all" else frozenset(allow.split())
    return frozenset() if (disallow or "").strip() == "all" else VEHICLE_CLASSES - frozenset((disallow or "").split())


def _owner(lane: str) -> str:
    return f"rerouters of {lane}"
