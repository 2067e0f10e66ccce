"""Effects by hand: weather, limits, closures and the like, added to the scenarios of a file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenariogen.cli import common
from scenariogen.cli.draw import FORMATS
from scenariogen.errors import Problems, ScenarioError
from scenariogen.units import parse_distance_m, parse_duration_s, parse_speed_mps, parse_time_s

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.scenarios.effects import Effect
    from scenariogen.scenarios.records import ScenarioBatch
    from scenariogen.simulation.project import SumoProject

OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "weather": (("--kind",), ()),
    "speed_limit": (("--limit",), ("--edge", "--lane", "--warning")),
    "closure": ((), ("--edge", "--lane", "--class")),
    "signal_failure": (("--signal",), ("--mode",)),
    "demand_surge": (("--factor",), ("--edge",)),
    "detector_outage": ((), ("--lane", "--mode")),
    "rubbernecking": (("--capacity-left",), ("--incident", "--edge", "--position")),
}
"""What each kind of effect must and may be given, besides when."""


def effect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of scenarios, .json or .parquet.")],
    what: Annotated[str, typer.Argument(metavar="EFFECT", help="One of those above, by its first word.")],
    at: Annotated[
        str, typer.Option("--from", "--at", help="Start: a clock time such as 07:40, or seconds such as 600s.")
    ] = "",
    duration: Annotated[str, typer.Option("--for", help="How long it lasts, e.g. 1h.")] = "",
    edge: Annotated[list[str] | None, typer.Option(help="An edge; repeat it. None for a surge: all entries.")] = None,
    lane: Annotated[list[str] | None, typer.Option(help="A lane by SUMO's id, e.g. E12_0; repeat it.")] = None,
    kind: Annotated[str, typer.Option(help="Of weather: rain, heavy_rain, light_snow, heavy_snow, ice, ...")] = "",
    limit: Annotated[str, typer.Option(help="Of a speed limit, e.g. 50km/h.")] = "",
    warning: Annotated[
        list[str] | None,
        typer.Option(metavar="DISTANCE=LIMIT", help="A step before a speed limit, e.g. 300m=80km/h; repeat it."),
    ] = None,
    vehicle_class: Annotated[
        list[str] | None, typer.Option("--class", help="Vehicle class that may not enter; repeat it. None: all.")
    ] = None,
    signal: Annotated[str, typer.Option(help="Id of the signal that fails.")] = "",
    mode: Annotated[str, typer.Option(help="Signal: off or flashing. Detectors: no_data or last_value.")] = "",
    factor: Annotated[float | None, typer.Option(help="Of a surge: departures are multiplied by it, 1 to 10.")] = None,
    position: Annotated[
        float | None, typer.Option(help="Where they look, metres from the start of the edge; by default its middle.")
    ] = None,
    capacity_left: Annotated[float | None, typer.Option(help="Share left where drivers look, e.g. 0.873.")] = None,
    incident: Annotated[
        int | None, typer.Option(help="Drivers look at this incident of the scenario, from the opposite carriageway.")
    ] = None,
    index: Annotated[
        int | None, typer.Option(help="Which scenario of the file; not needed where it holds one.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Add it to every scenario of the file.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Begin FILE with a scenario without incidents.")] = False,
    out: Annotated[Path | None, typer.Option(help="File to write; by default FILE itself.")] = None,
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    json: common.Json = False,
) -> None:
    """Add weather, a closure or another effect to scenarios.

    \b
    weather          whole network, by --kind: lower speeds, longer headways
    speed_limit      at most --limit on each --edge or --lane, with steps before it by --warning
    closure          each --edge or --lane, for each --class named, otherwise for all
    signal_failure   --signal is dark, or flashing by --mode flashing
    demand_surge     departures times --factor, on each --edge named, otherwise on all
    detector_outage  a policy's detectors on each --lane named, otherwise all, tell nothing, or by --mode
                     their last value
    rubbernecking    drivers slow down to look, with --capacity-left: opposite of --incident N for as long
                     as it stands, or on --edge at --position

    Everything that cannot happen on the network is listed at once, and nothing is written then.

    \b
    Example:
      scenariogen effect one.json weather --kind heavy_snow --from 07:00 --for 1h --sumocfg my.sumocfg
      scenariogen effect one.json rubbernecking --incident 0 --capacity-left 0.873 --sumocfg my.sumocfg
    """
    target = out or file
    common.require_suffix(target, *FORMATS)
    given: dict[str, Any] = {
        "--kind": kind, "--limit": limit, "--edge": edge, "--lane": lane, "--warning": warning,
        "--class": vehicle_class, "--signal": signal, "--mode": mode, "--factor": factor, "--position": position,
        "--capacity-left": capacity_left, "--incident": incident,
    }  # fmt: skip
    typed = _Typed(what.replace("-", "_"), {name: value for name, value in given.items() if value not in (None, "")})
    typed.check(at, duration)
    project, name = common.open_target(network, sumocfg)
    from scenariogen.scenarios.byhand import with_effect
    from scenariogen.scenarios.files import write_batch

    batch = _begun(file, project, name) if new else _read(file)
    chosen = _chosen(batch, index, every=every)
    made = typed.effect(project.network(), batch, chosen, at, duration)
    batch = with_effect(batch, made, project.network(), chosen)
    write_batch(batch, target)
    where = "every scenario" if chosen is None else f"scenario {chosen}"
    if json:
        numbers = [each.index for each in batch.scenarios if chosen in (None, each.index)]
        common.print_json({"out": target, "scenarios": numbers, "effect": made.to_plain()})
    else:
        print(f"{target}: {made} added to {where}")


@dataclass
class _Typed:
    """What was typed for one kind of effect, with everything that is wrong with it."""

    kind: str
    given: dict[str, Any]
    problems: Problems = field(default_factory=lambda: Problems("this effect cannot be written"))

    def check(self, at: str, duration: str) -> None:
        """Raise for a kind that there is not, options that are not for it, those that are missing, bad words."""
        if self.kind not in OPTIONS:
            raise ScenarioError(f"there is no effect {self.kind!r}, expected one of {', '.join(OPTIONS)}")
        must, may = OPTIONS[self.kind]
        for option in self.given:
            if option not in (*must, *may):
                fits = ", ".join((*must, *may))
                self.problems.add(f"{option} is not for {self.kind}, which takes --from, --for, {fits}")
        for option in must:
            if option not in self.given:
                self.problems.add(f"{self.kind} needs {option}")
        if self.kind == "rubbernecking":
            self._check_place()
        if "--incident" not in self.given:
            for option, text in (("--from", at), ("--for", duration)):
                if not text:
                    self.problems.add(f"{self.kind} needs {option}")
        self._times(at, duration)
        self._fields()
        self.problems.raise_as(ScenarioError)

    def effect(
        self, network: "RoadNetwork", batch: "ScenarioBatch", index: int | None, at: str, duration: str
    ) -> "Effect":
        """The record. Raises ``ScenarioError`` where an incident that is looked at is not there."""
        from scenariogen.scenarios.byhand import looking_across
        from scenariogen.scenarios.effects import EFFECTS

        times, values = self._times(at, duration), self._fields()
        if self.kind != "rubbernecking":
            return EFFECTS[self.kind](**(times | values))
        if "--incident" in self.given:
            seen = looking_across(network, _looked_at(batch, index, self.given["--incident"]), values["capacity_left"])
            values |= {"edge": seen.edge, "position_m": seen.position_m}
            times = {"start_s": seen.start_s, "duration_s": seen.duration_s} | times
        else:
            values["edge"] = self.given["--edge"][0]
            middle = network.edges[values["edge"]].length_m / 2 if values["edge"] in network.edges else 0.0
            values["position_m"] = self.given.get("--position", middle)
        return EFFECTS[self.kind](**(times | values))

    def _check_place(self) -> None:
        edges = self.given.get("--edge", [])
        if "--incident" in self.given:
            for option in ("--edge", "--position"):
                if option in self.given:
                    self.problems.add(f"{option} and --incident both say where drivers look: give one of them")
        elif len(edges) != 1:
            self.problems.add(f"rubbernecking needs --incident or one --edge, got {len(edges)} edges")

    def _times(self, at: str, duration: str) -> dict[str, float]:
        found = {}
        if at:
            found["start_s"] = self._read("--from", at, parse_time_s)
        if duration:
            found["duration_s"] = self._read("--for", duration, parse_duration_s)
        return found

    def _fields(self) -> dict[str, Any]:
        """The record's own fields, as far as they can be read without a network."""
        given = self.given
        match self.kind:
            case "weather":
                return {"weather": given.get("--kind", "")}
            case "speed_limit":
                steps = [self._read("--warning", text, _warning) for text in given.get("--warning", ())]
                limit = self._read("--limit", given["--limit"], parse_speed_mps) if "--limit" in given else None
                return self._places() | {"limit_mps": limit, "warnings": tuple(steps)}
            case "closure":
                return self._places() | {"classes": tuple(given.get("--class", ()))}
            case "signal_failure":
                return {"signal": given.get("--signal", "")} | self._mode()
            case "demand_surge":
                return {"factor": given.get("--factor"), "entries": tuple(given.get("--edge", ()))}
            case "detector_outage":
                return {"lanes": tuple(given.get("--lane", ()))} | self._mode()
            case _:
                return {"capacity_left": given.get("--capacity-left")}

    def _places(self) -> dict[str, tuple[str, ...]]:
        return {"edges": tuple(self.given.get("--edge", ())), "lanes": tuple(self.given.get("--lane", ()))}

    def _mode(self) -> dict[str, str]:
        return {"mode": self.given["--mode"]} if "--mode" in self.given else {}

    def _read(self, option: str, text: str, parse: Callable[[str], Any]) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            self.problems.add(f"{option}: {error}")
            return None


