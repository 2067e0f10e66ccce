"""Wherever an incident is put, it stands in time and hurts nobody, or says why it does not."""

from collections import Counter

import pytest

from tests.injection.places import GROUNDS, TRAFFIC, accounts

pytestmark = pytest.mark.sumo
SEEDS = {False: range(2), True: range(2, 60)}


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("traffic", TRAFFIC)
@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["few", "many"])
def test_it_stands_in_time_hurts_nobody_and_leaves_nothing(start, tmp_path, ground, traffic, many):
    faults, counts = [], Counter()
    for account in accounts(start, tmp_path, GROUNDS[ground], seeds=SEEDS[many], traffic=traffic):
        faults += account.faults
        counts += Counter(asked=account.asked, realised=account.realised)
        assert all("no spot within 100 m" in reason for reason in account.reasons)
    assert not faults, "\n".join(faults[:5])
    assert counts["asked"] == 6 * len(SEEDS[many]) and counts["realised"] >= 0.85 * counts["asked"]


@pytest.mark.parametrize("ground", GROUNDS)
def test_over_a_socket_it_is_the_same(start, tmp_path, ground):
    (account,) = accounts(start, tmp_path, GROUNDS[ground], seeds=range(1), traffic="dense", backend="traci")
    assert not account.faults and account.realised >= 4
