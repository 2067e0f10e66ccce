"""A user's mistakes: one clear message on standard error, exit code 1 or 2, no traceback, nothing half-written."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.runner import scenariogen, tiny_project

TWO_LANES = "-186623965#14"
"""An edge of cologne8 with two lanes."""


def refused(*arguments: object, code: int = 1, says: tuple[str, ...]) -> None:
    result = scenariogen(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    for text in says:
        assert text in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("target", [(), ("--network", "cologne8", "--sumocfg", "x.sumocfg")])
def test_exactly_one_project_is_given(target: tuple[str, ...]):
    refused("check", *target, code=2, says=("exactly one of --network NAME and --sumocfg FILE",))


def test_an_unknown_network_names_the_nearest():
    refused("check", "--network", "colonge8", says=("did you mean cologne8?", "--sumocfg FILE"))


def test_a_missing_configuration(tmp_path: Path):
    refused("check", "--sumocfg", tmp_path / "no.sumocfg", says=("does not exist", ".sumocfg"))


def test_a_broken_configuration(tmp_path: Path):
    broken = tmp_path / "broken.sumocfg"
    broken.write_text("<configuration><input>", encoding="utf-8")
    refused("check", "--sumocfg", broken, says=("broken.sumocfg",))


def test_a_network_without_vehicles(tmp_path: Path):
    refused("check", "--sumocfg", tiny_project(tmp_path, vehicles=0), says=("no demand",))


def test_a_trajectory_file_without_its_columns(tmp_path: Path):
    file = tmp_path / "t.parquet"
    pd.DataFrame({"day": [0], "time_s": [1.0]}).to_parquet(file)
    out = tmp_path / "incidents.parquet"
    refused("detect", file, "--network", "cologne1", "--out", out, says=("t.parquet",))
    assert not out.exists()


def test_trajectories_that_are_not_there(tmp_path: Path):
    refused("detect", tmp_path / "nothing", "--network", "cologne1", says=("does not exist",))


def test_an_incident_table_that_is_not_there(tmp_path: Path):
    refused(
        "fit", "--incidents", tmp_path / "none.parquet", "--trajectories", tmp_path, "--network", "cologne1",
        "--out", tmp_path / "model", says=("does not exist", "scenariogen detect"),
    )  # fmt: skip
    assert not (tmp_path / "model").exists()


def test_an_incident_table_without_its_columns(tmp_path: Path):
    table = tmp_path / "incidents.parquet"
    pd.DataFrame({"edge": ["a"]}).to_parquet(table)
    refused(
        "fit", "--incidents", table, "--trajectories", tmp_path, "--network", "cologne1", says=("columns", "missing")
    )


def test_a_model_that_is_not_there(tmp_path: Path):
    refused("sample", tmp_path / "model", says=("does not exist", "scenariogen fit"))


def test_a_model_folder_without_a_model(tmp_path: Path):
    refused("sample", tmp_path, "--network", "cologne1", says=("holds no model", "scenariogen fit"))


@pytest.mark.parametrize("frequency", ["", "a,b", "0", "-1,2", "inf"])
def test_frequencies_are_positive_numbers(tmp_path: Path, frequency: str):
    refused("sample", tmp_path, "--frequency", frequency or ",", code=2, says=("--frequency", "0.5,1,2,5"))


@pytest.mark.parametrize("out", ["x.csv", "x"])
def test_the_format_of_scenarios_is_known(tmp_path: Path, out: str):
    refused("sample", tmp_path, "--out", out, code=2, says=(".parquet or .json",))


def incident(*changes: object, out: Path) -> tuple[object, ...]:
    return ("incident", "--network", "cologne8", "--edge", TWO_LANES, "--at", "07:20", *changes, "--out", out)


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        (("--lanes", "0,1,2", "--capacity-left", "0"), 1, "which has 2 lanes"),
        (("--lanes", "0,1", "--capacity-left", "0.5"), 1, "capacity_left must be 0"),
        (("--capacity-left", "-1"), 1, "capacity_left is -1"),
        (("--capacity-left", "0.99"), 1, "out of reach"),
        (("--position", "1e6"), 1, "position_m"),
        (("--for", "0min"), 1, "duration is 0"),
        (("--at", "23:00"), 1, "outside the simulated"),
        (("--edge", "nowhere"), 1, "is not in"),
        (("--at", "late"), 2, "07:40"),
        (("--for", "long"), 2, "35min"),
        (("--lanes", "left"), 2, "counted from the right"),
        (("--kind", "flood"), 2, "crash, breakdown, obstruction"),
    ],
)
def test_an_incident_that_cannot_happen(tmp_path: Path, changes: tuple[str, ...], code: int, says: str):
    out = tmp_path / "one.json"
    refused(*incident(*changes, out=out), code=code, says=(says,))
    assert list(tmp_path.iterdir()) == []


def test_all_faults_of_an_incident_are_listed(tmp_path: Path):
    changes = ("--lanes", "5", "--capacity-left", "2", "--at", "23:00")
    refused(*incident(*changes, out=tmp_path / "one.json"), says=("lanes [5]", "capacity_left is 2", "outside the sim"))


def test_a_scenario_that_the_file_does_not_hold(tmp_path: Path):
    out = tmp_path / "one.json"
    assert scenariogen(*incident(out=out)).exit_code == 0
    refused("run", "--network", "cologne8", "--scenarios", out, "--index", "7", says=("has no scenario 7",))


def test_scenarios_of_another_project(tmp_path: Path):
    out = tmp_path / "one.json"
    assert scenariogen(*incident(out=out)).exit_code == 0
    refused("run", "--network", "cologne1", "--scenarios", out, says=("hash",))


def test_an_unknown_policy_names_those_there_are(tmp_path: Path):
    out = tmp_path / "one.json"
    assert scenariogen(*incident(out=out)).exit_code == 0
    results = tmp_path / "results"
    refused(
        "evaluate", "--network", "cologne8", "--scenarios", out, "--policy", "magic", "--out", results,
        says=("magic", "max_pressure"),
    )  # fmt: skip
    assert not results.exists()


def test_results_that_are_not_there(tmp_path: Path):
    refused("report", tmp_path / "results", "--out", tmp_path / "r.html", says=("results",))
    assert not (tmp_path / "r.html").exists()


def test_a_demo_leaves_a_strangers_folder_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    refused("demo", "--out", tmp_path, says=("not empty", "--out"))
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_a_place_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused(*incident(out=tmp_path / "file" / "one.json"), says=("file",))


def test_networks_as_json_is_json():
    found = json.loads(scenariogen("networks", "--json").stdout)
    assert {"cologne8", "a10kw"} <= {each["name"] for each in found}


@pytest.mark.parametrize("verb", ["run", "evaluate"])
def test_how_policies_learn_of_incidents_is_one_of_two(verb: str):
    options = ("--network", "cologne1", "--scenarios", "none.parquet", "--incidents-known", "guessed")
    refused(verb, *options, code=2, says=("'guessed'", "detected or reported"))


def test_a_duration_without_a_unit_is_not_taken_for_seconds(tmp_path: Path):
    """Who types ``--for 20`` means minutes as often as seconds, and got 20 s, told as "0 min"."""
    where = ("--network", "cologne1", "--edge", "32038051#0", "--at", "27000")
    out = tmp_path / "one.json"
    refused("incident", *where, "--for", "20", "--out", out, code=2, says=("the duration '20'", "for example 35min"))
    assert not out.exists()
    assert "for 45 s, capacity" in scenariogen("incident", *where, "--for", "45s", "--out", out).stdout
    refused(
        *("effect", out, "weather", "--kind", "rain", "--at", "27000", "--for", "20", "--network", "cologne1"),
        says=("--for: got the duration '20'",),
    )


def test_record_tells_which_recording_it_will_replace_and_promises_nothing_when_interrupted(tmp_path, monkeypatch):
    """A first recording went without a word, and Ctrl-C was answered with "what was finished is kept"."""
    history = tmp_path / "history"
    history.mkdir()
    header = {"format": "scenariogen recording", "days": 6, "network_name": "cologne8", "seed": 3}
    (history / "history.json").write_text(json.dumps(header), encoding="utf-8")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scenariogen.recording.record", interrupted)
    refused(
        *("record", "--network", "cologne1", "--out", history),
        code=130,
        says=(f"replaces the recording in {history}: 6 days of cologne8 with seed 3", "\ninterrupted\n"),
    )
    assert json.loads((history / "history.json").read_text(encoding="utf-8")) == header
    new = scenariogen("record", "--network", "cologne1", "--out", tmp_path / "new")
    assert "replaces" not in new.stderr


def test_an_interrupted_evaluation_says_that_it_can_go_on(tmp_path, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scenariogen.cli.common.open_target", interrupted)
    command = ("evaluate", "--network", "cologne1", "--scenarios", "s.parquet", "--out", tmp_path / "results")
    refused(*command, code=130, says=("the same command goes on with what was finished",))
