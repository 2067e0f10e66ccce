"""Short demand played several times: shifted copies of it, written once into a work folder.

The project's own files are read first and stay as they are; the copies come as one more route file. Vehicle types
and named routes are the project's; ids get a suffix, times a shift.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from scenariogen.simulation.demand import FLOW_TAGS, PERSON_TAGS, VEHICLE_TAGS, FileOrder
from scenariogen.simulation.options import parse_time_s
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.xmlfiles import children
from scenariogen.window import StudyWindow
from scenariogen.written import allow_as_usual

SUFFIX = "~"
"""Between an id and the number of its copy: no character that SUMO refuses, and rare in ids."""
_STOP_TIMES = ("until", "arrival", "started", "ended")
_NOT_TIMES = frozenset({"triggered", "containerTriggered", "split", "now"})


def write_copies(project: SumoProject, window: StudyWindow, folder: Path) -> Path | None:
    """The route file with copies 1 to ``window.demand_copies - 1``; None where the demand is played once.

    The name holds a hash of all that decides the content, and the file appears in one move, so any number of
    processes may ask for it at once.
    """
    if window.demand_copies <= 1:
        return None
    key = f"{project.hash} {window.begin_s} {window.demand_copies} {window.demand_period_s}"
    path = folder / f"demand-copies-{hashlib.sha256(key.encode()).hexdigest()[:16]}.rou.xml"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=path.name, suffix=".part")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write("<routes>\n")
            stream.writelines(_copies(project, window))
            stream.write("</routes>\n")
        allow_as_usual(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _copies(project: SumoProject, window: StudyWindow) -> Iterator[str]:
    entries, timed_routes, vehicle_ids = _entries(project, window)
    for number in range(1, window.demand_copies):
        shift_s = number * window.demand_period_s
        for route in timed_routes.values():
            yield _text(_shifted(route, number, shift_s, timed_routes, vehicle_ids))
        for depart_s, entry in entries:
            if depart_s + shift_s <= window.end_s:
                yield _text(_shifted(entry, number, shift_s, timed_routes, vehicle_ids))


def _entries(project: SumoProject, window: StudyWindow):
    """Demand that departs after the begin, sorted; named routes whose stops carry times; all vehicle ids."""
    found: list[tuple[float, Element]] = []
    timed_routes: dict[str, Element] = {}
    vehicle_ids: set[str] = set()
    files = [*((p, False) for p in project.additional_files), *((p, True) for p in project.route_files)]
    for path, is_route_file in files:
        order, at_s = FileOrder(is_route_file=is_route_file), window.begin_s
        for _, element in children(path):
            if element.tag == "route" and element.get("id") and _has_stop_times(element):
                timed_routes[element.get("id", "")] = element
            if element.tag not in (*VEHICLE_TAGS, *FLOW_TAGS, *PERSON_TAGS):
                continue
            if element.tag not in PERSON_TAGS:
                vehicle_ids.add(element.get("id", ""))
            time_s = _time_s(element, project.begin_s)
            if time_s is not None and order.drops(element, time_s):
                continue
            depart_s = at_s if time_s is None else _clipped(element, time_s, window.begin_s)
            if depart_s is not None:
                at_s = depart_s
                found.append((depart_s, element))
    found.sort(key=lambda entry: entry[0])
    return found, timed_routes, vehicle_ids


def _time_s(element: Element, begin_s: float) -> float | None:
    """When an entry sets out or begins; None for one that waits for somebody else."""
    text = element.get("depart")
    if text is None and element.tag not in VEHICLE_TAGS:
        text = element.get("begin") or str(begin_s)
    if text in _NOT_TIMES:
        return None
    return begin_s if text == "begin" else parse_time_s(text or "")


def _clipped(element: Element, time_s: float, begin_s: float) -> float | None:
    """Departure of an entry, flows cut to what departs after the begin; None where nothing does.

    A flow without an end goes on by itself, so it is not repeated either.
    """
    if element.get("depart") is not None:
        element.set("depart", repr(time_s))  # also where it says "begin"
        return time_s if time_s >= begin_s else None
    if not element.get("end") and not element.get("number"):
        return None
    if time_s < begin_s and element.get("end"):
        end_s = parse_time_s(element.get("end", ""))
        if end_s <= begin_s:
            return None
        if element.get("number"):
            share = (end_s - begin_s) / (end_s - time_s)
            element.set("number", str(max(round(float(element.get("number", "")) * share), 1)))
        time_s = begin_s
    element.set("begin", repr(time_s))
    return time_s


def _has_stop_times(element: Element) -> bool:
    return any(stop.get(name) for stop in element.iter("stop") for name in _STOP_TIMES)


def _shifted(element: Element, number: int, shift_s: float, timed_routes, vehicle_ids: set[str]) -> Element:
    """A copy with new id and times."""
    element = deepcopy(element)
    _rename(element, "id", number)
    for name in ("depart", "begin", "end"):
        _shift(element, name, shift_s)
    if element.get("route") in timed_routes:
        _rename(element, "route", number)
    for stop in element.iter("stop"):
        for name in _STOP_TIMES:
            _shift(stop, name, shift_s)
    for ride in (*element.iter("ride"), *element.iter("transport")):  # of persons, and of containers
        lines = (ride.get("lines") or "").split()
        if vehicle_ids.intersection(lines):
            ride.set("lines", " ".join(f"{x}{SUFFIX}{number}" if x in vehicle_ids else x for x in lines))
    return element


def _rename(element: Element, attribute: str, number: int) -> None:
    element.set(attribute, f"{element.get(attribute)}{SUFFIX}{number}")


def _shift(element: Element, attribute: str, shift_s: float) -> None:
    text = element.get(attribute)
    if text is not None and text not in _NOT_TIMES:
        element.set(attribute, f"{parse_time_s(text) + shift_s:.3f}".rstrip("0").rstrip("."))


def _text(element: Element) -> str:
    element.tail = "\n"
    return tostring(element, encoding="unicode")
