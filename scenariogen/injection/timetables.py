"""When a project's own timetables put which programme of a signal in force.

SUMO's ``WAUT`` switches a signal from one of its programmes to another. It passes over a signal that somebody sets
directly, and the switch is then lost.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from scenariogen.simulation.options import parse_time_s
from scenariogen.simulation.references import input_references
from scenariogen.simulation.xmlfiles import children, has_sign

_SIGN = re.compile(rb"<wautJunction")


@dataclass(frozen=True, kw_only=True)
class _Switch:
    """To a programme at ``at_s`` and every ``period_s`` after that (0: once), simulation seconds."""

    at_s: float
    period_s: float
    programme: str

    def last_s(self, before_s: float) -> float:
        """The last time at which it happens before a second; minus infinity where it does not."""
        if before_s <= self.at_s:
            return float("-inf")
        if self.period_s <= 0:
            return self.at_s
        return self.at_s + self.period_s * (math.ceil((before_s - self.at_s) / self.period_s) - 1)


def read_timetable(files: Sequence[Path], signal: str) -> "Timetable":
    """The timetable of one signal in a network and additional files, included ones too."""
    tables: dict[str, Element] = {}
    names: list[str] = []
    for file in files:
        if not any(has_sign(each, _SIGN) for each in (file, *input_references(file))):
            continue
        for _, element in children(file):
            if element.tag == "WAUT":
                tables[element.get("id", "")] = _kept(element)
            elif element.tag == "wautJunction" and element.get("junctionID") == signal:
                names.append(element.get("wautID", ""))
    return Timetable(tuple(switch for name in names if name in tables for switch in _switches(tables[name])))


class Timetable:
    """The switches of one signal; none where it has no timetable."""

    def __init__(self, switches: tuple[_Switch, ...]) -> None:
        self._switches = switches

    def switched(self, since_s: float, before_s: float) -> tuple[float, str] | None:
        """The last switch from ``since_s`` on and before ``before_s``: its second and the programme."""
        last = max(self._switches, key=lambda switch: switch.last_s(before_s), default=None)
        if last is None or last.last_s(before_s) < since_s:
            return None
        return last.last_s(before_s), last.programme


def _kept(element: Element) -> Element:
    """A copy, since the reader clears what it has passed."""
    copy = Element(element.tag, dict(element.attrib))
    copy.extend([Element(child.tag, dict(child.attrib)) for child in element])
    return copy


def _switches(table: Element) -> list[_Switch]:
    reference_s, period_s = parse_time_s(table.get("refTime", "0")), parse_time_s(table.get("period", "0"))
    return [
        _Switch(
            at_s=reference_s + parse_time_s(switch.get("time", "0")),
            period_s=period_s,
            programme=switch.get("to", ""),
        )
        for switch in table.iter("wautSwitch")
    ]
