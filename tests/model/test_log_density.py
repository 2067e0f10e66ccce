"""The density of an event log: it integrates to one, finds a law that is known, and chooses by later rows alone."""

import csv
import gzip
import math
import runpy
import subprocess
import sys

import pytest
import torch

from scenariogen.errors import DataError, DensityError
from scenariogen.model.log_density import LogDensity, log_density_for
from scenariogen.model.log_fit import LogSettings, choose_log_settings, fit_log_density, mean_log_densities
from scenariogen.model.log_rows import DURATION_S, HOUR, KIND, LogRows, coded
from scenariogen.randomness import uniform
from scenariogen.sampling.contract import draw
from scenariogen.sampling.discrete import draw_category
from scenariogen.sampling.training import seeded
from tests.support import ROOT, shared_data

KINDS, DIRECTIONS = ("crash", "breakdown"), ("north", "south", "unstated")
KIND_SHARES = torch.tensor([0.7, 0.3], dtype=torch.float64)
MEAN_S = torch.tensor([1200.0, 3600.0], dtype=torch.float64)
"""Of the exponential durations of the two kinds."""


def known_rows(count: int, *, seed: int = 1) -> LogRows:
    """Rows of a known law: crashes by day and breakdowns by night, exponential durations whose mean the kind sets."""
    u = uniform(seed, torch.arange(count), 5)
    kind = draw_category(u[:, 0], KIND_SHARES)
    direction = draw_category(u[:, 1], torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))
    weekday = (7 * u[:, 2]).to(torch.int64)
    hour = torch.where(kind == 0, 6 + (12 * u[:, 3]).to(torch.int64), (6 * u[:, 3]).to(torch.int64))
    duration_s = -MEAN_S[kind] * torch.log(u[:, 4])
    return LogRows(
        kinds=KINDS,
        directions=DIRECTIONS,
        codes=torch.stack([kind, direction, weekday, hour], dim=1),
        duration_s=duration_s,
    )


def bent_density(*, jitter_s: float = 150.0) -> LogDensity:
    """A density whose parameters are anything but those it starts with."""
    density = seeded(lambda: LogDensity((2, 3, 7, 24), jitter_s=jitter_s, scale=1.5, bins=6, hidden=8), seed=3)
    with torch.no_grad():
        for number, each in enumerate(density.parameters()):
            noise = uniform(number, torch.arange(each.numel()), 1).reshape(each.shape)
            each.add_(noise - 0.5)
    return density


@pytest.fixture(scope="module")
def fitted() -> LogDensity:
    return fit_log_density(known_rows(3000), seed=1, settings=LogSettings(turns=20, bins=10, hidden=16))


def test_the_density_sums_and_integrates_to_one():
    density = bent_density()
    empty = torch.zeros((1, 0), dtype=torch.float64)
    shares = torch.exp(density.choices(empty).log_table()).detach()
    assert float(shares.sum()) == pytest.approx(1.0, abs=1e-12)
    # Simpson in y = log(t + 2 j) over one outcome: p(k, t) dt = p(k, t) (t + 2 j) dy must give that outcome's share.
    y = torch.linspace(math.log(150.0), math.log(150.0) + 60.0, 200_001, dtype=torch.float64)
    place = 4321 % shares.shape[1]
    outcome = density.choices.outcomes()[place].to(torch.float64)
    t = (torch.exp(y) - 300.0).clamp_min(-150.0)
    rows = torch.cat([outcome.expand(len(t), -1), t[:, None]], dim=1)
    with torch.no_grad():
        p = torch.exp(density(rows[:, :0]).log_prob(rows)) * torch.exp(y)
    weight = torch.ones_like(y)
    weight[1:-1:2], weight[2:-1:2] = 4.0, 2.0
    integral = float((weight * p).sum() * (y[1] - y[0]) / 3)
    assert integral == pytest.approx(float(shares[0, place]), rel=1e-5)


