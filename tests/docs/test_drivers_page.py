"""The page on what drivers know says what the defaults are."""

import re

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


def test_what_a_policy_reads_is_there():
    section = PAGE.partition("## What a policy knows")[2].partition("##")[0]
    names = set(re.findall(r"`(\w+)`", section))
    assert names and names <= {*KnownIncident.__dataclass_fields__, "known_incidents"}
