"""Stages of an evaluation that grew, and other levels than 95 %."""

import numpy as np
import pytest

from scenariogen.errors import ResultsError
from scenariogen.evaluation.outcomes import LOCK_UP, cvar_name, quantile_name
from tests.evaluation.asking import one, refused
from tests.evaluation.synthetic import counted_batch, delays, runs, true_mean


def cut(batch, *ends):
    """Rows of consecutive stages that end before the given places."""
    place = np.arange(len(batch))
    return [(place >= begin) & (place < end) for begin, end in zip((0, *ends[:-1]), ends, strict=True)]


def test_a_level_moves_the_limits_and_nothing_else():
    batch = counted_batch(600)
    made = runs(batch, a=delays(batch))
    for estimand in ("mean_delay_veh_h", LOCK_UP, quantile_name(0.8), cvar_name(0.8)):
        wide, usual = (one(batch, made, estimand=estimand, tail=0.8, level=level)[0] for level in (0.99, 0.95))
        assert wide.value == usual.value and wide.level == 0.99
        assert wide.high > usual.high and wide.low <= usual.low


def test_one_stage_of_all_rows_is_no_stage():
    batch = counted_batch(600)
    made = runs(batch, a=delays(batch))
    everything = [(np.ones(len(batch), dtype=bool), 1.0)]
    assert one(batch, made, stages=everything) == one(batch, made)


def test_stages_are_weighed_by_their_shares_whatever_they_hold():
    """The second stage saw days twice as bad; its share is what was fixed, not its number of runs."""
    batch = counted_batch(1200)
    table = delays(batch)
    first, second = cut(batch, 300, 1200)
    table[second] *= 2
    made = runs(batch, a=table)
    found, detail = one(batch, made, stages=[(first, 0.8), (second, 0.2)])
    assert found.verdict == "ok" and detail.strata == 4
    expected = 0.8 * true_mean(1.0) + 0.2 * 2 * true_mean(1.0)
    assert found.value == pytest.approx(expected, abs=4 * found.standard_error)
    pooled, before = one(batch, made)
    assert pooled.value > found.value + 3 * found.standard_error
    assert detail.blind_spot == before.blind_spot and detail.ess_incident == before.ess_incident


def test_an_evaluation_in_stages_covers():
    """300 evaluations that stop early or late by what the first stage showed: the shares do not depend on it."""
    hits = 0
    for repeat in range(300):
        batch = counted_batch(240, seed=9000 + repeat)
        table = delays(batch, seed=400 + repeat)
        rows = cut(batch, 120, 180, 240) if table[:120].mean() > 15 else cut(batch, 120, 150, 240)
        found, _ = one(batch, runs(batch, a=table), stages=list(zip(rows, (0.5, 0.2, 0.3), strict=True)))
        hits += found.value is not None and found.low <= true_mean(1.0) <= found.high
    assert hits / 300 >= 0.90


def test_a_stage_without_runs_of_one_kind_is_refused():
    batch = counted_batch(600)
    made = runs(batch, a=delays(batch))
    free = np.array([s.is_incident_free for s in batch.scenarios])
    rows = np.arange(600) < 300
    found, _ = one(batch, made, stages=[(rows, 0.5), (~rows & ~free, 0.5)])
    refused(found, "a stage of the evaluation has no valid run of one kind|too few different values")


def test_stages_that_are_none_name_every_fault():
    batch = counted_batch(60)
    everything = np.ones(60, dtype=bool)
    with pytest.raises(ResultsError) as caught:
        one(batch, runs(batch, a=delays(batch)), stages=[(everything, 0.7), (everything, 0.2), (np.ones(3), -1.0)])
    text = str(caught.value)
    assert "stage 2 has rows of shape (3,)" in text and "share of -1.0" in text and "add up to -0.1" in text