def test_draws_carry_their_own_log_density_and_lie_in_the_support():
    density = bent_density()
    drawn = draw(density, seed=5, n=2000)
    assert drawn.log_prob is not None and drawn.log_prob_is_exact
    with torch.no_grad():
        again = density(drawn.x[:, :0]).log_prob(drawn.x)
    torch.testing.assert_close(drawn.log_prob, again, rtol=0, atol=1e-6)
    assert (drawn.x[:, DURATION_S] >= -150.0).all()
    assert density.measure == "counting^4 × Lebesgue^1"


def test_the_share_of_long_durations_among_draws_is_the_analytic_one():
    density, n = bent_density(), 40_000
    drawn = draw(density, seed=6, n=n).x
    with torch.no_grad():
        expected = torch.exp(density.log_longer(drawn[:, :DURATION_S], 1800.0))
    # Given its choices each draw is longer with its own probability: the variance of the mean of differences.
    error = float((expected * (1 - expected)).sum().sqrt()) / n
    gap = float(((drawn[:, DURATION_S] >= 1800.0).to(torch.float64) - expected).mean())
    assert 0.02 < float(expected.mean()) < 0.98
    assert abs(gap) < 4 * error


@pytest.mark.parametrize(
    "row",
    [
        [2.0, 0, 0, 0, 100.0],
        [0.5, 0, 0, 0, 100.0],
        [0.0, 3, 0, 0, 100.0],
        [0.0, 0, 7, 0, 100.0],
        [0.0, 0, 0, 24, 100.0],
        [0.0, 0, 0, 0, -151.0],
        [0.0, 0, 0, 0, math.nan],
        [math.nan, 0, 0, 0, 100.0],
        [0.0, 0, 0, 0, math.inf],
    ],
)
def test_what_cannot_be_has_probability_zero(row):
    density = bent_density()
    x = torch.tensor([row, [0.0, 0, 0, 0, 100.0]], dtype=torch.float64)
    found = density(x[:, :0]).log_prob(x)
    assert found[0] == -math.inf and torch.isfinite(found[1])


def test_rows_of_another_width_are_refused():
    density = bent_density()
    with pytest.raises(DensityError, match=r"expected \(batch, 5\)"):
        density(torch.zeros((3, 0), dtype=torch.float64)).log_prob(torch.zeros((3, 4), dtype=torch.float64))


def test_a_fit_starts_from_the_frequencies_of_each_column():
    rows = known_rows(500)
    density = log_density_for(rows, bins=6, hidden=8)
    empty = torch.zeros((1, 0), dtype=torch.float64)
    table = torch.exp(density.choices(empty).log_table()).reshape(rows.options)
    for column, count in enumerate(rows.options):
        others = [at for at in range(4) if at != column]
        counted = torch.bincount(rows.codes[:, column], minlength=count).to(torch.float64) + 0.5
        torch.testing.assert_close(table.sum(others), counted / counted.sum(), rtol=1e-5, atol=1e-8)


def test_a_fit_finds_the_law_that_the_rows_come_from(fitted):
    n = 20_000
    drawn = draw(fitted, seed=7, n=n).x
    kind, hour = drawn[:, KIND], drawn[:, HOUR]
    # 3,000 rows were fitted: the standard error of a share is at most 0.5 / sqrt(3000), of a mean mean / sqrt(rows).
    assert float((kind == 0).to(torch.float64).mean()) == pytest.approx(0.7, abs=4 * 0.46 / 3000**0.5)
    by_day = (hour >= 6) & (hour < 18)
    assert float(by_day[kind == 0].to(torch.float64).mean()) > 0.97
    assert float(by_day[kind == 1].to(torch.float64).mean()) < 0.03
    for which, rows in ((0, 2100), (1, 900)):
        median = float(drawn[kind == which, DURATION_S].median())
        expected = float(MEAN_S[which]) * math.log(2)
        # The median of an exponential law has standard error mean / sqrt(rows).
        assert abs(median - expected) < 4 * float(MEAN_S[which]) / rows**0.5


