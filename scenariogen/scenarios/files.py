"""Scenario files: Parquet, one row per scenario, and JSON with a JSON Schema; both ways, by suffix.

What holds for the whole batch (project, window, design) is the header: ``scenariogen`` in the Parquet file's
key-value metadata, the top level of the JSON file.
"""

import json
from array import array
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from scenariogen.errors import Problems, ScenarioError
from scenariogen.incidents.records import KINDS, Incident
from scenariogen.scenarios.drivers import drivers_from_plain
from scenariogen.scenarios.effects import effect_from_plain
from scenariogen.scenarios.records import (
    Condition,
    ConditionNode,
    Density,
    Design,
    LanesReopen,
    RateGroup,
    Scenario,
    ScenarioBatch,
)
from scenariogen.scenarios.stored import (
    OPTIONAL,
    StoredScenarios,
    all_plain_rows,
    plain_rows,
    read_header,
    write_rows,
)
from scenariogen.window import StudyWindow
from scenariogen.written import written_whole

SCHEMA_VERSION = "scenariogen-scenarios/3"
"""Version 2 has effects, version 3 what drivers are told and how lanes reopen. Older files are read, without those."""
SCHEMA_FILE = "scenarios.schema.json"
MOST_PROBLEMS = 50
"""So many problems of a large file are told; it is not read to its end for more."""
_LONGEST_MESSAGE = 160


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a scenario file."""
    from importlib.resources import files

    return json.loads(files("scenariogen.scenarios").joinpath(SCHEMA_FILE).read_text(encoding="utf-8"))


def write_batch(batch: ScenarioBatch, path: Path | str) -> Path:
    """Write ``.parquet`` or ``.json``; the file appears complete or not at all."""
    path = Path(path)
    _check_suffix(path)
    with written_whole(path) as partial:
        if path.suffix == ".json":
            document = {**_header(batch), "scenarios": [_plain(scenario) for scenario in batch.scenarios]}
            partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        else:
            write_rows(map(_plain, batch.scenarios), _header(batch), partial)
    return path


def read_batch(path: Path | str) -> ScenarioBatch:
    """Read a scenario file. ``ScenarioError`` lists every problem, each with its row."""
    path = Path(path)
    if not path.is_file():
        raise ScenarioError(f"the scenario file {path} does not exist: write one with scenariogen sample or incident")
    _check_suffix(path)
    document = _read_json(path) if path.suffix == ".json" else {**read_header(path), "scenarios": all_plain_rows(path)}
    found = _schema_problems(document)
    if found:
        raise ScenarioError(*found, title=f"{path} is not a scenario file")
    return _build(document, path)


def open_batch(path: Path | str, *, trusted: bool = False) -> ScenarioBatch:
    """Like :func:`read_batch`, but the scenarios of a Parquet file stay there and are read whenever they are asked for.

    Memory then holds few of them, whatever their number. The file must not change while the batch is in use.
    ``trusted``  a file whose content is known to be right, which is not looked through beforehand
    """
    path = Path(path)
    if path.suffix != ".parquet" or not path.is_file():
        return read_batch(path)
    header, numbers = read_header(path), array("q")
    if not trusted:
        problems = Problems(f"{path} is not a scenario file")
        for rows in plain_rows(path):
            found = _schema_problems({**header, "scenarios": rows}, first=len(numbers))
            problems.extend(found or _count_problems(header, rows))
            if len(problems.found) > MOST_PROBLEMS:
                problems.raise_as(ScenarioError)
            numbers.extend(row["index"] for row in rows if isinstance(row["index"], int))
        problems.raise_as(ScenarioError)
    stored = StoredScenarios(path, _scenario)
    return _batch(header, stored, numbers, Problems(f"{path} is not a scenario file"))


def read_scenario(path: Path | str, index: int | None = None) -> Scenario:
    """One scenario of a file: the only one, or the one whose ``index`` is given."""
    return scenario_of(read_batch(path), path, index)


def scenario_of(batch: ScenarioBatch, path: Path | str, index: int | None = None) -> Scenario:
    """As :func:`read_scenario`, where the batch of the file was read already."""
    if index is None:
        if len(batch) != 1:
            raise ScenarioError(f"{path} holds {len(batch)} scenarios: say which by its index")
        return batch.scenarios[0]
    for scenario in batch.scenarios:
        if scenario.index == index:
            return scenario
    numbers = [scenario.index for scenario in batch.scenarios]
    raise ScenarioError(f"{path} has no scenario {index}; its indices run from {min(numbers)} to {max(numbers)}")


def _check_suffix(path: Path) -> None:
    if path.suffix not in (".json", ".parquet"):
        raise ScenarioError(f"the scenario file {path} ends in {path.suffix!r}, expected .parquet or .json")


def _header(batch: ScenarioBatch) -> dict[str, Any]:
    design = asdict(batch.design) if batch.design else None
    if design and design["lane_blocking_per_100_h"] != design["lane_blocking_per_100_h"]:
        design["lane_blocking_per_100_h"] = None
    if design:
        for name in ("road_classes", "durations"):
            design[name] = dict(design[name])
        for name in ("rates", "road_classes", "durations"):
            if not design[name]:
                del design[name]
    return {
        "schema": SCHEMA_VERSION,
        "project_hash": batch.project_hash,
        "network_hash": batch.network_hash,
        "network_name": batch.network_name,
        "model_hash": batch.model_hash,
        "measure": batch.measure,
        "window": asdict(batch.window),
        "design": json.loads(json.dumps(design)),
    }


def _plain(scenario: Scenario) -> dict[str, Any]:
    plain = asdict(replace(scenario, effects=()))
    if scenario.effects:
        plain["effects"] = [effect.to_plain() for effect in scenario.effects]
    else:
        del plain["effects"]
    plain["drivers"] = scenario.drivers.to_plain()
    if scenario.lanes_reopen is LanesReopen.AT_ONCE:
        del plain["lanes_reopen"]
    condition = plain["condition"]
    condition["entry_scales"] = dict(condition["entry_scales"])
    for name in OPTIONAL:
        if not condition[name]:
            del condition[name]
    for incident in plain["incidents"]:
        incident["kind"] = str(incident["kind"])
        incident["lanes"] = list(incident["lanes"])
    return json.loads(json.dumps(plain))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ScenarioError(f"{path} holds a JSON {type(document).__name__}, expected an object with scenarios")
    return document


def _schema_problems(document: dict[str, Any], *, first: int = 0) -> list[str]:
    """What the schema says against a file whose scenarios are those from number ``first`` on."""
    found = {problem for error in _validator().iter_errors(document) for problem in _told(error, first)}
    return sorted(found)


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json_schema())


def _told(error: Any, first: int) -> list[str]:
    """What an error is about, each fault with its place; alternatives are told by the one that comes closest."""
    if error.context:
        branches: dict[int, list[Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        deep = {number: inside for number, inside in branches.items() if all(inner.path for inner in inside)}
        closest = min((deep or branches).values(), key=len)
        return [problem for inner in closest for problem in _told(inner, first)]
    steps = list(error.absolute_path)
    if len(steps) > 1 and steps[0] == "scenarios":
        steps[1] += first
    place = ".".join(map(str, steps)) or "file"
    text = error.message
    return [f"{place}: {text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + ' ...'}"]


def _build(document: dict[str, Any], path: Path) -> ScenarioBatch:
    problems = Problems(f"{path} is not a scenario file")
    problems.extend(_count_problems(document, document["scenarios"]))
    scenarios = tuple(map(_scenario, document["scenarios"]))
    return _batch(document, scenarios, [scenario.index for scenario in scenarios], problems)


def _batch(
    header: dict[str, Any], scenarios: Sequence[Scenario], numbers: Sequence[int], problems: Problems
) -> ScenarioBatch:
    """The batch, or a ``ScenarioError`` with ``problems`` and those of header and indices (``numbers``)."""
    if len(set(numbers)) < len(numbers):
        problems.add("some scenario indices stand there twice")
    try:
        window = StudyWindow(**{**header["window"], "remarks": tuple(header["window"].get("remarks", ()))})
    except ValueError as error:
        problems.add(str(error))
        window = None
    chances = (header.get("design") or {}).get("durations", {})
    if chances and abs(sum(chances.values()) - 1) > 1e-9:
        problems.add(f"the probabilities of families of durations add up to {sum(chances.values()):g}, expected 1")
    problems.raise_as(ScenarioError)
    return ScenarioBatch(
        project_hash=header["project_hash"],
        network_hash=header["network_hash"],
        network_name=header["network_name"],
        model_hash=header.get("model_hash", ""),
        measure=header["measure"],
        window=window,  # pyright: ignore[reportArgumentType] - None was raised above
        scenarios=scenarios,
        design=_design(header.get("design")),
    )


def _count_problems(header: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """Lists of a density that are not as long as the header's."""
    families = (header.get("design") or {}).get("durations", {})
    expected = {"counts": len(KINDS), "log_durations": max(len(families) - 1, 0)}
    return [
        f"scenario {row['index']}: {name} has {len(density.get(name, ()))} numbers, expected {count}"
        for row in rows
        if (density := row.get("density"))
        for name, count in expected.items()
        if len(density.get(name, ())) != count
    ]


