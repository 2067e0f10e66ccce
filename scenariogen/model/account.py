"""What a fit says about itself: which number came from where, and how far the data depart from the model."""

import numpy as np
import pandas as pd

from scenariogen.incidents.priors import RATE_PER_KM
from scenariogen.incidents.records import KINDS
from scenariogen.model.features import CLASSES


def account(model, table: pd.DataFrame, *, days: int, intensity: float) -> dict:
    """Rates by kind and class with their prior, the dispersion of daily counts, and close pairs."""
    groups = []
    for row, kind in enumerate(KINDS):
        for column, road_class in enumerate(CLASSES):
            kilometres = float(model.exposure[model.graph.road_class == column].sum())
            if kilometres == 0:
                continue
            shape, rate = model.posterior[0, row, column], model.posterior[1, row, column]
            prior = RATE_PER_KM[road_class]
            groups.append(
                {
                    "kind": kind.value,
                    "road_class": road_class.value,
                    "vehicle_km_a_day": kilometres,
                    "published_per_1e8_vehicle_km": prior * 1e8,
                    "multiplier_mean": float(shape / rate),
                    "multiplier_relative_sd": float(shape**-0.5),
                    "incidents": round(float(shape) - _prior_shape(row, column)),
                }
            )
    counts = np.bincount(table["day"].to_numpy(dtype=int), minlength=days) if len(table) else np.zeros(days)
    return {
        "groups": groups,
        "expected_per_run": float(model.expected.sum()),
        "expected_lane_blocking_per_run": model.lane_blocking,
        "dispersion_index": float(counts.var(ddof=1) / counts.mean()) if days > 1 and counts.mean() > 0 else None,
        "close_pairs_seen": _close_pairs(table),
        "close_pairs_expected": _close_pairs_expected(table, days),
    }


def _prior_shape(kind: int, road_class: int) -> float:
    from scenariogen.model.rates import prior_shapes

    return float(prior_shapes()[kind, road_class])


def _close_pairs(table: pd.DataFrame) -> int:
    """Pairs on one edge and day that start within 30 minutes of each other."""
    return sum(
        int((np.abs(np.subtract.outer(start, start))[np.triu_indices(len(start), 1)] < 1800).sum())
        for _, start in ((key, group["start_s"].to_numpy(float)) for key, group in table.groupby(["day", "edge"]))
    )


def _close_pairs_expected(table: pd.DataFrame, days: int) -> float:
    """The same count for incidents of different days laid over each other: what independence gives."""
    total = 0
    for _, group in table.groupby("edge"):
        start, day = group["start_s"].to_numpy(float), group["day"].to_numpy(int)
        upper = np.triu_indices(len(start), 1)
        near = np.abs(np.subtract.outer(start, start))[upper] < 1800
        total += int((near & (np.not_equal.outer(day, day)[upper])).sum())
    return total / max(days - 1, 1)


def summary_lines(model) -> list[str]:
    """The fit in words and numbers, for people."""
    info = model.info
    lines = [
        f"{info['incidents_used']} incidents of {info['days']} recorded days at intensity {info['intensity']:.4g} "
        f"(left out: {', '.join(f'{count} {why}' for why, count in info['incidents_left_out'].items())})",
        f"expected per run at frequency 1: {info['expected_per_run']:.4g} incidents, "
        f"{info['expected_lane_blocking_per_run']:.4g} of them blocking a lane",
    ]
    for group in info["groups"]:
        lines.append(
            f"{group['kind']} on {group['road_class']}: published rate x {group['multiplier_mean']:.2f} "
            f"(+/- {100 * group['multiplier_relative_sd']:.0f} %), from {group['incidents']} incidents"
        )
    if info["dispersion_index"] is not None:
        lines.append(
            f"daily counts: variance / mean {info['dispersion_index']:.2f} (1 for a Poisson process); close pairs "
            f"{info['close_pairs_seen']}, expected {info['close_pairs_expected']:.1f}"
        )
    return lines
