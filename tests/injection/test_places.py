"""Wherever an incident is put, it stands in time and hurts nobody, or says why it does not."""

import random
from collections import Counter

import pytest

from scenariogen.network import read_network
from tests.injection import roads
from tests.injection.places import GROUNDS, TRAFFIC, accounts, draw_incident, hold_to_it
from tests.support import ROOT, copy_project, shared_data

pytestmark = pytest.mark.sumo
SEEDS = {False: range(2), True: range(2, 60)}


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("traffic", TRAFFIC)
@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["few", "many"])
def test_it_stands_in_time_hurts_nobody_and_leaves_nothing(start, tmp_path, ground, traffic, many):
    faults, counts = [], Counter()
    for account in accounts(start, tmp_path, GROUNDS[ground], seeds=SEEDS[many], traffic=traffic):
        faults += account.faults
        counts += Counter(asked=account.asked, realised=account.realised)
        assert all("no spot within 100 m" in reason for reason in account.reasons)
    assert not faults, "\n".join(faults[:5])
    assert counts["asked"] == 6 * len(SEEDS[many]) and counts["realised"] >= 0.85 * counts["asked"]


@pytest.mark.parametrize("ground", GROUNDS)
def test_over_a_socket_it_is_the_same(start, tmp_path, ground):
    (account,) = accounts(start, tmp_path, GROUNDS[ground], seeds=range(1), traffic="dense", backend="traci")
    assert not account.faults and account.realised >= 4


@pytest.mark.parametrize("name", ["corridor", "i210", "bologna_acosta", "chicago_roosevelt"])
def test_on_whole_projects_nobody_runs_into_what_stands_there(start, tmp_path, name):
    """Collisions among the project's own vehicles are its own; ours are named."""
    source = ROOT / "sumo_networks" / name if name == "corridor" else shared_data("networks", name)
    config = copy_project(next(source.glob("*.sumocfg")), tmp_path)
    sumo = start("libsumo", None, None, "-c", str(config))
    roads.run_until(sumo, sumo.simulation.getTime() + 300)
    network = read_network(sumo.simulation.getOption("net-file"))
    now_s, rng = sumo.simulation.getTime(), random.Random(name)
    busy = [edge for edge in network.drivable if sumo.edge.getLastStepVehicleNumber(edge)]
    incidents = tuple(draw_incident(network.edges[rng.choice(busy)], rng, now_s + 1 + 4 * n, 30.0) for n in range(16))
    account = hold_to_it(sumo, network, incidents, until_s=now_s + 110)
    ours = [fault for fault in account.faults if "incident." in fault or "vanished" in fault or "stood" in fault]
    assert not ours, "\n".join(ours[:5])
    assert account.realised >= 14
