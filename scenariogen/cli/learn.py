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
    out: Annotated[
        Path, typer.Option(help="Folder to write; a recording that lies there is replaced when the new one is done.")
    ] = Path("history"),
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
    from scenariogen.recording.folder import what_is_replaced

    before = what_is_replaced(out)
    if before:
        common.note(f"when this is done it replaces the recording in {out}: {before}; Ctrl-C before then keeps that")
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
        Path,
        typer.Argument(
            metavar="TRAJECTORIES",
            help="A folder that `record` wrote, a trajectory file, or a table of flow and speed per edge and time.",
        ),
    ],
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    share: Annotated[
        float | None,
        typer.Option(help="Share of all vehicles in the data, e.g. 0.1; by default what a recording says, else 1."),
    ] = None,
    traffic_only: Annotated[
        bool, typer.Option("--traffic-only", help="Vehicles that block the road are not in the data.")
    ] = False,
    history: Annotated[
        list[Path] | None,
        typer.Option(help="More data of the same sort, by which to tell what is usual. May be repeated."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Table to write.")] = Path("incidents.parquet"),
    json: common.Json = False,
) -> None:
    """Find incidents in trajectories, or in fields of flow and speed.

    Looks at movement and the network alone: where, from when and how long something stood in the road, on which
    lanes, and what share of the capacity was left. Reads what `record` writes and SUMO's floating-car output as
    Parquet, XML or CSV. Of a share of the vehicles, without those that block the road, and in a table with the columns
    edge, cell_begin_s, flow_veh_h and density_veh_km or speed_mps (and lane, day), incidents are told by what traffic
    does; give several days then, or others by --history.

    \b
    Example:
      scenariogen detect history --network cologne8 --out incidents.parquet
    """
    common.require_suffix(out, ".parquet")
    project, _ = common.open_target(network, sumocfg)
    from scenariogen.pipeline import detect_to_file

    with common.progress("days") as update:
        table = detect_to_file(
            trajectories,
            project,
            out=out,
            progress=update,
            share=share,
            traffic_only=traffic_only,
            history=history or (),
        )
    if json:
        common.print_json({"out": out, "incidents": len(table), "days_with_incidents": len(set(table["day"]))})
    else:
        print(f"{out}: {len(table)} incidents")
        if not len(table):
            common.note("nothing was found: fit takes the published rates, lowered by these days; record more of them")


def fit(
    incidents: Annotated[Path | None, typer.Option(help="Incident table, from `detect` or of your own.")] = None,
    trajectories: Annotated[
        Path | None, typer.Option(help="The trajectories that they were seen in; how much traffic there is.")
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="Incident records of a log that `match` put on the network (GeoParquet).")
    ] = None,
    counts: Annotated[
        Path | None,
        typer.Option(help="How much traffic there is: edge, begin, end, count as CSV or Parquet, or SUMO's edge data."),
    ] = None,
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    intensity: Annotated[
        float | None,
        typer.Option(help="Factor that the recording's rates carry; by default what the recording itself says."),
    ] = None,
    time_zone: Annotated[
        str, typer.Option(help="Zone of the network, e.g. Europe/Berlin; by default what the records' file says.")
    ] = "",
    clock: Annotated[str, typer.Option(metavar="HH:MM", help="Clock time at SUMO's second 0.")] = "00:00",
    records_from: Annotated[
        str, typer.Option(metavar="DATE", help="Local date or time from which the log is complete.")
    ] = "",
    records_until: Annotated[
        str, typer.Option(metavar="DATE", help="Until when it is; by default its first and last start.")
    ] = "",
    day_type: Annotated[str, typer.Option(help="Days that count: weekday, weekend or all.")] = "weekday",
    least_confidence: Annotated[
        float, typer.Option(help="Records whose place is less sure are left out and counted.")
    ] = 0.5,
    least_duration: Annotated[
        str, typer.Option(help="Incidents shorter than this are not in the log, e.g. 10min.")
    ] = "0s",
    closed_only: Annotated[
        bool, typer.Option("--closed-only", help="The log lists an incident only once it is over.")
    ] = False,
    repeats: Annotated[
        str, typer.Option(help="Records of a kind on an edge that start within this count once; 0s keeps all.")
    ] = "5min",
    recorded_from: Annotated[
        str, typer.Option(metavar="DATE", help="Date of the trajectories' first day: days in both count in them.")
    ] = "",
    map: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN:UNIT", help="Columns of the counts, e.g. count=vehicles."),
    ] = None,
    counted_only: Annotated[
        bool, typer.Option("--counted-only", help="Refuse edges without counts instead of estimating them.")
    ] = False,
    weather: Annotated[
        Path | None, typer.Option(help="Table of weather by day or hour, CSV or Parquet: time, date or day; weather.")
    ] = None,
    weather_word: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD=WEATHER", help="What a further word stands for, e.g. hail=ice. May be repeated."),
    ] = None,
    entry_counts: Annotated[
        Path | None, typer.Option(help="Flows by day and entry: day, edge, time_s, vehicles as CSV or Parquet.")
    ] = None,
    declared_demand: Annotated[
        bool, typer.Option("--declared-demand", help="Do not learn from recorded days how demand differs.")
    ] = False,
    seed: common.Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("model"),
    json: common.Json = False,
) -> None:
    """Learn how likely which incident is, where and when, from trajectories, from incident records, or from both.

    Rates per vehicle-kilometre start from published figures and move by what was seen; the intensity at which
    trajectories were recorded is divided out. What a record does not say is left open, what a log cannot hold is
    reckoned with. Prints which number came from where and how far it moved.

    \b
    Example:
      scenariogen fit --incidents incidents.parquet --trajectories history --network cologne8 --out model
      scenariogen fit --records matched.parquet --counts counts.csv --network cologne8 --out model
    """
    project, name = common.open_target(network, sumocfg)
    from scenariogen.incidents.evidence import EvidenceFiles
    from scenariogen.incidents.record_settings import RecordSettings
    from scenariogen.model.condition_files import ConditionFiles
    from scenariogen.pipeline import fit_to_folder

    settings = RecordSettings(
        time_zone=time_zone,
        clock=clock,
        since=records_from,
        until=records_until,
        day_type=day_type,
        least_confidence=least_confidence,
        least_duration_s=common.duration_s(least_duration, "--least-duration"),
        closed_only=closed_only,
        repeat_s=common.duration_s(repeats, "--repeats"),
        recorded_from=recorded_from,
    )
    files = EvidenceFiles(
        incidents=incidents,
        trajectories=trajectories,
        records=records,
        settings=settings,
        counts=counts,
        counts_mapping=tuple(map or ()),
        counted_only=counted_only,
        intensity=intensity,
    )
    conditions = ConditionFiles(
        trajectories=trajectories,
        entry_counts=entry_counts,
        weather=weather,
        weather_words=tuple(weather_word or ()),
        recorded_from=recorded_from,
        day_type=day_type,
        keep_declared=declared_demand,
    )
    with common.progress("fit") as update:
        model = fit_to_folder(files, project, out=out, name=name, conditions=conditions, seed=seed, progress=update)
    from scenariogen.cli.fitted import fit_account
    from scenariogen.model.summary import summary_lines

    said = model.info["condition"]
    if json:
        account = fit_account(model.info)
        common.print_json({"out": out, "summary": summary_lines(model), "condition": said, **account})
    else:
        from scenariogen.cli.fitted import fit_text

        of_days = ["", "Days and demand", *said] if said else []
        print("\n".join([*summary_lines(model), "", fit_text(model.info), *of_days, "", f"written to {out}"]))
    if not model.info["incidents_used"]:
        common.note(
            "no incident was used: the rates are the published ones, lowered by these days without any, and what "
            "incidents are like is as published. Record more days, or give a table that holds incidents"
        )
