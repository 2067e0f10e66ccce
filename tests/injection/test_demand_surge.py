"""A surge: as many more departures as asked, on the entries asked, the same in every run."""

import pytest

from scenariogen.injection import inject
from scenariogen.scenarios.effects import DemandSurge
from tests.injection import roads
from tests.injection.test_closure import demand

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")


def departures(sumo, until: float) -> list[tuple[float, str]]:
    found = []
    while sumo.simulation.getTime() < until:
        sumo.simulationStep()
        found += [(sumo.simulation.getTime(), v) for v in sumo.simulation.getDepartedIDList()]
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("factor", [1.0, 1.5, 3.0])
def test_departures_are_multiplied_on_the_entries_asked(start, diamond, tmp_path, backend, factor):
    sumo = start(backend, diamond, demand(tmp_path, "in direct out", "around back out", rate=300, end=900))
    surge = DemandSurge(start_s=100, duration_s=600, factor=factor, entries=("in",))
    with inject(sumo, roads.scenario(effects=(surge,)), network=diamond) as injection:
        found = departures(sumo, 1000)
        copies = [v for _, v in found if v.startswith("surge.")]
        copied = [v for t, v in found if v.startswith("f0") and 100 < t <= 700]
        assert len(copied) >= 49 and set(copies) == injection.surge_vehicles
        assert len(copies) == pytest.approx((factor - 1) * len(copied), abs=3.5 * (0.25 * len(copied)) ** 0.5)
        assert factor != 3.0 or len(copies) == 2 * len(copied)
        assert {v.split(".", 2)[2].rsplit(".", 1)[0] for v in copies} <= set(copied)
        assert not injection.own_vehicles
    (report,) = injection.effects_report()
    assert dict(report.counts) == {"added": len(copies), "refused": 0}


def test_lines_run_as_often_as_their_timetable_says(start, diamond, tmp_path):
    routes = tmp_path / "bus.rou.xml"
    routes.write_text(
        '<routes><vType id="bus" vClass="bus"/>'
        + "".join(
            f'<vehicle id="{name}" type="bus" depart="{20 + n}" {line}><route edges="in direct out"/></vehicle>'
            for n, (name, line) in enumerate((("on_a_line", 'line="7"'), ("hired", "")))
        )
        + "</routes>",
        encoding="utf-8",
    )
    sumo = start("libsumo", diamond, routes)
    surge = DemandSurge(start_s=10, duration_s=60, factor=2.0)
    with inject(sumo, roads.scenario(effects=(surge,)), network=diamond):
        found = departures(sumo, 60)
    assert sorted(v for _, v in found) == ["hired", "on_a_line", "surge.0.hired.0"]


def test_it_is_decided_by_the_seed(start, diamond, tmp_path):
    routes = demand(tmp_path, "in direct out", rate=600, end=900)
    surge = DemandSurge(start_s=10, duration_s=600, factor=1.5)
    runs = []
    for backend, seed in (("libsumo", 1), ("traci", 1), ("libsumo", 2)):
        sumo = start(backend, diamond, routes)
        with inject(sumo, roads.scenario(effects=(surge,), seed=seed), network=diamond):
            runs.append(departures(sumo, 700))
        sumo.close()
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_ended_early_its_vehicles_are_gone_also_those_that_wait(start, diamond, tmp_path, backend):
    sumo = start(backend, diamond, demand(tmp_path, "in direct out", rate=1500, end=900))
    surge = DemandSurge(start_s=10, duration_s=600, factor=8.0)
    with inject(sumo, roads.scenario(effects=(surge,)), network=diamond) as injection:
        roads.run_until(sumo, 120)
        pending = sumo.simulation.getPendingVehicles()
        assert any(v.startswith("surge.") for v in pending)
        assert any(v.startswith("surge.") for v in sumo.vehicle.getIDList())
        others = {v for v in sumo.vehicle.getIDList() if not v.startswith("surge.")}
    assert set(sumo.vehicle.getIDList()) == others and injection.effects_report()[0].end_s == 120
    for _ in range(60):
        sumo.simulationStep()
        assert not any(v.startswith("surge.") for v in sumo.vehicle.getIDList())
        assert not any(v.startswith("surge.") for v in sumo.simulation.getPendingVehicles())


def test_ended_in_time_its_vehicles_drive_on(start, diamond, tmp_path):
    sumo = start("libsumo", diamond, demand(tmp_path, "in direct out", rate=300, end=900))
    surge = DemandSurge(start_s=10, duration_s=100, factor=2.0)
    with inject(sumo, roads.scenario(effects=(surge,)), network=diamond):
        roads.run_until(sumo, 112)
        before = sum(v.startswith("surge.") for v in sumo.vehicle.getIDList())
    assert before and sum(v.startswith("surge.") for v in sumo.vehicle.getIDList()) == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_long_step_copies_as_many_as_single_ones(start, diamond, tmp_path, backend):
    routes = demand(tmp_path, "in direct out", rate=600, end=900)
    surge = DemandSurge(start_s=10, duration_s=200, factor=2.5)
    added = []
    for target in (0, 300):
        sumo = start(backend, diamond, routes)
        with inject(sumo, roads.scenario(effects=(surge,)), network=diamond) as injection:
            while sumo.simulation.getTime() < 300:
                sumo.simulationStep(target)
        added.append(injection.surge_vehicles)
        sumo.close()
    assert added[0] == added[1] and len(added[0]) > 30


@pytest.mark.parametrize("backend", BACKENDS)
def test_vehicles_whose_routes_are_their_own_may_be_copied(start, diamond, tmp_path, backend):
    """A copy that shared a route from within a flow made libsumo crash when the first of them arrived; all demand of
    the tests had named routes."""
    path = tmp_path / "own.rou.xml"
    trips = "".join(
        f'<vehicle id="v{n}" depart="{n}"><route edges="in direct out"/></vehicle>' for n in range(0, 90, 9)
    )
    flow = '<flow id="f" begin="0" end="300" vehsPerHour="600"><route edges="in around back out"/></flow>'
    more = '<trip id="t" depart="100" from="in" to="out"/>'
    path.write_text(f"<routes>{flow}{trips}{more}</routes>", encoding="utf-8")
    sumo = start(backend, diamond, path)
    surge = DemandSurge(start_s=10, duration_s=200, factor=3.0)
    arrived = []
    with inject(sumo, roads.scenario(effects=(surge,)), network=diamond) as injection:
        while sumo.simulation.getTime() < 900:
            sumo.simulationStep()
            arrived += sumo.simulation.getArrivedIDList()
        added = injection.surge_vehicles
    assert len(added) > 50 and added <= set(arrived) and "surge.0.t.1" in added
