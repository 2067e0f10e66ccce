"""Any trajectory file that is known here becomes one checked Parquet table and an account of it.

The reader's rows go to a raw Parquet file table by table; DuckDB then numbers the recordings, drops rows that repeat or
contradict another, derives what is missing, marks impossible motion, sorts, and writes the result. Both steps spill to
disk, so that memory does not grow with the file.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook, FileAccount
from scenariogen.database import connected, quoted
from scenariogen.errors import DataError
from scenariogen.heads import FileHead
from scenariogen.trajectories import columns
from scenariogen.trajectories.columns import PLACES, Place
from scenariogen.trajectories.motion import (
    LONGEST_GAP_PERIODS,
    MOTION_WORDS,
    SAMPLED_ROWS,
    agreement_sql,
    median_period_s,
    motion_sql,
)
from scenariogen.trajectories.readers.contract import ReadOptions, TrajectoryReader
from scenariogen.written import written_whole

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

EXAMPLES = 3
MOST_CONTRADICTIONS = 0.01
"""Share of rows; above it the vehicles are not told apart, rather than a few rows being wrong."""
AGREEING = 1.25
"""Positions and speeds may differ by so much before it is said."""
LEAST_STEPS = 50
FARTHEST_TIME_S = 1e13
"""Milliseconds since 1970 that were taken for seconds stay below; what lies beyond is no reading of a clock."""


def convert(head: FileHead, reader: TrajectoryReader, target: Path, *, options: ReadOptions) -> FileAccount:
    """Read a file into ``target`` (Parquet) and give the account of it. Raises ``DataError`` with every problem.

    ``target`` is written only where nothing stands in the way; its folder is made where it is missing.
    """
    if target.exists() and target.samefile(head.path):
        raise DataError(f"{target} is the file that is read: give the result another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    book = AccountBook(file=head.path.name, format=reader.name, title=reader.title, subject="vehicles")
    with tempfile.TemporaryDirectory(prefix="scenariogen-", dir=target.parent) as folder:
        raw = Path(folder) / "raw.parquet"
        read = write_tables(_typed(reader.tables(head, book, options)), raw)
        book.raise_problems(f"{head.path}")
        if not read:
            raise DataError(f"{head.path} holds no row that can be used; " + _dropped_words(book))
        with connected(Path(folder)) as connection:
            connection.execute("SET preserve_insertion_order = false")  # rows are sorted at the end
            return _finish(connection, raw, target, book, head)


def _typed(tables: Iterable["pa.Table"]) -> Iterator["pa.Table"]:
    """The tables with the columns' own types, whatever precision a reader chose."""
    import pyarrow as pa

    for table in tables:
        yield table.cast(pa.schema([(name, columns.arrow_type(name)) for name in table.column_names]))


def write_tables(tables: Iterable["pa.Table"], target: Path) -> int:
    """Write tables of the same columns one after the other as Parquet; the number of rows. No table, no file."""
    import pyarrow.parquet as pq

    writer, rows = None, 0
    try:
        for table in tables:
            if writer is None:
                writer = pq.ParquetWriter(target, table.schema)
            writer.write_table(table)
            rows += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return rows


def _finish(
    connection: "duckdb.DuckDBPyConnection", raw: Path, target: Path, book: AccountBook, head: FileHead
) -> FileAccount:
    connection.execute(f"CREATE VIEW raw AS SELECT * FROM read_parquet({quoted(raw)})")
    names = [row[0] for row in connection.execute("DESCRIBE raw").fetchall()]
    places = list(columns.places(names))
    _number_days(connection, names, book)
    _leave_out_unusable(connection, places, names, book)
    _leave_out_repeats(connection, book)
    book.raise_problems(f"{head.path}")
    period_s = _period_s(connection, book)
    book.raise_problems(f"{head.path}")
    query = motion_sql("whole", {*names, columns.DAY}, places, LONGEST_GAP_PERIODS * period_s)
    with written_whole(target) as partial:
        connection.execute(f"COPY ({query}) TO {quoted(partial)} (FORMAT parquet, COMPRESSION zstd)")
        return _close(connection, partial, book, places, period_s)


