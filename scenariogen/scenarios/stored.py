"""Scenarios that stay in their Parquet file and are read some at a time, so that memory does not grow with them."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, overload

from scenariogen.errors import ScenarioError
from scenariogen.scenarios.columns import parquet_schema
from scenariogen.scenarios.records import Scenario

CHUNK = 1_000
"""Scenarios that are decoded at once, and rows of a row group."""
OPTIONAL = ("demand_factors", "entry_scales")
"""Parts of a condition that a file leaves out where they are empty."""
_LONGEST_MESSAGE = 160


class StoredScenarios(Sequence[Scenario]):
    """The scenarios of a Parquet file in its order, like a tuple of them, of which :data:`CHUNK` are held.

    ``build``  makes a scenario of a plain row
    """

    def __init__(self, path: Path, build: Callable[[dict[str, Any]], Scenario]) -> None:
        import pyarrow.parquet as pq

        self.path, self._build = path, build
        self._length = pq.read_metadata(path).num_rows

    def moved(self, path: Path) -> "StoredScenarios":
        """The same scenarios, read from a copy of the file."""
        return StoredScenarios(path, self._build)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Scenario]:
        for rows in plain_rows(self.path):
            yield from map(self._build, rows)

    @overload
    def __getitem__(self, place: int) -> Scenario: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Scenario, ...]: ...

    def __getitem__(self, place: int | slice) -> Scenario | tuple[Scenario, ...]:
        """One, or those of a slice as a tuple; both read the file from its start."""
        wanted = range(self._length)[place]
        if isinstance(wanted, int):
            return next(each for at, each in enumerate(self) if at == wanted)
        found = {at: each for at, each in enumerate(self) if at in wanted}
        return tuple(found[at] for at in wanted)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType] - compared by content

    def __repr__(self) -> str:
        return f"StoredScenarios({len(self)} in {self.path})"


def write_rows(rows: Iterable[dict[str, Any]], header: dict[str, Any], path: Path) -> None:
    """Write plain scenarios to Parquet, row group by row group, with the header in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = {b"scenariogen": json.dumps(header, allow_nan=False).encode()}
    schema = parquet_schema().with_metadata(metadata)
    with pq.ParquetWriter(path, schema) as writer:
        ahead = iter(rows)
        while some := list(islice(ahead, CHUNK)):
            ready = [row | {"effects": [json.dumps(each) for each in row.get("effects", ())]} for row in some]
            writer.write_table(pa.Table.from_pylist(ready, schema=schema))


def read_header(path: Path) -> dict[str, Any]:
    """What holds for all scenarios of a Parquet file. Raises ``ScenarioError``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise ScenarioError(f"{path} is not a Parquet file: {error}") from error
    if b"scenariogen" not in metadata:
        raise ScenarioError(f"{path} has no scenariogen header, so it was not written by scenariogen sample")
    return json.loads(metadata[b"scenariogen"])


def plain_rows(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of a Parquet file as in the JSON form, at most :data:`CHUNK` at a time. Raises ``ScenarioError``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for some in file.iter_batches(batch_size=CHUNK):
                yield [_plain(row, path) for row in some.to_pylist()]
    except (pa.ArrowException, OSError) as error:
        raise ScenarioError(f"{path} is not a Parquet file: {error}") from error


def all_plain_rows(path: Path) -> list[dict[str, Any]]:
    """All rows at once."""
    return list(chain.from_iterable(plain_rows(path)))


def _plain(row: dict[str, Any], path: Path) -> dict[str, Any]:
    row["effects"] = [_effect_object(text, path) for text in row.get("effects") or ()]
    row["drivers"] = {name: value for name, value in row["drivers"].items() if value is not None}
    if row.get("lanes_reopen") is None:
        row.pop("lanes_reopen", None)
    condition = row["condition"] or {}
    condition["entry_scales"] = dict(condition.get("entry_scales") or ())  # Arrow gives a map as pairs
    for name in OPTIONAL:
        if not condition.get(name):
            condition.pop(name, None)
    return row


def _effect_object(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ScenarioError(f"{path} holds an effect that is not JSON: {text[:_LONGEST_MESSAGE]} ({error})") from error
