"""A SUMO project: its configuration, files and demand, opened once and never written to."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from xml.etree.ElementTree import Element

from scenariogen.errors import Problems, ProjectError
from scenariogen.network import RoadNetwork, file_sha256, read_network
from scenariogen.simulation.demand import Demand, read_demand
from scenariogen.simulation.freeflow import FreeFlow
from scenariogen.simulation.options import GUI_FILES, INPUT_FILES, canonical, parse_time_s, with_variables
from scenariogen.simulation.references import input_references
from scenariogen.simulation.xmlfiles import elements, root_tag

SUMO_STEP_LENGTH_S = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class SumoProject:
    """A project as its ``.sumocfg`` describes it.

    ``options``   every option of the configuration by its full name, as written there
    ``inputs``    options that name files to read, with absolute paths
    ``hash``      SHA-256 over the configuration and every file it reads: the same wherever the project lies
    ``begin_s``, ``step_length_s``  as configured, or SUMO's default
    ``end_s``     as configured; None where the configuration has no end
    """

    sumocfg: Path
    options: Mapping[str, str] = field(repr=False)
    inputs: Mapping[str, tuple[Path, ...]] = field(repr=False)
    demand: Demand
    hash: str
    begin_s: float
    end_s: float | None
    step_length_s: float

    @property
    def name(self) -> str:
        return self.sumocfg.name.removesuffix(".gz").removesuffix(".sumocfg")

    @property
    def net_file(self) -> Path:
        return self.inputs["net-file"][0]

    @property
    def route_files(self) -> tuple[Path, ...]:
        return self.inputs.get("route-files", ())

    @property
    def additional_files(self) -> tuple[Path, ...]:
        return self.inputs.get("additional-files", ())

    def network(self) -> RoadNetwork:
        """The road graph, read once."""
        return self._network

    def free_flow(self) -> FreeFlow:
        """Travel times alone on the road, at the limits of the network file; read once."""
        return self._free_flow

    @cached_property
    def _network(self) -> RoadNetwork:
        return read_network(self.net_file)

    @cached_property
    def _free_flow(self) -> FreeFlow:
        return FreeFlow(self.net_file)


def open_project(sumocfg: str | Path) -> SumoProject:
    """Read a project, or raise a ``ProjectError`` that lists everything that is wrong with it."""
    path = Path(sumocfg).absolute()
    _require_configuration(path)
    problems = Problems(f"the project {path} cannot be used")
    options = _read_options(path, problems)
    inputs = _inputs(path, options, problems)
    times = {name: _time(options, name, problems) for name in ("begin", "end", "step-length")}
    networks = _read_networks(inputs, problems)
    files = [file for name in ("route-files", "additional-files") for file in inputs.get(name, ())]
    nested = _nested(files, problems)
    begin_s = times["begin"] or 0.0
    demand = read_demand(
        [file for file in inputs.get("route-files", ()) if file.is_file()],
        [file for file in inputs.get("additional-files", ()) if file.is_file()],
        begin_s=begin_s,
        on_problem=problems.add,
    )
    if "load-state" in options:
        problems.add(
            f"load-state is {options['load-state']!r}: a run counts every vehicle from its departure and cannot begin "
            "among those of a saved state; leave load-state out and begin early enough for traffic to build up"
        )
    if demand.is_empty and not problems:
        problems.add(_no_vehicles(path, inputs, demand))
    if times["step-length"] is not None and times["step-length"] <= 0:
        problems.add(f"step-length is {times['step-length']:g}, expected more than 0 seconds")
    problems.raise_as(ProjectError)
    project = SumoProject(
        sumocfg=path,
        options=options,
        inputs=inputs,
        demand=demand,
        hash=_hash(path, inputs, nested),
        begin_s=begin_s,
        end_s=times["end"] if times["end"] is not None and times["end"] >= 0 else None,
        step_length_s=times["step-length"] or SUMO_STEP_LENGTH_S,
    )
    project.__dict__["_network"] = networks[0]  # read already; fills the cached property
    return project


def _require_configuration(path: Path) -> None:
    if path.is_dir():
        found = sorted(each.name for each in path.glob("*.sumocfg"))
        hint = f"it holds {', '.join(found)}" if found else "it holds no .sumocfg"
        raise ProjectError(f"{path} is a folder, expected a .sumocfg file: {hint}")
    if not path.is_file():
        raise ProjectError(f"the SUMO configuration {path} does not exist: give the path of a .sumocfg file")
    tag = root_tag(path)
    if tag == "net":
        raise ProjectError(
            f"{path} is a network without demand, expected a .sumocfg: write one that names this network "
            "(net-file) and vehicles (route-files)"
        )
    if tag in ("routes", "additional", "add"):
        raise ProjectError(f"{path} is a SUMO <{tag}> file, expected the .sumocfg that names it")


def _read_options(path: Path, problems: Problems) -> dict[str, str]:
    options: dict[str, str] = {}
    depth = 0
    for event, element in elements(path):
        depth += 1 if event == "start" else -1
        if event == "end" or depth == 1:
            continue
        value = _value(element)
        if value is None:
            continue  # a section
        name = canonical(element.tag)
        if not value:
            continue  # SUMO takes an empty value for an option that is not set
        if name in options:
            problems.add(f"option {name} is set twice, to {options[name]!r} and to {value!r}: keep one")
        options[name] = with_variables(value)
    return options


def _value(element: Element) -> str | None:
    return next((element.attrib[name] for name in ("value", "v") if name in element.attrib), None)


def _inputs(path: Path, options: Mapping[str, str], problems: Problems) -> dict[str, tuple[Path, ...]]:
    from urllib.parse import unquote

    inputs = {}
    for name in options.keys() & INPUT_FILES:
        files = tuple(path.parent / unquote(part.strip()) for part in options[name].split(",") if part.strip())
        missing = [file for file in files if not file.exists()]
        if missing and name in GUI_FILES:
            continue
        for file in missing:
            problems.add(f"{name}: {file} does not exist")
        inputs[name] = files
    if len(inputs.get("net-file", ())) != 1:
        problems.add(f"it names {len(inputs.get('net-file', ()))} networks, expected one net-file in its <input>")
    return inputs


def _time(options: Mapping[str, str], name: str, problems: Problems) -> float | None:
    if name not in options:
        return None
    try:
        return parse_time_s(options[name])
    except ValueError:
        problems.add(f"{name} is {options[name]!r}, expected seconds or h:m:s")
        return None


def _read_networks(inputs: Mapping[str, tuple[Path, ...]], problems: Problems) -> list[RoadNetwork]:
    found = []
    for file in inputs.get("net-file", ()):
        try:
            found += [read_network(file)] if file.is_file() else []
        except ProjectError as error:
            problems.add(str(error))
    return found


def _nested(files: list[Path], problems: Problems) -> list[Path]:
    """Files that route and additional files have SUMO read."""
    found: list[Path] = []
    for file in files:
        if not file.is_file():
            continue
        try:
            for reference in input_references(file):
                if not reference.is_file():
                    problems.add(f"{file.name} names {reference}, which does not exist")
                found.append(reference)
        except ProjectError:
            continue  # reading the demand says what is wrong with this file
    return found


def _no_vehicles(path: Path, inputs: Mapping[str, tuple[Path, ...]], demand: Demand) -> str:
    if demand.out_of_order:
        return "SUMO would drop all of its demand: route files must be sorted by departure time"
    if demand.calibrators:
        return (
            f"it has no demand but that of its calibrators ({demand.calibrators}), which SUMO makes up while it runs: "
            "what cannot enter for a queue waits nowhere and is not counted as late; write it as flows of a route file"
        )
    read = [file.name for name in ("route-files", "additional-files") for file in inputs.get(name, ())]
    if not inputs.get("route-files"):
        return f"it has no demand: {path.name} names no route-files with vehicles, trips or flows to simulate"
    return f"it has no demand: {', '.join(read)} hold no vehicle, trip or flow"


def _hash(path: Path, inputs: Mapping[str, tuple[Path, ...]], nested: list[Path]) -> str:
    digest = hashlib.sha256(path.read_bytes())
    for name in sorted(inputs):
        if name in GUI_FILES:
            continue
        for file in inputs[name]:
            digest.update(f"{name}\0{file_sha256(file) if file.is_file() else ''}\0".encode())
    for file in nested:
        digest.update(f"nested\0{file_sha256(file)}\0".encode())
    return digest.hexdigest()
