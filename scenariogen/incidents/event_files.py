"""Any file of incident records that is known here becomes one GeoParquet table and an account of it.

Checked records go to a raw Parquet file in chunks; DuckDB then keeps one record for each id, sorts, and the result is
written in batches. Memory does not grow with the file.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook, FileAccount, account_path
from scenariogen.database import connected, quoted
from scenariogen.errors import DataError, Problems
from scenariogen.heads import FileHead
from scenariogen.incidents.events import EVENT_COLUMNS, Event, event_table, schema
from scenariogen.incidents.readers.contract import EventOptions, EventReader
from scenariogen.incidents.readers.sieve import sieve
from scenariogen.incidents.writers.geoparquet import write_geoparquet

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

CHUNK_EVENTS = 50_000
WORDS_SHOWN = 40
TIME_ZONE = "time zone"
"""The fact of an account that names the zone in which times without an offset were read, where one was named."""


def convert_events(head: FileHead, reader: EventReader, target: Path, *, options: EventOptions) -> FileAccount:
    """Read a file into ``target`` (GeoParquet) and give the account of it, which is also saved beside it.

    Raises ``DataError`` with every problem; then nothing is written.
    """
    if not target.parent.is_dir():
        raise DataError(f"the folder {target.parent} does not exist, so {target.name} cannot be written there")
    book = AccountBook(file=head.path.name, format=reader.name, title=reader.title, subject="incidents")
    with tempfile.TemporaryDirectory(prefix="scenariogen-", dir=target.parent) as folder:
        raw = Path(folder) / "raw.parquet"
        read = _write_raw(reader, head, book, options, raw)
        book.raise_problems(f"{head.path}")
        if options.time_zone or reader.time_zone:
            book.facts[TIME_ZONE] = options.time_zone or reader.time_zone
        if not read:
            raise DataError(f"{head.path} holds no incident that can be used; {_dropped_words(book)}")
        with connected(Path(folder)) as connection:
            _keep_one_each(connection, raw, book)
            batches = connection.sql(_SORTED).to_arrow_reader(CHUNK_EVENTS)
            write_geoparquet(batches, target)
            account = _close(connection, book)
    account.save_beside(target)
    return account


def read_events(path: str | Path) -> "pa.Table":
    """The table of incidents that :func:`convert_events` wrote. Raises ``DataError`` for any other file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist or is no file, expected a table of incidents (GeoParquet)")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no Parquet file that can be read; convert the records again") from error
    lacking = [name for name in EVENT_COLUMNS if name not in table.column_names]
    if 2 * len(lacking) > len(EVENT_COLUMNS):
        raise DataError(
            f"{path} is another table ({', '.join(table.column_names[:6])}, ...): expected incident records as "
            "`scenariogen convert` and `match` write them"
        )
    problems = Problems(f"{path} as a table of incidents")
    for name, wanted in zip(EVENT_COLUMNS, schema(), strict=True):
        if name not in table.column_names:
            problems.add(f"the column {name} is missing")
        elif not table.schema.field(name).type.equals(wanted.type):
            problems.add(f"the column {name} is {table.schema.field(name).type}, expected {wanted.type}")
    problems.raise_as(DataError)
    return table.select(list(EVENT_COLUMNS)).replace_schema_metadata(None)


def event_account(path: str | Path) -> FileAccount:
    """The account saved beside a converted table. Raises ``DataError`` where it is missing or damaged."""
    import json

    beside = account_path(Path(path))
    try:
        value = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{beside} cannot be read; convert the records again") from error
    return FileAccount.from_json(value)


def _write_raw(reader: EventReader, head: FileHead, book: AccountBook, options: EventOptions, raw: Path) -> int:
    """Write the records that pass the sieve, in the order of the file; their number."""
    import pyarrow.parquet as pq

    writer, count = None, 0
    try:
        for chunk in _chunks(reader, head, book, options):
            table = event_table(chunk, source=reader.name)
            if writer is None:
                writer = pq.ParquetWriter(raw, table.schema)
            writer.write_table(table)
            count += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return count


def _chunks(reader: EventReader, head: FileHead, book: AccountBook, options: EventOptions) -> Iterator[list[Event]]:
    chunk: list[Event] = []
    for event in reader.events(head, book, options):
        passed = sieve(event, book, reader.bounds)
        if passed is not None:
            chunk.append(passed)
        if len(chunk) >= CHUNK_EVENTS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


_SORTED = 'SELECT {} FROM kept ORDER BY "start", record_id'.format(", ".join(f'"{name}"' for name in EVENT_COLUMNS))


def _keep_one_each(connection: "duckdb.DuckDBPyConnection", raw: Path, book: AccountBook) -> None:
    """Table ``kept``: of several records with one id the one touched last, and of those the last in the file."""
    connection.execute(
        "CREATE VIEW raw AS SELECT *, file_row_number AS place FROM "
        f"read_parquet({quoted(raw)}, file_row_number = true)"
    )
    columns = ", ".join(f'"{name}"' for name in EVENT_COLUMNS)
    connection.execute(
        "CREATE TABLE kept AS SELECT * EXCLUDE (place, file_row_number) FROM raw QUALIFY row_number() OVER "
        "(PARTITION BY record_id ORDER BY updated DESC NULLS LAST, place DESC) = 1"
    )
    [(total, ids, different)] = connection.execute(
        "SELECT count(*), count(DISTINCT record_id), "
        f"(SELECT count(*) FROM (SELECT DISTINCT {columns} FROM raw)) FROM raw"
    ).fetchall()
    book.drop("that repeat another exactly", int(total - different))
    book.drop("that a later record with the same id replaces", int(different - ids))


def _close(connection: "duckdb.DuckDBPyConnection", book: AccountBook) -> FileAccount:
    [(kept, first, last)] = connection.execute(
        "SELECT count(*), strftime(min(\"start\"), '%Y-%m-%d %H:%M UTC'), "
        "strftime(max(\"start\"), '%Y-%m-%d %H:%M UTC') FROM kept"
    ).fetchall()
    for kind, count in connection.execute(
        "SELECT kind, count(*) FROM kept GROUP BY kind ORDER BY count(*) DESC, kind"
    ).fetchall():
        words = connection.execute(
            "SELECT kind_text, count(*) FROM kept WHERE kind = ? GROUP BY kind_text ORDER BY count(*) DESC, kind_text",
            [kind],
        ).fetchall()
        shown = ", ".join(f"{word or '(no word)'} {number:,}" for word, number in words[:WORDS_SHOWN])
        more = f" and {len(words) - WORDS_SHOWN} more words" if len(words) > WORDS_SHOWN else ""
        book.facts[str(kind)] = f"{count:,} from {shown}{more}"
    ends = connection.execute("SELECT end_is, count(*) FROM kept GROUP BY end_is ORDER BY end_is").fetchall()
    book.facts["ends"] = ", ".join(f"{str(name).replace('_', ' ')} {count:,}" for name, count in ends)
    [(places, lanes, full)] = connection.execute(
        "SELECT count(geometry), count(lanes_closed), count(*) FILTER (WHERE full_closure) FROM kept"
    ).fetchall()
    book.facts["places"] = f"{places:,} with coordinates"
    book.facts["lanes"] = f"{lanes:,} say how many lanes are closed, {full:,} are full closures"
    return book.close(kept=int(kept), subjects=int(kept), span=(first, last), rows=book.rows or None)


def _dropped_words(book: AccountBook) -> str:
    words = ", ".join(f"{count:,} {why}" for why, count in book.dropped.items())
    return f"left out: {words}" if words else "it has none"
