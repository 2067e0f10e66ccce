"""Effects by hand: what a traffic engineer types becomes a record in the file, or a list of all that is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from scenariogen.network import read_network
from scenariogen.scenarios.effects import (
    EFFECTS,
    Closure,
    DemandSurge,
    DetectorOutage,
    Effect,
    Rubbernecking,
    SignalFailure,
    SpeedLimit,
    Weather,
)
from scenariogen.scenarios.files import read_batch
from tests.cli.runner import scenariogen
from tests.cli.test_mistakes import refused
from tests.simulation import small

EDGES = small.CROSS_EDGES.replace("</edges>", '<edge id="-out" from="e" to="m" numLanes="2" speed="13.89"/></edges>')
WHEN: dict[str, Any] = {"start_s": 60.0, "duration_s": 120.0}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    flow = '<flow id="f" begin="0" end="600" period="6"><route edges="in[0]#1 out short"/></flow>'
    net = small._network(small.CROSS_NODES, EDGES)
    return small.write_project(tmp_path_factory.mktemp("effects") / "city", flow, net=net)


@pytest.fixture
def one(project, tmp_path) -> Path:
    out = tmp_path / "one.json"
    result = scenariogen(
        "incident", "--sumocfg", project, "--edge", "out", "--at", "100s", "--for", "2min", "--out", out
    )
    assert result.exit_code == 0, result.output
    return out


TYPED: list[tuple[str, Effect]] = [
    ("weather --kind heavy_snow", Weather(**WHEN, weather="heavy_snow")),
    (
        "speed-limit --edge out --lane sm_0 --limit 30km/h --warning 300m=40km/h --warning 1km=45km/h",
        SpeedLimit(
            **WHEN, limit_mps=30 / 3.6, edges=("out",), lanes=("sm_0",), warnings=((300, 40 / 3.6), (1000, 12.5))
        ),
    ),
    (
        "closure --edge out --edge mn --class truck --class bus",
        Closure(**WHEN, edges=("out", "mn"), classes=("truck", "bus")),
    ),
    ("signal_failure --signal m --mode flashing", SignalFailure(**WHEN, signal="m", mode="flashing")),
    ("demand_surge --factor 1.5 --edge sm", DemandSurge(**WHEN, factor=1.5, entries=("sm",))),
    ("detector_outage --lane out_0 --mode last_value", DetectorOutage(**WHEN, lanes=("out_0",), mode="last_value")),
    (
        "rubbernecking --edge -out --capacity-left 0.873 --position 90",
        Rubbernecking(**WHEN, edge="-out", position_m=90, capacity_left=0.873),
    ),
]


def test_every_kind_of_effect_can_be_typed():
    from scenariogen.cli.effects import OPTIONS

    assert {type(made) for _, made in TYPED} == set(EFFECTS.values()) and set(OPTIONS) == set(EFFECTS)


@pytest.mark.parametrize(("typed", "made"), TYPED, ids=lambda value: value.split()[0] if isinstance(value, str) else "")
def test_it_is_added_to_the_scenario_and_nothing_else_changes(project, one, typed, made):
    before = read_batch(one)
    result = scenariogen("effect", one, *typed.split(), "--from", "00:01", "--for", "2min", "--sumocfg", project)
    assert result.exit_code == 0, result.output
    assert made.kind in result.stdout and "added to scenario 0" in result.stdout
    after = read_batch(one)
    assert after.scenarios[0].effects == (made,)
    assert (after.scenarios[0].incidents, after.window) == (before.scenarios[0].incidents, before.window)


def test_effects_add_up_and_another_file_can_be_written(project, one, tmp_path):
    more = ("--from", "60s", "--for", "90s", "--sumocfg", project, "--json")
    first = scenariogen("effect", one, "weather", "--kind", "rain", *more, "--out", tmp_path / "two.parquet")
    assert json.loads(first.stdout)["effect"] == {
        "effect": "weather",
        "start_s": 60.0,
        "duration_s": 90.0,
        "weather": "rain",
    }
    scenariogen("effect", tmp_path / "two.parquet", "demand_surge", "--factor", "2", *more)
    assert [e.kind for e in read_batch(tmp_path / "two.parquet").scenarios[0].effects] == ["weather", "demand_surge"]
    assert read_batch(one).scenarios[0].effects == ()


def test_a_day_without_incidents_is_begun(project, tmp_path):
    snow = tmp_path / "snow.json"
    typed = ("effect", snow, "weather", "--kind", "light_snow", "--from", "0s", "--for", "5min", "--sumocfg", project)
    refused(*typed, says=("does not exist", "--new"))
    assert scenariogen(*typed, "--new").exit_code == 0
    (scenario,) = read_batch(snow).scenarios
    assert scenario.incidents == () and [each.kind for each in scenario.effects] == ["weather"]
    refused(*typed, "--new", says=("exists: leave --new away",))
    ran = scenariogen("run", "--sumocfg", project, "--scenarios", snow, "--json")
    assert ran.exit_code == 0 and json.loads(ran.stdout)["arrived"] > 0
    (effect,) = json.loads(ran.stdout)["effects"]
    assert effect["realised"] and effect["asked"]["effect"] == "weather"


def test_drivers_look_at_an_incident_from_the_opposite_carriageway_while_it_stands(project, one):
    done = scenariogen(
        "effect", one, "rubbernecking", "--incident", "0", "--capacity-left", "0.8", "--sumocfg", project
    )
    assert done.exit_code == 0, done.output
    (scenario,) = read_batch(one).scenarios
    (looking,) = scenario.effects
    assert isinstance(looking, Rubbernecking)
    assert (looking.edge, looking.start_s, looking.duration_s, looking.capacity_left) == ("-out", 100, 120, 0.8)
    network = read_network(project.with_name("road.net.xml"))
    at_m = network.edges["-out"].length_m - scenario.incidents[0].position_m
    assert looking.position_m == pytest.approx(at_m, abs=25)
    refused(
        "effect", one, "rubbernecking", "--incident", "3", "--capacity-left", "0.8", "--sumocfg", project,
        says=("there is no incident 3", "0 to 0"),
    )  # fmt: skip


def test_an_incident_by_hand_may_have_it_at_once(project, tmp_path):
    typed = ("incident", "--sumocfg", project, "--at", "100s", "--out", tmp_path / "one.json")
    result = scenariogen(*typed, "--edge", "out", "--opposite-capacity", "0.87", "--json")
    assert result.exit_code == 0, result.output
    (effect,) = json.loads(result.stdout)["effects"]
    assert (effect["effect"], effect["edge"], effect["capacity_left"]) == ("rubbernecking", "-out", 0.87)
    refused(
        *typed, "--edge", "sm", "--opposite-capacity", "0.87", "--capacity-left", "0.01",
        says=("edge 'sm' has no opposite carriageway", "capacity_left 0.01 is out of reach"),
    )  # fmt: skip
    refused(
        *typed, "--edge", "out", "--opposite-capacity", "0.1",
        says=("on the opposite carriageway: capacity_left 0.1 is out of reach with 0 of 2", "can be brought about"),
    )  # fmt: skip


def test_everything_that_is_wrong_is_listed_and_nothing_is_written(project, one):
    before = one.read_text()
    add = ("effect", one)
    refused(
        *add, "speed_limit", "--limit", "50", "--warning", "300", "--factor", "2", "--from", "noon",
        says=(
            "speed_limit needs --for", "--limit: got the speed '50'", "50km/h", "--warning: got '300'", "300m=80km/h",
            "--factor is not for speed_limit", "--from: got 'noon'",
        ),
    )  # fmt: skip
    refused(*add, "hail", says=("no effect 'hail'", "demand_surge"))
    refused(
        *add, "rubbernecking", "--edge", "out", "--incident", "0",
        says=("needs --capacity-left", "--edge and --incident both"),
    )  # fmt: skip
    when = ("--from", "60s", "--for", "60s", "--sumocfg", project)
    refused(
        *add, "closure", "--edge", "ouut", "--lane", "sm_7", "--class", "horse", "--from", "9h", "--for", "60s",
        "--sumocfg", project,
        says=("edge 'ouut' is not in", "near it: out", "lane 'sm_7'", "vehicle class 'horse'", "the simulation ends"),
    )  # fmt: skip
    refused(*add, "weather", "--kind", "hail", *when, says=("weather is 'hail'", "heavy_rain"))
    refused(*add, "demand_surge", "--factor", "99", *when, says=("factor is 99, expected 1 to 10",))
    refused(*add, "signal_failure", "--signal", "q", *when, says=("signal 'q' is not in",))
    refused(*add, "weather", "--kind", "rain", *when, "--index", "4", says=("no scenario 4",))
    assert one.read_text() == before


def test_in_a_file_of_many_it_is_said_which(project, one, tmp_path):
    from dataclasses import replace

    from scenariogen.scenarios.files import write_batch

    batch = read_batch(one)
    many = tmp_path / "many.json"
    write_batch(replace(batch, scenarios=tuple(replace(batch.scenarios[0], index=n) for n in (3, 5))), many)
    typed = ("effect", many, "weather", "--kind", "rain", "--from", "60s", "--for", "60s", "--sumocfg", project)
    refused(*typed, says=("holds 2 scenarios: say which by --index N, or --all",))
    refused(*typed, "--all", "--index", "3", says=("exclude each other",))
    assert scenariogen(*typed, "--index", "5").exit_code == 0
    assert [len(each.effects) for each in read_batch(many).scenarios] == [0, 1]
    assert scenariogen(*typed, "--all").exit_code == 0
    assert [len(each.effects) for each in read_batch(many).scenarios] == [1, 2]
    refused(
        "effect", many, "rubbernecking", "--incident", "0", "--capacity-left", "0.8", "--all", "--sumocfg", project,
        says=("say which by --index N",),
    )  # fmt: skip
