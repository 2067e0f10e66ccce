"""A fit that learns of days, from the command line to a run whose departures follow."""

import json

import pandas as pd
import pytest

from scenariogen.incidents.records import OBSERVED_COLUMNS
from scenariogen.model.checkpoint import load_model
from scenariogen.scenarios.files import read_batch
from tests.cli.runner import scenariogen
from tests.model.demand_days import known_days
from tests.support import resco

pytestmark = [pytest.mark.sumo, pytest.mark.slow]
ENTRIES = ("23429231#1", "-32038056#3")


def done(*arguments: object) -> str:
    result = scenariogen(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Twelve days of counts at two entries, weather for them, and one recorded day without incidents."""
    folder = tmp_path_factory.mktemp("demand")
    at = ("--sumocfg", resco("cologne1"))
    rows = ["day,edge,time_s,vehicles"]
    for day, counts in enumerate(known_days(12, entries=2, common=0.3).flows.by_day):
        rows += [f"{day},{edge},25200,{count:.0f}" for edge, count in zip(ENTRIES, counts, strict=True)]
    (folder / "days.csv").write_text("\n".join(rows))
    (folder / "weather.csv").write_text(
        "day,weather\n" + "".join(f"{d},{'wet' if d % 3 else 'dry'}\n" for d in range(12))
    )
    pd.DataFrame({name: [] for name in OBSERVED_COLUMNS}).to_parquet(folder / "none.parquet")
    done("record", *at, "--days", 1, "--seed", 3, "--out", folder / "history")
    text = done(
        "fit", *at, "--incidents", folder / "none.parquet", "--trajectories", folder / "history", "--entry-counts",
        folder / "days.csv", "--weather", folder / "weather.csv", "--out", folder / "model",
    )  # fmt: skip
    done("sample", folder / "model", "-n", 12, "--seed", 1, "--out", folder / "scenarios.json")
    return folder, text


def test_the_fit_says_what_it_learned(fitted):
    _, text = fitted
    for part in (
        "weather rain: wet", "weekday rain 66.7%", "from 12 days", "network, learned", "edges, days resampled",
        "1,260 vehicles and flows follow the scale of their own entry",
    ):  # fmt: skip
        assert part in text, text


def test_the_model_keeps_the_pattern_and_scenarios_carry_it(fitted):
    folder, _ = fitted
    pattern = load_model(folder / "model").condition.demand
    assert pattern is not None and set(pattern.entries) == set(ENTRIES)
    batch = read_batch(folder / "scenarios.json")
    assert all({entry for entry, _ in each.condition.entry_scales} == set(ENTRIES) for each in batch.scenarios)
    assert {each.condition.weather for each in batch.scenarios} == {"dry", "rain"}


def test_departures_of_a_run_follow_the_scales_of_their_entries(fitted, tmp_path):
    """What the demand asks for in all, against the same run with one scale: the difference is that of the entries."""
    folder, _ = fitted
    document = json.loads((folder / "scenarios.json").read_text())
    due = {}
    for name, scales in (("plain", {}), ("less", {ENTRIES[0]: 0.5, ENTRIES[1]: 0.5})):
        free = next(each for each in document["scenarios"] if not each["incidents"])
        free = {**free, "condition": {**free["condition"], "demand_scale": 1.0, "entry_scales": scales}}
        (tmp_path / f"{name}.json").write_text(json.dumps({**document, "scenarios": [free]}))
        out = done("run", "--sumocfg", resco("cologne1"), "--scenarios", tmp_path / f"{name}.json", "--json",
                   "--index", free["index"])  # fmt: skip
        due[name] = json.loads(out)["due"]
    share = 1260 / 2015
    assert due["less"] / due["plain"] == pytest.approx(1 - share / 2, abs=0.05)
