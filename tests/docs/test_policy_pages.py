"""The pages on policies say what the program does."""

import inspect
import re

from scenariogen.evaluation.live_detection import GONE_AFTER_S, LOOK_BACK_S
from scenariogen.evaluation.policy import known_policies, load_policy
from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.stationing import MAIN_LANES, MAIN_MPS, STRETCH_M
from scenariogen.evaluation.store import USUAL
from scenariogen.evaluation.usual_traffic import DAYS
from scenariogen.simulation.contract import KnownIncident, RouteAdvice
from tests.support import ROOT

PAGE = (ROOT / "docs" / "writing-a-policy.md").read_text(encoding="utf-8")
POLICIES = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")


def test_the_numbers_of_live_detection_are_the_programs():
    assert (STRETCH_M, MAIN_LANES, round(MAIN_MPS * 3.6), DAYS) == (500.0, 2, 50, 5)
    assert "every 500 m" in PAGE and "two lanes or 50 km/h" in PAGE and "five usual days" in PAGE
    assert (GONE_AFTER_S, LOOK_BACK_S) == (180.0, 3600.0)
    assert "for three minutes" in PAGE and "in the last hour" in PAGE and f"`{USUAL}`" in PAGE
    assert {"found_incidents", "turned_by_advice"} <= {*RunResult.__dataclass_fields__}


def test_the_defaults_of_advice_are_the_programs():
    usual = inspect.signature(RouteAdvice.avoid).parameters
    told = re.search(r"avoid\(edges, share, delay_s=(\d+), upstream_m=(\d+), at=\(\)\)", PAGE)
    assert told and (float(told[1]), float(told[2])) == (usual["delay_s"].default, usual["upstream_m"].default)


def test_what_is_known_of_an_incident_has_the_names_of_the_contract():
    row = next(line for line in PAGE.splitlines() if "| `run.known_incidents` |" in line)
    names = set(re.findall(r"`(\w+)`", row.partition("knows of")[2]))
    assert names and names <= {*KnownIncident.__dataclass_fields__}


def test_each_policy_of_the_table_is_there_and_reads_what_it_says():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", POLICIES, flags=re.MULTILINE)
    assert {name for name, _ in rows} <= {*known_policies()} and len(rows) >= 2
    for name in ("incident_plans", "rerouting_advice"):
        assert re.findall(r"`(\w+)`", dict(rows)[name]) == list(load_policy(name).reads)


def test_the_share_who_follow_advice_is_the_published_one():
    assert load_policy("rerouting_advice").share == 0.2 and "every fifth follows" in POLICIES  # type: ignore[attr-defined]
