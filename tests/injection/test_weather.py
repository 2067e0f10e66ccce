"""Weather: the factors asked are what traffic shows, and all types get their headways back."""

import pytest

from scenariogen.injection import inject
from scenariogen.injection.effects.weather import FACTORS, LOST_S, headway_s, mean_limit_mps
from scenariogen.injection.rig import SATURATED_ENTRIES
from scenariogen.scenarios.effects import Weather, WeatherKind
from tests.injection import roads

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")


def types(sumo) -> dict[str, float]:
    return {name: sumo.vehicletype.getTau(name) for name in sumo.vehicletype.getIDList()}


def lanes(sumo) -> dict[str, float]:
    return {lane: sumo.lane.getMaxSpeed(lane) for lane in sumo.lane.getIDList()}


def weather(kind: str, start_s: float = 20, duration_s: float = 60) -> Weather:
    return Weather(start_s=start_s, duration_s=duration_s, weather=kind)


def test_every_kind_has_factors():
    assert set(FACTORS) == set(WeatherKind)


@pytest.mark.parametrize("kind", list(WeatherKind))
def test_the_solved_headway_gives_the_capacity_factor(kind):
    factors, v, occupied = FACTORS[kind], 30.0, 7.5
    tau = headway_s(factors, tau_s=1.2, occupied_m=occupied, speed_mps=v)
    slow = factors.speed * v
    share = (slow / (occupied + (tau + LOST_S) * slow)) / (v / (occupied + (1.2 + LOST_S) * v))
    assert share == pytest.approx(factors.capacity) and tau > 1.2


