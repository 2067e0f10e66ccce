"""From a path to rows that can be queried: where they lie, and what has to be done before."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenariogen.accounts import AccountBook, FileAccount, account_beside
from scenariogen.database import quoted
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, read_head
from scenariogen.mapping import parse_mapping
from scenariogen.trajectories import columns
from scenariogen.trajectories.convert import convert, write_tables
from scenariogen.trajectories.formats import find_reader
from scenariogen.trajectories.readers import fcd_names, sumo_fcd
from scenariogen.trajectories.readers.contract import ReadOptions
from scenariogen.trajectories.readers.mapped import DIMENSIONS
from scenariogen.trajectories.records import Trajectories, plain_view


@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows that can be queried.

    ``file``     Parquet file that they stand in
    ``view``     query that gives our columns
    ``names``    those columns
    ``time``     the file's own column of times, by which the order of rows is checked
    ``account``  how the file was read, None for what needs no reading
    ``scratch``  what keeps a temporary file alive
    """

    file: Path
    view: str = field(repr=False)
    names: tuple[str, ...]
    time: str = columns.TIME
    account: FileAccount | None = field(default=None, repr=False)
    scratch: Any = field(default=None, repr=False, compare=False)


def locate(path: Path) -> tuple[Path, dict[str, Any]]:
    """The file with the rows, and what a recording's folder says about itself."""
    if not path.exists():
        raise DataError(f"{path} does not exist; expected a folder that `scenariogen record` wrote, or a file")
    if path.is_file():
        return path, {}
    file = path / columns.TRAJECTORIES_FILE
    if not file.is_file():
        inside = sorted(entry.name for entry in path.iterdir())[:5]
        raise DataError(
            f"the folder {path} has no {columns.TRAJECTORIES_FILE}; it holds "
            f"{', '.join(inside) if inside else 'nothing'}. Give a folder that `scenariogen record` wrote, or the "
            "trajectory file itself"
        )
    return file, _read_header(path / columns.HEADER_FILE)


def _read_header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as JSON ({error}); record again, or give the Parquet file alone"
        ) from error
    if not isinstance(header, dict):
        raise DataError(f"{path} holds a {type(header).__name__}, expected one object with the recording's settings")
    return header


def source_of(file: Path, *, format: str = "", mapping: Iterable[str] = ()) -> Source:
    """The rows of a file. Other formats than Parquet are converted to a temporary file."""
    texts = tuple(mapping)
    options = ReadOptions(mapping=parse_mapping(texts, DIMENSIONS))
    head = read_head(file)
    if head.made is Made.PARQUET and not texts:
        names = sumo_fcd.parquet_names(file)
        if fcd_names.TIME not in names:
            return Source(file=file, view=plain_view(file), names=tuple(names), account=account_beside(file))
        if sumo_fcd.is_plain(head, names):
            return _fcd_source(file, names)
    reader = find_reader(head, format=format, is_mapped=bool(texts))
    scratch = tempfile.TemporaryDirectory(prefix="scenariogen-")
    target = Path(scratch.name) / columns.TRAJECTORIES_FILE
    try:
        if isinstance(reader, sumo_fcd.SumoFcdReader):
            account = _write_simulated(reader, head, target, options)
        else:
            account = convert(head, reader, target, options=options)
        names = tuple(sumo_fcd.parquet_names(target))
    except BaseException:
        scratch.cleanup()
        raise
    return Source(file=target, view=plain_view(target), names=names, account=account, scratch=scratch)


def _write_simulated(
    reader: sumo_fcd.SumoFcdReader, head: FileHead, target: Path, options: ReadOptions
) -> FileAccount | None:
    """SUMO's rows are sorted and have speeds: they are written as they come, unless speeds were left out."""
    import pyarrow.parquet as pq

    book = AccountBook(file=head.path.name, format=reader.name, title=reader.title, subject="vehicles")
    rows = write_tables(reader.tables(head, book, options), target)
    if not rows:
        pq.write_table(columns.schema().empty_table(), target)
    if columns.SPEED not in sumo_fcd.parquet_names(target):
        return convert(head, reader, target, options=options)
    return book.close(kept=rows)


def _fcd_source(file: Path, names: list[str]) -> Source:
    """SUMO's Parquet where it lies: a query that names its columns as ours."""
    optional = {ours: theirs for ours, (theirs, _) in fcd_names.OPTIONAL.items() if theirs in names}
    parts = [
        "CAST(0 AS INTEGER) AS day",
        "CAST(timestep_time AS DOUBLE) AS time_s",
        "vehicle_id AS vehicle",
        "regexp_replace(vehicle_lane, '_[0-9]+$', '') AS edge",
        "CAST(nullif(regexp_extract(vehicle_lane, '._([0-9]+)$', 1), '') AS SMALLINT) AS lane",
        "CAST(vehicle_pos AS FLOAT) AS position_m",
        "CAST(vehicle_speed AS FLOAT) AS speed_mps",
        *(f"{theirs} AS {ours}" for ours, theirs in optional.items()),
    ]
    return Source(
        file=file,
        view=f"SELECT {', '.join(parts)} FROM read_parquet({quoted(file)}) "
        "WHERE vehicle_id IS NOT NULL AND vehicle_lane <> ''",  # persons have none, and who is off the road has no name
        names=(*columns.REQUIRED, *optional),
        time=fcd_names.TIME,
    )


def is_ours(head: FileHead) -> bool:
    """True for a Parquet file with our own columns, which needs no conversion."""
    return head.made is Made.PARQUET and {columns.TIME, columns.VEHICLE} <= set(sumo_fcd.parquet_names(head.path))


def account_of(trajectories: Trajectories) -> FileAccount:
    """The account of an opened file: the one that was saved beside it, or what a look at the rows tells."""
    if trajectories.account is not None and trajectories.account.rows:
        return trajectories.account
    vehicles = int(
        trajectories.query("SELECT count(*) AS n FROM (SELECT DISTINCT day, vehicle FROM trajectories)").loc[0, "n"]
    )
    book = AccountBook(
        file=trajectories.file.name, format="scenariogen", title="trajectories in our columns", subject="vehicles"
    )
    book.facts["days"] = str(len(trajectories.days))
    book.facts["period"] = f"{trajectories.period_s:g} s between the samples of a vehicle"
    book.facts["places"] = ", ".join(trajectories.places)
    span = (f"{trajectories.begin_s:.2f} s", f"{trajectories.end_s:.2f} s")
    return book.close(kept=trajectories.rows, subjects=vehicles, span=span)
