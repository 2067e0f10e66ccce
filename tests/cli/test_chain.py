"""The whole chain from the command line, on a copy of a real junction that must stay as it is."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scenariogen.scenarios.drivers import Drivers
from scenariogen.scenarios.files import read_batch
from tests.cli.runner import scenariogen
from tests.support import copy_project, resco

pytestmark = [pytest.mark.sumo, pytest.mark.xdist_group("chain")]

RAISES = """
from scenariogen import Policy


class Raises(Policy):
    def start(self, run):
        pass

    def step(self, run, time_s):
        raise RuntimeError("no plan for this")

    def finish(self, run):
        pass
"""


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def done(*arguments: object) -> str:
    result = scenariogen(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Folder of products, and the project."""
    folder = tmp_path_factory.mktemp("chain")
    sumocfg = copy_project(resco("cologne1"), folder)
    before = contents(sumocfg.parent)
    at = ("--sumocfg", sumocfg)
    done("record", *at, "--days", 3, "--seed", 3, "--jobs", 2, "--out", folder / "history")
    done("detect", folder / "history", *at, "--out", folder / "incidents.parquet")
    done("fit", "--incidents", folder / "incidents.parquet", "--trajectories", folder / "history", *at,
         "--out", folder / "model")  # fmt: skip
    done("sample", folder / "model", "-n", 56, "--given", "capacity_left<=0.6", "--frequency", "1,2", "--seed", 1,
         "--out", folder / "scenarios.parquet")  # fmt: skip
    done("evaluate", *at, "--scenarios", folder / "scenarios.parquet", "--policy", "no_control", "--policy",
         "max_pressure", "--frequency", "1,2", "--jobs", 2, "--out", folder / "results")  # fmt: skip
    done("report", folder / "results", "--out", folder / "report.html")
    assert contents(sumocfg.parent) == before
    return folder, sumocfg


def test_estimates_are_the_documented_records_and_some_are_given(chain):
    folder, _ = chain
    rows = json.loads((folder / "results" / "estimates.json").read_text(encoding="utf-8"))
    names = (
        "policy versus frequency estimand value standard_error low high ess k_hat runs verdict "
        "level low_all high_all low_total high_total shares frequencies remark"
    )
    assert {" ".join(row) for row in rows} == {names}
    assert {(row["policy"], row["versus"]) for row in rows} == {
        ("no_control", None), ("max_pressure", None), ("max_pressure", "no_control"),
    }  # fmt: skip
    means = [row for row in rows if row["estimand"] == "mean_delay_veh_h"]
    assert {row["frequency"] for row in means} == {1.0, 2.0}
    given = [row for row in rows if row["verdict"] == "ok"]
    assert given and all(row["low"] <= row["value"] <= row["high"] for row in given)
    refused = [row for row in rows if row["verdict"] != "ok"]
    assert all(row["verdict"].startswith("refused: ") and row["value"] is None for row in refused)


def test_every_scenario_meets_the_condition(chain):
    from scenariogen import read_batch

    batch = read_batch(chain[0] / "scenarios.parquet")
    assert len(batch) == 56
    assert all(min(i.capacity_left for i in s.incidents) <= 0.6 for s in batch.scenarios)


def test_the_same_evaluation_goes_on_and_makes_no_run_again(chain):
    folder, sumocfg = chain
    before = (folder / "results" / "estimates.json").read_bytes()
    said = done("evaluate", "--sumocfg", sumocfg, "--scenarios", folder / "scenarios.parquet", "--policy", "no_control",
                "--policy", "max_pressure", "--frequency", "1,2", "--jobs", 2, "--out", folder / "results")  # fmt: skip
    assert "mean_delay_veh_h" in said
    assert (folder / "results" / "estimates.json").read_bytes() == before


def test_one_drawn_scenario_is_run_and_said(chain):
    folder, sumocfg = chain
    said = json.loads(done("run", "--sumocfg", sumocfg, "--scenarios", folder / "scenarios.parquet", "--index", 7,
                           "--json"))  # fmt: skip
    assert said["scenario"] == 7 and said["system_delay_veh_h"] > 0
    assert said["incidents"] and all(each["realised"] or each["reason"] for each in said["incidents"])


def test_the_report_answers_in_its_first_lines(chain):
    page = (chain[0] / "report.html").read_text(encoding="utf-8")
    assert "Which policy stands incidents better" in page


# ---------------------------------------------------------------------------------------------- bad input on the way


def test_an_empty_incident_table_is_said_and_lowers_the_rates(chain, tmp_path):
    folder, sumocfg = chain
    table = pd.read_parquet(folder / "incidents.parquet").iloc[:0]
    table.to_parquet(tmp_path / "none.parquet")
    result = scenariogen("fit", "--incidents", tmp_path / "none.parquet", "--trajectories", folder / "history",
                         "--sumocfg", sumocfg, "--out", tmp_path / "model")  # fmt: skip
    assert result.exit_code == 0
    assert "no incident was used" in result.stderr and "Record more days" in result.stderr
    from scenariogen import load_model

    groups = load_model(tmp_path / "model").info["groups"]
    assert groups and all(group["multiplier_mean"] < 1 for group in groups)


