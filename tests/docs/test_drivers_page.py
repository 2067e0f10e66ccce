"""The page on what drivers know says what the defaults are."""

import re

from scenariogen.injection.drivers import DETOUR_WORTH_S
from scenariogen.injection.recovery import GIVEN_UP_S, LOOK_EVERY_S, REACH_M, STANDING_MPS
from scenariogen.scenarios.drivers import Drivers
from scenariogen.simulation.contract import KnownIncident
from tests.support import ROOT

PAGE = (ROOT / "docs" / "drivers.md").read_text(encoding="utf-8")


def test_every_number_of_the_table_is_the_default():
    told = re.findall(r"`(\w+)` (\d+(?:\.\d+)?)", PAGE)
    usual = Drivers()
    assert {name for name, _ in told} == {*Drivers.__dataclass_fields__} - {"sign_edges", "reroute_after_s"}
    assert {name: float(value) for name, value in told} == {name: getattr(usual, name) for name, _ in told}
    assert f"after {usual.reroute_after_s:g} s of standing" in PAGE


def test_the_limits_of_what_is_looked_at_are_the_programs():
    assert f"{STANDING_MPS * 3.6:g} km/h" in PAGE and f"at most {REACH_M / 1000:g} km" in PAGE
    assert (LOOK_EVERY_S, GIVEN_UP_S, DETOUR_WORTH_S) == (10.0, 7200.0, 1800.0)
    assert "every ten seconds" in PAGE and "two hours at most" in PAGE and "reckons with half an hour" in PAGE


def test_what_a_policy_reads_is_there():
    section = PAGE.partition("## What a policy knows")[2].partition("##")[0]
    names = set(re.findall(r"`(\w+)`", section))
    assert names and names <= {*KnownIncident.__dataclass_fields__, "known_incidents"}
