"""What fields of flow and density lack where samples of a vehicle lie far apart, said where it is much."""

import warnings
from typing import TYPE_CHECKING

from scenariogen.trajectories.fields_steps import FOLLOWED, STEPS

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.trajectories.records import Trajectories

MANY = 0.05
LOOKED_AT_ROWS = 200_000


class SparseSamplesWarning(UserWarning):
    """Many samples of a vehicle lie farther apart than its motion can be followed."""


def warn_of_gaps(trajectories: "Trajectories", gap_s: float) -> None:
    """Where many samples come later than ``gap_s`` after the one before."""
    share = _share(
        trajectories,
        f"SELECT avg(CAST(t1 - t0 > {gap_s} AS DOUBLE)) FROM (SELECT time_s AS t1, lag(time_s) OVER (PARTITION BY day, "
        f"vehicle ORDER BY time_s) AS t0 FROM trajectories WHERE hash(vehicle) % {_every(trajectories)} = 0) "
        "WHERE t0 IS NOT NULL",
    )
    if share > MANY:
        _warn(
            f"{share:.0%} of the samples come more than {gap_s:g} s after the one before, where "
            f"{trajectories.period_s:g} s is usual: what lies between is left out, so flow and density are too low. "
            "Where vehicles are sampled at different periods, give a file for each"
        )


def warn_of_lost(trajectories: "Trajectories", edges: "pd.DataFrame", ways: "pd.DataFrame", gap_s: float) -> None:
    """Where vehicles are often seen next on an edge to which no way is known that they can have driven meanwhile."""
    followed = FOLLOWED.format(gap_s=gap_s, every=_every(trajectories))
    share = _share(
        trajectories,
        f"SELECT avg(CAST(NOT is_way AS DOUBLE)) FROM ({followed}) WHERE a <> b AND NOT is_opposite",
        edges=edges,
        ways=ways,
    )
    if share > MANY:
        _warn(
            f"{share:.0%} of the times that vehicles were next seen on another edge, no way leads there that they can "
            "have driven meanwhile: what lies between is left out, so flow and density are too low"
        )


def warn_of_ends(trajectories: "Trajectories", edges: "pd.DataFrame") -> None:
    """Where much of the way lies on other edges than those of a vehicle's first and last sample."""
    half_s = trajectories.period_s / 2
    share = _share(
        trajectories,
        f"SELECT sum(CASE WHEN before IS NULL AND leads_in THEN greatest(v0 * {half_s} - p0, 0) ELSE 0 END "
        f"+ CASE WHEN b IS NULL AND leads_on THEN greatest(v0 * {half_s} - greatest(length_m - p0, 0), 0) ELSE 0 END) "
        f"/ nullif(sum(2 * v0 * {half_s}), 0) "
        f"FROM ({STEPS.format(every=_every(trajectories))}) JOIN edges ON edge = a",
        edges=edges,
    )
    if share > MANY:
        _warn(
            f"samples come every {trajectories.period_s:g} s, and about {share:.0%} of the way driven lies before the "
            "first or after the last one of a vehicle, on edges where it was not seen: it is left out, so flow and "
            "density are too low there"
        )


def _every(trajectories: "Trajectories") -> int:
    """Whole vehicles are looked at, as many as hold about :data:`LOOKED_AT_ROWS` rows."""
    return trajectories.rows // LOOKED_AT_ROWS + 1


def _share(trajectories: "Trajectories", sql: str, **tables: "pd.DataFrame") -> float:
    return float(trajectories.query(sql, **tables).fillna(0.0).to_numpy()[0, 0])


def _warn(text: str) -> None:
    warnings.warn(text, SparseSamplesWarning, stacklevel=4)
