"""Durations as seen, under the model and under four families, side by side."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq

from scenariogen.model.duration_families import TAIL_MINUTES, Durations, fit_families
from scenariogen.model.levels import over_by
from scenariogen.model.mark_likelihood import MarkLikelihood
from scenariogen.model.mark_rows import MarkRows, joined
from scenariogen.model.marks import mark_contexts

LONGEST_MINUTES = 1e5


def durations_account(model, local: dict[str, MarkRows]) -> dict:
    """How many durations there are, and every family with its likelihood of them and its tail.

    ``published`` and ``model`` are mixtures over places, kinds and lanes as often as the model has them; the families
    are of all durations together. The model's likelihood is of the same durations, given edge and kind.
    """
    rows = joined(list(local.values()))
    told = ~torch.isnan(rows.duration)
    durations = Durations(
        minutes=(rows.duration[told] / 60).numpy(),
        censored=rows.censored[told].numpy(),
        shortest=(rows.shortest[told] / 60).numpy(),
        longest=(rows.longest[told] / 60).numpy(),
    )
    families = [{name: _plain(value) for name, value in asdict(each).items()} for each in fit_families(durations)]
    return {
        "durations": len(durations),
        "lower_bounds": int(durations.censored.sum()),
        "tail_minutes": list(TAIL_MINUTES),
        "families": [
            _mixture("published", lambda minutes: _published(model, minutes)),
            {
                **_mixture("model", lambda minutes: _fitted(model, minutes)),
                "log_likelihood": _log_likelihood(model, rows, told) if len(durations) else None,
            },
            *families,
        ],
    }


def _plain(value: Any) -> Any:
    """For JSON: lists, and None for what is no number."""
    if isinstance(value, tuple):
        return list(value)
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _mixture(name: str, survival) -> dict:
    """The row of a distribution that is known by its survival function."""

    def quantile(p: float) -> float:
        root: Any = brentq(lambda minutes: survival(minutes) - (1 - p), 1e-3, LONGEST_MINUTES, xtol=1e-4)
        return float(root)

    return {
        "family": name,
        "log_likelihood": None,
        "aic": None,
        "median_min": quantile(0.5),
        "q95_min": quantile(0.95),
        "exceeds": [float(survival(minutes)) for minutes in TAIL_MINUTES],
    }


def _fitted(model, minutes: float) -> float:
    """P(T > minutes) under the model."""
    weight = model.intensity.sum(1)
    over = over_by(model.marks, model.tables, 60 * minutes)
    return float(1 - (weight * over).sum() / weight.sum())


def _published(model, minutes: float) -> float:
    """P(T > minutes) at the published severities and durations, on the places of the model."""
    weight = model.intensity.sum((1, 2))[:, None] * torch.exp(model.options.log_prior) * model.options.allowed
    mean, spread = model.options.log_minutes.unbind(-1)
    survival = torch.special.ndtr((mean - np.log(minutes)) / spread)
    return float((weight * survival).sum() / weight.sum())


def _log_likelihood(model, rows: MarkRows, told: torch.Tensor) -> float:
    """Of the durations in minutes given edge and kind, lanes averaged out."""
    chosen = torch.nonzero(told).squeeze(-1)
    allowed = model.options.allowed[rows.edge[chosen]]
    owner, option = torch.nonzero(allowed, as_tuple=True)
    nothing = torch.full((len(chosen),), torch.nan, dtype=torch.float64)
    each = {name: getattr(rows, name)[chosen] for name in ("edge", "kind", "bounded", "duration", "censored",
                                                           "shortest", "longest", "weight")}  # fmt: skip
    durations = replace(
        rows,
        **each,
        owner=owner,
        option=option,
        evidence=torch.zeros(len(owner), dtype=torch.float64),
        capacity=nothing,
        position=nothing,
    )
    with torch.no_grad():
        contexts = mark_contexts(model.graph, model.options)
        in_seconds = MarkLikelihood(contexts, model.options, model.graph, durations)(model.marks).sum()
    return float(in_seconds + np.log(60) * float((~durations.censored).sum()))
