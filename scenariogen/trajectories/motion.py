"""Speeds and accelerations that a source lacks, and motion that cannot be: computed in DuckDB over the raw rows.

Speed is the distance between the samples before and after over the time between them (central difference; one-sided
at the ends of a track and beside holes), acceleration the same of speed. Distance is measured along the road where the
source has a position along one, else in the plane, else on the sphere (equirectangular approximation, exact to 1e-7
over the metres between two samples). Nothing is smoothed: what is derived carries the noise of the positions.

Motion that cannot be true is marked row by row (:class:`scenariogen.trajectories.columns.Motion`) and counted, never
changed.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from scenariogen.trajectories import columns
from scenariogen.trajectories.columns import Motion, Place

if TYPE_CHECKING:
    import duckdb

MAX_SPEED_MPS = 90.0
"""No road vehicle in a record of traffic is faster."""
LEAST_SPEED_MPS = -0.5
MAX_ACCELERATION_MPS2 = 10.0
"""About what tyres hold on a dry road (friction 1)."""
JUMP_SLACK_M = 5.0
BACKWARD_SLACK_M = 1.0
LONGEST_GAP_PERIODS = 3.0
"""Samples further apart than so many sampling periods say nothing about speed in between."""
LEAST_COMPARED_MPS = 2.0
"""Slower vehicles tell nothing about whether positions and speeds agree."""
SAMPLED_ROWS = 1_000_000
"""About so many rows tell the sampling period, and whether positions and speeds agree."""
EARTH_RADIUS_M = 6_371_008.8
"""Mean radius (IUGG)."""

MOTION_WORDS: dict[Motion, str] = {
    Motion.TOO_FAST: f"have a speed above {MAX_SPEED_MPS:g} m/s or below {LEAST_SPEED_MPS:g}",
    Motion.TOO_HARSH: f"accelerate or brake harder than {MAX_ACCELERATION_MPS2:g} m/s²",
    Motion.JUMP: "moved farther since the sample before than their speeds allow",
    Motion.BACKWARD: f"moved back along their road by more than {BACKWARD_SLACK_M:g} m",
}


def distance_sql(places: Collection[Place], *, ahead: bool) -> str:
    """SQL for the metres covered since the sample before, or to the next one (``ahead``); window ``w``.

    Null where they cannot be told. Where a row has several places, the first of road, plane, sphere and edge counts.
    """
    other = "lead" if ahead else "lag"

    def change(name: str) -> str:
        return f"(lead({name}) OVER w - {name})" if ahead else f"({name} - lag({name}) OVER w)"

    north = f"radians{change('lat_deg')}"
    east = f"radians{change('lon_deg')} * cos(radians((lat_deg + {other}(lat_deg) OVER w) / 2))"
    ways = {
        Place.ROAD: f"CASE WHEN road = {other}(road) OVER w THEN {change('road_m')} END",
        Place.PLANE: f"sqrt({change('x_m')} ** 2 + {change('y_m')} ** 2)",
        Place.WGS84: f"{EARTH_RADIUS_M} * sqrt(({north}) ** 2 + ({east}) ** 2)",
        Place.EDGE: f"CASE WHEN edge = {other}(edge) OVER w THEN {change('position_m')} END",
    }
    return f"coalesce({', '.join(way for place, way in ways.items() if place in places)})"


def motion_sql(source: str, names: Collection[str], places: Collection[Place], gap_s: float) -> str:
    """A query over ``source`` that adds derived speeds and accelerations and the flags, sorted by day and time.

    ``names``  columns that ``source`` has
    ``gap_s``  the longest time between two samples over which motion is derived

    Two passes over each track: one looks at the neighbours' places, one at their speeds.
    """
    keep = ", ".join(name for name in columns.ALL if name in names and name not in _COMPUTED)
    speed = "speed_mps" if columns.SPEED in names else "CAST(NULL AS FLOAT)"
    acceleration = "accel_mps2" if columns.ACCELERATION in names else "CAST(NULL AS FLOAT)"
    signed = Place.ROAD in places or Place.EDGE in places
    goes_back = f"moved_b < -{BACKWARD_SLACK_M}" if signed else "false"
    computed = {
        columns.SPEED: "TRY_CAST(v AS FLOAT)",  # null where no such number is: it is marked as too fast all the same
        columns.ACCELERATION: "TRY_CAST(a AS FLOAT)",
        columns.SPEED_IS_DERIVED: "speed_0 IS NULL AND v IS NOT NULL",
        columns.ACCELERATION_IS_DERIVED: "accel_0 IS NULL AND a IS NOT NULL",
        columns.MOTION: f"""CAST(
            CASE WHEN v > {MAX_SPEED_MPS} OR v < {LEAST_SPEED_MPS} THEN {Motion.TOO_FAST:d} ELSE 0 END
          + CASE WHEN abs(a) > {MAX_ACCELERATION_MPS2} THEN {Motion.TOO_HARSH:d} ELSE 0 END
          + CASE WHEN abs(moved_b) > (greatest(abs(v), abs(v_b)) + {MAX_ACCELERATION_MPS2} * dt_b) * dt_b
                                     + {JUMP_SLACK_M} AND speed_0 IS NOT NULL THEN {Motion.JUMP:d} ELSE 0 END
          + CASE WHEN {goes_back} THEN {Motion.BACKWARD:d} ELSE 0 END AS UTINYINT)""",
    }
    final = ", ".join(
        f"{computed[name]} AS {name}" if name in computed else name
        for name in columns.ALL
        if name in computed or name in names
    )
    return f"""