def _number_days(connection: "duckdb.DuckDBPyConnection", names: list[str], book: AccountBook) -> None:
    """View ``numbered``: the raw rows with a ``day``, recordings numbered in the order of their names."""
    if columns.RECORDING in names:
        found = connection.execute(
            "SELECT DISTINCT recording FROM raw WHERE recording IS NOT NULL ORDER BY recording"
        ).fetchall()
        book.facts["recordings"] = _few([str(name) for (name,) in found])
        connection.execute(
            "CREATE TABLE recordings AS SELECT recording, CAST(row_number() OVER (ORDER BY recording) - 1 AS INTEGER) "
            "AS day FROM (SELECT DISTINCT recording FROM raw WHERE recording IS NOT NULL)"
        )
        connection.execute(
            "CREATE VIEW numbered AS SELECT raw.* EXCLUDE (recording), recordings.day FROM raw "
            "LEFT JOIN recordings ON raw.recording = recordings.recording"
        )
    elif columns.DAY in names:
        connection.execute("CREATE VIEW numbered AS SELECT * FROM raw")
    else:
        connection.execute("CREATE VIEW numbered AS SELECT *, CAST(0 AS INTEGER) AS day FROM raw")


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:10])} and {len(names) - 10} more"


def _leave_out_unusable(
    connection: "duckdb.DuckDBPyConnection", places: list[Place], names: list[str], book: AccountBook
) -> None:
    """View ``usable``: rows with a time, a vehicle and a place. The others are counted by what they lack."""
    somewhere = " OR ".join("(" + " AND ".join(_is_there(name) for name in PLACES[place]) + ")" for place in places)
    tests: dict[str, str] = {}
    if columns.RECORDING in names:
        tests["without a recording"] = "day IS NULL"
    tests |= {
        "without a time": "time_s IS NULL OR NOT isfinite(time_s)",
        "at a time that no clock shows": f"abs(time_s) > {FARTHEST_TIME_S}",
        "without a vehicle": "vehicle IS NULL OR CAST(vehicle AS VARCHAR) = ''",
        "without a place": f"NOT coalesce({somewhere}, false)",
    }
    if Place.WGS84 in places:
        why = "outside the degrees of the earth (swapped, in another unit, or projected?)"
        tests[why] = "abs(lat_deg) > 90 OR abs(lon_deg) > 180"
    before: list[str] = []  # a row is counted once, by the first thing that it lacks
    counted = []
    for test in tests.values():
        counted.append(f"count(*) FILTER (WHERE {' AND '.join([*before, f'coalesce({test}, false)'])})")
        before.append(f"NOT coalesce({test}, false)")
    counts = connection.execute(f"SELECT {', '.join(counted)} FROM numbered").fetchone()
    for why, count in zip(tests, counts or (), strict=True):
        book.drop(why, int(count))
    connection.execute(f"CREATE VIEW usable AS SELECT * FROM numbered WHERE {' AND '.join(before)}")


def _is_there(name: str) -> str:
    numeric = name not in (columns.EDGE, columns.ROAD, columns.LANE)
    return f"{name} IS NOT NULL" + (f" AND isfinite({name})" if numeric else "")


def _leave_out_repeats(connection: "duckdb.DuckDBPyConnection", book: AccountBook) -> None:
    """View ``whole``: each vehicle once at a time.

    Of rows that are the same in every column one is kept. Rows that contradict each other are dropped, all of them,
    where they are few; where they are many the vehicles are not told apart, which is a problem.
    """
    connection.execute(
        "CREATE TABLE doubled AS SELECT day, vehicle, time_s, count(*) AS n FROM usable GROUP BY ALL HAVING n > 1"
    )
    connection.execute(
        "CREATE TABLE again AS SELECT day, vehicle, time_s, any_value(n) AS n, count(DISTINCT usable) AS k "
        "FROM usable JOIN doubled USING (day, vehicle, time_s) GROUP BY day, vehicle, time_s"
    )
    same, different, rows = connection.execute(
        "SELECT (SELECT coalesce(sum(n - 1), 0) FROM again WHERE k = 1), "
        "(SELECT coalesce(sum(n), 0) FROM again WHERE k > 1), (SELECT count(*) FROM usable)"
    ).fetchone() or (0, 0, 0)
    if not same and not different:
        connection.execute("CREATE VIEW whole AS SELECT * FROM usable")
        return
    book.drop("repeat another row exactly", int(same))
    if different > MOST_CONTRADICTIONS * rows:
        words = (
            "put a vehicle at several places at once; where recordings share vehicle ids, name them (--map "
            "recording=COLUMN)"
        )
        record = book.problem
    else:
        words = "contradict another row of the same vehicle and time: all of them are left out"
        book.drop("contradict another row of the same vehicle and time", int(different))
        record = book.note
    examples = connection.execute(
        f"SELECT day, vehicle, time_s FROM again WHERE k > 1 ORDER BY ALL LIMIT {EXAMPLES}"
    ).fetchall()
    for number, (day, vehicle, time_s) in enumerate(examples):
        example = f"vehicle {vehicle} at {time_s:g} s of recording {day}"
        record(words, rows=0 if number else int(different), example=example)
    connection.execute(
        "CREATE VIEW whole AS SELECT * FROM usable ANTI JOIN doubled USING (day, vehicle, time_s) UNION ALL BY NAME "
        "SELECT DISTINCT * FROM usable SEMI JOIN (SELECT * FROM again WHERE k = 1) USING (day, vehicle, time_s)"
    )