def test_trajectories_with_mixed_units_are_refused_and_nothing_is_written(chain, tmp_path):
    folder, sumocfg = chain
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / "history" / "trajectories.parquet")
    speed = rows["speed_mps"].to_numpy().copy()
    names = rows["vehicle"].to_numpy(zero_copy_only=False).astype(str)
    speed[np.array([hash_of(name) % 2 == 0 for name in names])] *= 3.6  # half of the vehicles in km/h
    mixed = rows.set_column(rows.schema.get_field_index("speed_mps"), rows.schema.field("speed_mps"),
                            pa.array(speed, rows.schema.field("speed_mps").type))  # fmt: skip
    pq.write_table(mixed, tmp_path / "mixed.parquet")
    result = scenariogen("detect", tmp_path / "mixed.parquet", "--sumocfg", sumocfg, "--out", tmp_path / "i.parquet")
    assert result.exit_code == 1
    assert "units are mixed" in result.stderr
    assert not (tmp_path / "i.parquet").exists()


def hash_of(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("capacity_left<=-1", "capacity_left"),
        ("lanes_blocked>=9", "probability zero"),
        ("speed<3", "capacity_left, lanes_blocked, kind"),
    ],
)
def test_impossible_conditions_say_what_is_possible(chain, tmp_path, given, says):
    result = scenariogen("sample", chain[0] / "model", "--given", given, "--out", tmp_path / "s.parquet")
    assert result.exit_code == 1
    assert says in result.stderr
    assert not (tmp_path / "s.parquet").exists()


def test_what_drivers_are_told_is_part_of_each_scenario_that_is_drawn(chain, tmp_path):
    folder, sumocfg = chain
    sign = max(json.loads(edges_of(sumocfg)), key=lambda each: each[1])[0]
    draw = ("sample", folder / "model", "-n", 5, "--seed", 2)
    told = ("--signs", sign, "--radio-share", 0.1, "--navigation-share", 0.4, "--return-share", 0.5)
    done(*draw, *told, "--reroute-share", 0, "--out", tmp_path / "told.parquet")
    done(*draw, "--out", tmp_path / "usual.parquet")
    with_told, usual = (read_batch(tmp_path / f"{name}.parquet").scenarios for name in ("told", "usual"))
    expected = Drivers(reroute_share=0, sign_edges=(sign,), radio_share=0.1, navigation_share=0.4, return_share=0.5)
    assert {each.drivers for each in with_told} == {expected} and {each.drivers for each in usual} == {Drivers()}
    assert [each.incidents for each in with_told] == [each.incidents for each in usual]


def test_drivers_that_cannot_be_are_refused_with_all_that_is_wrong(chain, tmp_path):
    wrong = ("--signs", "nowhere", "--radio-share", 2, "--return-share", -1)
    result = scenariogen("sample", chain[0] / "model", *wrong, "--out", tmp_path / "s.parquet")
    assert result.exit_code == 1 and not (tmp_path / "s.parquet").exists()
    for text in ("nowhere", "radio_share is 2", "return_share is -1"):
        assert text in result.stderr


def test_a_policy_that_raises_costs_its_own_runs_only(chain, tmp_path):
    _, sumocfg = chain
    (tmp_path / "raises.py").write_text(RAISES, encoding="utf-8")
    one = tmp_path / "one.json"
    edge = max(json.loads(edges_of(sumocfg)), key=lambda each: each[1])[0]
    done("incident", "--sumocfg", sumocfg, "--edge", edge, "--at", "07:20", "--for", "5min", "--out", one)
    result = scenariogen("evaluate", "--sumocfg", sumocfg, "--scenarios", one, "--policy", "no_control", "--policy",
                         tmp_path / "raises.py", "--seeds", 10, "--jobs", 2, "--out", tmp_path / "results",
                         "--json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "10 of 20 runs gave no result" in result.stderr and "no plan for this" in result.stderr
    rows = [row for row in json.loads(result.stdout) if row["estimand"] == "mean_delay_veh_h"]
    verdicts = {(row["policy"], row["versus"]): row["verdict"] for row in rows}
    assert verdicts["no_control", None] == "ok"
    assert "policy raised" in verdicts["raises", None]


def edges_of(sumocfg: Path) -> str:
    from scenariogen import open_project

    network = open_project(sumocfg).network()
    return json.dumps([(name, network.edges[name].length_m) for name in network.drivable])


@pytest.mark.slow
def test_the_demo_gives_the_same_numbers_twice(tmp_path):
    found = []
    for name in ("first", "second"):
        program = Path(sys.executable).with_name("scenariogen")
        command = [program, "demo", "--network", "cologne1", "--days", "2", "-n", "120", "--seed", "4"]
        command += ["--out", tmp_path / name]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert str(tmp_path / name / "report.html") in ended.stdout
        found.append((tmp_path / name / "results" / "estimates.json").read_bytes())
    assert found[0] == found[1]
