"""DuckDB as it is used here: connections that spill to disk instead of filling memory, and paths as SQL writes them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "1GB"
"""What a connection may hold before it spills to disk."""


def connect(spill: Path | None = None) -> "duckdb.DuckDBPyConnection":
    """A connection of its own, which the caller closes.

    ``spill``  folder for what does not fit into :data:`MEMORY_LIMIT`; by default in the system's temporary folder
    """
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")  # it would be drawn on standard output, among our answers
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    connection.execute(f"SET temp_directory = {quoted(spill or Path(tempfile.gettempdir()) / 'scenariogen-spill')}")
    return connection


@contextmanager
def connected(spill: Path | None = None) -> Iterator["duckdb.DuckDBPyConnection"]:
    """The same for one block, at whose end it is closed."""
    connection = connect(spill)
    try:
        yield connection
    finally:
        connection.close()


def quoted(text: str | Path) -> str:
    """A path or a word as SQL writes it: views take no parameters, and a quote is doubled.

    >>> quoted("it's here.parquet")
    "'it''s here.parquet'"
    """
    return "'" + str(text).replace("'", "''") + "'"
