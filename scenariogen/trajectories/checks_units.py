"""Are positions metres and speeds metres per second? Where vehicles drive steadily, the one tells the other.

Only steps from one sample to the next count in which a vehicle cannot have stopped or raced in between: with both
speeds above :data:`STEADY_MPS2` times the step's seconds it covers at least three quarters, and at most five quarters,
of its mean speed times the step, as long as it brakes and accelerates by less than that.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.errors import Problems
from scenariogen.trajectories.motion import LEAST_COMPARED_MPS, LONGEST_GAP_PERIODS
from scenariogen.units import METRES_PER_FOOT, MPS_PER_KMH, MPS_PER_MPH

if TYPE_CHECKING:
    import duckdb

SAMPLE_ROWS = 100_000
"""Units are judged on whole vehicles, as many as hold about so many rows."""
LEAST_DISTANCE_M = 100.0
"""Vehicles that moved less say too little about units."""
STEADY_MPS2 = 3.0
"""A vehicle this fast for each second of a step covers about what its speeds promise."""
AGREEING = (0.7, 1.4)
"""Distance covered over distance promised of a vehicle whose units are right."""
AGREEING_MEDIAN = (0.85, 1.15)
"""The same of the vehicle in the middle."""
ONE_UNIT = 0.15
"""So near a factor between two units, relatively, a vehicle is written in them."""
MOST_ALIKE = 0.8
"""Where units are mixed, at least this share of the vehicles that disagree do so by the same factor."""

UNIT_NAMES: tuple[tuple[float, str], ...] = (
    (MPS_PER_KMH, "speed_mps looks like km/h"),
    (MPS_PER_MPH, "speed_mps looks like miles per hour"),
    (METRES_PER_FOOT, "speed_mps looks like feet per second"),
    (1 / METRES_PER_FOOT, "position_m looks like feet"),
    (1 / 3.6 / METRES_PER_FOOT, "position_m looks like feet and speed_mps like km/h"),
)
"""Distance covered over distance that the speeds promise, where units are mixed up."""


class UnitsWarning(UserWarning):
    """Positions and speeds could not be compared, or do not agree for another reason than their units."""


def check_units(
    connection: "duckdb.DuckDBPyConnection", path: Path, rows: int, period_s: float, problems: Problems
) -> None:
    """Add a problem where a vehicle is twice at one second, and where positions do not move as the speeds say.

    ``rows`` is the number of rows of the view ``trajectories``, and ``path`` names them. Warns
    (:class:`UnitsWarning`) where vehicles move but no step is short enough, and where they disagree by no known unit.
    """
    if not np.isfinite(period_s):
        return
    every = max(1, rows // SAMPLE_ROWS)
    moved = connection.execute(
        # Numbers stand in the text: as a parameter of the query the modulus takes ten times as long.
        f"""
        WITH steps AS (
            SELECT day, vehicle, edge, edge_0, dt, position_m - position_0 AS covered_m,
                   (speed_mps + speed_0) / 2 * dt AS promised_m, least(speed_mps, speed_0) AS slowest_mps
            FROM (
                SELECT *, time_s - lag(time_s) OVER w AS dt, lag(edge) OVER w AS edge_0,
                       lag(position_m) OVER w AS position_0, lag(speed_mps) OVER w AS speed_0
                FROM trajectories WHERE hash(vehicle) % {every:d} = 0
                WINDOW w AS (PARTITION BY day, vehicle ORDER BY time_s)
            ) WHERE edge = edge_0 AND dt < {LONGEST_GAP_PERIODS * period_s}
        ), compared AS (  -- who drives back overtakes on the opposite side, or was elsewhere in between
            SELECT *, covered_m > -promised_m / 2
                      AND slowest_mps > greatest({LEAST_COMPARED_MPS}, {STEADY_MPS2} * dt) AS tells
            FROM steps
        )
        SELECT sum(covered_m) FILTER (WHERE tells) AS covered_m, sum(promised_m) FILTER (WHERE tells) AS promised_m,
               sum(promised_m) AS driven_m, count(*) FILTER (WHERE dt = 0) AS doubled
        FROM compared GROUP BY day, vehicle
        """
    ).df()
    doubled = int(moved["doubled"].to_numpy().sum())
    if doubled:
        problems.add(f"{doubled:,} rows or more repeat a vehicle at the same second; expected one row each")
    covered_m, promised_m, driven_m = (
        moved[name].to_numpy(dtype=float, na_value=0.0) for name in ("covered_m", "promised_m", "driven_m")
    )
    enough = (covered_m > LEAST_DISTANCE_M) | (promised_m > LEAST_DISTANCE_M)
    if enough.any():
        _judge(covered_m[enough] / np.maximum(promised_m[enough], 1e-6), path, problems)
    elif (driven_m > LEAST_DISTANCE_M).any():
        _warn(
            f"{path}: whether positions are metres and speeds metres per second cannot be told from samples "
            f"{period_s:g} s apart, between which vehicles can stop and go"
        )


def _judge(ratio: np.ndarray, path: Path, problems: Problems) -> None:
    """``ratio`` is distance covered over distance promised, one for each vehicle."""
    off = (ratio < AGREEING[0]) | (ratio > AGREEING[1])
    middle = float(np.median(ratio))
    if min(off.sum(), (~off).sum()) >= 3 and 0.02 < off.mean() < 0.98:
        times = float(np.median(ratio[off]))
        words = (
            f"of {len(ratio)} vehicles looked at, {int(off.sum())} move {times:.2f} times as far as their speeds say"
        )
        if _is_one_unit(ratio[off]):
            problems.add(f"units are mixed: {words}. Expected metres and metres per second")
            return
        _warn(f"{path}: {words}, which is no factor between units: their positions or speeds are rough")
    if not AGREEING_MEDIAN[0] < middle < AGREEING_MEDIAN[1]:
        off_by, guess = min((abs(np.log(max(middle, 1e-9) / factor)), words) for factor, words in UNIT_NAMES)
        problems.add(
            f"positions move {middle:.2f} times as far as the speeds say{'; ' + guess if off_by < 0.1 else ''}. "
            "Expected metres and metres per second"
        )


def _is_one_unit(ratio: np.ndarray) -> bool:
    """Whether most of the vehicles are off by the same known factor."""
    return any(
        float(np.mean(np.abs(np.log(np.maximum(ratio, 1e-9) / factor)) < ONE_UNIT)) >= MOST_ALIKE
        for factor, _ in UNIT_NAMES
    )


def _warn(text: str) -> None:
    warnings.warn(text, UnitsWarning, stacklevel=5)
