"""What drivers are told of an incident by hand, and how its lanes reopen, from the command line."""

import json

from scenariogen.cli.runs import _lines, _told, _told_effect
from scenariogen.scenarios.drivers import Drivers
from scenariogen.scenarios.files import read_scenario
from scenariogen.scenarios.records import Condition, LanesReopen
from tests.cli.runner import scenariogen
from tests.cli.test_mistakes import refused

INCIDENT = (
    "incident",
    "--network",
    "corridor",
    "--edge",
    "mw_04",
    "--lanes",
    "0,1",
    "--at",
    "26000s",
    "--for",
    "20min",
)


def test_what_is_typed_stands_in_the_file(tmp_path):
    out = tmp_path / "one.json"
    told = ("--signs", "mw_02, mw_03", "--radio-share", "0.1", "--navigation-share", "0.3", "--return-share", "0.5")
    queue = ("--lanes-reopen", "one-by-one", "--reroute-share", "0")
    result = scenariogen(*INCIDENT, *told, *queue, "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    said, made = json.loads(result.stdout), read_scenario(out)
    expected = {"sign_edges": ("mw_02", "mw_03"), "radio_share": 0.1, "navigation_share": 0.3, "return_share": 0.5}
    assert made.drivers == Drivers(reroute_share=0.0, **expected)
    assert made.lanes_reopen is LanesReopen.ONE_BY_ONE
    assert said["lanes_reopen"] == "one by one" and said["drivers"]["sign_edges"] == ["mw_02", "mw_03"]


def test_nobody_is_told_unless_it_is_asked_for(tmp_path):
    out = tmp_path / "one.json"
    assert scenariogen(*INCIDENT, "--out", out).exit_code == 0
    made = read_scenario(out)
    assert made.drivers == Drivers() and made.lanes_reopen is LanesReopen.AT_ONCE
    (written,) = json.loads(out.read_text())["scenarios"]
    assert written["drivers"] == {"reroute_share": 0.3, "reroute_after_s": 120.0} and "lanes_reopen" not in written


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_written(tmp_path):
    out = tmp_path / "one.json"
    result = scenariogen(*INCIDENT, "--signs", "nowhere", "--radio-share", "3", "--reroute-share", "-1", "--out", out)
    assert result.exit_code != 0 and not out.exists()
    for words in ("nowhere", "radio_share is 3", "reroute_share is -1"):
        assert words in result.stderr
    refused(*INCIDENT, "--lanes-reopen", "slowly", "--out", out, code=2, says=("expected at-once or one-by-one",))


def test_people_are_told_the_phases_in_order_and_by_whom_drivers_knew():
    incident = {
        "realised": True, "reason": "", "rerouted": 5, "rerouted_by": {"queue": 2, "sign": 3},
        "happened": {"start_s": 25_200.0, "end_s": 27_000.0, "position_m": 192.4},
        "phases": {
            "detected_s": 25_500.0, "responded_s": 25_800.0, "reopened": [[1, 26_400.0]], "clear_s": 27_000.0,
            "recovered_s": None,
        },
    }  # fmt: skip
    assert _told(incident, Condition()) == (
        "stood 07:00-07:30 at 192 m, detected 07:05, responders there 07:10, lane 1 open 07:20, "
        "5 drivers took another way (2 queue, 3 sign)"
    )
    phases = {**incident["phases"], "recovered_s": 27_300.0, "reopened": []}
    told = _told({**incident, "phases": phases, "rerouted": 0, "rerouted_by": {}}, Condition())
    assert told.endswith("responders there 07:10, queue gone 07:35, 0 drivers took another way")
    moved = _told({**incident, "reason": "it stands -58 m from the asked position"}, Condition())
    assert moved.endswith("(2 queue, 3 sign) (it stands -58 m from the asked position)")
    assert _told({**incident, "realised": False, "reason": "no room"}, Condition()) == "not realised, no room"
    assert _told(incident, Condition(clock_s=1200.0)).startswith("stood 07:20-07:50 at 192 m, detected 07:25")


def test_people_are_told_what_became_of_effects():
    surge = {"realised": True, "reason": "", "start_s": 600.0, "end_s": None, "counts": {"added": 0, "refused": 3}}
    assert _lines([], [{**surge, "number": 2, "asked": {"effect": "demand_surge"}}], Condition()) == [
        "effect 2, demand_surge: held 00:10-the end (added 0; refused 3)"
    ]
    assert _told_effect(surge, Condition()) == "held 00:10-the end (added 0; refused 3)"
    signal = {**surge, "counts": {}, "end_s": 1200.0}
    assert _told_effect(signal, Condition()) == "held 00:10-00:20"
    cut = {**signal, "reason": "the simulation was left before its end"}
    assert _told_effect(cut, Condition()) == "held 00:10-00:20 (the simulation was left before its end)"
    assert (
        _told_effect({**signal, "realised": False, "reason": "nobody reads it"}, Condition())
        == "not realised, nobody reads it"
    )
