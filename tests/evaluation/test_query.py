"""SQL and pandas over results: the right numbers, and nothing but them within reach."""

import json
from dataclasses import asdict

import pytest

from scenariogen.errors import ResultsError
from scenariogen.evaluation import evaluate, load_results
from scenariogen.evaluation.estimates import Estimate
from scenariogen.evaluation.query import _estimates, query
from scenariogen.evaluation.store import ESTIMATES
from tests.cli.runner import scenariogen
from tests.docs.test_pages import PAGES, commands
from tests.evaluation.paper_project import PaperProject, PaperRunner, paper_batch, write_policy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("query")
    policies = [write_policy(place, name) for name in ("calm", "green")]
    evaluate(
        PaperProject(), paper_batch(6), policies, out=place / "results", runner=PaperRunner(), simulator="dummy"
    )  # fmt: skip
    return place / "results"


def test_queries_on_the_pages_work_and_take_no_plain_mean_of_delays(folder):
    """Scenarios are drawn with far more incidents than there are: the mean over runs answers for no frequency."""
    asked = [command[3] for page in PAGES for command in commands(page) if command[1] == "query"]
    assert len(asked) >= 3
    for sql in asked:
        query(folder, sql)
        assert "avg(" not in sql
    assert any(query(folder, sql).num_rows for sql in asked)


def test_a_query_gives_what_the_runs_say(folder):
    results = load_results(folder)
    answer = query(
        folder, "select policy, avg(system_delay_veh_h) as delay from runs group by 1 order by 1"
    ).to_pylist()
    for row in answer:
        delays = [run.system_delay_veh_h for run in results.runs if run.policy == row["policy"]]
        assert row["delay"] == pytest.approx(sum(delays) / len(delays))
    assert [row["policy"] for row in answer] == ["calm", "green"]
    counts = query(
        folder,
        "select (select count(*) from runs) as runs, (select count(*) from scenarios) as scenarios, "
        "(select count(*) from incidents) as incidents, (select count(*) from estimates) as estimates",
    ).to_pylist()[0]
    assert counts["runs"] == 12 and counts["scenarios"] == 6 and counts["estimates"] > 0
    assert counts["incidents"] == sum(len(json.loads(run.incidents)) for run in results.runs) > 0
    joined = query(folder, "select max(demand_scale) as most from runs join scenarios using (scenario)").to_pylist()
    assert joined[0]["most"] == max(each.condition.demand_scale for each in results.batch.scenarios)


def test_frames_are_the_same_rows(folder):
    results = load_results(folder)
    assert len(results.runs_frame()) == 12 and len(results.scenarios_frame()) == 6
    incidents = results.incidents_frame()
    first = next(run for run in results.runs if run.incidents != "[]")
    told = json.loads(first.incidents)[0]
    row = incidents.iloc[0]
    assert (row.scenario, row.policy, row.edge) == (first.scenario, first.policy, told["edge"])
    assert row.start_asked_s == told["asked"]["start_s"] and row.end_s == told["happened"]["end_s"]
    assert row.detected_s == told["phases"]["detected_s"] and row.lanes_asked == "0"
    assert len(results.estimates_frame()) == len(json.loads((folder / "estimates.json").read_text()))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select * from '/etc/passwd'", "the query fails"),
        ("select * from read_text('/etc/passwd')", "the query fails"),
        ("select * from read_parquet('runs.parquet')", "the query fails"),
        ("select * from read_csv('http://127.0.0.1/x.csv')", "the query fails"),
        ("copy runs to '/tmp/x.csv'", "is COPY, expected one SELECT"),
        ("drop table runs", "is DROP, expected one SELECT"),
        ("set enable_external_access = true", "is SET, expected one SELECT"),
        ("attach '/tmp/x.db'", "is ATTACH, expected one SELECT"),
        ("select 1; select 2", "is SELECT, SELECT, expected one SELECT"),
        ("", "is nothing, expected one SELECT"),
        ("selekt 1", "the query cannot be read"),
        ("select nothing from runs", "the query fails"),
        ("select * from tables", "the query fails"),
    ],
)
def test_a_query_reads_the_results_and_nothing_else(folder, sql, said):
    with pytest.raises(ResultsError, match=said):
        query(folder, sql)


def test_the_command_prints_a_table_json_or_a_file(folder, tmp_path):
    sql = "select policy, count(*) as n, avg(cpu_s) > 0 as worked, null as nothing from runs group by 1 order by 1"
    said = scenariogen("query", folder, sql)
    assert said.exit_code == 0 and said.stdout.splitlines()[0].split() == ["policy", "n", "worked", "nothing"]
    assert json.loads(scenariogen("query", folder, sql, "--json").stdout)[0] == {
        "policy": "calm", "n": 6, "worked": True, "nothing": None,
    }  # fmt: skip
    assert scenariogen("query", folder, sql, "--out", tmp_path / "x.csv").exit_code == 0
    assert (tmp_path / "x.csv").read_text().splitlines()[1].startswith('"calm",6')
    import pyarrow.parquet as pq

    scenariogen("query", folder, sql, "--out", tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 2
    assert scenariogen("query", folder, sql, "--out", tmp_path / "x.xlsx").exit_code == 2
    assert "does not exist" in scenariogen("query", tmp_path / "gone", sql).stderr


def test_columns_of_one_name_are_told_apart_and_sums_are_numbers(folder, tmp_path):
    sql = "select policy, scenario, policy, scenario as policy_2, sum(arrived) as n from runs group by all limit 1"
    assert query(folder, sql).column_names == ["policy", "scenario", "policy_3", "policy_2", "n"]
    joined = "select r.*, s.* from runs r join scenarios s on r.scenario = s.scenario"
    assert scenariogen("query", folder, joined).exit_code == 0
    assert isinstance(json.loads(scenariogen("query", folder, sql, "--json").stdout)[0]["n"], int)
    lists = "select policy, list(scenario) as found from runs group by 1"
    said = scenariogen("query", folder, lists, "--out", tmp_path / "lists.csv")
    assert said.exit_code == 1 and "write .parquet instead" in said.stderr and not (tmp_path / "lists.csv").exists()


def test_rows_carry_what_an_audit_needs(folder):
    results = load_results(folder)
    manifest = results.manifest
    for run in results.runs:
        assert (run.project_hash, run.network_hash, run.batch_hash) == (
            manifest.project_hash, manifest.network_hash, manifest.batch_hash,
        )  # fmt: skip
        assert len(run.scenario_sha256) == 64 and run.simulator == "dummy"
        assert run.sumo_version == manifest.sumo_version and run.scenariogen_version == manifest.scenariogen_version
    assert len({run.scenario_sha256 for run in results.runs}) == 6


def test_shares_and_multipliers_by_kind_are_json_text(tmp_path):
    """Estimates of a drawn batch have both; they were dictionaries once, which no column takes."""
    estimate = Estimate(
        policy="a", versus=None, frequency=None, estimand="mean_delay_veh_h", value=1.0, standard_error=0.1, low=0.8,
        high=1.2, ess=50.0, k_hat=0.2, runs=60, verdict="ok", shares={"scenarios": 0.75, "rates": 0.25},
        frequencies={"crash": 2.0},
    )  # fmt: skip
    (tmp_path / ESTIMATES).write_text(json.dumps([asdict(estimate)]), encoding="utf-8")
    (row,) = _estimates(tmp_path).to_pylist()
    assert json.loads(row["shares"]) == {"scenarios": 0.75, "rates": 0.25}
    assert json.loads(row["frequencies"]) == {"crash": 2.0} and row["value"] == 1.0
