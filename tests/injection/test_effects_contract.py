"""What every effect promises. A subclass without a member here fails, and so does a record that nobody makes happen."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from scenariogen.injection.attach import Injection
from scenariogen.injection.connection import Link
from scenariogen.injection.effects import ActiveEffect, Scene
from scenariogen.injection.effects.closure import ActiveClosure
from scenariogen.injection.effects.demand_surge import ActiveDemandSurge
from scenariogen.injection.effects.detector_outage import ActiveDetectorOutage
from scenariogen.injection.effects.registry import ACTIVE
from scenariogen.injection.effects.rubbernecking import ActiveRubbernecking
from scenariogen.injection.effects.signal_failure import ActiveSignalFailure
from scenariogen.injection.effects.speed_limit import ActiveSpeedLimit
from scenariogen.injection.effects.weather import ActiveWeather
from scenariogen.injection.lanes import LaneMap
from scenariogen.injection.stretch import SlowStretches
from scenariogen.injection.values import Ledger
from scenariogen.scenarios import effects as records
from scenariogen.simulation.contract import DetectorBank
from scenariogen.simulation.outages import FallibleDetectors
from tests.injection import roads
from tests.injection.test_signal_failure import crossing_traffic
from tests.injection.undo_proof import snapshot
from tests.support import ROOT

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")
WHEN: dict[str, Any] = {"start_s": 20, "duration_s": 60}


class Bank(DetectorBank):
    """One detector that counts the calls."""

    lanes, length_m, lag_s = ("wc_0",), 60.0, 0.0
    calls = 0

    def count(self, lane: str) -> int:
        self.calls += 1
        return self.calls


@dataclass(frozen=True)
class Member:
    """``shows`` says whether the effect is to be seen in the simulation, the injection or the bank right now."""

    asked: records.Effect
    shows: Callable[[Any, Injection, FallibleDetectors], bool]


MEMBERS: dict[type[ActiveEffect], Member] = {
    ActiveSpeedLimit: Member(
        records.SpeedLimit(**WHEN, limit_mps=5, edges=("ec",), warnings=((100, 8),)),
        lambda sumo, injection, bank: sumo.lane.getMaxSpeed("ec_0") == 5,
    ),
    ActiveClosure: Member(
        records.Closure(**WHEN, edges=("sc",), lanes=("cn_0",)),
        lambda sumo, injection, bank: sumo.lane.getAllowed("cn_0") == (),
    ),
    ActiveWeather: Member(
        records.Weather(**WHEN, weather=records.WeatherKind.HEAVY_SNOW),
        lambda sumo, injection, bank: sumo.vehicletype.getTau("DEFAULT_VEHTYPE") > 1.1,
    ),
    ActiveSignalFailure: Member(
        records.SignalFailure(**WHEN, signal="c"),
        lambda sumo, injection, bank: "O" in sumo.trafficlight.getRedYellowGreenState("c"),
    ),
    ActiveDemandSurge: Member(
        records.DemandSurge(**WHEN, factor=4),
        lambda sumo, injection, bank: len(injection.surge_vehicles) > 3 and injection.effects_report()[0].end_s is None,
    ),
    ActiveDetectorOutage: Member(
        records.DetectorOutage(**WHEN),
        lambda sumo, injection, bank: not bank.has_data("wc_0"),
    ),
    ActiveRubbernecking: Member(
        records.Rubbernecking(**WHEN, edge="wc", position_m=370, capacity_left=0.3),
        lambda sumo, injection, bank: any(sumo.vehicle.getSpeedFactor(v) < 0.7 for v in sumo.vehicle.getIDList()),
    ),
}
every = pytest.mark.parametrize("kind", list(MEMBERS), ids=lambda kind: kind.of.kind)
both = pytest.mark.parametrize("backend", BACKENDS)


def all_subclasses(base: type) -> set[type]:
    return {each for direct in base.__subclasses__() for each in (direct, *all_subclasses(direct))}


def test_every_effect_has_a_member_and_every_record_somebody_who_makes_it_happen():
    shipped = {kind for kind in all_subclasses(ActiveEffect) if kind.__module__.startswith("scenariogen.")}
    assert shipped == set(MEMBERS) == set(ACTIVE.values())
    assert set(ACTIVE) == set(records.EFFECTS.values()) == all_subclasses(records.Effect)
    assert all(type(member.asked) is kind.of for kind, member in MEMBERS.items())
    documented = [kind.__doc__ for kind in MEMBERS]
    assert all(documented)


@pytest.fixture
def begin(start, signal_road, tmp_path):
    """A simulation of the crossing with an injection of effects, and the detectors that a policy reads."""
    routes = crossing_traffic(tmp_path, rate=600)  # somebody is in the stretch at all times

    def make(backend: str, *effects: records.Effect):
        sumo = start(backend, signal_road, routes, "--ignore-route-errors", "true")
        bank = FallibleDetectors(Bank())
        injection = Injection(sumo, roads.scenario(effects=effects), network=signal_road, detectors=bank)
        return sumo, injection, bank

    return make


def undisturbed(begin, backend: str, until: float) -> dict:
    sumo, injection, _ = begin(backend)
    with injection:
        roads.run_until(sumo, until)
        found = snapshot(sumo)
    sumo.close()
    return found


@every
@both
def test_it_shows_while_it_stands_and_nothing_is_left_afterwards(begin, backend, kind):
    member, twin = MEMBERS[kind], undisturbed(begin, backend, 120)
    sumo, injection, bank = begin(backend, member.asked)
    with injection:
        roads.run_until(sumo, 18)
        assert not member.shows(sumo, injection, bank)
        assert injection.effects_report()[0].reason == "its time has not come yet"
        roads.run_until(sumo, 75)
        assert member.shows(sumo, injection, bank)
        roads.run_until(sumo, 85)
        assert not member.shows(sumo, injection, bank)
        roads.run_until(sumo, 120)
        assert snapshot(sumo) == twin
    (report,) = injection.effects_report()
    assert (report.realised, report.start_s, report.end_s) == (True, 20, 80)
    assert all(type(count) is int for count in report.counts.values())
    assert json.loads(json.dumps(dict(report.counts))) == dict(report.counts)
    assert kind.of.kind in str(report) and report.is_over


@every
@both
@pytest.mark.parametrize("how", ["finish", "exception", "listener removed", "closed"])
def test_it_may_end_early_in_any_way(begin, backend, kind, how):
    member = MEMBERS[kind]
    twin = undisturbed(begin, backend, 60) if how != "closed" else {}
    sumo, injection, bank = begin(backend, member.asked)
    try:
        with injection:
            roads.run_until(sumo, 60)
            assert member.shows(sumo, injection, bank)
            if how == "exception":
                raise ZeroDivisionError
            if how == "listener removed":
                manager = sumo._stepManager if backend == "libsumo" else sumo
                manager.removeStepListener(next(iter(manager._stepListeners)))
            elif how == "closed":
                sumo.close()
            else:
                injection.finish()
    except ZeroDivisionError:
        assert how == "exception"
    (report,) = injection.effects_report()
    assert report.realised and report.end_s == 60 and "before its end" in report.reason
    assert bank.has_data("wc_0")
    if how != "closed":
        assert snapshot(sumo) == twin
        assert not any(v.startswith("surge.") for v in sumo.vehicle.getIDList())


@every
def test_it_overlaps_with_itself(begin, kind):
    """The first ends while the second stands, and the second within the first."""
    member, backend = MEMBERS[kind], "libsumo"
    for second in ({"start_s": 50, "duration_s": 60}, {"start_s": 30, "duration_s": 20}):
        twin = undisturbed(begin, backend, 130)
        sumo, injection, bank = begin(backend, member.asked, replace(member.asked, **second))
        with injection:
            roads.run_until(sumo, 78)
            assert member.shows(sumo, injection, bank)
            roads.run_until(sumo, 130)
            assert snapshot(sumo) == twin and bank.has_data("wc_0")
        assert all(report.realised for report in injection.effects_report())
        sumo.close()


@every
def test_all_others_beside_it(begin, kind):
    first, *others = [MEMBERS[kind], *(member for other, member in MEMBERS.items() if other is not kind)]
    effects = [first.asked, *(replace(other.asked, start_s=30.0, duration_s=25.0) for other in others)]
    twin = undisturbed(begin, "libsumo", 130)
    sumo, injection, bank = begin("libsumo", *effects)
    with injection:
        roads.run_until(sumo, 50)
        assert all(member.shows(sumo, injection, bank) for member in (first, *others))
        roads.run_until(sumo, 70)
        assert first.shows(sumo, injection, bank)
        roads.run_until(sumo, 130)
        assert snapshot(sumo) == twin


@every
def test_stepped_past_it_did_not_happen(begin, kind):
    sumo, injection, _ = begin("libsumo", MEMBERS[kind].asked)
    original = sumo.simulationStep
    with injection:
        before = snapshot(sumo)["lanes"]
        original(100)
        original()
        assert snapshot(sumo)["lanes"] == before
    (report,) = injection.effects_report()
    assert not report.realised and "stepped past" in report.reason


def test_the_effect_of_the_page_about_effects_works(begin, signal_road):
    page = (ROOT / "docs" / "writing-an-effect.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)[0], names)
    sumo, _, _ = begin("libsumo")
    link = Link(sumo)
    scene = Scene(
        link=link,
        network=signal_road,
        lanes=LaneMap(link, signal_road),
        ledger=Ledger(link),
        stretches=SlowStretches(link),
        passing_speed_mps=lambda incident, edge: 5.0,
        seed=1,
        own=frozenset,
    )
    usual = sumo.lane.getMaxSpeed("ec_0")
    effect = names["ActiveHalfSpeed"](0, MEMBERS[ActiveSpeedLimit].asked, scene)
    assert effect.apply(0.0) == "" and sumo.lane.getMaxSpeed("ec_0") == usual / 2
    effect.undo(early=True)
    assert sumo.lane.getMaxSpeed("ec_0") == usual
