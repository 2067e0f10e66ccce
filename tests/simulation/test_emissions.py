"""Emissions of a run: the sum of what SUMO says of each vehicle in each step, without our own standing vehicles."""

from functools import partial

import pytest

from scenariogen.errors import SimulationError
from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.policy import resolve_policy
from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.run_one import run_task
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.emissions import read_emissions
from scenariogen.simulation.isolation import in_own_process
from scenariogen.simulation.staging import EMISSIONS
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.small import PLAIN, small_project, vehicle, window

pytestmark = pytest.mark.sumo
STANDS = Incident(
    edge="bc", start_s=1.0, position_m=400.0, kind=IncidentKind.CRASH, lanes=(0,), capacity_left=0.0,
    detection_s=10.0, response_s=10.0, clearance_s=20.0,
)  # fmt: skip


def run(project, folder, *, incidents=()):
    scenario = Scenario(index=0, seed=3, incidents=incidents)
    task = Task(
        key="k", scenario=scenario, policy=resolve_policy("no_control"), replica=0, seed=3, folder=folder / "run",
        keep=True, emissions=True,
    )  # fmt: skip
    simulator = SumoSimulator(project, work_folder=folder / "work")
    return in_own_process(partial(run_task, window=window(300.0)), task, simulator, project.network())


def by_step(project):
    """Kilograms of CO2, NOx and particles, from each vehicle's rate in each step."""
    import libsumo

    libsumo.start(["sumo", "-c", str(project.sumocfg), "--seed", "3", "--end", "300", "--no-step-log"])
    total = [0.0, 0.0, 0.0]
    while libsumo.simulation.getTime() < 300:
        libsumo.simulationStep()
        for each in libsumo.vehicle.getIDList():
            own = libsumo.vehicle
            rates = own.getCO2Emission(each), own.getNOxEmission(each), own.getPMxEmission(each)
            total = [kg + rate * 1e-6 for kg, rate in zip(total, rates, strict=True)]
    libsumo.close()
    return total


def test_they_are_what_sumo_says_of_each_vehicle(tmp_path):
    project = small_project(tmp_path / "p", PLAIN + "".join(vehicle(f"v{n}", 5.0 * n) for n in range(30)))
    found = run(project, tmp_path)
    assert isinstance(found, RunResult) and found.co2_kg is not None and found.error == ""
    # SUMO's rates are those at the end of a step; the metre on which a vehicle arrives is not in them.
    assert [found.co2_kg, found.nox_kg, found.pmx_kg] == pytest.approx(in_own_process(by_step, project), rel=0.02)
    assert 5 < found.co2_kg < 30  # 30 cars on 1.5 km


def test_vehicles_that_stand_for_an_incident_emit_nothing(tmp_path):
    project = small_project(tmp_path / "p", PLAIN + vehicle("late", 290.0))
    free, hit = run(project, tmp_path / "free"), run(project, tmp_path / "hit", incidents=(STANDS,))
    assert hit.incidents_realised == 1 and hit.co2_kg == pytest.approx(free.co2_kg)


def test_a_run_that_wrote_none_is_said_so(tmp_path):
    with pytest.raises(SimulationError, match=EMISSIONS):
        read_emissions(tmp_path)


def test_a_file_that_was_not_written_to_its_end_is_no_fault_of_the_project(tmp_path):
    """A full disk stopped the batch with words about malformed XML."""
    (tmp_path / EMISSIONS).write_text('<meandata>\n<interval begin="0.00" end="9.00">\n<edge id="a" CO2_abs="1.0"')
    with pytest.raises(SimulationError, match="unfinished"):
        read_emissions(tmp_path)
