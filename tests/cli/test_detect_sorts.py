"""detect from the command line on fields and on shares of the vehicles."""

import json

import numpy as np
import pandas as pd
import pytest

from scenariogen.incidents.detect_files import detect_file
from scenariogen.incidents.records import OBSERVED_COLUMNS, check_observed
from scenariogen.simulation.catalog import find_network
from scenariogen.simulation.project import open_project
from tests.cli.runner import scenariogen

NETWORK = "corridor"
CELLS, DURING = 90, slice(30, 60)


@pytest.fixture(scope="module")
def network():
    return open_project(find_network(NETWORK)).network()


def fields(day: int, *, incident: bool) -> pd.DataFrame:
    """Flow and speed on three edges of the motorway in a row, a minute each; a queue of a third of the flow."""
    parts = []
    rng = np.random.default_rng(day)
    for edge in ("mw_02", "mw_03", "mw_04"):
        flow = rng.poisson(70, CELLS) * 60.0
        speed = np.full(CELLS, 28.0)
        if incident:
            flow[DURING] = rng.poisson(22, CELLS)[DURING] * 60.0
            speed[DURING] = 28.0 if edge == "mw_04" else 2.5
        times = 25_200.0 + 60.0 * np.arange(CELLS)
        parts.append(
            pd.DataFrame({"day": day, "edge": edge, "cell_begin_s": times, "flow_veh_h": flow, "speed_mps": speed})
        )
    return pd.concat(parts, ignore_index=True)


def test_a_table_of_flow_and_speed_is_looked_at(tmp_path, network):
    table, out = tmp_path / "loops.csv", tmp_path / "incidents.parquet"
    pd.concat([fields(0, incident=False), fields(1, incident=True), fields(2, incident=False)]).to_csv(
        table, index=False
    )
    result = scenariogen("detect", table, "--network", NETWORK, "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["incidents"] == 1
    found = pd.read_parquet(out)
    (row,) = check_observed(found, network).itertuples()
    assert (row.day, row.edge) == (1, "mw_03")
    assert row.start_s == pytest.approx(25_200 + 1800, abs=90)
    assert list(found.columns)[: len(OBSERVED_COLUMNS)] == list(OBSERVED_COLUMNS)
    assert sum(found["lanes_blocked"][0]) == pytest.approx(1)


def test_other_files_tell_what_is_usual(tmp_path, network):
    own, usual = tmp_path / "today.parquet", tmp_path / "before.parquet"
    fields(7, incident=True).to_parquet(own)
    pd.concat([fields(0, incident=False), fields(1, incident=False)]).to_parquet(usual)
    found = detect_file(own, network, history=[usual])
    assert list(found["day"]) == [7] and list(found["days_compared"]) == [2]


def test_what_is_wrong_is_said_at_once(tmp_path):
    table, out = tmp_path / "loops.csv", tmp_path / "incidents.parquet"
    bad = fields(0, incident=False).drop(columns="speed_mps").assign(edge="elsewhere")
    bad.to_csv(table, index=False)
    result = scenariogen("detect", table, "--network", NETWORK, "--share", "2", "--out", out)
    assert result.exit_code == 1
    for part in ("share is 2", "neither density_veh_km nor speed_mps", "elsewhere"):
        assert part in result.stderr
    assert not out.exists()