def test_where_the_speed_alone_takes_more_the_headway_stays():
    assert headway_s(FACTORS[WeatherKind.LIGHT_SNOW], tau_s=1.0, occupied_m=7.5, speed_mps=5.0) == 1.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_lanes_and_types_are_what_they_were_afterwards(start, road, tmp_path, backend):
    sumo = start(backend, road(3), roads.flows(tmp_path, lanes=3, per_lane_veh_h=600))
    before_lanes, before_types = lanes(sumo), types(sumo)
    with inject(sumo, roads.scenario(effects=(weather("heavy_snow"),)), network=road(3)) as injection:
        roads.run_until(sumo, 50)
        assert lanes(sumo) == {lane: speed * 0.83 for lane, speed in before_lanes.items()}
        assert types(sumo)["DEFAULT_VEHTYPE"] > 1.3 and types(sumo)["DEFAULT_PEDTYPE"] == 1.0
        roads.run_until(sumo, 100)
        assert lanes(sumo) == before_lanes and types(sumo) == before_types
    assert injection.effects_report()[0].counts["vehicle_types"] == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_distribution_of_types_is_not_taken_for_a_type(start, road, tmp_path, backend):
    """SUMO answers for a distribution by a member drawn at random: read and written by its name, the headways of its
    members grew without end and never came back. It was found on a real project; no network of the tests had one."""
    members = "".join(f'<vType id="m{n}" length="{4 + n}" tau="{1 + n / 10}" probability="0.25"/>' for n in range(4))
    path = tmp_path / "mixed.rou.xml"
    path.write_text(
        f'<routes><vTypeDistribution id="mixed">{members}</vTypeDistribution><route id="all" edges="before middle"/>'
        '<flow id="f" type="mixed" route="all" begin="0" end="900" vehsPerHour="1500" departLane="free"/></routes>',
        encoding="utf-8",
    )
    sumo = start(backend, road(3), path)
    before = {f"m{n}": sumo.vehicletype.getTau(f"m{n}") for n in range(4)}
    with inject(sumo, roads.scenario(effects=(weather("heavy_rain"),)), network=road(3)) as injection:
        roads.run_until(sumo, 70)
        in_force = {name: sumo.vehicletype.getTau(name) for name in before}
        assert all(tau < in_force[name] < 1.5 * tau for name, tau in before.items())
        roads.run_until(sumo, 90)
        assert {name: sumo.vehicletype.getTau(name) for name in before} == before
    assert injection.effects_report()[0].counts["vehicle_types"] == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_types_of_single_vehicles_and_later_ones(start, road, tmp_path, backend):
    sumo = start(backend, road(3), roads.flows(tmp_path, lanes=3, per_lane_veh_h=600))
    with inject(sumo, roads.scenario(effects=(weather("heavy_rain", duration_s=100),)), network=road(3)):
        roads.run_until(sumo, 15)
        early, mild, late = sumo.vehicle.getIDList()[-3:]
        sumo.vehicle.setTau(early, 2.5)
        roads.run_until(sumo, 30)
        type_tau = sumo.vehicle.getTau(mild)
        assert sumo.vehicle.getTau(early) > 2.5 / 0.84 and type_tau > 1.0 / 0.84
        sumo.vehicle.setMinGap(mild, 3.0)  # SUMO copies the type as it is now, our headway with it
        sumo.vehicle.setTau(late, 1.8)  # somebody's own wish
        sumo.vehicletype.copy("DEFAULT_VEHTYPE", "new")
        sumo.vehicletype.setTau("new", 3.0)
        sumo.route.add("long", ["before", "middle", "after"])
        sumo.vehicle.add("newcomer", "long", "new")
        roads.run_until(sumo, 40)
        assert sumo.vehicle.getTau(mild) > type_tau
        assert sumo.vehicle.getTau(late) > 1.8 / 0.84 and sumo.vehicletype.getTau("new") > 3.0 / 0.84
        sumo.vehicle.remove(late)
        roads.run_until(sumo, 43)
    left = {v: sumo.vehicle.getTau(v) for v in sumo.vehicle.getIDList()}
    assert {v: left.pop(v) for v in (early, mild) if v in left} == {early: 2.5, mild: 1.0}
    assert left.pop("newcomer", 3.0) == 3.0 and set(left.values()) == {1.0}
    assert types(sumo)["new"] == 3.0 and types(sumo)["DEFAULT_VEHTYPE"] == 1.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_stricter_of_two_weathers_holds(start, road, backend):
    sumo = start(backend, road(2))
    before = lanes(sumo), types(sumo)
    pair = (weather("rain", 10, 60), weather("heavy_snow", 30, 80))
    with inject(sumo, roads.scenario(effects=pair), network=road(2)):
        roads.run_until(sumo, 50)
        assert sumo.lane.getMaxSpeed("middle_0") == before[0]["middle_0"] * 0.83
        roads.run_until(sumo, 80)
        assert sumo.lane.getMaxSpeed("middle_0") == before[0]["middle_0"] * 0.83
        roads.run_until(sumo, 115)
        assert (lanes(sumo), types(sumo)) == before


def saturating(folder):
    flows = "".join(
        f'<flow id="f{n}.{lane}" route="all" begin="0" end="9000" vehsPerHour="2600" departLane="{lane}" {entry}/>'
        for n, entry in enumerate(SATURATED_ENTRIES)
        for lane in range(3)
    )
    path = folder / "saturating.rou.xml"
    path.write_text(f'<routes><route id="all" edges="before middle after"/>{flows}</routes>', encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["heavy_rain", "heavy_snow"])
def test_saturated_discharge_falls_by_the_factor(start, road, tmp_path, kind):
    """Counted at the end of a three-lane road that is fed at two places; the mean limit is the road's own."""
    network, discharge = road(3), []
    assert mean_limit_mps(network) == pytest.approx(roads.MOTORWAY_MPS, rel=1e-3)
    for effects in ((), (weather(kind, 0, 3000),)):
        sumo = start("libsumo", network, saturating(tmp_path), "--seed", "5")
        with inject(sumo, roads.scenario(effects=effects), network=network):
            roads.run_until(sumo, 600)
            arrived = 0
            while sumo.simulation.getTime() < 1800:
                sumo.simulationStep()
                arrived += sumo.simulation.getArrivedNumber()
        discharge.append(arrived)
        sumo.close()
    assert discharge[1] / discharge[0] == pytest.approx(FACTORS[WeatherKind(kind)].capacity, abs=0.03)
