"""Fitting the density of an event log, with settings chosen on the last part of the rows in time.

The loss is −log p, each row's duration spread anew in every step, plus a ridge of ``shrinkage`` / n times the squared
weights (a normal prior on them), so that what few rows say of a rare combination is drawn towards what its parts say.

Later rows differ from earlier ones by drift. Number of steps, size and shrinkage are therefore those with the highest
likelihood on the *last* rows, fitted to the rows before them; the density of record is then fitted to all rows with
these settings. Rows beyond those given take no part.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from scenariogen.errors import DataError, Problems
from scenariogen.model.log_density import LogDensity, log_density_for
from scenariogen.model.log_rows import CODES, DURATION_S, LogRows, spread_durations
from scenariogen.randomness import child_seed
from scenariogen.sampling.contract import BLOCK
from scenariogen.sampling.training import Rows, fit, seeded

LEAST_ROWS = 100
"""Rows that a fit, and the part that chooses its settings, must have."""
CHECK_JITTERS = 4
"""Times that each row is spread anew where a likelihood chooses."""


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """What is chosen before a fit.

    ``turns``      how often each row is seen
    ``bins``       of the duration's spline
    ``hidden``     width of the perceptrons
    ``shrinkage``  precision of the weights' normal prior, at least 0
    """

    turns: int = 60
    bins: int = 16
    hidden: int = 32
    shrinkage: float = 3.0

    def __post_init__(self) -> None:
        problems = Problems("settings of a log's density")
        for name, least in (("turns", 1), ("bins", 2), ("hidden", 1), ("shrinkage", 0)):
            if not getattr(self, name) >= least:
                problems.add(f"{name} is {getattr(self, name)}, expected at least {least}")
        problems.raise_as(DataError)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Settings and the mean log-density that they reached on the last rows, with its standard error."""

    settings: LogSettings
    log_density: float
    standard_error: float

    def __str__(self) -> str:
        named = ", ".join(f"{name} {value:g}" for name, value in asdict(self.settings).items())
        return f"{named}: {self.log_density:.4f} ± {self.standard_error:.4f} nats a row"


DEFAULT_CANDIDATES = tuple(LogSettings(turns=turns, hidden=hidden) for hidden in (16, 32) for turns in (60, 100))


def fit_log_density(
    rows: LogRows,
    *,
    seed: int,
    settings: LogSettings | None = None,
    batch: int = 256,
    learning_rate: float = 5e-3,
    progress: Callable[[int, int], None] | None = None,
) -> LogDensity:
    """Penalised maximum likelihood over all ``rows``, the same weights for the same seed on one thread.

    ``DataError`` for fewer than 100 rows.
    """
    chosen = LogSettings() if settings is None else settings
    if len(rows) < LEAST_ROWS:
        raise DataError(f"got {len(rows)} rows of a log, expected at least {LEAST_ROWS} to fit a density to")
    count = len(rows)
    density = seeded(lambda: log_density_for(rows, bins=chosen.bins, hidden=chosen.hidden), seed=seed)
    data = torch.cat([rows.codes.to(torch.float64), rows.duration_s.to(torch.float64)[:, None]], dim=1)

    def loss(module: LogDensity, part: Rows) -> Tensor:
        duration_s = spread_durations(part.x[:, DURATION_S], part.noise(1)[:, 0], jitter_s=rows.jitter_s)
        x = torch.cat([part.x[:, CODES], duration_s[:, None]], dim=1)
        ridge = sum((each.square().sum() for each in module.parameters() if each.dim() > 1), x.new_zeros(()))
        return -module(part.context).log_prob(x) + 0.5 * chosen.shrinkage / count * ridge

    fit(
        density,
        loss,
        data,
        seed=child_seed(seed, "log density"),
        steps=max(1, chosen.turns * count // min(batch, count)),
        batch=batch,
        learning_rate=learning_rate,
        held_out=0.0,
        progress=progress,
    )
    return density


def choose_log_settings(
    rows: LogRows,
    *,
    seed: int,
    candidates: Sequence[LogSettings] = DEFAULT_CANDIDATES,
    last_share: float = 0.2,
) -> tuple[Choice, ...]:
    """Every candidate with its mean log-density on the last ``last_share`` of the rows, the best one first.

    Each is fitted to the rows before those. ``DataError`` without candidates, for a share outside (0, 1), and where a
    part has fewer than 100 rows.
    """
    problems = Problems("a choice of settings")
    if not candidates:
        problems.add("got no candidates, expected at least 1")
    if not 0 < last_share < 1:
        problems.add(f"last_share is {last_share}, expected a share between 0 and 1")
    cut = len(rows) - round(last_share * len(rows))
    if min(cut, len(rows) - cut) < LEAST_ROWS:
        problems.add(f"got {len(rows)} rows, cut after {cut}: expected at least {LEAST_ROWS} on either side")
    problems.raise_as(DataError)
    earlier, later = rows.part(0, cut), rows.part(cut, len(rows))
    found = []
    for settings in candidates:
        density = fit_log_density(earlier, seed=seed, settings=settings)
        scores = mean_log_densities(density, later, seed=child_seed(seed, "choice"))
        error = float(scores.std() / len(scores) ** 0.5)
        found.append(Choice(settings=settings, log_density=float(scores.mean()), standard_error=error))
    return tuple(sorted(found, key=lambda each: -each.log_density))


def mean_log_densities(density: LogDensity, rows: LogRows, *, seed: int, jitters: int = CHECK_JITTERS) -> Tensor:
    """log p of each row, (row,), its mean over ``jitters`` spreadings of the duration."""
    total = torch.zeros(len(rows), dtype=torch.float64)
    with torch.no_grad():
        for repeat in range(jitters):
            x = rows.spread(seed=child_seed(seed, repeat))
            total += torch.cat([density(part[:, :0]).log_prob(part) for part in x.split(BLOCK)])
    return total / jitters
