"""An incident of each type, however the simulation is run: steps, sublanes, sides, clocks, files, vehicle classes."""

import warnings
from dataclasses import replace

import pytest

from scenariogen.incidents.records import Incident
from scenariogen.injection import inject
from tests.injection import roads
from tests.injection.places import GROUNDS, Drive, Ground, Variant, accounts, against_twin, network_of

pytestmark = pytest.mark.sumo
TWO_LANES = Ground(
    nodes="a 0 0;b 300 0;c 600 0;d 900 0",
    edges="ab a b 2 13.89;bc b c 2 13.89;cd c d 2 13.89;dc d c 1 13.89;cb c b 1 13.89;ba b a 1 13.89",
    ways=("ab bc cd", "ab bc cd", "dc cb ba"),
    wall=(),
    veh_h=450,
)
ONE_LANE = Ground(
    nodes="a 0 0;b 300 0;c 600 0;d 900 0",
    edges="ab a b 1 13.89;bc b c 1 13.89;cd c d 1 13.89;dc d c 1 13.89;cb c b 1 13.89;ba b a 1 13.89",
    ways=("ab bc cd", "dc cb ba"),
    wall=(),
    veh_h=350,
)


VARIANTS = {
    "steps of 0.1 s": Variant(options=("--step-length", "0.1")),
    "steps of 0.5 s": Variant(options=("--step-length", "0.5")),
    "steps of 2 s": Variant(options=("--step-length", "2"), flow='type="patient"'),
    "sublanes": Variant(options=("--lateral-resolution", "0.8")),
    "sublanes and steps of 0.5 s": Variant(options=("--lateral-resolution", "0.8", "--step-length", "0.5")),
    "left-hand traffic": Variant(build=("--lefthand", "true")),
    "overtaking through the opposite lane": Variant(build=("--opposites.guess", "true")),
    "a begin at 07:00": Variant(begin_s=25200.0),
    "a zipped network": Variant(zipped=True),
    "no internal links": Variant(options=("--no-internal-links", "true")),
    "a network without internal lanes": Variant(build=("--no-internal-links", "true")),
    "trucks": Variant(flow='type="truck"'),
    "buses": Variant(flow='type="bus"'),
    "bicycles": Variant(flow='type="bike"'),
    "a ballistic update": Variant(options=("--step-method.ballistic", "true", "--step-length", "0.5")),
    "actions every 1 s in steps of 0.5 s": Variant(
        options=("--step-length", "0.5", "--default.action-step-length", "1")
    ),
}
TYPES: dict[str, tuple[Ground, dict]] = {
    "one lane of two": (TWO_LANES, {"lanes": (0,), "capacity_left": 0.4}),
    "the inner lane of two": (TWO_LANES, {"lanes": (1,), "capacity_left": 0.4}),
    "on the shoulder": (TWO_LANES, {"lanes": (), "capacity_left": 0.8}),
    "closed": (TWO_LANES, {"lanes": (0, 1), "capacity_left": 0.0}),
    "one lane that can be passed": (ONE_LANE, {"lanes": (0,), "capacity_left": 0.6}),
    "one lane closed": (ONE_LANE, {"lanes": (0,), "capacity_left": 0.0}),
}


def incident_of(what: str, *, start_s: float, duration_s: float = 60.0, position_m: float = 150.0) -> Incident:
    return roads.incident(edge="bc", start_s=start_s, duration_s=duration_s, position_m=position_m, **TYPES[what][1])


@pytest.mark.parametrize("what", TYPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_type_of_incident_under_every_variant(start, tmp_path, variant, what):
    ground, chosen = TYPES[what][0], VARIANTS[variant]
    network = network_of(ground, chosen, tmp_path)
    begin_s = chosen.begin_s
    routes = ground.routes(tmp_path / "r.rou.xml", 1.0, begin_s=begin_s, flow=chosen.flow)
    asked = incident_of(what, start_s=begin_s + 102)
    account = against_twin(
        start, network, routes, (asked,), Drive(begin_s=begin_s, options=chosen.options), lasts_s=110
    )
    assert not account.faults, "\n".join(account.faults[:5])
    assert account.realised == 1


@pytest.mark.parametrize("sidewalks", [False, True])
@pytest.mark.parametrize("opposites", [False, True])
def test_a_closed_lane_is_passed_only_where_the_network_has_opposite_lanes_and_that_is_said(
    start, tmp_path, opposites, sidewalks
):
    options = {"--opposites.guess": opposites, "--sidewalks.guess": sidewalks}
    network = ONE_LANE.build(tmp_path, *(part for name, on in options.items() for part in (name, str(on).lower())))
    sumo = start("libsumo", network, ONE_LANE.routes(tmp_path / "r.rou.xml", 1.0))
    lanes = network.edges["bc"].driving_lanes
    assert lanes == ((1,) if sidewalks else (0,))
    asked = replace(incident_of("one lane closed", start_s=102, duration_s=300), lanes=lanes)
    passed = 0
    with (
        warnings.catch_warnings(record=True),
        inject(sumo, roads.scenario(asked), network=network) as injection,
    ):
        while sumo.simulation.getTime() < 400:
            sumo.simulationStep()
            if sumo.simulation.getTime() > 180:  # whoever was past it at its start has arrived
                passed += sum(vehicle.startswith("f0") for vehicle in sumo.simulation.getArrivedIDList())
            assert not sumo.simulation.getCollisions()
    said = [text for text in injection.warnings if f"overtake through the lane opposite to bc_{lanes[0]}" in text]
    assert bool(said) == opposites
    assert passed > 15 if opposites else passed == 0


def test_steps_longer_than_a_headway_are_warned_about(start, tmp_path):
    """Drivers with a tau of 1 s run into each other in steps of 2 s, whatever they stand behind."""
    network = TWO_LANES.build(tmp_path)
    for step, warned in (("1", False), ("2", True)):
        sumo = start("libsumo", network, None, "--step-length", step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with inject(sumo, roads.scenario(incident_of("closed", start_s=10)), network=network) as injection:
                pass
        assert any("step-length is 2 s" in text and "tau" in text for text in injection.warnings) == warned
        sumo.close()


@pytest.mark.slow
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_on_every_kind_of_road_under_every_variant(start, tmp_path, variant, ground):
    for traffic in ("dense", "queued"):
        found = list(
            accounts(start, tmp_path, GROUNDS[ground], seeds=range(4), traffic=traffic, variant=VARIANTS[variant])
        )
        faults = [fault for account in found for fault in account.faults]
        assert not faults, "\n".join(faults[:5])
        assert sum(account.realised for account in found) >= 0.5 * sum(account.asked for account in found)
