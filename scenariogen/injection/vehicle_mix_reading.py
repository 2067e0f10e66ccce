"""Which traffic a project or a running simulation has: read from its files, without simulating."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from scenariogen.errors import ProjectError
from scenariogen.injection.connection import Link
from scenariogen.injection.started_files import started_files
from scenariogen.injection.vehicle_mix import DEFAULT_STEP_S, Traffic, make_traffic
from scenariogen.simulation.options import parse_time_s
from scenariogen.simulation.references import input_references
from scenariogen.simulation.xmlfiles import children, has_sign

if TYPE_CHECKING:
    from scenariogen.simulation.project import SumoProject

DEFAULT_TYPE = "DEFAULT_VEHTYPE"
DRIVING_OPTIONS = {
    "lateral-resolution": "-1",
    "step-method.ballistic": "false",
    "default.action-step-length": "0",
    "default.carfollowmodel": "Krauss",
    "default.speeddev": "-1",
    "lanechange.duration": "0",
    "lanechange.overtake-right": "false",
    "collision.mingap-factor": "-1",
}
"""Options that change how vehicles drive, with SUMO's defaults."""
_ENDLESS_S = 3600.0
_SIGN_OF_TYPES = re.compile(rb"<vType|<include")

Attributes = dict[str, str]


def project_traffic(project: "SumoProject") -> Traffic:
    """The traffic of a project, from its route and additional files and its options."""
    options = {name: project.options[name] for name in DRIVING_OPTIONS if name in project.options}
    files = (*project.additional_files, *project.route_files)
    return read_traffic(files, step_s=project.step_length_s, options=options)


def running_traffic(link: Link) -> Traffic:
    """The traffic of a running simulation, from the files that it was started with.

    Where it was started without, a script adds the vehicles: they are SUMO's default car as long as no other type is
    defined. Raises ``ProjectError`` where files cannot be read from here, or who drives cannot be known.
    """
    options = {name: link.option(name) for name in DRIVING_OPTIONS}
    files = started_files(link, "additional-files", "route-files")
    if not files and all(name.startswith("DEFAULT_") for name in link.handle.vehicletype.getIDList()):
        return make_traffic([(1.0, {})], step_s=link.step_s, options=_changed(options))
    return read_traffic(files, step_s=link.step_s, options=options)


def read_traffic(
    files: Sequence[Path], *, step_s: float = DEFAULT_STEP_S, options: Mapping[str, str] | None = None
) -> Traffic:
    """The traffic in route and additional files; ``options`` by their full names, defaults may be among them.

    Raises ``ProjectError`` where the files hold no vehicle, trip or flow, or a fault that SUMO would refuse too.
    """
    return make_traffic(_weights(files), step_s=step_s, options=_changed(options or {}))


def _changed(options: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if not _is_default(name, value)}


def _is_default(name: str, value: str) -> bool:
    default = DRIVING_OPTIONS[name]
    try:
        return float(value) == float(default)
    except ValueError:
        return value.lower() == default.lower()


def _weights(files: Sequence[Path]) -> tuple[tuple[float, Attributes], ...]:
    """Number of vehicles and attributes of each type used."""
    if not files:
        raise ProjectError("the simulation was started without route files")
    if not any(has_sign(file, _SIGN_OF_TYPES) for each in files for file in (each, *input_references(each))):
        return ((1.0, {}),)  # nobody says what vehicles are like: all are SUMO's default car
    whole = _Traffic()
    for file in files:
        stamp = file.stat()
        whole.add(_traffic_in(str(file), stamp.st_mtime_ns, stamp.st_size))
    if not whole.counts:
        raise ProjectError(f"{', '.join(file.name for file in files)} hold no vehicle, trip or flow")
    return tuple(whole.weights())


@lru_cache(maxsize=64)
def _traffic_in(file: str, changed_ns: int, size: int) -> "_Traffic":
    """What one file holds; kept, since runs of one batch read the same large files."""
    del changed_ns, size
    traffic = _Traffic()
    traffic.read(Path(file))
    return traffic


class _Traffic:
    """Types, distributions and vehicle counts, of a file while it streams by or of several."""

    def __init__(self) -> None:
        self.types: dict[str, Attributes] = {}
        self.distributions: dict[str, list[tuple[float | None, str]]] = {}
        """Members with their probabilities; None: that of the type."""
        self.counts: dict[str, float] = {}

    def add(self, other: "_Traffic") -> None:
        """Take in what another file holds."""
        self.types |= other.types
        self.distributions |= other.distributions
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0.0) + count

    def read(self, path: Path) -> None:
        for _, element in children(path):
            if element.tag == "vType":
                self._type(element)
            elif element.tag == "vTypeDistribution":
                self._distribution(element)
            elif element.tag in ("vehicle", "trip", "flow"):
                kind = element.get("type") or DEFAULT_TYPE
                self.counts[kind] = self.counts.get(kind, 0.0) + _vehicles(element)

    def weights(self) -> Iterable[tuple[float, Attributes]]:
        distributions = {name: self._members(name) for name in self.distributions}
        for name, count in self.counts.items():
            members = distributions.get(name, [(1.0, name)])
            total = sum(probability for probability, _ in members)
            for probability, member in members:
                if member not in self.types and member != DEFAULT_TYPE:
                    if member.startswith("DEFAULT_"):
                        continue  # SUMO's own types of those who do not drive cars
                    raise ProjectError(f"vehicle type {member!r} is used and nowhere defined")
                yield count * probability / total, self.types.get(member, {})

    def _type(self, element: Element) -> str:
        attributes = dict(element.attrib)
        for child in element:
            if child.tag.startswith("carFollowing-"):
                attributes |= {"carFollowModel": child.tag.removeprefix("carFollowing-"), **child.attrib}
        name = attributes.get("id", "")
        self.types[name] = attributes
        return name

    def _distribution(self, element: Element) -> None:
        names = element.get("vTypes", "").split()
        told = [float(each) for each in element.get("probabilities", "").split()]
        members = [(told[n] if n < len(told) else None, name) for n, name in enumerate(names)]
        members += [(None, self._type(child)) for child in element if child.tag == "vType"]
        self.distributions[element.get("id", "")] = members

    def _members(self, distribution: str) -> list[tuple[float, str]]:
        members = [
            (float(self.types.get(name, {}).get("probability", "1")) if told is None else told, name)
            for told, name in self.distributions[distribution]
        ]
        if sum(probability for probability, _ in members) <= 0:
            raise ProjectError(f"the distribution of vehicle types {distribution!r} is empty")
        return members


def _vehicles(element: Element) -> float:
    """Vehicles of an entry; a flow without an end counts for an hour."""
    if element.tag != "flow":
        return 1.0
    if element.get("number"):
        return float(element.get("number", ""))
    span_s = parse_time_s(element.get("end", "3600")) - parse_time_s(element.get("begin", "0"))
    span_s = span_s if span_s > 0 else _ENDLESS_S
    for name in ("vehsPerHour", "perHour"):
        if element.get(name):
            return float(element.get(name, "")) / 3600 * span_s
    if element.get("probability"):
        return float(element.get("probability", "")) * span_s
    period = element.get("period", "")
    if period.startswith("exp("):
        return float(period[4:].rstrip(")")) * span_s
    return span_s / parse_time_s(period) if period else 0.0
