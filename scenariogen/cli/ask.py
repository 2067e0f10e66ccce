"""Asking results with SQL."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from scenariogen.cli import common
from scenariogen.cli.tables import table


def query(
    results: Annotated[Path, typer.Argument(help="The --out folder of an evaluation.")],
    sql: Annotated[str, typer.Argument(help="One SELECT over runs, scenarios, incidents and estimates.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the answer there, .parquet or .csv, and print nothing.")
    ] = None,
    json: common.Json = False,
) -> None:
    """Ask the runs of an evaluation with SQL.

    DuckDB answers, over four tables: runs (one row for each run), scenarios, incidents (one row for each incident of
    each run) and estimates. The query sees these alone, no file and no network, and changes nothing.

    What holds at a frequency stands in estimates. A plain mean over runs is that of the scenarios as they were drawn,
    in which incidents are far more frequent than in life.

    \b
    Example:
      scenariogen query results "select policy, frequency, value from estimates where estimand='mean_delay_veh_h'"
    """
    from scenariogen.evaluation.query import FORMATS, write_answer
    from scenariogen.evaluation.query import query as ask

    if out is not None:
        common.require_suffix(out, *FORMATS)
    answer = ask(results, sql)
    if out is not None:
        write_answer(answer, out)
        common.note(f"{answer.num_rows:,} rows written to {out}")
    elif json:
        common.print_json([{name: _plain(value) for name, value in row.items()} for row in answer.to_pylist()])
    else:
        print(table(answer.column_names, [[_cell(value) for value in row.values()] for row in answer.to_pylist()]))


def _plain(value: Any) -> Any:
    """What JSON has no word for, as text."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):  # what SQL makes of a sum of whole numbers
        return int(value) if value == value.to_integral_value() else float(value)
    return value if isinstance(value, str | bool | int | float) or value is None else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
