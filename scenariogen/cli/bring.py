"""What a user brings: what a file is, and how it becomes ours."""

from pathlib import Path
from typing import Annotated

import typer

from scenariogen.cli import common

Format = Annotated[str, typer.Option("--format", metavar="NAME", help="The format, where content is not to decide.")]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN:UNIT",
        help="Which column of a table holds what, e.g. speed=v_Vel:ft/s; repeat it.",
    ),
]


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Trajectories or incident records.")],
    format: Format = "",
    map: Map = None,
    json: common.Json = False,
) -> None:
    """Say what a file is, what stands in it and what is wrong with it.

    Its format is recognised by its content. Prints rows, vehicles, span, the units that were assumed, what is
    left out and why, what is derived, and motion that cannot be. Nothing is written. The exit code is 1 where
    the file cannot be used.

    \b
    Example:
      scenariogen inspect trajectories.csv
    """
    from scenariogen.pipeline import inspect_file

    account = inspect_file(file, format=format, mapping=map or ())
    if json:
        common.print_json(account.to_json())
    else:
        print("\n".join(account.lines()))


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Trajectories or incident records.")],
    format: Format = "",
    map: Map = None,
    out: Annotated[Path, typer.Option(help="Parquet file to write; its account goes beside it.")] = Path(
        "trajectories.parquet"
    ),
    json: common.Json = False,
) -> None:
    """Bring a file into our own form: SI units, one clock, one row per vehicle and time.

    Speeds and accelerations that the file lacks are derived and marked, motion that cannot be is marked and never
    changed. What was left out, and why, is saved beside the result.

    \b
    Example:
      scenariogen convert tracks.csv --map time=t:s --map vehicle=id --map x=x:m --map y=y:m --out tracks.parquet
    """
    common.require_suffix(out, ".parquet")
    from scenariogen.pipeline import convert_file

    account = convert_file(file, out=out, format=format, mapping=map or ())
    if json:
        common.print_json(account.to_json())
    else:
        print("\n".join([*account.lines(), f"written to {out}"]))
