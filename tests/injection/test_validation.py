"""Bad input: every problem said at once, before anything happens."""

import json
import re
from pathlib import Path

import pytest

from scenariogen.errors import ScenarioError, SimulationError
from scenariogen.injection import InjectionWarning, inject
from scenariogen.scenarios.effects import DemandSurge
from tests.injection import roads

pytestmark = pytest.mark.sumo


@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_all_problems_are_listed_and_nothing_happens(start, road, backend):
    sumo = start(backend, road(3), None, "--begin", "50", "--end", "5000")
    bad = roads.scenario(
        roads.incident(edge="midle"),
        roads.incident(lanes=(2, 3)),
        roads.incident(position_m=5000),
        roads.incident(start_s=20),
        roads.incident(start_s=9000),
        roads.incident(lanes=(0, 1), capacity_left=0.9),
        roads.incident(capacity_left=1.5),
        reroute_share=1.5,
    )
    step = sumo.simulationStep
    with pytest.raises(ScenarioError) as caught:
        inject(sumo, bad, network=road(3)).__enter__()
    text = str(caught.value)
    for part in (
        "incident 0: edge 'midle' is not in",
        "near it: middle",
        "incident 1: lanes [3] are not on edge",
        "incident 2: position_m is 5000",
        "incident 3: it starts at 00:00:20",
        "in the past",
        "incident 4: it starts at 9000 s, the simulation ends at 5000 s",
        "incident 5: capacity_left 0.9 is out of reach",
        "incident 6: capacity_left is 1.5",
        "reroute_share is 1.5",
    ):
        assert part in text
    assert sumo.vehicle.getIDList() == () and sumo.simulationStep == step


def test_the_network_is_found_from_the_running_simulation(start, road):
    sumo = start("libsumo", road(2))
    with inject(sumo, roads.scenario(roads.incident(start_s=3, capacity_left=0.3))) as injection:
        roads.run_until(sumo, 5)
        assert injection.own_present
    with pytest.raises(ScenarioError, match=r"edge 'nowhere' is not in road\.net\.xml"):
        inject(sumo, roads.scenario(roads.incident(edge="nowhere"))).__enter__()


def test_a_network_that_is_not_the_simulations_is_noticed(start, road, diamond):
    sumo = start("libsumo", road(2))
    asked = roads.incident(edge="direct", capacity_left=0.0)
    with pytest.raises(ScenarioError, match="not in the running simulation"):
        inject(sumo, roads.scenario(asked), network=diamond).__enter__()


def test_a_file_that_was_made_for_another_network_is_refused(start, road, tmp_path):
    """Same ids and lengths, other limits: nothing but the hash tells."""
    file = roads.scenario_file(tmp_path / "one.json", road(2), start_s=3, duration_s=30)
    sumo = start("libsumo", road(2, roads.STREET_MPS))
    with pytest.raises(ScenarioError, match=r"one\.json was made for a network with hash .* make it anew"):
        inject(sumo, file).__enter__()
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "network_hash": ""}))  # nobody knows what it was made for
    with inject(sumo, file) as injection:
        roads.run_until(sumo, 5)
        assert injection.own_present


@pytest.mark.parametrize("backend", ["libsumo", "traci"])
@pytest.mark.parametrize("edge", ["middle", "after"])
def test_another_network_that_lies_where_sumos_path_leads_from_here_is_noticed(
    start, road, tmp_path, monkeypatch, backend, edge
):
    """SUMO gives the path as it was given, relative to a folder that need not be ours."""
    theirs = road(2)
    monkeypatch.chdir(theirs.path.parent)
    sumo = start(backend, Path(theirs.path.name))
    other = re.sub(rf'(id="{edge}_[^>]* length)="500.00"', r'\1="450.00"', theirs.path.read_text())
    (tmp_path / theirs.path.name).write_text(other)
    monkeypatch.chdir(tmp_path)
    asked = roads.scenario(roads.incident(start_s=3, capacity_left=0.3))
    said = rf"lane '{edge}_0', here 450\.00 m long, is 500\.00 m long there: name the network file"
    with pytest.raises(ScenarioError, match=said):
        inject(sumo, asked).__enter__()
    with inject(sumo, asked, network=theirs.path):
        pass


