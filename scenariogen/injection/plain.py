"""A scenario for ``sumo`` and ``sumo-gui`` alone: an additional file and a configuration, no Python when it runs.

The configuration reads the project's own files where they lie, by relative paths, with the same demand, window, seed
and options as a run of ours; what it writes goes into the folder. What XML cannot say stands in the head of the
additional file; ``scripts/benchmark_plain`` measures what that comes to.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote
from xml.sax.saxutils import quoteattr

from scenariogen.errors import Problems, ScenarioError
from scenariogen.injection import plain_elements as elements
from scenariogen.injection.plain_effects import effect_limits, limit_claims, signal_elements
from scenariogen.injection.plain_limits import limits, project_signs
from scenariogen.injection.plain_paths import make_relative, relative_options
from scenariogen.injection.plain_surge import Surges
from scenariogen.injection.validation import capacity_problem
from scenariogen.scenarios.records import Scenario, ScenarioBatch, scenario_problems
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.options import canonical
from scenariogen.simulation.overrides import overrides
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.staging import Staging
from scenariogen.simulation.xmlfiles import elements as read_elements
from scenariogen.written import allow_as_usual

FOR_OUR_RUNS = frozenset({
    "error-log", "no-step-log", "no-warnings", "verbose", "duration-log.disable", "duration-log.statistics",
    "quit-on-end", "start", "keep-after-arrival",
})  # fmt: skip
"""Options that runs of ours need and a person does not: the project's own are kept instead."""


@dataclass(frozen=True, kw_only=True)
class PlainExport:
    """What was written. ``limits`` says in words what the files cannot do that the live injection does."""

    folder: Path
    configuration: Path
    additional: Path
    vehicles: tuple[str, ...]
    limits: tuple[str, ...]


def export_plain(project: SumoProject, batch: ScenarioBatch, scenario: Scenario, folder: Path) -> PlainExport:
    """Write ``scenario-N.sumocfg``, ``scenario-N.add.xml`` and what they need into ``folder``, new or empty.

    Raises ``ScenarioError`` with everything that cannot happen on this project, or where the folder holds something.
    It appears whole or not at all; nothing is written anywhere else.
    """
    folder = folder.absolute()
    _check(project, batch, scenario)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ScenarioError(f"{folder} is there already and not empty: choose another folder, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        allow_as_usual(draft)
        made = _write(project, batch, scenario, draft, folder)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return made


def _check(project: SumoProject, batch: ScenarioBatch, scenario: Scenario) -> None:
    network = project.network()
    problems = Problems(f"scenario {scenario.index} cannot be exported")
    if batch.project_hash and batch.project_hash != project.hash:
        problems.add(
            f"made for a project with hash {batch.project_hash[:12]}, {project.name} has {project.hash[:12]}: name the "
            "project that it was made for"
        )
    elif fault := batch.made_elsewhere(network):
        problems.add(fault)
    faults = scenario_problems(scenario, network, batch.window)
    problems.extend(faults)
    if not faults:
        for number, incident in enumerate(scenario.incidents):
            if fault := capacity_problem(incident, network):
                problems.add(f"incident {number}: {fault}")
    problems.raise_as(ScenarioError)


def _write(project: SumoProject, batch: ScenarioBatch, scenario: Scenario, draft: Path, home: Path) -> PlainExport:
    name = f"scenario-{scenario.index}"
    request = RunRequest(
        window=batch.window,
        seed=scenario.seed,
        folder=draft,
        demand_scale=scenario.condition.demand_scale,
        entry_scales=dict(scenario.condition.entry_scales),
    )
    staged = Staging(project, None, project_outputs=True).write(request)
    options = {element.tag: element.get("value", "") for _, element in read_elements(staged, ("end",))}
    options.pop("sumoConfiguration", None)
    staged.unlink()
    surges = Surges(scenario.effects, project, seed=scenario.seed, end_s=batch.window.end_s)
    if surges:
        inputs = [options.get(which, "").split(",") for which in ("additional-files", "route-files")]
        files = [Path(unquote(part)) for parts in inputs for part in parts if part]
        added = draft / f"{name}.surge.rou.xml"
        surges.write(files, added)
        options["route-files"] = ",".join(part for part in (options.get("route-files", ""), str(added)) if part)
    make_relative(draft, home)

    found = elements.plain_incidents(
        scenario.incidents, project.network(), begin_s=batch.window.begin_s, step_s=project.step_length_s
    )
    steps = {"begin_s": batch.window.begin_s, "step_s": project.step_length_s}
    signs = elements.speed_signs(found, limit_claims(scenario.effects, project.network(), **steps))
    told = (
        *limits(scenario, found, project_signs(project, signs)),
        *effect_limits(scenario.effects, project),
        *surges.limits(),
    )
    additional = f"{name}.add.xml"
    body = [
        *([elements.blocker_type(float(options["scale"]), project.step_length_s)] if found else ()),
        *elements.vehicles(found),
        *elements.sign_elements(signs),
        *signal_elements(scenario.effects, project, **steps),
    ]
    head = [
        str(scenario),
        "",
        "What XML cannot say, and the live injection does:",
        *(f"- {text}" for text in told or ["nothing"]),
    ]
    _write_xml(draft / additional, "additional", body, head)

    options = relative_options(options, draft, home)
    kept = {canonical(name): value for name, value in project.options.items()}
    options = {name: value for name, value in options.items() if name not in FOR_OUR_RUNS}
    options |= {name: kept[name] for name in FOR_OUR_RUNS - {"error-log"} if name in kept}
    options["additional-files"] = ",".join(part for part in (options.get("additional-files", ""), additional) if part)
    lines = [f"<{option} value={quoteattr(value)}/>" for option, value in options.items() if value != ""]
    replaced = [f"- {each}" for each in overrides(project)]
    head = [
        f"{project.name} with scenario {scenario.index}, for sumo or sumo-gui alone: sumo -c {name}.sumocfg",
        "The project's own files are read where they lie; outputs go into this folder.",
        "",
        "Replaced of the project's options:",
        *(replaced or ["- nothing"]),
    ]
    _write_xml(draft / f"{name}.sumocfg", "sumoConfiguration", lines, head)
    return PlainExport(
        folder=home,
        configuration=home / f"{name}.sumocfg",
        additional=home / additional,
        vehicles=tuple(each.vehicle(place) for each in found for place in range(len(each.lanes))),
        limits=told,
    )


def _write_xml(path: Path, root: str, lines: Sequence[str], head: Sequence[str]) -> None:
    text = "\n".join(["<!--", *(f"  {line}".rstrip() for line in _comment(head)), "-->", f"<{root}>"])
    path.write_text("\n".join([text, *(f"    {line}" for line in lines), f"</{root}>", ""]), encoding="utf-8")


def _comment(lines: Sequence[str]) -> Iterator[str]:
    """Lines as an XML comment may hold them: two dashes in a row would end it."""
    for line in lines:
        while "--" in line:
            line = line.replace("--", "- -")
        yield line
