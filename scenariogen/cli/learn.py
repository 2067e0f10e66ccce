"""From movement to a model: record, detect, fit."""

from pathlib import Path
from typing import Annotated

import typer

from scenariogen.cli import common


def record(
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    days: Annotated[int, typer.Option(min=1, help="Days to simulate.")] = 6,
    intensity: Annotated[
        float | None,
        typer.Option(help="Factor on the true incident rates; by default about one blocked lane a day."),
    ] = None,
    seed: common.Seed = 0,
    jobs: common.Jobs = 1,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("history"),
    json: common.Json = False,
) -> None:
    """Simulate days with incidents and record all movement.

    For whoever has no data of their own. Writes trajectories.parquet, history.json (how it was made, the intensity
    included) and, apart from them, truth.parquet: the incidents that happened. The other commands never read the truth.

    \b
    Example:
      scenariogen record --network cologne8 --days 6 --seed 3 --out history
    """
    project, name = common.open_target(network, sumocfg)
    from scenariogen.recording import record as record_days

    with common.progress("days") as update:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        summary = record_days(
            project, days=days, intensity=intensity, seed=seed, jobs=jobs, out=out, network_name=name, progress=update
        )
    if json:
        from dataclasses import asdict

        common.print_json(asdict(summary))
    else:
        print(summary)


def detect(
    trajectories: Annotated[
        Path, typer.Argument(metavar="TRAJECTORIES", help="A folder that `record` wrote, or a trajectory file.")
    ],
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    out: Annotated[Path, typer.Option(help="Table to write.")] = Path("incidents.parquet"),
    json: common.Json = False,
) -> None:
    """Find incidents in trajectories.

    Looks at movement and the network alone: where, from when and how long something stood in the road, on which
    lanes, and what share of the capacity was left. Reads what `record` writes and SUMO's floating-car output as
    Parquet, XML or CSV.

    \b
    Example:
      scenariogen detect history --network cologne8 --out incidents.parquet
    """
    common.require_suffix(out, ".parquet")
    project, _ = common.open_target(network, sumocfg)
    from scenariogen.pipeline import detect_to_file

    with common.progress("days") as update:
        table = detect_to_file(trajectories, project, out=out, progress=update)
    if json:
        common.print_json({"out": out, "incidents": len(table), "days_with_incidents": len(set(table["day"]))})
    else:
        print(f"{out}: {len(table)} incidents")
        if not len(table):
            common.note("nothing was found: fit takes the published rates, lowered by these days; record more of them")


def fit(
    incidents: Annotated[Path, typer.Option(help="Incident table, from `detect` or of your own.")],
    trajectories: Annotated[Path, typer.Option(help="The trajectories that they were seen in.")],
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    intensity: Annotated[
        float | None,
        typer.Option(help="Factor that the recording's rates carry; by default what the recording itself says."),
    ] = None,
    seed: common.Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("model"),
    json: common.Json = False,
) -> None:
    """Learn how likely which incident is, where and when.

    Rates per vehicle-kilometre start from published figures and move by what was seen; the intensity at which the
    data was recorded is divided out.

    \b
    Example:
      scenariogen fit --incidents incidents.parquet --trajectories history --network cologne8 --out model
    """
    project, name = common.open_target(network, sumocfg)
    from scenariogen.pipeline import fit_to_folder

    with common.progress("fit") as update:
        model = fit_to_folder(
            incidents, trajectories, project, out=out, name=name, intensity=intensity, seed=seed, progress=update
        )
    from scenariogen.model.account import summary_lines

    summary = summary_lines(model)
    if json:
        common.print_json({"out": out, "summary": summary})
    else:
        print("\n".join([*summary, f"written to {out}"]))
    if not model.info["incidents_used"]:
        common.note(
            "no incident was used: the rates are the published ones, lowered by these days without any, and what "
            "incidents are like is as published. Record more days, or give a table that holds incidents"
        )
