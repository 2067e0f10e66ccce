"""What a fit says about itself: which number came from where, and how far the data depart from the model."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest

from scenariogen.incidents.exposure import Exposure
from scenariogen.incidents.priors import RATE_PER_KM
from scenariogen.incidents.recorded import RecordedIncidents
from scenariogen.incidents.records import KINDS
from scenariogen.model.dispersion import daily_dispersion, knox
from scenariogen.model.duration_account import durations_account
from scenariogen.model.features import CLASSES
from scenariogen.model.levels import RECORDS, TRAJECTORIES, Levels, traffic_of
from scenariogen.model.mark_rows import MarkRows
from scenariogen.model.moves import Move, mark_moves, rate_moves

DEMAND_SIGMA = 0.1
"""Declared spread of the demand scale before anything was learned of it."""
PLACES = ("day", "edge", "position_m", "start_s")


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a model learned from.

    ``table``     detected incidents that were used; ``left_out`` the others, by the reason
    ``records``   usable records of a log; None without one
    ``days``      recorded days of the trajectories (0: none), at ``intensity``
    ``rows``      local incidents as the marks see them, by source; ``prior`` the draws from the priors
    """

    table: pd.DataFrame
    left_out: dict[str, int]
    records: RecordedIncidents | None
    exposure: Exposure
    days: int
    intensity: float
    rows: dict[str, MarkRows]
    prior: MarkRows
    levels: Levels
    seed: int


def account(model, learned: Learned) -> dict:
    """Everything that ``fit`` knows of what it did, for the model's file."""
    records = learned.records
    used = len(learned.table) + (0 if records is None else len(records.table))
    moves = [
        *rate_moves(learned.levels, model.exposure, model.graph.road_class),
        *mark_moves(model, learned.prior, learned.rows),
        _exposure_move(learned.exposure),
        _demand_move(model),
    ]
    return {
        "days": learned.days,
        "intensity": learned.intensity,
        "incidents_used": used,
        "incidents_left_out": learned.left_out,
        "groups": _groups(model, learned.levels),
        "sources": _sources(learned.levels),
        "expected_per_run": float(model.expected.sum()),
        "expected_lane_blocking_per_run": model.lane_blocking,
        "exposure": _exposure(learned.exposure),
        "records": None if records is None else _records(records),
        "moves": [move.plain() for move in moves],
        "durations": durations_account(model, learned.rows),
        "dispersion": _dispersion(learned),
        "clusters": _clusters(model, learned),
    }


def _groups(model, levels: Levels) -> list[dict]:
    groups = []
    for row, kind in enumerate(KINDS):
        for column, road_class in enumerate(CLASSES):
            kilometres = float(model.exposure[model.graph.road_class == column].sum())
            if kilometres == 0:
                continue
            shape, rate = (float(value) for value in levels.posterior[:, row, column])
            groups.append(
                {
                    "kind": kind.value,
                    "road_class": road_class.value,
                    "vehicle_km_a_day": kilometres,
                    "published_per_1e8_vehicle_km": RATE_PER_KM[road_class] * 1e8,
                    "multiplier_mean": shape / rate,
                    "multiplier_relative_sd": shape**-0.5,
                    "incidents": {name: round(float(count[row, column])) for name, count in levels.counts.items()},
                    "expected_at_published_rates": {
                        name: float(value[row, column]) for name, value in levels.expected.items()
                    },
                }
            )
    return groups


def _sources(levels: Levels) -> dict:
    """Each source alone: incidents over what the published rates expect of it, and whether two of them agree.

    Given how many there are in all, the split between two sources with the same rates is binomial.
    """
    seen = {name: round(float(count.sum())) for name, count in levels.counts.items()}
    expected = {name: float(value.sum()) for name, value in levels.expected.items()}
    alone = {name: seen[name] / expected[name] if expected[name] > 0 else None for name in seen}
    agree = None
    if len(seen) == 2 and sum(seen.values()) and all(value > 0 for value in expected.values()):
        first = next(iter(seen))
        share = expected[first] / sum(expected.values())
        agree = float(binomtest(seen[first], sum(seen.values()), share).pvalue)
    return {"incidents": seen, "times_published": alone, "agree_p": agree}


def _exposure(exposure: Exposure) -> dict:
    return {
        "source": exposure.source,
        "vehicle_km_a_day": exposure.total_km,
        "standard_error": exposure.total_error_km,
        "days": len(exposure.days),
        "estimated_edges": len(exposure.estimated),
        "estimated_share": exposure.estimated_share,
        "remarks": list(exposure.remarks),
    }


def _exposure_move(exposure: Exposure) -> Move:
    return Move(
        name="exposure",
        unit="vehicle-km a day",
        prior=None,
        prior_sd=None,
        value=exposure.total_km,
        value_sd=exposure.total_error_km,
        shares={exposure.source: 1.0},
    )


def _demand_move(model) -> Move:
    """The spread of the log of the demand scale: declared, unless a pattern of demand was learned."""
    condition = model.condition
    sigma, source = condition.demand_scale_sigma, "priors"
    if getattr(condition, "demand", None) is not None:
        noise = torch.rand((4096, condition.noise_columns), generator=torch.Generator().manual_seed(0)).double()
        sigma, source = float(condition.draw(noise.clamp(1e-6, 1 - 1e-6)).scale.log().std()), TRAJECTORIES
    return Move(
        name="demand scale, log sd",
        unit="",
        prior=DEMAND_SIGMA,
        prior_sd=None,
        value=sigma,
        value_sd=None,
        shares={source: 1.0},
    )


def _records(records: RecordedIncidents) -> dict:
    clock, settings = records.clock, records.settings
    known = ~np.isnan(records.table["duration_s"].to_numpy(dtype=float))
    bound = records.table["duration_is_censored"].to_numpy(dtype=bool)
    kinds = [dict(zip(("word", "record_kind", "kind", "records"), row, strict=True)) for row in records.kinds]
    return {
        "used": len(records.table),
        "days": len(records.days),
        "day_type": clock.day_type,
        "time_zone": clock.zone,
        "clock_s": clock.clock_s,
        "since": str(clock.since),
        "until": str(clock.until),
        "settings": asdict(settings),
        "left_out": dict(records.left_out),
        "kinds": kinds,
        "with_duration": int(known.sum()),
        "with_lower_bound": int((known & bound).sum()),
        "remarks": list(records.remarks),
    }


def _dispersion(learned: Learned) -> dict:
    found = {}
    if learned.days:
        counts = np.bincount(learned.table["day"].to_numpy(dtype=int), minlength=learned.days)
        found[TRAJECTORIES] = asdict(daily_dispersion(counts, np.ones(len(counts)), seed=learned.seed))
    if learned.records is not None:
        records, cells = learned.records, learned.exposure.cell_edges_s
        counts = np.bincount(records.table["day"].to_numpy(dtype=int), minlength=len(records.days))
        weight = learned.exposure.vehicle_km.sum(0)
        seen = records.clock.coverage(records.days, cells) @ (weight / weight.sum())
        seen *= traffic_of(records, learned.exposure)
        found[RECORDS] = asdict(daily_dispersion(counts, seen, seed=learned.seed))
    return found


def _clusters(model, learned: Learned) -> dict | None:
    tables = {TRAJECTORIES: learned.table}
    if learned.records is not None:
        tables[RECORDS] = learned.records.table
    parts = [table.loc[:, list(PLACES)].assign(source=name) for name, table in tables.items() if len(table)]
    found = knox(pd.concat(parts, ignore_index=True), model.network, seed=learned.seed) if parts else None
    return None if found is None else asdict(found)
