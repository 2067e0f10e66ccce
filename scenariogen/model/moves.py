"""Every number of a model with its prior, what it is now, how much it moved, and which source moved it.

A *share* says how much of the information about a number each source holds. For a rate it is the weight with which the
posterior mean takes the source's own estimate in, a / (a + ΣE) for the prior; for lanes, capacity and durations it is
counted in incidents, the prior being worth ``PRIOR_WEIGHT_INCIDENTS`` in all. The prior's standard deviation of the
latter is that of an estimate from so many incidents.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scenariogen.incidents.priors import PRIOR_WEIGHT_INCIDENTS, RATE_PER_KM, RATE_SHAPE, kind_shares
from scenariogen.incidents.records import KINDS
from scenariogen.model.features import CLASSES
from scenariogen.model.levels import Levels
from scenariogen.model.mark_rows import MarkRows
from scenariogen.model.marks import unit_to_duration

PRIORS = "priors"
LANES_NAMED = 3
"""0, 1, 2 and 3 or more blocked lanes are told apart."""
GRID = 64
VEHICLE_KM = 1e8
MEDIAN_ERROR = 1.2533
"""Standard deviation of a median over that of a mean, for normal logarithms (√(π/2))."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """One number. ``shares`` by source sum to 1; None stands for what there is not."""

    name: str
    unit: str
    prior: float | None
    prior_sd: float | None
    value: float
    value_sd: float | None
    shares: dict[str, float]

    @property
    def ratio(self) -> float | None:
        """The value now over the prior's."""
        return self.value / self.prior if self.prior else None

    @property
    def moved_sd(self) -> float | None:
        """How far it moved, in standard deviations of the prior."""
        if self.prior is None or not self.prior_sd:
            return None
        return (self.value - self.prior) / self.prior_sd

    def plain(self) -> dict:
        """For JSON."""
        names = ("name", "unit", "prior", "prior_sd", "value", "value_sd", "ratio", "moved_sd", "shares")
        return {name: getattr(self, name) for name in names}


def rate_moves(levels: Levels, exposure: Tensor, road_class: Tensor) -> list[Move]:
    """Rates by kind and road class, incidents per 1e8 vehicle-kilometres, where there is exposure."""
    found = []
    for row, kind in enumerate(KINDS):
        for column, where in enumerate(CLASSES):
            if not float(exposure[road_class == column].sum()) > 0:
                continue
            prior = RATE_PER_KM[where] * kind_shares()[row] * VEHICLE_KM
            shape, rate = (float(value) for value in levels.posterior[:, row, column])
            expected = {name: float(value[row, column]) for name, value in levels.expected.items()}
            found.append(
                Move(
                    name=f"{kind.value} rate, {where.value}",
                    unit="per 1e8 vehicle-km",
                    prior=prior,
                    prior_sd=prior * RATE_SHAPE[where] ** -0.5,
                    value=prior * shape / rate,
                    value_sd=prior * shape**0.5 / rate,
                    shares=_shares(RATE_SHAPE[where], expected),
                )
            )
    return found


def mark_moves(model, prior: MarkRows, local: dict[str, MarkRows]) -> list[Move]:
    """Shares of lanes, capacity left and median durations by lanes blocked."""
    blocked = _blocked(model)
    lanes = {name: _lane_counts(model, rows, blocked, "option") for name, rows in local.items()}
    lasted = {name: _lane_counts(model, rows, blocked, "duration") for name, rows in local.items()}
    capacity = {name: _lane_counts(model, rows, blocked, "capacity") for name, rows in local.items()}
    now, before = _lane_shares(model, blocked)
    found = []
    for number in range(LANES_NAMED + 1):
        worth = PRIOR_WEIGHT_INCIDENTS * before[number]
        if before[number] < 1e-6:
            continue
        spread = (before[number] * (1 - before[number]) / (PRIOR_WEIGHT_INCIDENTS + 1)) ** 0.5
        every = {name: float(values.sum()) for name, values in lanes.items()}
        found.append(
            Move(
                name=f"share, {_lane_words(number)}",
                unit="of incidents",
                prior=before[number],
                prior_sd=spread,
                value=now[number],
                value_sd=None,
                shares=_shares(PRIOR_WEIGHT_INCIDENTS, every),
            )
        )
        found += _of_lanes(model, prior, number, worth, {n: float(v[number]) for n, v in capacity.items()},
                           {n: float(v[number]) for n, v in lasted.items()})  # fmt: skip
    return sorted(found, key=lambda move: not move.name.startswith("share"))


