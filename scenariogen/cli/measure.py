"""What trajectories say about traffic itself."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenariogen.cli import common

if TYPE_CHECKING:
    import pandas as pd

FIELDS = Path("fields.parquet")
SHOWN = 12
"""Edges whose diagrams are printed."""


def fields(
    trajectories: Annotated[
        Path, typer.Argument(metavar="TRAJECTORIES", help="A folder that `record` wrote, or a trajectory file.")
    ],
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    cell: Annotated[str, typer.Option(help="Length of a time cell, such as 60s or 5min.")] = "60s",
    by_lane: Annotated[bool, typer.Option("--by-lane", help="Lane by lane.")] = False,
    diagrams: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also fit a fundamental diagram to each edge (.parquet, .csv).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Table to write (.parquet).")] = FIELDS,
    json: common.Json = False,
) -> None:
    """Flow, density and speed per edge and time cell; capacities with their uncertainty.

    In Edie's generalised definitions, with the share of each cell that was recorded. Fundamental diagrams give free
    speed, capacity and wave speed of an edge, each with a standard error; where no queue stood, at a signal for several
    cycles, the capacity is the highest flow that was carried, a lower bound.

    \b
    Example:
      scenariogen fields history --network cologne8 --cell 60s --diagrams diagrams.csv --out fields.parquet
    """
    common.require_suffix(out, ".parquet")
    if diagrams is not None and diagrams.suffix not in (".parquet", ".csv"):
        raise typer.BadParameter(f"--diagrams is {diagrams}, expected a file that ends in .parquet or .csv")
    cell_s = common.duration_s(cell, "--cell")
    project, _ = common.open_target(network, sumocfg)
    from dataclasses import asdict

    from scenariogen.trajectories.field_files import write_fields
    from scenariogen.trajectories.records import open_trajectories

    roads = project.network()
    opened = open_trajectories(trajectories, roads)
    summary, fitted = write_fields(opened, roads, out, cell_s=cell_s, by_lane=by_lane, diagrams=diagrams)
    if json:
        common.print_json({**asdict(summary), "out": out, "diagrams": [] if fitted is None else _records(fitted)})
        return
    print("\n".join([*summary.lines(), f"written to {out}"]))
    if fitted is not None:
        bounds = int(fitted["capacity_is_lower_bound"].to_numpy().sum())
        print(f"\nfundamental diagrams of {len(fitted):,} edges, of which {bounds:,} capacities are lower bounds")
        print(_table(fitted))
        print(f"written to {diagrams}")


def _records(table: "pd.DataFrame") -> list[dict[str, object]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _table(fitted: "pd.DataFrame") -> str:
    """The edges with the highest capacities; those that a queue showed come first."""
    from scenariogen.cli.tables import table

    order = fitted.sort_values(["capacity_is_lower_bound", "capacity_veh_h"], ascending=[True, False])
    rows = []
    for row in _records(order.head(SHOWN)):
        number = {name: float(str(value)) for name, value in row.items() if name.endswith(("_mps", "_se", "_veh_h"))}
        bound = bool(row["capacity_is_lower_bound"])
        told = math.isfinite(number["wave_speed_mps"])
        wave = f"{3.6 * number['wave_speed_mps']:.1f} +/- {3.6 * number['wave_speed_se']:.1f}"
        rows.append(
            (
                str(row["edge"]),
                str(row["lanes"]),
                "signal" if row["is_signalised"] else "",
                f"{3.6 * number['free_speed_mps']:.1f} +/- {3.6 * number['free_speed_se']:.1f}",
                f"{'>= ' if bound else ''}{number['capacity_veh_h']:.0f} +/- {number['capacity_se']:.0f}",
                wave if told else "",
            )
        )
    return table(("edge", "lanes", "ends at", "free speed km/h", "capacity veh/h", "wave km/h"), rows)