def _warning(text: str) -> tuple[float, float]:
    distance, equals, limit = text.partition("=")
    if not equals:
        raise ValueError(f"got {text!r}, expected DISTANCE=LIMIT, for example 300m=80km/h")
    return parse_distance_m(distance), parse_speed_mps(limit)


def _read(file: Path) -> "ScenarioBatch":
    from scenariogen.scenarios.files import read_batch

    if not file.exists():
        raise ScenarioError(
            f"the scenario file {file} does not exist: write one with scenariogen incident or sample, or begin one "
            "without incidents by --new"
        )
    return read_batch(file)


def _begun(file: Path, project: "SumoProject", name: str) -> "ScenarioBatch":
    from scenariogen.scenarios.byhand import no_incident
    from scenariogen.simulation.study import study_window

    if file.exists():
        raise ScenarioError(f"{file} exists: leave --new away to add to it")
    return no_incident(project.network(), study_window(project), project_hash=project.hash, network_name=name)


def _chosen(batch: "ScenarioBatch", index: int | None, *, every: bool) -> int | None:
    """Index of the scenario that is meant; None for all."""
    if every and index is not None:
        raise ScenarioError(f"--all and --index {index} exclude each other")
    if every or index is not None:
        return index
    if len(batch) > 1:
        raise ScenarioError(f"the file holds {len(batch)} scenarios: say which by --index N, or --all")
    return batch.scenarios[0].index


def _looked_at(batch: "ScenarioBatch", index: int | None, number: int) -> Any:
    if index is None and len(batch) > 1:
        raise ScenarioError("--incident is an incident of one scenario: say which by --index N")
    found = [each for each in batch.scenarios if index in (None, each.index)]
    incidents = found[0].incidents if found else ()
    if not 0 <= number < len(incidents):
        have = f"numbers 0 to {len(incidents) - 1}" if incidents else "none"
        raise ScenarioError(f"there is no incident {number} in the scenario, which has {have}")
    return incidents[number]
