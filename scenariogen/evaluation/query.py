"""SQL over a results folder: one SELECT of DuckDB, which sees the results and nothing else.

The views are ``runs``, ``scenarios``, ``incidents`` and ``estimates``. Their rows are copied into the connection's own
memory; then files, networks and extensions are closed to it, and only a statement that reads is let through.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenariogen.database import connected
from scenariogen.errors import ResultsError
from scenariogen.evaluation.estimate import read_estimates
from scenariogen.evaluation.frames import incidents_table, runs_chunks, scenarios_table
from scenariogen.evaluation.run_table import runs_schema
from scenariogen.evaluation.store import ESTIMATES, Results, load_results
from scenariogen.written import written_whole

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

FORMATS = (".parquet", ".csv")


def query(folder: str | Path, sql: str) -> "pa.Table":
    """The answer to one SELECT over a results folder. Raises ``ResultsError`` with what DuckDB says."""
    import duckdb

    results = load_results(folder)
    with connected() as connection:
        _check(connection, sql)
        with _read_only(connection, results):
            try:
                answer = connection.sql(sql).to_arrow_table()
            except duckdb.Error as error:
                raise ResultsError(f"the query fails: {error}") from error
    return answer.rename_columns(_told_apart(answer.column_names))


def _told_apart(names: Sequence[str]) -> list[str]:
    """Each name once: the second ``scenario`` of a join is ``scenario_2``."""
    found: list[str] = []
    for name in names:
        count = 1
        told = name
        while told in found or (count > 1 and told in names):
            count += 1
            told = f"{name}_{count}"
        found.append(told)
    return found


def write_answer(answer: "pa.Table", path: Path) -> Path:
    """Write an answer as ``.parquet`` or ``.csv``; the file appears whole or not at all."""
    import pyarrow.csv
    import pyarrow.parquet

    with written_whole(path) as partial:
        if path.suffix == ".parquet":
            pyarrow.parquet.write_table(answer, partial)
        else:
            try:
                pyarrow.csv.write_csv(answer, partial)
            except pyarrow.ArrowException as error:
                raise ResultsError(f"the answer cannot be written as CSV: {error}; write .parquet instead") from error
    return path


def _check(connection: "duckdb.DuckDBPyConnection", sql: str) -> None:
    import duckdb

    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise ResultsError(f"the query cannot be read: {error}") from error
    if len(statements) != 1 or statements[0].type is not duckdb.StatementType.SELECT:
        kinds = ", ".join(each.type.name for each in statements) or "nothing"
        raise ResultsError(f"the query is {kinds}, expected one SELECT: results are read, never changed")


@contextmanager
def _read_only(connection: "duckdb.DuckDBPyConnection", results: Results) -> Iterator[None]:
    """The connection with the tables in it and everything else out of its reach."""
    import pyarrow as pa

    chunks = pa.RecordBatchReader.from_batches(
        runs_schema(), (batch for chunk in runs_chunks(results.runs) for batch in chunk.to_batches())
    )
    tables = {
        "runs": chunks,
        "scenarios": scenarios_table(results.batch),
        "incidents": incidents_table(results.runs),
        "estimates": _estimates(results.folder),
    }
    for name, table in tables.items():
        connection.register(f"arrow_{name}", table)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM arrow_{name}")
        connection.unregister(f"arrow_{name}")
    connection.execute("SET python_enable_replacements = false")  # names of our own variables are no tables
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    yield


def _estimates(folder: Path) -> "pa.Table":
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    if (folder / ESTIMATES).exists():  # not where the evaluation was killed before its end
        rows = [_flat(asdict(each)) for each in read_estimates(folder)]
    return pa.Table.from_pylist(rows, schema=_estimates_schema())


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Shares and multipliers by kind as JSON text, which DuckDB's JSON functions read."""
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}


def _estimates_schema() -> "pa.Schema":
    from dataclasses import fields
    from typing import get_type_hints

    import pyarrow as pa

    from scenariogen.evaluation.answer import Estimate

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    hints = get_type_hints(Estimate)

    def arrow(hint: Any) -> "pa.DataType":
        kinds = [types[each] for each in types if each is hint or each in getattr(hint, "__args__", ())]
        return kinds[0] if kinds else pa.string()

    return pa.schema([(each.name, arrow(hints[each.name])) for each in fields(Estimate)])