def _scenario(row: dict[str, Any]) -> Scenario:
    density = row.get("density")
    return Scenario(
        index=row["index"],
        seed=row["seed"],
        condition=_condition(row["condition"]),
        incidents=tuple(Incident(**incident) for incident in row["incidents"]),
        drivers=drivers_from_plain(row["drivers"]),
        density=Density(**_tuples(density)) if density else None,
        effects=tuple(effect_from_plain(effect) for effect in row.get("effects", ())),
        lanes_reopen=LanesReopen(row.get("lanes_reopen", LanesReopen.AT_ONCE)),
    )


def _condition(plain: dict[str, Any]) -> Condition:
    values = _tuples(plain)
    return Condition(**{**values, "entry_scales": tuple(plain.get("entry_scales", {}).items())})


def _tuples(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}


def _design(plain: dict[str, Any] | None) -> Design | None:
    if plain is None:
        return None
    plain = dict(plain)
    nodes = tuple(
        ConditionNode(
            weight=node["weight"],
            demand_scale=node["demand_scale"],
            expected=tuple(node["expected"]),
            expected_given=tuple(node["expected_given"]),
        )
        for node in plain.pop("nodes")
    )
    if plain["lane_blocking_per_100_h"] is None:
        plain["lane_blocking_per_100_h"] = float("nan")
    plain["multipliers"] = tuple(tuple(row) for row in plain["multipliers"])
    for name in ("alphas", "frequencies"):
        plain[name] = tuple(plain[name])
    rates = tuple(RateGroup(**group) for group in plain.pop("rates", ()))
    classes = tuple(plain.pop("road_classes", {}).items())
    durations = tuple(plain.pop("durations", {}).items())
    return Design(**plain, nodes=nodes, rates=rates, road_classes=classes, durations=durations)
