"""Whatever file a user brings: is it trajectories or incident records, and what becomes of it?"""

import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from scenariogen.accounts import FileAccount
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, read_head
from scenariogen.incidents.event_files import convert_events, event_account, read_events
from scenariogen.incidents.event_formats import EVENT_EXAMPLE, event_readers
from scenariogen.incidents.readers.contract import EventOptions, EventReader
from scenariogen.incidents.readers.mapped import EVENT_DIMENSIONS
from scenariogen.incidents.writers.datex2 import write_datex2
from scenariogen.incidents.writers.geoparquet import write_geoparquet
from scenariogen.incidents.writers.rows import Written
from scenariogen.incidents.writers.wzdx import write_wzdx
from scenariogen.mapping import parse_mapping
from scenariogen.recognise import TABLE, choose
from scenariogen.trajectories.convert import convert
from scenariogen.trajectories.formats import EXAMPLE, readers
from scenariogen.trajectories.opening import account_of, is_ours
from scenariogen.trajectories.readers.contract import ReadOptions, TrajectoryReader
from scenariogen.trajectories.readers.mapped import DIMENSIONS, MappedReader
from scenariogen.trajectories.records import open_trajectories

EVENT_MARKS = ("record_id", "kind", "start")


def inspect_file(file: Path, *, format: str = "", mapping: Iterable[str] = (), time_zone: str = "") -> FileAccount:
    """The account of a file, which is read as a whole into a temporary place and forgotten.

    Raises ``DataError`` that lists every problem where the file cannot be used.
    """
    texts = tuple(mapping)
    head = read_head(file)
    if not format and not texts:
        if is_ours(head):
            return account_of(open_trajectories(file))
        if holds_events(head):
            return event_account(file)
    with tempfile.TemporaryDirectory(prefix="scenariogen-") as folder:
        return _convert(head, Path(folder) / "rows.parquet", format, texts, time_zone)


def convert_file(
    file: Path, *, out: Path, format: str = "", mapping: Iterable[str] = (), time_zone: str = ""
) -> FileAccount:
    """Write a file in our own columns, trajectories as Parquet and incident records as GeoParquet, and its account
    beside it. Raises ``DataError`` that lists every problem; then nothing is written."""
    texts = tuple(mapping)
    head = read_head(file)
    if not format and not texts and (is_ours(head) or holds_events(head)):
        raise DataError(f"{file} is in our own columns already: there is nothing to convert")
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    account = _convert(head, out.absolute(), format, texts, time_zone)
    account.save_beside(out)
    return account


def export_file(
    file: Path,
    *,
    out: Path,
    to: Literal["datex2", "wzdx", "geoparquet"],
    publisher: str,
    country: str = "eu",
    format: str = "",
    mapping: Iterable[str] = (),
    time_zone: str = "",
) -> Written:
    """Write incident records of any format as DATEX II 3.5 or WZDx 4.2, published now, or as GeoParquet; what was left
    out and why.

    Raises ``DataError`` where the file holds no incident records, or none that the format can hold.
    """
    texts = tuple(mapping)
    head = read_head(file)
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scenariogen-") as folder:
        source = file
        if not holds_events(head):
            reader = None if is_ours(head) else find_any_reader(head, format=format, mapping=texts)
            if not isinstance(reader, EventReader):
                raise DataError(f"{file} holds trajectories, expected incident records")
            source = Path(folder) / "events.parquet"
            _convert(head, source, format, texts, time_zone)
        table, now = read_events(source), datetime.now(UTC)
    if to == "geoparquet":
        return Written(rows=write_geoparquet(table.to_batches(), out), refused={})
    if to == "wzdx":
        return write_wzdx(table, out, publisher=publisher, updated=now)
    return write_datex2(table, out, publisher=publisher, country=country, published=now)


def _convert(head: FileHead, out: Path, format: str, texts: tuple[str, ...], time_zone: str) -> FileAccount:
    reader = find_any_reader(head, format=format, mapping=texts)
    if isinstance(reader, EventReader):
        options = EventOptions(mapping=parse_mapping(texts, EVENT_DIMENSIONS), time_zone=time_zone)
        return convert_events(head, reader, out, options=options)
    if time_zone and not isinstance(reader, MappedReader):
        raise DataError(f"--time-zone is for incident records and tables read by --map; {reader.title} has no zone")
    options = ReadOptions(mapping=parse_mapping(texts, DIMENSIONS), time_zone=time_zone)
    return convert(head, reader, out, options=options)


def find_any_reader(head: FileHead, *, format: str = "", mapping: Iterable[str] = ()) -> TrajectoryReader | EventReader:
    """The reader for a file: the one named, the one whose fields a mapping names, else by the content.

    Raises ``DataError`` where none fits, or where the named one is unknown.
    """
    movement, events = readers(), event_readers()
    fields = {text.partition("=")[0].strip() for text in mapping}
    if format == TABLE or (fields and not format):
        return events[TABLE] if _names_incidents(fields) else movement[TABLE]
    return choose(
        head,
        {**events, **movement},
        what="trajectories and incident records",
        example=f"{EXAMPLE} (trajectories) or {EVENT_EXAMPLE} (incident records)",
        format=format,
    )


def _names_incidents(fields: set[str]) -> bool:
    """True where a mapping fits incident records better than trajectories: incidents start, vehicles have times."""
    return len(fields & set(EVENT_DIMENSIONS)) > len(fields & set(DIMENSIONS)) or "start" in fields


def holds_events(head: FileHead) -> bool:
    """True for a table of incident records in our own columns."""
    from scenariogen.trajectories.readers.sumo_fcd import parquet_names

    return head.made is Made.PARQUET and set(EVENT_MARKS) <= set(parquet_names(head.path))