WITH moves AS (
    SELECT {keep}, {speed} AS speed_0, {acceleration} AS accel_0,
           time_s - lag(time_s) OVER w AS gap_b, lead(time_s) OVER w - time_s AS gap_f,
           {distance_sql(places, ahead=False)} AS far_b, {distance_sql(places, ahead=True)} AS far_f
    FROM {source} WINDOW w AS (PARTITION BY day, vehicle ORDER BY time_s)
), near AS (
    SELECT *, CASE WHEN gap_b <= {gap_s} THEN gap_b END AS dt_b, CASE WHEN gap_f <= {gap_s} THEN gap_f END AS dt_f,
           CASE WHEN gap_b <= {gap_s} THEN far_b END AS moved_b, CASE WHEN gap_f <= {gap_s} THEN far_f END AS moved_f
    FROM moves
), speeds AS (
    SELECT *, coalesce(speed_0, (coalesce(moved_b, 0) + coalesce(moved_f, 0))
        / nullif(CASE WHEN moved_b IS NULL THEN 0 ELSE dt_b END + CASE WHEN moved_f IS NULL THEN 0 ELSE dt_f END, 0))
        AS v
    FROM near
), changes AS (
    SELECT *, lag(v) OVER w AS v_b, lead(v) OVER w AS v_f
    FROM speeds WINDOW w AS (PARTITION BY day, vehicle ORDER BY time_s)
), accelerations AS (
    SELECT *, coalesce(accel_0,
        (CASE WHEN dt_f IS NOT NULL THEN v_f ELSE v END - CASE WHEN dt_b IS NOT NULL THEN v_b ELSE v END)
        / nullif(coalesce(dt_b, 0) + coalesce(dt_f, 0), 0)) AS a
    FROM changes
)
SELECT {final}
FROM accelerations ORDER BY day, time_s, vehicle
"""


def median_period_s(connection: "duckdb.DuckDBPyConnection", source: str, rows: int) -> float | None:
    """Median time (s) between two samples of one vehicle, from so many whole vehicles of ``source``, which has
    ``rows`` rows, that their rows are enough; None where no vehicle has two."""
    for every in dict.fromkeys((rows // SAMPLED_ROWS + 1, 1)):
        found = connection.execute(
            "SELECT median(gap) FROM (SELECT time_s - lag(time_s) OVER (PARTITION BY day, vehicle ORDER BY time_s) AS "
            f"gap FROM (SELECT day, vehicle, time_s FROM {source} WHERE hash(vehicle) % {every} = 0)) WHERE gap > 0"
        ).fetchone()
        if found is not None and found[0] is not None:
            return float(found[0])
    return None


def agreement_sql(source: str, places: Collection[Place], gap_s: float) -> str:
    """A query for one row: metres covered over what the given speeds say (median), and the steps that were looked at.

    Both in metres and metres per second, the first is near 1; positions in feet give 3.28.
    """
    return f"""
SELECT median(moved / said), count(*) FROM (
    SELECT abs({distance_sql(places, ahead=False)}) AS moved, time_s - lag(time_s) OVER w AS dt,
           (speed_mps + lag(speed_mps) OVER w) / 2 * dt AS said,
           speed_is_derived OR lag(speed_is_derived) OVER w AS is_derived,
           least(speed_mps, lag(speed_mps) OVER w) AS slowest
    FROM {source} WINDOW w AS (PARTITION BY day, vehicle ORDER BY time_s)
) WHERE dt <= {gap_s} AND NOT is_derived AND slowest > {LEAST_COMPARED_MPS} AND moved IS NOT NULL
"""


_COMPUTED = (
    columns.SPEED,
    columns.ACCELERATION,
    columns.SPEED_IS_DERIVED,
    columns.ACCELERATION_IS_DERIVED,
    columns.MOTION,
)
