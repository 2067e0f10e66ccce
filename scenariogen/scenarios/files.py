"""Scenario files: Parquet, one row per scenario, and JSON with a JSON Schema; both ways, by suffix.

What holds for the whole batch (project, window, design) is the header: ``scenariogen`` in the Parquet file's
key-value metadata, the top level of the JSON file.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scenariogen.errors import Problems, ScenarioError
from scenariogen.incidents.records import KINDS, Incident
from scenariogen.scenarios.columns import parquet_schema
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
from scenariogen.window import StudyWindow
from scenariogen.written import written_whole

SCHEMA_VERSION = "scenariogen-scenarios/3"
"""Version 2 has effects, version 3 what drivers are told and how lanes reopen. Older files are read, without those."""
SCHEMA_FILE = "scenarios.schema.json"
OPTIONAL = ("demand_factors", "entry_scales")
"""Parts of a condition that a file leaves out where they are empty."""
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
            _write_parquet(batch, partial)
    return path


def read_batch(path: Path | str) -> ScenarioBatch:
    """Read a scenario file. ``ScenarioError`` lists every problem, each with its row."""
    path = Path(path)
    if not path.is_file():
        raise ScenarioError(f"the scenario file {path} does not exist: write one with scenariogen sample or incident")
    _check_suffix(path)
    document = _read_json(path) if path.suffix == ".json" else _read_parquet(path)
    found = _schema_problems(document)
    if found:
        raise ScenarioError(*found, title=f"{path} is not a scenario file")
    return _build(document, path)


def read_scenario(path: Path | str, index: int | None = None) -> Scenario:
    """One scenario of a file: the only one, or the one whose ``index`` is given."""
    batch = read_batch(path)
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
        design["road_classes"] = dict(design["road_classes"])
        for name in ("rates", "road_classes"):
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


def _write_parquet(batch: ScenarioBatch, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_plain(scenario) for scenario in batch.scenarios]
    for row in rows:
        row["effects"] = [json.dumps(effect) for effect in row.get("effects", ())]
    table = pa.Table.from_pylist(rows, schema=parquet_schema())
    header = json.dumps(_header(batch), allow_nan=False).encode()
    pq.write_table(table.replace_schema_metadata({b"scenariogen": header}), path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ScenarioError(f"{path} holds a JSON {type(document).__name__}, expected an object with scenarios")
    return document


def _read_parquet(path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ScenarioError(f"{path} is not a Parquet file: {error}") from error
    header = (table.schema.metadata or {}).get(b"scenariogen")
    if header is None:
        raise ScenarioError(f"{path} has no scenariogen header, so it was not written by scenariogen sample")
    rows = table.to_pylist()
    for row in rows:
        row["effects"] = [_effect_object(text, path) for text in row.get("effects") or ()]
        row["drivers"] = {name: value for name, value in row["drivers"].items() if value is not None}
        if row.get("lanes_reopen") is None:
            row.pop("lanes_reopen", None)
        condition = row["condition"] or {}
        condition["entry_scales"] = dict(condition.get("entry_scales") or ())  # Arrow gives a map as pairs
        for name in OPTIONAL:
            if not condition.get(name):
                condition.pop(name, None)
    return {**json.loads(header), "scenarios": rows}


def _effect_object(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ScenarioError(f"{path} holds an effect that is not JSON: {text[:_LONGEST_MESSAGE]} ({error})") from error


def _schema_problems(document: dict[str, Any]) -> list[str]:
    from jsonschema import Draft202012Validator

    found = {problem for error in Draft202012Validator(json_schema()).iter_errors(document) for problem in _told(error)}
    return sorted(found)


def _told(error: Any) -> list[str]:
    """What an error is about, each fault with its place; alternatives are told by the one that comes closest."""
    if error.context:
        branches: dict[int, list[Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        deep = {number: inside for number, inside in branches.items() if all(inner.path for inner in inside)}
        closest = min((deep or branches).values(), key=len)
        return [problem for inner in closest for problem in _told(inner)]
    place = ".".join(map(str, error.absolute_path)) or "file"
    text = error.message
    return [f"{place}: {text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + ' ...'}"]


def _build(document: dict[str, Any], path: Path) -> ScenarioBatch:
    problems = Problems(f"{path} is not a scenario file")
    scenarios = []
    for row in document["scenarios"]:
        density = row.get("density")
        scenarios.append(
            Scenario(
                index=row["index"],
                seed=row["seed"],
                condition=_condition(row["condition"]),
                incidents=tuple(Incident(**incident) for incident in row["incidents"]),
                drivers=drivers_from_plain(row["drivers"]),
                density=Density(**_tuples(density)) if density else None,
                effects=tuple(effect_from_plain(effect) for effect in row.get("effects", ())),
                lanes_reopen=LanesReopen(row.get("lanes_reopen", LanesReopen.AT_ONCE)),
            )
        )
        if density and len(density["counts"]) != len(KINDS):
            problems.add(f"scenario {row['index']}: counts has {len(density['counts'])} numbers, expected {len(KINDS)}")
    numbers = [scenario.index for scenario in scenarios]
    if len(set(numbers)) < len(numbers):
        problems.add("some scenario indices stand there twice")
    try:
        window = StudyWindow(**{**document["window"], "remarks": tuple(document["window"].get("remarks", ()))})
    except ValueError as error:
        problems.add(str(error))
        window = None
    problems.raise_as(ScenarioError)
    return ScenarioBatch(
        project_hash=document["project_hash"],
        network_hash=document["network_hash"],
        network_name=document["network_name"],
        model_hash=document.get("model_hash", ""),
        measure=document["measure"],
        window=window,  # pyright: ignore[reportArgumentType] - None was raised above
        scenarios=tuple(scenarios),
        design=_design(document.get("design")),
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
    return Design(**plain, nodes=nodes, rates=rates, road_classes=classes)
