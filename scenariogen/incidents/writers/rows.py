"""What writers of exchange formats share: rows one at a time, and the count of those that a format cannot hold."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenariogen.errors import DataError
from scenariogen.incidents.events import EVENT_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 10_000
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, kw_only=True)
class Written:
    """``rows`` stand in the file; ``refused`` says why the others do not, with counts."""

    rows: int
    refused: Mapping[str, int]

    def lines(self) -> list[str]:
        """For people."""
        return [f"{self.rows:,} written", *(f"{count:,} left out: {why}" for why, count in self.refused.items())]


class Refusals:
    """Counts rows that a format cannot hold."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def close(self, rows: int, target: Path, title: str) -> Written:
        """The count of both. Raises ``DataError`` where no row was written: an empty file would say "no incident"."""
        if not rows:
            words = ", ".join(f"{count:,} {why}" for why, count in self.counts.items()) or "the table is empty"
            raise DataError(f"{target} is not written: no incident can be given as {title}; {words}")
        return Written(rows=rows, refused=dict(self.counts))


def rows_of(table: "pa.Table") -> Iterator[dict[str, Any]]:
    """Rows as mappings of columns. Raises ``DataError`` where columns are missing."""
    missing = [name for name in EVENT_COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(f"the table of incidents lacks {', '.join(missing)}; convert the records again")
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        yield from batch.to_pylist()


def is_printable(*texts: str | None) -> bool:
    """False where a text holds signs that neither XML nor JSON can exchange safely."""
    return not any(_UNPRINTABLE.search(text) for text in texts if text)
