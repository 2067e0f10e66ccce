"""What runs warned of is told once, whatever their number."""

import json
import warnings

import pytest

from scenariogen import cli
from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.run_warnings import warn_of_runs
from scenariogen.injection import InjectionWarning
from scenariogen.injection.warned import MOST
from scenariogen.simulation.contract import EndReason


def run(number, *texts):
    return RunResult(
        key=str(number), scenario=number, policy="p", replica=0, seed=1, end_reason=EndReason.SIMULATOR_DIED,
        warnings=json.dumps(texts),
    )  # fmt: skip


def told(runs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_runs(runs)
    assert all(each.category is InjectionWarning for each in caught)
    return [str(each.message) for each in caught]


def test_the_same_warning_of_many_runs_is_told_once_and_the_most_frequent_first():
    runs = [run(n, "all", *(["some"] if n % 2 else [])) for n in range(9)]
    assert told(runs) == ["all", "some"]
    assert told([*runs, run(9, "all", "one")]) == ["all", "some", "scenario 9: one"]
    assert told([run(9, "all", "one")] * 2) == ["all", "one"]
    assert told([run(1), run(2)]) == []


def test_rare_warnings_are_counted():
    found = told([run(n, "all", f"incident {n}") for n in range(9)])
    assert len(found) == MOST + 1 and found[0] == "all"
    assert found[-1] == "the runs have 7 other warnings, see their column warnings (scenariogen query)"


def test_the_command_line_tells_ours_without_a_line_of_code(monkeypatch, capsys):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr("scenariogen.cli.app.app", lambda **_: warnings.warn("not so", InjectionWarning, stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        cli.main(["networks"])
        assert capsys.readouterr().err == "warning: not so\n"
        with pytest.warns(UserWarning, match="theirs"):
            warnings.warn("theirs", UserWarning, stacklevel=1)
