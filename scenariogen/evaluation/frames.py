"""Results as tables of pandas, and as Arrow tables for queries."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenariogen.evaluation.estimate import read_estimates
from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.run_table import StoredRuns, runs_schema, to_arrow
from scenariogen.scenarios.records import ScenarioBatch

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PHASES = ("detected_s", "responded_s", "clear_s", "recovered_s")
_REAL = ("start_s", "end_s", "position_m")
INCIDENT_COLUMNS: dict[str, str] = (
    {"scenario": "int64", "policy": "string", "replica": "int64", "number": "int64", "kind": "string"}
    | {"edge": "string", "realised": "bool", "reason": "string", "lanes_asked": "string", "lanes": "string"}
    | {f"{name.rpartition('_')[0]}_asked_{name.rpartition('_')[2]}": "double" for name in _REAL}
    | dict.fromkeys((*_REAL, *PHASES), "double")
    | {"rerouted": "int64"}
)
"""Columns of the table of incidents; lanes are written as ``0 1``."""
SCENARIO_COLUMNS: dict[str, str] = {
    "scenario": "int64", "seed": "int64", "incidents": "int64", "effects": "int64", "clock_s": "double",
    "day_type": "string", "weather": "string", "demand_scale": "double", "day_multiplier": "double",
    "component": "int64", "log_model": "double", "log_proposal": "double",
}  # fmt: skip


def runs_frame(runs: Iterable[RunResult]) -> "pd.DataFrame":
    """One row for each run."""
    import pandas as pd

    frames = [chunk.to_pandas() for chunk in runs_chunks(runs)]
    return pd.concat(frames, ignore_index=True) if frames else runs_schema().empty_table().to_pandas()


def runs_chunks(runs: Iterable[RunResult]) -> Iterator["pa.Table"]:
    """Runs as Arrow tables, some at a time."""
    if isinstance(runs, StoredRuns):
        yield from runs.chunks()
    else:
        yield to_arrow(runs)


def incidents_frame(runs: Iterable[RunResult]) -> "pd.DataFrame":
    """One row for each incident of each run."""
    return incidents_table(runs).to_pandas()


def incidents_table(runs: Iterable[RunResult]) -> "pa.Table":
    """The same as an Arrow table."""
    return _table((row for run in runs for row in _incidents_of(run)), INCIDENT_COLUMNS)


def scenarios_frame(batch: ScenarioBatch) -> "pd.DataFrame":
    """One row for each scenario."""
    return scenarios_table(batch).to_pandas()


def scenarios_table(batch: ScenarioBatch) -> "pa.Table":
    """The same as an Arrow table."""
    return _table(map(_scenario_row, batch.scenarios), SCENARIO_COLUMNS)


def estimates_frame(folder: str | Path) -> "pd.DataFrame":
    """One row for each estimate of a results folder."""
    import pandas as pd

    return pd.DataFrame([asdict(each) for each in read_estimates(folder)])


def _incidents_of(run: RunResult) -> Iterator[dict[str, Any]]:
    for each in json.loads(run.incidents):
        asked, happened, phases = each["asked"], each["happened"], each.get("phases", {})
        yield {
            "scenario": run.scenario,
            "policy": run.policy,
            "replica": run.replica,
            "number": each.get("number"),
            "kind": each["kind"],
            "edge": each["edge"],
            "realised": each["realised"],
            "reason": each["reason"],
            "lanes_asked": _lanes(asked["lanes"]),
            "lanes": _lanes(happened["lanes"] or ()),
            "start_asked_s": asked["start_s"],
            "end_asked_s": asked["end_s"],
            "position_asked_m": asked["position_m"],
            **{name: happened[name] for name in _REAL},
            **{name: phases.get(name) for name in PHASES},
            "rerouted": each.get("rerouted"),
        }


def _scenario_row(scenario: Any) -> dict[str, Any]:
    condition, density = scenario.condition, scenario.density
    return {
        "scenario": scenario.index,
        "seed": scenario.seed,
        "incidents": len(scenario.incidents),
        "effects": len(scenario.effects),
        "clock_s": condition.clock_s,
        "day_type": str(condition.day_type),
        "weather": str(condition.weather),
        "demand_scale": condition.demand_scale,
        "day_multiplier": condition.day_multiplier,
        "component": None if density is None else density.component,
        "log_model": None if density is None else density.log_model,
        "log_proposal": None if density is None else density.log_proposal,
    }


def _lanes(lanes: Sequence[int]) -> str:
    return " ".join(map(str, lanes))


def _table(rows: Iterator[dict[str, Any]], columns: dict[str, str]) -> "pa.Table":
    import pyarrow as pa

    from scenariogen.evaluation.run_table import ROWS

    types = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    tables, some = [schema.empty_table()], []
    for row in rows:
        some.append(row)
        if len(some) == ROWS:
            tables.append(pa.Table.from_pylist(some, schema=schema))
            some = []
    return pa.concat_tables([*tables, pa.Table.from_pylist(some, schema=schema)])