def test_held_out_rows_are_likelier_than_under_independent_columns(fitted):
    later = known_rows(2000, seed=2)
    apart = log_density_for(known_rows(3000), bins=10, hidden=16)
    gain = mean_log_densities(fitted, later, seed=1) - mean_log_densities(apart, later, seed=1)
    # The hour gives the kind away: −0.7 log 0.7 − 0.3 log 0.3 = 0.61 nats, and the durations give more.
    assert float(gain.mean()) > 0.61 - 4 * float(gain.std()) / len(later) ** 0.5


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    rows, settings = known_rows(300), LogSettings(turns=2, bins=4, hidden=4)
    first, again, other = (fit_log_density(rows, seed=seed, settings=settings) for seed in (1, 1, 2))
    states = [torch.cat([each.reshape(-1) for each in model.parameters()]) for model in (first, again, other)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_shrinkage_draws_the_choices_towards_independence():
    rows = known_rows(200)
    loose, tight = (
        fit_log_density(rows, seed=1, settings=LogSettings(turns=60, bins=4, hidden=8, shrinkage=shrinkage), batch=50)
        for shrinkage in (0.1, 1e5)
    )
    norms = [
        sum(float(each.detach().square().sum()) for each in model.parameters() if each.dim() > 1)
        for model in (loose, tight)
    ]
    assert norms[1] < 0.05 * norms[0]


def test_settings_are_chosen_by_the_last_rows_and_the_best_comes_first():
    rows = known_rows(1500)
    poor = LogSettings(turns=1, bins=2, hidden=2, shrinkage=1e4)
    good = LogSettings(turns=15, bins=8, hidden=16)
    found = choose_log_settings(rows, seed=1, candidates=(poor, good))
    assert found[0].settings == good
    assert found[0].log_density > found[1].log_density + 0.3
    # The score is that of the rows after the cut under a fit to those before it.
    cut = 1200
    by_hand = fit_log_density(rows.part(0, cut), seed=1, settings=good)
    later = rows.part(cut, 1500).spread(seed=9)
    with torch.no_grad():
        expected = by_hand(later[:, :0]).log_prob(later)
    assert found[0].log_density == pytest.approx(float(expected.mean()), abs=4 * found[0].standard_error)


def test_jitter_spreads_durations_evenly_and_nothing_else():
    rows = known_rows(5000)
    spread = rows.spread(seed=3)
    moved = spread[:, DURATION_S] - rows.duration_s
    assert torch.equal(spread[:, :4], rows.codes.to(torch.float64))
    assert float(moved.abs().max()) <= 150.0
    assert abs(float(moved.mean())) < 4 * 150.0 / (3 * 5000) ** 0.5
    assert float(moved.var()) == pytest.approx(150.0**2 / 3, rel=0.05)
    assert torch.equal(spread, rows.spread(seed=3)) and not torch.equal(spread, rows.spread(seed=4))


def test_rows_list_everything_that_is_wrong_with_them():
    codes = torch.tensor([[0, 0, 0, 0], [2, 0, 7, 0], [0, 3, 0, 24]])
    with pytest.raises(DataError) as caught:
        LogRows(
            kinds=KINDS,
            directions=("north", "north", "south"),
            codes=codes,
            duration_s=torch.tensor([1.0, -1.0, math.nan]),
            jitter_s=0.0,
        )
    text = str(caught.value)
    for part in ("jitter_s is 0.0", "each once", "1 rows have a kind", "1 rows have a direction", "weekday", "hour"):
        assert part in text
    assert "2 rows have a duration that is negative" in text


def test_words_outside_the_vocabulary_are_named():
    assert coded(["b", "a"], ("a", "b"), column="kind").tolist() == [1, 0]
    with pytest.raises(DataError, match="2 values of kind are not in its vocabulary"):
        coded(["a", "x", "y", "x"], ("a", "b"), column="kind")


def test_settings_and_choices_that_cannot_be_used_are_refused():
    with pytest.raises(DataError, match=r"turns is 0.*\n.*bins is 1.*\n.*shrinkage is -1"):
        LogSettings(turns=0, bins=1, shrinkage=-1.0)
    with pytest.raises(DataError, match="expected at least 100"):
        fit_log_density(known_rows(50), seed=1)
    with pytest.raises(DataError, match=r"no candidates.*\n.*last_share is 1.0.*\n.*cut after 0"):
        choose_log_settings(known_rows(300), seed=1, candidates=(), last_share=1.0)


def benchmark(monkeypatch) -> dict:
    """What scripts/benchmark_fidelity defines."""
    script = ROOT / "scripts" / "benchmark_fidelity"
    monkeypatch.setattr(sys, "argv", [str(script), "--no-setup"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    return runpy.run_path(str(script))


def written_log(path, rows: list[tuple[str, str, str, str]]):
    """A log of (direction, start, last edit, subtype) with a column of free text that nobody needs."""
    with gzip.open(path, "wt", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["DirectionOfTravel", "StartDate", "LastUpdated", "EventSubType", "Description"])
        out.writerows([*row, "text\nin two lines"] for row in rows)
    return path


def test_the_benchmark_reads_a_log_in_order_of_time_and_counts_what_it_leaves_out(tmp_path, monkeypatch):
    path = written_log(
        tmp_path / "log.csv.gz",
        [
            ("", "2025-07-02 03:30:00", "2025-07-02 04:00:00", ""),
            ("North", "2025-07-01 21:00:00", "2025-07-01 21:01:30", "TC34EXB"),
            ("", "2025-07-01 08:00:00", "2025-07-01 07:00:00", "crashExit"),
            ("East", "2025-07-01 09:00:00", "2025-07-03 09:00:00", "crashExit"),
        ],
    )
    rows, dropped = benchmark(monkeypatch)["read_log"](path)
    assert list(dropped.values()) == [1, 1]
    kinds = [rows.kinds[code] for code in rows.codes[:, KIND].tolist()]
    directions = [rows.directions[code] for code in rows.codes[:, 1].tolist()]
    assert (kinds, directions) == (["breakdown", "unstated"], ["North", "unstated"])
    # 1 July 2025 was a Tuesday; local time is seven hours behind.
    assert rows.codes[:, 2:].tolist() == [[1, 14], [1, 20]]
    assert rows.duration_s.tolist() == [90.0, 1800.0]


@pytest.mark.parametrize(
    ("subtype", "kind"),
    [
        ("", "unstated"),
        ("Crash on right shoulder", "crash"),
        ("C34Rshoulder", "breakdown"),
        ("DebrisRshoulder", "obstruction"),
        ("vehicleOnFire", "fire"),
        ("OnRampClosed", "closure"),
        ("guardrail", "equipment"),
        ("WrongWay", "other"),
        ("crashRlanes", "crash"),
    ],
)
def test_the_benchmark_has_one_word_for_many_spellings(subtype, kind, monkeypatch):
    assert benchmark(monkeypatch)["kind_of"](subtype) == kind


def test_the_benchmark_says_where_the_log_should_be():
    command = [sys.executable, str(ROOT / "scripts/benchmark_fidelity"), "--no-setup", "--data", "/nowhere/log.csv.gz"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "../shared/data" in ended.stderr and "--data" in ended.stderr and not ended.stdout


@pytest.mark.data
def test_every_row_of_the_real_log_is_read_or_counted(monkeypatch):
    path = shared_data("incidents", "az511", "az511_incidents_to_2025-08-20.csv.gz")
    rows, dropped = benchmark(monkeypatch)["read_log"](path)
    assert len(rows) + sum(dropped.values()) == 8649
    assert set(rows.codes[:, KIND].tolist()) == set(range(len(rows.kinds)))
    other = int((rows.codes[:, KIND] == rows.kinds.index("other")).sum())
    assert other < 0.05 * len(rows)