def _period_s(connection: "duckdb.DuckDBPyConnection", book: AccountBook) -> float:
    """Median time between two samples of one vehicle."""
    rows = (connection.execute("SELECT count(*) FROM whole").fetchone() or (0,))[0]
    period_s = median_period_s(connection, "whole", rows)
    if period_s is not None:
        return period_s
    if rows:
        book.problem("no vehicle has two samples, so nothing can be said about movement")
    else:
        book.problem(f"no row can be used; {_dropped_words(book)}")
    return float("nan")


def _close(
    connection: "duckdb.DuckDBPyConnection", result: Path, book: AccountBook, places: list[Place], period_s: float
) -> FileAccount:
    """The account of the result."""
    connection.execute(f"CREATE VIEW result AS SELECT * FROM read_parquet({quoted(result)})")
    kept, vehicles, begin_s, end_s, speeds, accelerations = connection.execute(
        "SELECT count(*), count(DISTINCT (day, vehicle)), min(time_s), max(time_s), "
        "count(*) FILTER (WHERE speed_is_derived), count(*) FILTER (WHERE accel_is_derived) FROM result"
    ).fetchone() or (0, 0, 0.0, 0.0, 0, 0)
    how = "central difference, not smoothed"
    for name, count, of in ((columns.SPEED, speeds, "positions"), (columns.ACCELERATION, accelerations, "speeds")):
        if count:
            book.derived[name] = f"{count:,} rows from {of} ({how})"
    for flag, words in MOTION_WORDS.items():
        rows = connection.execute(f"SELECT count(*) FROM result WHERE motion_flags & {flag:d} > 0").fetchone() or (0,)
        if rows[0]:
            first = connection.execute(
                f"SELECT vehicle, time_s FROM result WHERE motion_flags & {flag:d} > 0 LIMIT 1"
            ).fetchone() or ("", 0.0)
            book.note(words, rows=int(rows[0]), example=f"vehicle {first[0]} at {first[1]:.2f} s")
    holes = connection.execute(
        "SELECT count(*) FROM (SELECT time_s - lag(time_s) OVER (PARTITION BY day, vehicle ORDER BY time_s) AS gap "
        f"FROM result) WHERE gap > {1.5 * period_s}"
    ).fetchone() or (0,)
    if holes[0]:
        book.note("follow a hole in their track", rows=int(holes[0]))
    if columns.SPEED not in book.derived:
        _compare_speeds(connection, book, places, LONGEST_GAP_PERIODS * period_s, rows=int(kept))
    book.facts["period"] = f"{period_s:g} s between the samples of a vehicle"
    book.facts["places"] = ", ".join(str(place) for place in places)
    return book.close(
        kept=int(kept), subjects=int(vehicles), span=(f"{begin_s:.2f} s", f"{end_s:.2f} s"), rows=book.rows or None
    )


def _compare_speeds(
    connection: "duckdb.DuckDBPyConnection", book: AccountBook, places: list[Place], gap_s: float, *, rows: int
) -> None:
    """A remark where positions and speeds say different things: one of them is in another unit, perhaps."""
    every = rows // SAMPLED_ROWS + 1
    source = f"(SELECT * FROM result WHERE hash(vehicle) % {every} = 0)"
    ratio, steps = connection.execute(agreement_sql(source, places, gap_s)).fetchone() or (None, 0)
    if ratio is not None and steps >= LEAST_STEPS and not 1 / AGREEING < ratio < AGREEING:
        book.note(
            f"vehicles cover {ratio:.3g} times the distance that their speeds say: positions or speeds are in another "
            "unit than they were read in"
        )


def _dropped_words(book: AccountBook) -> str:
    words = ", ".join(f"{count:,} {why}" for why, count in book.dropped.items())
    return f"left out: {words}" if words else "it has none"
