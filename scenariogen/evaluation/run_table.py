"""Rows of ``runs.parquet`` and its like: written some at a time, and read so, whatever their number."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from scenariogen.evaluation.records import RunResult

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1_000
"""Rows of a row group, and rows that are decoded at once."""
HELD_GROUPS = 4
"""Row groups that are held for the next question."""
Keys = NDArray[np.bytes_]


def runs_schema() -> "pa.Schema":
    """Columns of ``runs.parquet``: the fields of :class:`RunResult`."""
    import pyarrow as pa

    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}

    def arrow(annotation: object) -> "pa.DataType":
        name = annotation.__name__ if isinstance(annotation, type) else str(annotation).partition(" | ")[0]
        return types.get(name, pa.string())  # an end reason is stored by its name

    return pa.schema([(each.name, arrow(each.type)) for each in fields(RunResult)])


def to_arrow(runs: Iterable[RunResult]) -> "pa.Table":
    """Runs as an Arrow table."""
    import pyarrow as pa

    rows = [asdict(run) | {"end_reason": run.end_reason.name} for run in runs]
    return pa.Table.from_pylist(rows, schema=runs_schema())


def write_runs(tables: Iterable["pa.Table"], path: Path) -> None:
    """Write tables one after another as one Parquet file."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, runs_schema()) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=ROWS)


class RunTable:
    """The rows of several Parquet files, then those of ``tail``, numbered from 0; files stay open.

    A row that comes later is newer: where several have the same key, it replaces the others.
    """

    def __init__(self, files: Sequence[Path], tail: Sequence[RunResult] = ()) -> None:
        import pyarrow.parquet as pq

        self._schema = runs_schema()
        self._files = [pq.ParquetFile(file) for file in files]
        self._tail = to_arrow(tail)
        self._groups = [
            (file, group) for file in self._files for group in range(file.metadata.num_row_groups)
        ]  # fmt: skip
        sizes = [file.metadata.row_group(group).num_rows for file, group in self._groups] + [len(tail)]
        self._first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._held: OrderedDict[int, pa.Table] = OrderedDict()
        self._keys: Keys | None = None

    def __len__(self) -> int:
        return int(self._first[-1])

    @property
    def keys(self) -> Keys:
        """(row,) of each row, as bytes."""
        if self._keys is None:
            parts = [_as_keys(self._column("key", number)) for number in range(len(self._first) - 1)]
            self._keys = np.concatenate(parts) if parts else np.zeros(0, "S64")
        return self._keys

    def column(self, name: str) -> "pa.ChunkedArray":
        """One column of all rows."""
        import pyarrow as pa

        return pa.chunked_array(
            [chunk for number in range(len(self._first) - 1) for chunk in self._column(name, number).chunks],
            type=self._schema.field(name).type,
        )

    def _column(self, name: str, number: int) -> "pa.ChunkedArray":
        import pyarrow as pa

        if number == len(self._groups):
            return self._tail.column(name)
        file, group = self._groups[number]
        if name not in file.schema_arrow.names:  # written before there was such a column
            return pa.chunked_array([pa.nulls(file.metadata.row_group(group).num_rows, self._schema.field(name).type)])
        return file.read_row_group(group, columns=[name]).column(name).cast(self._schema.field(name).type)

    def newest(self, wanted: Keys) -> NDArray[np.int64]:
        """(wanted,) the newest row with each key, -1 where there is none."""
        if not len(self):
            return np.full(len(wanted), -1, np.int64)
        order = np.argsort(self.keys, kind="stable")
        ordered = self.keys[order]
        place = np.searchsorted(ordered, wanted, side="right") - 1
        found = ordered[np.maximum(place, 0)] == wanted
        return np.where(found & (place >= 0), order[np.maximum(place, 0)], -1)

    def take(self, rows: NDArray[np.int64]) -> "pa.Table":
        """The rows with these numbers, in this order."""
        import pyarrow as pa

        if not len(rows):
            return self._schema.empty_table()
        group_of = np.searchsorted(self._first, rows, side="right") - 1
        parts, at = [], np.empty(len(rows), np.int64)
        done = 0
        for group in np.unique(group_of):
            here = np.flatnonzero(group_of == group)
            parts.append(self._group(int(group)).take(pa.array(rows[here] - self._first[group])))
            at[here] = np.arange(done, done + len(here))
            done += len(here)
        return pa.concat_tables(parts).take(pa.array(at))

    def _group(self, number: int) -> "pa.Table":
        import pyarrow as pa

        if number == len(self._groups):
            return self._tail
        if number not in self._held:
            file, group = self._groups[number]
            table = file.read_row_group(group)
            columns = [
                table.column(name).cast(self._schema.field(name).type)
                if name in table.column_names
                else pa.nulls(table.num_rows, self._schema.field(name).type)
                for name in self._schema.names
            ]
            self._held[number] = pa.table(columns, schema=self._schema)
            while len(self._held) > HELD_GROUPS:
                self._held.popitem(last=False)
        self._held.move_to_end(number)
        return self._held[number]


class StoredRuns(Sequence[RunResult]):
    """Runs in a given order, like a tuple of them, read from their table some at a time.

    ``rows``       (run,) of ``table``
    ``scenario``, ``policy``, ``replica``  (run,) what each run is here: equal runs of two scenarios share a row
    """

    def __init__(
        self,
        table: RunTable,
        rows: NDArray[np.int64],
        *,
        scenario: NDArray[np.int64],
        policy: NDArray[np.int64],
        replica: NDArray[np.int64],
        policies: Sequence[str],
    ) -> None:
        self._table, self._rows, self._policies = table, rows, tuple(policies)
        self._identity = scenario, policy, replica

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[RunResult]:
        for chunk in self.chunks():
            yield from map(_run, chunk.to_pylist())

    @overload
    def __getitem__(self, place: int) -> RunResult: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[RunResult, ...]: ...

    def __getitem__(self, place: int | slice) -> RunResult | tuple[RunResult, ...]:
        wanted = range(len(self))[place]
        if isinstance(wanted, int):
            return _run(self._chunk(np.array([wanted])).to_pylist()[0])
        return tuple(map(_run, self._chunk(np.array(wanted, np.int64)).to_pylist()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType] - compared by content

    def __repr__(self) -> str:
        return f"StoredRuns({len(self)})"

    def chunks(self) -> Iterator["pa.Table"]:
        """The runs as Arrow tables of at most :data:`ROWS` rows."""
        for first in range(0, len(self), ROWS):
            yield self._chunk(np.arange(first, min(first + ROWS, len(self))))

    def _chunk(self, places: NDArray[np.int64]) -> "pa.Table":
        import pyarrow as pa

        table = self._table.take(self._rows[places])
        scenario, policy, replica = (each[places] for each in self._identity)
        names = [self._policies[number] for number in policy]
        for name, values in (("scenario", scenario), ("policy", names), ("replica", replica)):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))
        return table


def _run(row: dict) -> RunResult:
    return RunResult.from_mapping(row)


def _as_keys(column: "pa.ChunkedArray") -> Keys:
    return np.array(column.to_numpy(zero_copy_only=False), dtype="S64")
