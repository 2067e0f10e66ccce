"""Trajectories of one or several days: where they lie, what they span, and how to ask them something."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenariogen import database
from scenariogen.accounts import FileAccount
from scenariogen.errors import DataError
from scenariogen.trajectories import columns
from scenariogen.trajectories.columns import Place
from scenariogen.units import clock_text

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

    from scenariogen.network import RoadNetwork


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
    ``file``          Parquet file that the rows stand in
    ``view``          SQL that gives the columns of :mod:`scenariogen.trajectories.columns` from it
    ``names``         which of those columns there are
    ``spans``         the days, ascending
    ``period_s``      seconds between two samples of a vehicle
    ``network_hash``  hash of the network that the recording was made on, empty where it is not known
    ``header``        what the recording says about itself (``history.json``), empty for a single file
    ``account``       how the file was read, where it was converted
    """

    path: Path
    file: Path
    view: str = field(repr=False)
    names: tuple[str, ...]
    spans: tuple[DaySpan, ...]
    period_s: float
    network_hash: str = ""
    header: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    account: FileAccount | None = field(default=None, repr=False, hash=False)
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

    @property
    def places(self) -> tuple[Place, ...]:
        """The ways in which the rows say where a vehicle is."""
        return columns.places(self.names)

    def require(self, place: Place) -> None:
        """Raise ``DataError`` where the rows do not say where vehicles are in this way."""
        if place in self.places:
            return
        has = ", ".join(self.places)
        if Place.ROAD in self.places:
            how = "attach the road to a chain of edges: scenariogen match FILE --chain EDGE,EDGE,..."
        else:
            how = "put them on a network first: scenariogen match FILE --network NAME --out matched.parquet"
        raise DataError(f"{self.path} says where vehicles are by {has}, but not by {place}; {how}")

    def __repr__(self) -> str:
        days = "1 day" if len(self.spans) == 1 else f"{len(self.spans)} days"
        return (
            f"Trajectories({self.path.name}: {days}, {clock_text(self.begin_s)}-{clock_text(self.end_s)}, "
            f"{self.rows:,} rows every {self.period_s:g} s)"
        )

    def query(self, sql: str, **tables: "pd.DataFrame | pa.Table") -> "pd.DataFrame":
        """The answer to a DuckDB query over the view ``trajectories`` and the tables given by name."""
        connection = connect(self.view)
        try:
            for name, table in tables.items():
                connection.register(name, table)
            return connection.execute(sql).df()
        finally:
            connection.close()

    def day_table(self, day: int) -> "pa.Table":
        """The columns that fields and detection need, of one day, in the order of the file."""
        self.require(Place.EDGE)
        if self.view != plain_view(self.file):
            connection = connect(self.view)
            try:
                wanted = ", ".join(columns.REQUIRED)
                return connection.sql(f"SELECT {wanted} FROM trajectories WHERE day = {int(day)}").to_arrow_table()
            finally:
                connection.close()
        import pyarrow.parquet as pq

        return pq.read_table(self.file, columns=list(columns.REQUIRED), filters=[(columns.DAY, "=", day)])


def plain_view(file: Path) -> str:
    """The query of a Parquet file that holds our own columns."""
    return f"SELECT * FROM read_parquet({database.quoted(file)})"


def connect(view: str) -> "duckdb.DuckDBPyConnection":
    """A connection with the view ``trajectories`` defined by a query. The caller closes it."""
    connection = database.connect()
    connection.execute(f"CREATE VIEW trajectories AS {view}")
    return connection


def open_trajectories(
    path: str | Path,
    network: "RoadNetwork | None" = None,
    *,
    format: str = "",
    mapping: Iterable[str] = (),
) -> Trajectories:
    """Open a recording's folder, or a single trajectory file of any format that is known, and check it.

    ``format``   name of the format, where its content is not to decide (see ``scenariogen inspect``)
    ``mapping``  which column of a table holds what, ``FIELD=COLUMN:UNIT`` each

    Our own Parquet and SUMO's are read where they lie; other files are converted to a temporary Parquet file. A
    ``truth.parquet`` beside the trajectories is never touched. Raises ``DataError`` that lists every problem.
    """
    from scenariogen.trajectories.checks import check_file
    from scenariogen.trajectories.opening import locate, source_of

    path = Path(path)
    file, header = locate(path)
    source = source_of(file, format=format, mapping=mapping)
    spans, period_s = check_file(path, source, header=header, network=network)
    return Trajectories(
        path=path,
        file=source.file,
        view=source.view,
        names=source.names,
        spans=spans,
        period_s=period_s,
        network_hash=str(header.get("network_hash", "")),
        header=header,
        account=source.account,
        scratch=source.scratch,
    )
