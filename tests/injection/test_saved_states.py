"""States that are saved and loaded while a scenario happens leave nothing of it behind."""

import pytest

from scenariogen.injection import inject
from scenariogen.injection.records import InjectionWarning
from scenariogen.scenarios.effects import SpeedLimit, Weather
from tests.injection import roads

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")
INCIDENT = roads.incident(start_s=50, duration_s=60, lanes=(0,), capacity_left=0.35)
EFFECTS = (
    Weather(start_s=40, duration_s=80, weather="ice"),
    SpeedLimit(start_s=40, duration_s=80, edges=("middle",), limit_mps=8),
)


def values(sumo) -> dict:
    """What types and lanes hold."""
    types = {kind: sumo.vehicletype.getTau(kind) for kind in sumo.vehicletype.getIDList() if "@" not in kind}
    return types | {lane: sumo.lane.getMaxSpeed(lane) for lane in sumo.lane.getIDList()}


def slowed(sumo) -> list[str]:
    """Vehicles with a smaller speed factor than any driver of SUMO's default car has, and ours."""
    return [v for v in sumo.vehicle.getIDList() if sumo.vehicle.getSpeedFactor(v) < 0.5 or v.startswith("incident")]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loaded_s", [75, 115, 130])
def test_a_state_loaded_within_a_scenario_leaves_nothing_behind(start, road, tmp_path, backend, loaded_s):
    """While the incident and the effects stand, after the incident, and after all: values come back rounded, and were
    once taken for somebody else's; vehicles of ours come back too."""
    sumo = start(backend, road(2), roads.flows(tmp_path, lanes=2, per_lane_veh_h=900))
    before, state = values(sumo), str(tmp_path / "state.xml")
    with inject(sumo, roads.scenario(INCIDENT, effects=EFFECTS), network=road(2)) as injection:
        roads.run_until(sumo, 70)
        assert values(sumo) != before and slowed(sumo)
        with pytest.warns(InjectionWarning, match="saved at 00:01:10 holds what the scenario has in force"):
            sumo.simulation.saveState(state)
        roads.run_until(sumo, loaded_s)
        sumo.simulation.loadState(state)
        assert values(sumo) == before and not slowed(sumo)
        roads.run_until(sumo, 130)
        assert values(sumo) == before
        assert not [v for v in sumo.vehicle.getIDList() if v.startswith("incident")]
    first, *others = (*injection.report(), *injection.effects_report())
    if loaded_s < 110:
        assert "a saved state was loaded before its end" in first.reason
    if loaded_s < 120:
        assert all("a saved state was loaded before its end" in report.reason for report in others)


def test_a_state_saved_while_nothing_is_in_force_needs_no_word(start, road, tmp_path, recwarn):
    sumo = start("libsumo", road(2))
    save = sumo.simulation.saveState
    with inject(sumo, roads.scenario(INCIDENT), network=road(2)):
        roads.run_until(sumo, 20)
        sumo.simulation.saveState(str(tmp_path / "state.xml"))
    assert sumo.simulation.saveState is save
    assert not [each for each in recwarn if "saved at" in str(each.message)]


def test_with_the_function_kept_from_before_time_that_goes_back_is_noticed(start, road, tmp_path):
    sumo = start("libsumo", road(2), roads.flows(tmp_path, lanes=2, per_lane_veh_h=900))
    before, state = values(sumo), str(tmp_path / "state.xml")
    save, load = sumo.simulation.saveState, sumo.simulation.loadState
    with inject(sumo, roads.scenario(INCIDENT, effects=EFFECTS), network=road(2)) as injection:
        roads.run_until(sumo, 70)
        save(state)
        roads.run_until(sumo, 80)
        load(state)
        roads.run_until(sumo, 75)
        assert values(sumo) == before and not slowed(sumo)
    assert all("loaded anew" in report.reason for report in injection.effects_report())


def test_somebody_elses_values_in_a_state_stay(start, road, tmp_path):
    sumo = start("libsumo", road(2))
    sumo.vehicletype.setTau("DEFAULT_VEHTYPE", 3.5)
    state = str(tmp_path / "state.xml")
    sumo.simulationStep()
    sumo.simulation.saveState(state)
    sumo.vehicletype.setTau("DEFAULT_VEHTYPE", 1.0)
    with inject(sumo, roads.scenario(effects=EFFECTS), network=road(2)):
        roads.run_until(sumo, 70)
        sumo.simulation.loadState(state)
    assert sumo.vehicletype.getTau("DEFAULT_VEHTYPE") == 3.5


def test_the_traci_module_loads_states_by_an_object_of_its_own(start, road, tmp_path):
    import traci

    start("traci", road(2))
    before, state = values(traci), str(tmp_path / "state.xml")
    with inject(traci, roads.scenario(effects=EFFECTS), network=road(2)) as injection:
        roads.run_until(traci, 70)
        with pytest.warns(InjectionWarning, match="saved at"):
            traci.simulation.saveState(state)
        roads.run_until(traci, 75)
        traci.simulation.loadState(state)
        assert values(traci) == before
    assert all("a saved state was loaded" in report.reason for report in injection.effects_report())
    assert not {"saveState", "loadState"} & set(vars(traci.simulation))