def _of_lanes(model, prior: MarkRows, number: int, worth: float, capacity: dict, lasted: dict) -> list[Move]:
    """Mean capacity left and median duration with ``number`` lanes blocked, over the prior's own mixture of places."""
    rows = torch.nonzero(_blocked(model)[prior.edge, prior.option] == number).squeeze(-1)
    if len(rows) < 2:
        return []
    at = prior.edge[rows], prior.kind[rows], prior.option[rows]
    grid = ((torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID)[None, :].expand(len(rows), GRID)
    quantile = model.marks.spline(model.tables.duration[at][:, None, :]).icdf(grid)
    minutes = unit_to_duration(quantile, model.tables.minutes[at[0], at[2]][:, None, :]) / 60
    published = model.options.log_minutes[at[0], at[2]]
    median, spread = float(published[:, 0].exp().mean()), float(published[:, 1].mean())
    found = [
        Move(
            name=f"median duration, {_lane_words(number)}",
            unit="min",
            prior=median,
            prior_sd=median * MEDIAN_ERROR * spread / max(worth, 1e-9) ** 0.5,
            value=float(minutes.median()),
            value_sd=None,
            shares=_shares(worth, lasted),
        )
    ]
    log_atoms = model.tables.log_atoms[at]
    low, high = (bound[at[0], at[2]] for bound in (model.options.low, model.options.high))
    between = low + (high - low) * model.marks.spline(model.tables.capacity[at][:, None, :]).icdf(grid).mean(-1)
    left = torch.exp(log_atoms[:, 2]) + torch.exp(log_atoms[:, 1]) * between
    before = prior.capacity[rows]
    if float(before.std()) > 0:
        found.append(
            Move(
                name=f"capacity left, {_lane_words(number)}",
                unit="share",
                prior=float(before.mean()),
                prior_sd=float(before.std()) / max(worth, 1e-9) ** 0.5,
                value=float(left.mean()),
                value_sd=None,
                shares=_shares(worth, capacity),
            )
        )
    return found


def _blocked(model) -> Tensor:
    """(edge, option): blocked lanes, capped at :data:`LANES_NAMED`."""
    out = torch.zeros(model.options.allowed.shape, dtype=torch.int64)
    for row, options in enumerate(model.options.lanes):
        for column, lanes in enumerate(options):
            out[row, column] = min(len(lanes), LANES_NAMED)
    return out


def _lane_shares(model, blocked: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Shares of incidents by blocked lanes, now and before, on the places and kinds of the model as it is now."""
    weight = model.intensity.sum(1)[..., None]
    prior = torch.softmax(torch.where(model.options.allowed, model.options.log_prior, -torch.inf), dim=-1)
    prior = torch.nan_to_num(prior)[:, None, :]
    found = []
    for shares in (torch.exp(model.tables.log_lanes), prior.expand_as(model.tables.log_lanes)):
        mass = (weight * torch.where(model.options.allowed[:, None, :], shares, 0.0)).sum(1)
        by_number = torch.zeros(LANES_NAMED + 1, dtype=torch.float64).index_add(0, blocked.ravel(), mass.ravel())
        found.append((by_number / by_number.sum()).numpy())
    return found[0], found[1]


def _lane_counts(model, rows: MarkRows, blocked: Tensor, what: str) -> np.ndarray:
    """Incidents that tell of lanes (``option``) or another mark, by blocked lanes; unknown ones as is likely."""
    owner = rows.owner
    score = model.tables.log_lanes[rows.edge[owner], rows.kind[owner], rows.option] + rows.evidence
    weight = torch.exp(score)
    total = torch.zeros(len(rows), dtype=torch.float64).index_add(0, owner, weight)
    weight = weight / total[owner]
    if what == "option":
        places = torch.bincount(owner, minlength=len(rows))
        tells = places < model.options.allowed[rows.edge].sum(-1)
    else:
        tells = ~torch.isnan(rows.duration if what == "duration" else rows.capacity)
    counts = torch.zeros(LANES_NAMED + 1, dtype=torch.float64)
    return counts.index_add(0, blocked[rows.edge[owner], rows.option], weight * tells[owner]).numpy()


def _lane_words(number: int) -> str:
    return "1 lane blocked" if number == 1 else f"{number}{'+' if number == LANES_NAMED else ''} lanes blocked"


def _shares(prior: float, sources: dict[str, float]) -> dict[str, float]:
    total = prior + sum(sources.values())
    return {PRIORS: prior / total, **{name: value / total for name, value in sources.items()}}
