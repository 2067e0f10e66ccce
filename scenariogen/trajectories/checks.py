"""What must hold of a trajectory file before anything is computed from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.errors import DataError, Problems
from scenariogen.trajectories import columns
from scenariogen.trajectories.checks_units import check_units
from scenariogen.trajectories.columns import PLACES, Place
from scenariogen.trajectories.motion import median_period_s
from scenariogen.trajectories.records import DaySpan, connect

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.opening import Source

NUMBER_TYPES = (
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT",
    "DOUBLE",
)  # fmt: skip
MAX_SPEED_MPS = 90.0
"""No road vehicle in a record of traffic is faster; larger figures are km/h or feet per second."""
POSITION_SLACK_M = 1.0
HEAD_ROWS = 50_000
"""The first rows of a day, which tell the sampling period where they hold some vehicle twice."""


def check_file(
    path: Path, source: "Source", *, header: Mapping[str, Any], network: "RoadNetwork | None"
) -> tuple[tuple[DaySpan, ...], float]:
    """The days of ``source`` and its sampling period (s), or a ``DataError`` that lists every problem.

    ``path`` is what the user gave, for the messages. With a network, edges, lanes and positions are looked up.
    """
    problems = Problems(f"trajectories {path}")
    _check_names(source.names, problems)
    problems.raise_as(DataError)  # nothing else can be asked of a table without its columns
    connection = connect(source.view)
    try:
        _check_types(connection, source.names, problems)
        problems.raise_as(DataError)
        days = _day_table(connection)
        if days.empty:
            problems.add("there is no row: no vehicle was recorded")
            problems.raise_as(DataError)
        period_s = _period_s(connection, days, problems)
        _check_values(connection, source.names, problems)
        _check_order(source, problems)
        if Place.EDGE in columns.places(source.names):
            check_units(connection, path, int(days["rows"].to_numpy().sum()), period_s, problems)
            if network is not None:
                _check_network(connection, network, header, problems)
    except duckdb_error() as error:
        problems.add(f"it cannot be read ({str(error).splitlines()[0]}); it was damaged: copy it again")
    finally:
        connection.close()
    problems.raise_as(DataError)
    spans = tuple(
        DaySpan(day=int(day), begin_s=float(begin), end_s=float(end), rows=int(rows))
        for day, begin, end, rows in days.itertuples(index=False)
    )
    return spans, period_s


def duckdb_error() -> type[Exception]:
    """What DuckDB raises for a file that it cannot read."""
    import duckdb

    return duckdb.Error


def _check_names(names: Sequence[str], problems: Problems) -> None:
    missing = [name for name in columns.ALWAYS if name not in names]
    if missing:
        problems.add(
            f"columns {', '.join(missing)} are missing; it has {', '.join(names[:12])}. Expected "
            f"{', '.join(columns.COLUMNS)}, or SUMO's --fcd-output with timestep_time, vehicle_id, vehicle_lane, "
            "vehicle_pos, vehicle_speed. Any other table is read with --map, for example --map time=t:s"
        )
    if not columns.places(names):
        nearest = min(PLACES.values(), key=lambda wanted: sum(name not in names for name in wanted))
        lacking = [name for name in nearest if name not in names]
        problems.add(
            f"columns {', '.join(lacking)} are missing: nothing says where a vehicle is; it has "
            f"{', '.join(names[:12])}. Expected {' or '.join(', '.join(wanted) for wanted in PLACES.values())}"
        )


def _check_types(connection: "duckdb.DuckDBPyConnection", names: Sequence[str], problems: Problems) -> None:
    """Words where words belong, numbers where numbers belong."""
    types = {name: str(kind) for name, kind, *_ in connection.execute("DESCRIBE trajectories").fetchall()}
    places = [name for place in columns.places(names) for name in PLACES[place]]
    for name in (*columns.ALWAYS, *places):
        wanted_word = name in (columns.VEHICLE, columns.EDGE, columns.ROAD)
        is_word = types[name] == "VARCHAR" or types[name].startswith("ENUM")
        is_number = types[name] in NUMBER_TYPES or types[name].startswith("DECIMAL")
        if wanted_word != is_word or (not wanted_word and not is_number):
            kind = types[name].lower()
            problems.add(f"column {name} is {kind}, expected {'text' if wanted_word else 'a number'}")


def _day_table(connection: "duckdb.DuckDBPyConnection") -> "pd.DataFrame":
    return connection.execute(
        "SELECT day, min(time_s) AS begin_s, max(time_s) AS end_s, count(*) AS rows "
        "FROM trajectories GROUP BY day ORDER BY day"
    ).df()


def _period_s(connection: "duckdb.DuckDBPyConnection", days: "pd.DataFrame", problems: Problems) -> float:
    """Median time between the samples of one vehicle, on the day with most rows."""
    busiest = days.loc[days["rows"].idxmax()]
    rows = f"SELECT day, vehicle, time_s FROM trajectories WHERE day = {int(busiest['day'])}"
    period_s = median_period_s(connection, f"({rows} LIMIT {HEAD_ROWS})", HEAD_ROWS)
    if period_s is None:  # more vehicles at once than rows were looked at
        period_s = median_period_s(connection, f"({rows})", int(busiest["rows"]))
    if period_s is None:
        problems.add("no vehicle has two samples, so nothing can be said about movement")
        return float("nan")
    return period_s


def _check_values(connection: "duckdb.DuckDBPyConnection", names: Sequence[str], problems: Problems) -> None:
    tests = {
        f"have no {columns.TIME}": "time_s IS NULL OR NOT isfinite(time_s)",
        f"have no {columns.VEHICLE}": "vehicle IS NULL",
    }
    if Place.EDGE in columns.places(names):
        tests |= {
            f"have no {columns.EDGE}": "edge IS NULL",
            f"have no usable {columns.POSITION}": "position_m IS NULL OR NOT isfinite(position_m) OR position_m < -1",
            f"have no {columns.LANE} of at least 0 (in SUMO's output: a lane id that is not <edge>_<index>)": (
                "lane IS NULL OR lane < 0"
            ),
        }
    if columns.MOTION not in names:  # conversion has marked such rows, and its account has counted them
        tests |= {
            f"have no usable {columns.SPEED}": "speed_mps IS NULL OR NOT isfinite(speed_mps) OR speed_mps < -0.5",
            f"have a {columns.SPEED} above {MAX_SPEED_MPS:g}; expected metres per second": (
                f"speed_mps > {MAX_SPEED_MPS}"
            ),
        }
    counts = connection.execute(
        "SELECT " + ", ".join(f"count(*) FILTER (WHERE {test})" for test in tests.values()) + " FROM trajectories"
    ).fetchone()
    for words, count in zip(tests, counts or (), strict=True):
        if count:
            problems.add(f"{count:,} rows {words}")


def _check_order(source: "Source", problems: Problems) -> None:
    """Days and times must not go back, row after row: later stages read one day at a time."""
    import pyarrow.parquet as pq

    last: tuple[float, float] | None = None
    with pq.ParquetFile(source.file) as parquet:
        wanted = [name for name in (columns.DAY, source.time) if name in parquet.schema_arrow.names]
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group, columns=wanted)
            time_s = table[source.time].to_numpy().astype(float)
            day = table[columns.DAY].to_numpy().astype(float) if columns.DAY in wanted else np.zeros(len(time_s))
            if not len(day):
                continue
            if last is not None:
                day, time_s = np.r_[last[0], day], np.r_[last[1], time_s]
            back = (np.diff(day) < 0) | ((np.diff(day) == 0) & (np.diff(time_s) < 0))
            if back.any():
                at = int(np.argmax(back))
                problems.add(
                    f"time goes back from day {day[at]:g}, {time_s[at]:g} s to day {day[at + 1]:g}, "
                    f"{time_s[at + 1]:g} s; expected rows sorted by day and time"
                )
                return
            last = (day[-1], time_s[-1])


def _check_network(
    connection: "duckdb.DuckDBPyConnection", network: "RoadNetwork", header: Mapping[str, Any], problems: Problems
) -> None:
    recorded = str(header.get("network_hash", ""))
    if recorded and recorded != network.sha256:
        problems.add(
            f"recorded on a network with hash {recorded[:12]}, but {network.path.name} has {network.sha256[:12]}: "
            "give the network of the recording"
        )
    seen = connection.execute(
        "SELECT CAST(edge AS VARCHAR) AS edge, max(lane) AS lane, max(position_m) AS position_m "
        "FROM trajectories WHERE edge NOT LIKE ':%' GROUP BY 1 ORDER BY 1"
    ).df()
    unknown = [edge for edge in seen["edge"] if edge not in network.edges]
    if unknown:
        problems.add(f"{len(unknown)} of {len(seen)} edges are unknown, the first: {network.unknown_edge(unknown[0])}")
    for edge_id, lane, position_m in seen.itertuples(index=False):
        edge = network.edges.get(edge_id)
        if edge is None:
            continue
        longest = max(road_lane.length_m for road_lane in edge.lanes)
        if lane >= len(edge.lanes):
            problems.add(f"lane {lane} is used on edge {edge_id!r}, which has {len(edge.lanes)} lanes")
        if position_m > longest + POSITION_SLACK_M:
            problems.add(f"position_m reaches {position_m:.1f} on edge {edge_id!r}, which is {longest:.1f} m long")
