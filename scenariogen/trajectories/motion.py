"""Speeds and accelerations that a source lacks, and motion that cannot be: computed in DuckDB over the raw rows.

Speed is the distance between the samples before and after over the time between them (central difference; one-sided
at the ends of a track and beside holes), acceleration the same of speed. Distance is measured along the road where the
source has a position along one, else in the plane, else on the sphere (equirectangular approximation, exact to 1e-7
over the metres between two samples). Nothing is smoothed: what is derived carries the noise of the positions.

Motion that cannot be true is marked row by row (:class:`scenariogen.trajectories.columns.Motion`) and counted, never
changed.
"""

from collections.abc import Collection

from scenariogen.trajectories import columns
from scenariogen.trajectories.columns import Motion, Place

MAX_SPEED_MPS = 90.0
"""No road vehicle in a record of traffic is faster."""
LEAST_SPEED_MPS = -0.5
MAX_ACCELERATION_MPS2 = 10.0
"""About what tyres hold on a dry road (friction 1)."""
JUMP_SLACK_M = 5.0
BACKWARD_SLACK_M = 1.0
LONGEST_GAP_PERIODS = 3.0
"""Samples further apart than so many sampling periods say nothing about speed in between."""
EARTH_RADIUS_M = 6_371_008.8
"""Mean radius (IUGG)."""

MOTION_WORDS: dict[Motion, str] = {
    Motion.TOO_FAST: f"have a speed above {MAX_SPEED_MPS:g} m/s or below {LEAST_SPEED_MPS:g}",
    Motion.TOO_HARSH: f"accelerate or brake harder than {MAX_ACCELERATION_MPS2:g} m/s²",
    Motion.JUMP: "moved farther since the sample before than their speeds allow",
    Motion.BACKWARD: f"moved back along their road by more than {BACKWARD_SLACK_M:g} m",
}


def distance_sql(places: Collection[Place]) -> str:
    """SQL for the metres covered since the sample before, null where they cannot be told; window ``w``."""
    if Place.ROAD in places:
        return "CASE WHEN road = lag(road) OVER w THEN road_m - lag(road_m) OVER w END"
    if Place.PLANE in places:
        return "sqrt((x_m - lag(x_m) OVER w) ** 2 + (y_m - lag(y_m) OVER w) ** 2)"
    if Place.WGS84 in places:
        north = "radians(lat_deg - lag(lat_deg) OVER w)"
        east = "radians(lon_deg - lag(lon_deg) OVER w) * cos(radians((lat_deg + lag(lat_deg) OVER w) / 2))"
        return f"{EARTH_RADIUS_M} * sqrt(({north}) ** 2 + ({east}) ** 2)"
    return "CASE WHEN edge = lag(edge) OVER w THEN position_m - lag(position_m) OVER w END"


def motion_sql(source: str, names: Collection[str], places: Collection[Place], gap_s: float) -> str:
    """A query over ``source`` that adds derived speeds and accelerations and the flags, sorted by day and time.

    ``names``  columns that ``source`` has
    ``gap_s``  the longest time between two samples over which motion is derived
    """
    has_speed, has_acceleration = columns.SPEED in names, columns.ACCELERATION in names
    keep = ", ".join(name for name in columns.ALL if name in names and name not in _COMPUTED)
    speed = "speed_mps" if has_speed else "CAST(NULL AS FLOAT)"
    acceleration = "accel_mps2" if has_acceleration else "CAST(NULL AS FLOAT)"
    goes_back = f"moved_m < -{BACKWARD_SLACK_M}" if Place.ROAD in places else "false"
    return f"""
WITH moves AS (
    SELECT *, {speed} AS speed_0, {acceleration} AS accel_0, {distance_sql(places)} AS moved_m,
           time_s - lag(time_s) OVER w AS dt
    FROM {source} WINDOW w AS (PARTITION BY day, vehicle ORDER BY time_s)
), steps AS (
    SELECT * EXCLUDE (moved_m), CASE WHEN dt <= {gap_s} THEN moved_m END AS moved_m,
           CASE WHEN dt <= {gap_s} THEN dt END AS near_dt
    FROM moves
), pairs AS (
    SELECT *, CASE WHEN moved_m IS NOT NULL THEN near_dt END AS dt_b,
           lead(moved_m) OVER w AS moved_f, CASE WHEN lead(moved_m) OVER w IS NOT NULL THEN lead(near_dt) OVER w END
           AS dt_f
    FROM steps WINDOW w AS (PARTITION BY day, vehicle ORDER BY time_s)
), speeds AS (
    SELECT *, coalesce(speed_0, (coalesce(moved_m, 0) + coalesce(moved_f, 0))
                                / nullif(coalesce(dt_b, 0) + coalesce(dt_f, 0), 0)) AS v
    FROM pairs
), changes AS (
    SELECT *, lag(v) OVER w AS v_b, lead(v) OVER w AS v_f, lead(near_dt) OVER w AS near_f
    FROM speeds WINDOW w AS (PARTITION BY day, vehicle ORDER BY time_s)
), accelerations AS (
    SELECT *, coalesce(accel_0,
        (CASE WHEN near_f IS NOT NULL THEN v_f ELSE v END - CASE WHEN near_dt IS NOT NULL THEN v_b ELSE v END)
        / nullif(coalesce(near_dt, 0) + coalesce(near_f, 0), 0)) AS a
    FROM changes
)
SELECT {keep}, CAST(v AS FLOAT) AS speed_mps, CAST(a AS FLOAT) AS accel_mps2,
       speed_0 IS NULL AND v IS NOT NULL AS speed_is_derived, accel_0 IS NULL AND a IS NOT NULL AS accel_is_derived,
       CAST(CASE WHEN v > {MAX_SPEED_MPS} OR v < {LEAST_SPEED_MPS} THEN {Motion.TOO_FAST:d} ELSE 0 END
          + CASE WHEN abs(a) > {MAX_ACCELERATION_MPS2} THEN {Motion.TOO_HARSH:d} ELSE 0 END
          + CASE WHEN abs(moved_m) > (greatest(abs(v), abs(v_b)) + {MAX_ACCELERATION_MPS2} * dt_b) * dt_b
                                     + {JUMP_SLACK_M} AND speed_0 IS NOT NULL THEN {Motion.JUMP:d} ELSE 0 END
          + CASE WHEN {goes_back} THEN {Motion.BACKWARD:d} ELSE 0 END AS UTINYINT) AS motion_flags
FROM accelerations ORDER BY day, time_s, vehicle
"""


_COMPUTED = (
    columns.SPEED,
    columns.ACCELERATION,
    columns.SPEED_IS_DERIVED,
    columns.ACCELERATION_IS_DERIVED,
    columns.MOTION,
)
