"""A demand surge as a route file: copies of what departs on its entries while it lasts, in an account of their own.

The same vehicles are copied as live, by the same draws; flows get a second flow with the rate that is missing. Copies
keep routes and types, have no stops, and are named ``surge.…``.
"""

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from scenariogen.injection.effects.demand_surge import PREFIX
from scenariogen.randomness import child_seed
from scenariogen.scenarios.effects import DemandSurge, Effect
from scenariogen.simulation.demand import FLOW_TAGS, VEHICLE_TAGS
from scenariogen.simulation.options import parse_time_s
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.scaling import DemandIndex, scaled_flow
from scenariogen.simulation.xmlfiles import children

_LIVE = {"departLane": "best", "departPos": "base", "departSpeed": "desired"}
"""How vehicles of a surge enter."""
_RATES = ("vehsPerHour", "perHour", "probability", "period")


class Surges:
    """Copies for all surges of a scenario. ``left_out`` counts what departs there and cannot be copied from a file."""

    def __init__(self, effects: Sequence[Effect], project: SumoProject, *, seed: int, end_s: float) -> None:
        self._surges = [(number, each) for number, each in enumerate(effects) if isinstance(each, DemandSurge)]
        self._project = project
        self._seed = seed
        self._end_s = end_s
        self.left_out = 0

    def __bool__(self) -> bool:
        return bool(self._surges)

    def limits(self) -> Iterator[str]:
        """What the copies leave out, in words; after :meth:`write`."""
        if self.left_out:
            yield (
                f"demand surge: {self.left_out} vehicles or flows that may depart there are not copied: public "
                "transport, those that wait for passengers, and those whose first edge the files do not tell"
            )

    def write(self, files: Sequence[Path], target: Path) -> None:
        """A route file with the copies, ascending in time, of what departs in ``files``."""
        index = DemandIndex.of(self._project)
        found: list[tuple[float, int, str]] = []
        for path in files:
            for _, element in children(path):
                if element.tag in (*VEHICLE_TAGS, *FLOW_TAGS):
                    for at_s, copy in self._copies(element, index):
                        copy.tail = "\n"
                        found.append((at_s, len(found), tostring(copy, encoding="unicode")))
        text = "".join(each for _, _, each in sorted(found))
        target.write_text(f"<routes>\n{text}</routes>\n", encoding="utf-8")

    def _copies(self, element: Element, index: DemandIndex) -> Iterator[tuple[float, Element]]:
        entry, why_not = index.entry(element)
        for number, surge in self._surges:
            if surge.entries and entry is not None and entry not in surge.entries:
                continue
            if why_not and (surge.entries or not element.get("fromTaz")):
                self.left_out += 1
                continue
            copy = deepcopy(element)
            for stop in copy.findall("stop"):
                copy.remove(stop)
            if element.tag in FLOW_TAGS:
                yield from self._flows(copy, number, surge)
                continue
            text = element.get("depart", "")
            at_s = self._project.begin_s if text == "begin" else parse_time_s(text)
            if not surge.start_s <= at_s < surge.end_s:
                continue
            for place in range(self._count(number, surge, element.get("id", ""))):
                each = deepcopy(copy)
                each.set("id", f"{PREFIX}{number}.{element.get('id')}.{place}")
                each.attrib.update(_LIVE | {"depart": f"{at_s:.3f}"})
                yield at_s, each

    def _count(self, number: int, surge: DemandSurge, vehicle: str) -> int:
        """How many copies, by the draw that the live surge makes."""
        return int(surge.factor - 1 + child_seed(self._seed, "surge", number, vehicle) / 2.0**63)

    def _flows(self, flow: Element, number: int, surge: DemandSurge) -> Iterator[tuple[float, Element]]:
        """Of a flow's copy what is missing while the surge lasts: several flows where one is too few."""
        begin_s = parse_time_s(flow.get("begin") or str(self._project.begin_s))
        end_s = min(self._last_s(flow, begin_s), self._end_s)
        low_s, high_s = max(begin_s, surge.start_s), min(end_s, surge.end_s)
        if high_s <= low_s:
            return
        identity = f"{PREFIX}{number}.{flow.get('id')}"
        flow.attrib.update(_LIVE | {"id": identity, "begin": f"{low_s:.3f}", "end": f"{high_s:.3f}"})
        if any(name in flow.attrib for name in _RATES):
            flow.attrib.pop("number", None)
        else:
            within = float(flow.get("number", "0")) * (high_s - low_s) / (end_s - begin_s)
            flow.set("number", repr(within))
        share = child_seed(self._seed, "surge", number, flow.get("id", "")) / 2.0**63
        for each in scaled_flow(flow, surge.factor - 1, share):
            yield low_s, each

    @staticmethod
    def _last_s(flow: Element, begin_s: float) -> float:
        """When a flow ends: at its end, or with its last vehicle."""
        ends = [parse_time_s(flow.get("end", ""))] if flow.get("end") else [math.inf]
        period = flow.get("period", "")
        if flow.get("number") and period and "(" not in period:
            ends.append(begin_s + float(flow.get("number", "")) * parse_time_s(period))
        per_hour = flow.get("vehsPerHour") or flow.get("perHour")
        if flow.get("number") and per_hour:
            ends.append(begin_s + float(flow.get("number", "")) * 3600 / float(per_hour))
        return min(ends)
