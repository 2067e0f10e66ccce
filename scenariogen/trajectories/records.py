"""Trajectories of one or several days: where they lie, what they span, and how to ask them something."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenariogen.errors import DataError
from scenariogen.trajectories import columns
from scenariogen.units import clock_text

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

    from scenariogen.network import RoadNetwork

XML_HEAD = b"<"
PARQUET_HEAD = b"PAR1"
GZIP_HEAD = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class DaySpan:
    """One recorded day: first and last sampled second, and rows."""

    day: int
    begin_s: float
    end_s: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class Trajectories:
    """A set of trajectories on disk. Nothing is read before it is asked for.

    ``path``          what the user gave: a folder or a file
    ``file``          Parquet file with the columns of :mod:`scenariogen.trajectories.columns`
    ``spans``         the days, ascending
    ``period_s``      seconds between two samples of a vehicle
    ``network_hash``  hash of the network that the recording was made on, empty where it is not known
    ``header``        what the recording says about itself (``history.json``), empty for a single file
    """

    path: Path
    file: Path
    spans: tuple[DaySpan, ...]
    period_s: float
    network_hash: str = ""
    header: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    scratch: Any = field(default=None, repr=False, compare=False)
    """Keeps the temporary folder of a converted file alive as long as this record."""

    @property
    def days(self) -> tuple[int, ...]:
        return tuple(span.day for span in self.spans)

    @property
    def rows(self) -> int:
        return sum(span.rows for span in self.spans)

    @property
    def begin_s(self) -> float:
        """Earliest sampled second of any day."""
        return min(span.begin_s for span in self.spans)

    @property
    def end_s(self) -> float:
        """Latest sampled second of any day."""
        return max(span.end_s for span in self.spans)

    @property
    def recorded_h(self) -> float:
        """Hours recorded, all days together."""
        return sum(span.end_s - span.begin_s for span in self.spans) / 3600

    def __repr__(self) -> str:
        days = "1 day" if len(self.spans) == 1 else f"{len(self.spans)} days"
        return (
            f"Trajectories({self.path.name}: {days}, {clock_text(self.begin_s)}-{clock_text(self.end_s)}, "
            f"{self.rows:,} rows every {self.period_s:g} s)"
        )

    def query(self, sql: str, **tables: "pd.DataFrame | pa.Table") -> "pd.DataFrame":
        """The answer to a DuckDB query over the view ``trajectories`` and the tables given by name."""
        connection = connect(self.file)
        try:
            for name, table in tables.items():
                connection.register(name, table)
            return connection.execute(sql).df()
        finally:
            connection.close()

    def day_table(self, day: int) -> "pa.Table":
        """All rows of one day, in the order of the file; of a sorted file only that day is read."""
        import pyarrow.parquet as pq

        return pq.read_table(self.file, columns=list(columns.REQUIRED), filters=[(columns.DAY, "=", day)])


def connect(file: Path) -> "duckdb.DuckDBPyConnection":
    """A connection with the view ``trajectories`` over one Parquet file. The caller closes it."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")  # it would be drawn on standard output, among our answers
    # Views take no parameters; a quote in the path is doubled as SQL asks.
    quoted = str(file).replace("'", "''")
    connection.execute(f"CREATE VIEW trajectories AS SELECT * FROM read_parquet('{quoted}')")
    return connection


def open_trajectories(path: str | Path, network: "RoadNetwork | None" = None) -> Trajectories:
    """Open a recording's folder, or a single trajectory file, and check it.

    Read are our own Parquet and SUMO's floating-car output as Parquet, XML or CSV, also gzipped; which one it is
    is found from the content. Files of the latter kind are converted to a temporary Parquet file, block by block.
    A ``truth.parquet`` beside the trajectories is never touched. Raises ``DataError`` that lists every problem.
    """
    from scenariogen.trajectories.checks import check_file

    path = Path(path)
    file, header = _locate(path)
    scratch = None
    kind = _sniff(file)
    if kind != "parquet":
        file, scratch = _convert(file, kind)
    spans, period_s = check_file(path, file, header=header, network=network)
    return Trajectories(
        path=path,
        file=file,
        spans=spans,
        period_s=period_s,
        network_hash=str(header.get("network_hash", "")),
        header=header,
        scratch=scratch,
    )


def _locate(path: Path) -> tuple[Path, dict[str, Any]]:
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


def _sniff(file: Path) -> str:
    """``parquet`` (our columns), or how SUMO's output is written: ``fcd-parquet``, ``fcd-xml``, ``fcd-csv``."""
    import gzip

    try:
        with file.open("rb") as stream:
            head = stream.read(512)
        if head.startswith(GZIP_HEAD):
            with gzip.open(file, "rb") as stream:
                head = stream.read(512)
    except (OSError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if not head.strip():
        raise DataError(f"{file} is empty; expected trajectories")
    if head.startswith(PARQUET_HEAD):
        return _sniff_parquet(file)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(XML_HEAD):
        return "fcd-xml"
    if b"timestep_time" in text.split(b"\n", 1)[0]:
        return "fcd-csv"
    raise DataError(
        f"{file} is none of the formats read here: our own Parquet, or SUMO's --fcd-output as Parquet, XML or CSV "
        f"(its first line would name timestep_time); it begins with {text[:40]!r}"
    )


def _sniff_parquet(file: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = set(pq.read_schema(file).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{file} is a Parquet file that was cut off or damaged ({error}); record it again, or copy it again"
        ) from error
    return "fcd-parquet" if "timestep_time" in names else "parquet"


def _convert(file: Path, kind: str) -> tuple[Path, Any]:
    """A Parquet file with our columns in a temporary folder, written block by block."""
    import tempfile

    import pyarrow.parquet as pq

    from scenariogen.trajectories.readers import sumo_fcd

    read = {
        "fcd-parquet": sumo_fcd.parquet_chunks,
        "fcd-xml": sumo_fcd.xml_chunks,
        "fcd-csv": sumo_fcd.csv_chunks,
    }[kind]
    scratch = tempfile.TemporaryDirectory(prefix="scenariogen-")
    target = Path(scratch.name) / columns.TRAJECTORIES_FILE
    try:
        chunks: Iterator[pa.Table] = read(file, 0)
        with pq.ParquetWriter(target, columns.schema()) as writer:
            for chunk in chunks:
                writer.write_table(chunk)
    except BaseException:
        scratch.cleanup()
        raise
    return target, scratch