def test_a_network_file_that_is_not_there(start, road):
    sumo = start("libsumo", road(2))
    with pytest.raises(SimulationError, match=r"inject\(..., network="):
        inject(sumo, roads.scenario(), network="no/such/net.xml").__enter__()


def test_teleporting_and_vanishing_vehicles_are_warned_about(start, road):
    sumo = start("libsumo", road(2), stable=False)
    with (
        pytest.warns(InjectionWarning) as caught,
        inject(sumo, roads.scenario(roads.incident(start_s=3, capacity_left=0.3)), network=road(2)) as injection,
    ):
        pass
    said = " ".join(str(warning.message) for warning in caught)
    assert "time-to-teleport is 300 s" in said and "collision.action is teleport" in said
    assert len(injection.warnings) == 2


@pytest.mark.parametrize("name", ["max-depart-delay", "time-to-teleport.highways", "time-to-teleport.disconnected"])
def test_options_that_take_vehicles_out_of_a_queue_in_other_ways_are_warned_about(start, road, name):
    sumo = start("libsumo", road(2), None, f"--{name}", "20")
    with (
        pytest.warns(InjectionWarning, match=rf"{name} is 20 s.*start it with --{name} -1"),
        inject(sumo, roads.scenario(roads.incident(start_s=3, capacity_left=0.3)), network=road(2)) as injection,
    ):
        pass
    assert len(injection.warnings) == 1


@pytest.mark.parametrize("asked", ["incident", "surge"])
def test_outputs_that_hold_our_vehicles_are_told_with_their_ids(start, road, tmp_path, asked):
    """They stood among the others in somebody's trips and statistics, and nobody was told."""
    incidents = [roads.incident(start_s=20, capacity_left=0.3)] if asked == "incident" else []
    surge = DemandSurge(start_s=0, duration_s=60, factor=2)
    what = roads.scenario(*incidents, effects=() if incidents else (surge,))
    trips = tmp_path / "trips.xml"
    written = ("--tripinfo-output", str(trips), "--tripinfo-output.write-unfinished", "true")
    sumo = start("libsumo", road(2), roads.flows(tmp_path, lanes=2, per_lane_veh_h=900), *written)
    ours = "incident.0.0" if incidents else "surge."
    with (
        pytest.warns(InjectionWarning, match=rf"^tripinfo-output: .*\({re.escape(ours)}.*leave them out by their ids"),
        inject(sumo, what, network=road(2)) as injection,
    ):
        roads.run_until(sumo, 60)
    assert len(injection.warnings) == 1
    own = injection.own_vehicles | injection.surge_vehicles
    sumo.close()
    assert own and all(vehicle.startswith(ours) for vehicle in own)
    assert any(f'id="{vehicle}"' in trips.read_text() for vehicle in own)


@pytest.mark.filterwarnings("ignore::scenariogen.injection.InjectionWarning")
def test_options_are_read_in_sumos_spelling_of_times(start, road):
    spelled = ("--time-to-teleport", "0:05:00", "--lanechange.duration", "0:00:03")
    sumo = start("libsumo", road(2), None, *spelled, stable=False)
    with inject(sumo, roads.scenario(roads.incident(start_s=3, capacity_left=0.3)), network=road(2)) as injection:
        roads.run_until(sumo, 6)
    assert any("time-to-teleport is 300 s" in text for text in injection.warnings)


def test_a_mesoscopic_simulation_is_refused(start, road):
    sumo = start("libsumo", road(2), None, "--mesosim", "true")
    with pytest.raises(ScenarioError, match="mesoscopic"):
        inject(sumo, roads.scenario(roads.incident(capacity_left=0.3)), network=road(2)).__enter__()


def test_an_incident_beyond_the_end_of_the_run_is_reported_as_it_was(start, road):
    sumo = start("libsumo", road(2))
    late, long = (
        roads.incident(start_s=500, capacity_left=0.3),
        roads.incident(start_s=5, duration_s=9e3, capacity_left=0.3),
    )
    with inject(sumo, roads.scenario(late, long), network=road(2)) as injection:
        roads.run_until(sumo, 20)
        waiting, standing = injection.report()
        assert not waiting.realised and "not come yet" in waiting.reason
        assert standing.realised and not standing.is_over
    never, cut = injection.report()
    assert not never.realised and never.reason == "the simulation was left before its start"
    assert cut.realised and cut.end_s == 20 and cut.reason == "the simulation was left before its end"
