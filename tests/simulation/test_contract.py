"""What every simulator must do: the same tests over libsumo, TraCI and the dummy."""

from collections.abc import Callable

import pytest

from scenariogen.errors import ConnectionLostError, PolicyError, SimulationError
from scenariogen.simulation.contract import Run, RunRequest, Simulator
from scenariogen.simulation.dummy import DummySimulator
from scenariogen.simulation.health import HealthWatch
from scenariogen.simulation.measures import DelayMeter
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.small import PLAIN, cross, small_project, window

END_S = 240.0
DEMAND = (
    PLAIN
    + '<flow id="we" type="plain" begin="0" end="240" period="4" from="in[0]#1" to="short"/>'
    + '<flow id="sn" type="plain" begin="0" end="240" period="8" from="sm" to="mn"/>'
)


@pytest.fixture(scope="module")
def crossing(tmp_path_factory):
    return small_project(tmp_path_factory.mktemp("crossing"), DEMAND, net=cross())


SUMO = [pytest.param(name, marks=pytest.mark.sumo) for name in ("libsumo", "traci")]


@pytest.fixture(params=[*SUMO, "dummy"])
def simulator(request) -> tuple[Simulator, str]:
    """A simulator, and a lane that leads to a signal of its network."""
    if request.param == "dummy":
        return DummySimulator(), "a_0"
    project = request.getfixturevalue("crossing")
    return SumoSimulator(project, backend=request.param), "in[0]#1_1"


@pytest.fixture
def opened(simulator, tmp_path):
    """Opens runs, and closes them at the end of the test."""
    runs: list[Run] = []

    def begin(name: str = "run", **request) -> Run:
        asked = {"window": window(END_S, count_from_s=60.0), "seed": 1, "folder": tmp_path / name} | request
        runs.append(simulator[0].open(RunRequest(**asked)))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


def finish(run: Run, each: Callable[[], None] = lambda: None) -> list[tuple[int, int]]:
    """Step to the end; running and waiting after each step."""
    seen = []
    while run.time_s < END_S:
        run.step()
        each()
        seen.append((run.running(), run.waiting()))
    return seen


def test_time_advances_by_the_step_length(opened):
    run = opened()
    assert run.time_s == 0
    run.step()
    assert run.time_s == run.step_length_s == run.control_room.step_length_s
    assert run.control_room.time_s == run.time_s


def test_the_same_request_gives_the_same_run(opened):
    first = opened("first")
    counts = finish(first)
    first.close()
    assert counts[-1][0] > 0
    assert finish(opened("second")) == counts


def test_two_runs_in_sequence_and_closing_twice(opened):
    for name in ("one", "two"):
        with opened(name) as run:
            run.step()
        run.close()
        with pytest.raises(ConnectionLostError):
            run.step()


def test_vehicles_are_conserved(opened):
    run = opened()
    meter = DelayMeter(run)
    finish(run, meter.update)
    result, counters = meter.result(), run.counters()
    assert result.due == result.arrived + result.running_at_end + result.waiting_at_end
    assert (result.running_at_end, result.waiting_at_end) == (run.running(), run.waiting())
    assert (counters.running, counters.waiting, counters.left) == (run.running(), run.waiting(), result.arrived)
    assert set(run.driven_m()) == set(run.running_ids())
    assert result.due > 40


def test_delay_is_the_integral_less_the_free_flow_time(opened):
    run = opened()
    meter = DelayMeter(run)
    counts = finish(run, meter.update)
    from_s = round(run.request.window.count_from_s / run.step_length_s)
    hours = sum(a + b for a, b in counts[from_s:]) * run.step_length_s / 3600
    result = meter.result()
    assert result.time_veh_h == pytest.approx(hours)
    assert result.delay_veh_h == pytest.approx(hours - result.free_flow_veh_h)
    assert 0 < result.delay_veh_h < hours


def test_more_demand_more_delay(opened):
    delays = []
    for scale in (0.5, 1.0):
        with opened(f"scale{scale}", demand_scale=scale) as run:
            meter = DelayMeter(run)
            finish(run, meter.update)
            delays.append(meter.result().delay_veh_h)
    assert delays[0] < delays[1]


def test_a_policy_can_hold_everybody(opened):
    delays = []
    for name in ("programme", "red"):
        with opened(name) as run:
            meter, watch = DelayMeter(run), HealthWatch(run)
            if name == "red":
                for light in run.control_room.signals.values():
                    light.set_state("r" * len(light.links))
            finish(run, lambda meter=meter, watch=watch: (meter.update(), watch.update()))
            delays.append(meter.result().delay_veh_h)
            states = {light.state for light in run.control_room.signals.values()}
            assert watch.health().locked_up is False  # four minutes are not ten
    assert states == {"r" * len(light.links)}
    assert delays[1] > 1.5 * delays[0]


def test_signals_show_links_and_programme(opened, simulator):
    run = opened()
    assert run.control_room.signals
    for name, light in run.control_room.signals.items():
        assert light.id == name
        assert len(light.state) == len(light.links)
        assert all(len(state) == len(light.links) and duration > 0 for state, duration in light.phases)
        assert any("g" in state.lower() for state, _ in light.phases)
    lanes = {a for light in run.control_room.signals.values() for pairs in light.links for a, _ in pairs}
    assert simulator[1] in lanes


def test_a_wrong_signal_state_is_the_policys_fault(opened):
    light = next(iter(opened().control_room.signals.values()))
    with pytest.raises(PolicyError, match="was given the state"):
        light.set_state("G" * (len(light.links) + 1))


def test_detectors_see_the_queue_ten_seconds_late(opened, simulator):
    lane = simulator[1]
    run = opened(detector_lanes=(lane,))
    room = run.control_room
    assert room.detectors.lanes == (lane,)
    assert room.detectors.lag_s == 10
    for light in room.signals.values():
        light.set_state("r" * len(light.links))
    seen = []
    while run.time_s < 120:
        run.step()
        seen.append(room.detectors.count(lane))
    lag = round(10 / run.step_length_s)
    assert seen[:lag] == [0] * lag
    assert seen[-1] > 3
    assert sorted(seen) == seen  # nobody leaves before a red light


def test_a_lane_without_detector_is_the_policys_fault(opened, simulator):
    run = opened(detector_lanes=(simulator[1],))
    with pytest.raises(PolicyError, match="has no detector"):
        run.control_room.detectors.count("elsewhere_0")


def test_detectors_on_lanes_that_are_not_there_are_refused(opened):
    with pytest.raises(SimulationError, match="elsewhere_0"):
        opened(detector_lanes=("elsewhere_0",))
    opened("after").step()  # the refusal left nothing behind


def test_excluded_vehicles_do_not_count(opened):
    run = opened()
    meter, without = DelayMeter(run), DelayMeter(run)
    finish(run, lambda: (meter.update(), without.update()))
    some = run.running_ids()[:3]
    without.exclude(*some)
    assert without.result().due == meter.result().due - 3
    assert without.result().time_veh_h < meter.result().time_veh_h
