"""The code of ``scripts/check_coverage``, few times."""

import sys

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def days():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import coverage_days

        yield coverage_days
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.mark.parametrize("estimand", ["quantile", "CVaR", "all differences", "total"])
def test_few_repeats_are_covered(days, estimand):
    found = days.measure(days.DAYS[0], estimand, repeats=12, seed=3)
    assert found.covered >= 8 and found.covered + found.below + found.above + found.refused == 12
    assert found.plain()["rate"] == found.rate and len(found.cells()) == len(found.header)


def test_an_interval_that_misses_is_told(days):
    found = days.Counted(days="skewed", estimand="mean", repeats=2000, covered=1800, below=100, above=100, refused=0)
    assert not found.within
