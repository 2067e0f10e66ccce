"""What a user brings: what a file is, and how it becomes ours."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from scenariogen.cli import common
from scenariogen.errors import DataError

Format = Annotated[str, typer.Option("--format", metavar="NAME", help="The format, where content is not to decide.")]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN:UNIT",
        help="Which column of a table holds what, e.g. speed=v_Vel:ft/s; repeat it.",
    ),
]

TimeZone = Annotated[
    str,
    typer.Option(
        help="Zone of times without an offset in incident records, e.g. Europe/London; else UTC. For tables of "
        "trajectories the zone that tells the day; else what the times say."
    ),
]
CONVERTED = Path("converted.parquet")
MATCHED = Path("matched.parquet")
PUBLISHER = "scenariogen"
COUNTRY = "eu"


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Trajectories or incident records.")],
    format: Format = "",
    map: Map = None,
    time_zone: TimeZone = "",
    json: common.Json = False,
) -> None:
    """Say what a file is, what stands in it and what is wrong with it.

    Its format is recognised by its content. Prints rows, vehicles or incidents, span, the units that were
    assumed, what is left out and why, what is derived, and what cannot be. Nothing is written. The exit code is
    1 where the file cannot be used.

    \b
    Example:
      scenariogen inspect trajectories.csv
    """
    from scenariogen.incidents.files import inspect_file

    account = inspect_file(file, format=format, mapping=map or (), time_zone=time_zone)
    if json:
        common.print_json(account.to_json())
    else:
        print("\n".join(account.lines()))


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Trajectories or incident records.")],
    format: Format = "",
    map: Map = None,
    time_zone: TimeZone = "",
    out: Annotated[Path, typer.Option(help="Parquet file to write; its account goes beside it.")] = Path(
        "converted.parquet"
    ),
    json: common.Json = False,
) -> None:
    """Bring a file into our own form: SI units, one clock, documented columns.

    Trajectories become Parquet: speeds and accelerations that the file lacks are derived and marked, motion that
    cannot be is marked and never changed. Incident records become GeoParquet. What was left out, and why, is
    saved beside the result.

    \b
    Example:
      scenariogen convert tracks.csv --map time=t:s --map vehicle=id --map x=x:m --map y=y:m --out tracks.parquet
    """
    common.require_suffix(out, ".parquet")
    from scenariogen.incidents.files import convert_file

    account = convert_file(file, out=out, format=format, mapping=map or (), time_zone=time_zone)
    if json:
        common.print_json(account.to_json())
    else:
        print("\n".join([*account.lines(), f"written to {out}"]))


def match(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Trajectories or incident records.")],
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    format: Format = "",
    map: Map = None,
    time_zone: TimeZone = "",
    noise: Annotated[
        float | None, typer.Option(help="Noise of a coordinate in metres; estimated where it is not given.")
    ] = None,
    origin: Annotated[
        str, typer.Option(metavar="X,Y", help="Network coordinates of a recording's point 0,0, in metres.")
    ] = "",
    chain: Annotated[
        str, typer.Option(metavar="EDGE,EDGE,...", help="Edges of a recording that knows only metres along a road.")
    ] = "",
    offset: Annotated[float, typer.Option(help="Metre of the chain at which the road's metre 0 lies.")] = 0.0,
    lanes: Annotated[
        str, typer.Option(metavar="N=INDEX,...", help="Lanes of the road as lane indices of the network.")
    ] = "",
    lanes_from: Annotated[
        str, typer.Option(help="Side from which the road's lanes are counted: left or right.")
    ] = "left",
    road: Annotated[str, typer.Option(help="Which road of the file, where it holds several.")] = "",
    mileposts: Annotated[
        Path | None, typer.Option(help="CSV of road, direction, milepost, edge, position_m, for incident records.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Parquet file to write; its account goes beside it.")] = MATCHED,
    json: common.Json = False,
) -> None:
    """Put trajectories or incident records on the edges of a network.

    Coordinates, in degrees or in the plane, are matched to lanes by way of the routes between them; a recording that
    knows only metres along one road is attached to a chain of edges. Incident records get an edge, a position and a
    confidence, from their line, their point, or road and milepost. Says how well it went, and what was left out.

    \b
    Example:
      scenariogen match tracks.parquet --sumocfg city.sumocfg --out matched.parquet
    """
    common.require_suffix(out, ".parquet")
    if lanes_from not in ("left", "right"):
        raise typer.BadParameter(f"--lanes-from is {lanes_from!r}, expected left or right")
    from scenariogen.incidents.placing import PlaceOptions, place_file

    options = PlaceOptions(
        noise_m=noise,
        origin=_pair(origin),
        chain=[edge.strip() for edge in chain.split(",") if edge.strip()],
        offset_m=offset,
        lanes=_lane_pairs(lanes),
        counted_from="left" if lanes_from == "left" else "right",
        road=road,
        mileposts=mileposts,
    )
    project, _ = common.open_target(network, sumocfg)
    account = place_file(
        file, project.network(), out=out, options=options, format=format, mapping=map or (), time_zone=time_zone
    )
    if json:
        common.print_json(account.to_json())
    else:
        print("\n".join([*account.lines(), f"written to {out}"]))


def _pair(text: str) -> tuple[float, float] | None:
    """Two numbers from ``500,250``; None from nothing."""
    if not text:
        return None
    try:
        x_m, y_m = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--origin is {text!r}, expected two numbers of metres such as 500,250") from None
    return x_m, y_m


def _lane_pairs(text: str) -> dict[int, int]:
    """Lane numbers from ``1=2,2=1,3=0``."""
    try:
        pairs = [part.split("=") for part in text.split(",") if part.strip()]
        return {int(ours): int(theirs) for ours, theirs in pairs}
    except ValueError:
        raise typer.BadParameter(f"--lanes is {text!r}, expected pairs such as 1=2,2=1,3=0") from None


def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Incident records of any format that is read; for sumo, scenarios.")
    ],
    to: Annotated[
        str,
        typer.Option(
            help="datex2 (3.5, incidents), wzdx (4.2, planned work and closures) or geoparquet for incident records; "
            "sumo for a scenario."
        ),
    ] = "datex2",
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    index: Annotated[int | None, typer.Option(help="Which scenario of the file, for sumo.")] = None,
    publisher: Annotated[str, typer.Option(help="Who publishes; records only.")] = PUBLISHER,
    country: Annotated[str, typer.Option(help="Publisher's country, two letters (DATEX II); eu for none.")] = COUNTRY,
    format: Format = "",
    map: Map = None,
    time_zone: TimeZone = "",
    out: Annotated[
        Path | None, typer.Option(help="File to write (incidents.xml); for sumo a folder, new or empty.")
    ] = None,
    json: common.Json = False,
) -> None:
    """Write incident records in an agency's exchange format, or a scenario for plain SUMO.

    DATEX II takes every incident with a place. WZDx takes planned work and closures only, since its schema knows no
    crash: others are left out and counted. GeoParquet holds everything; `convert` writes it as well. With --to sumo a
    scenario becomes a .sumocfg and an additional file that sumo or sumo-gui runs alone; what XML cannot say is listed.

    \b
    Example:
      scenariogen export incidents.parquet --to wzdx --publisher 'City of Springfield' --out feed.geojson
      scenariogen export scenarios.parquet --to sumo --network cologne8 --index 7 --out plain
    """
    if to not in ("datex2", "wzdx", "geoparquet", "sumo"):
        raise typer.BadParameter(f"--to is {to!r}, expected datex2, wzdx, geoparquet or sumo")
    for_scenarios = {"--network": network, "--sumocfg": sumocfg, "--index": index is not None}
    for_records = {
        "--publisher": publisher != PUBLISHER,
        "--country": country != COUNTRY,
        "--format": format,
        "--map": map,
        "--time-zone": time_zone,
    }
    stray = [name for name, given in (for_records if to == "sumo" else for_scenarios).items() if given]
    if stray:
        belongs = "incident records" if to == "sumo" else "a scenario (--to sumo)"
        raise typer.BadParameter(f"{', '.join(stray)}: for {belongs}, not for --to {to}")
    if to == "sumo":
        _export_scenario(file, network, sumocfg, index, out, json)
        return
    if _holds_scenarios(file):
        raise DataError(f"{file} holds scenarios, not incident records: write one for plain SUMO with --to sumo")
    from scenariogen.incidents.files import export_file

    out = out or Path("incidents.xml")
    written = export_file(
        file,
        out=out,
        to=to,
        publisher=publisher,
        country=country,
        format=format,
        mapping=map or (),
        time_zone=time_zone,
    )
    if json:
        common.print_json({"out": out, "written": written.rows, "left_out": dict(written.refused)})
    else:
        print("\n".join([*written.lines(), f"written to {out}"]))


def _holds_scenarios(file: Path) -> bool:
    """Whether a file is one of ours that `sample` or `incident` wrote, by its header alone."""
    if file.suffix == ".json" and file.is_file():
        with file.open("rb") as stream:
            return b'"schema": "scenariogen-scenarios/' in stream.read(4096)
    if file.suffix == ".parquet" and file.is_file():
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return b"scenariogen-scenarios/" in (pq.read_schema(file).metadata or {}).get(b"scenariogen", b"")
        except pa.ArrowInvalid:  # not Parquet: reading it as records says so
            return False
    return False


def _export_scenario(
    file: Path, network: str, sumocfg: Path | None, index: int | None, out: Path | None, json: bool
) -> None:
    if out is None:
        raise typer.BadParameter("--to sumo needs --out FOLDER, new or empty")
    project, _ = common.open_target(network, sumocfg)
    from scenariogen.injection.plain import export_plain
    from scenariogen.scenarios.files import read_batch, read_scenario

    made = export_plain(project, read_batch(file), read_scenario(file, index), out)
    if json:
        common.print_json(
            {
                "configuration": made.configuration,
                "additional": made.additional,
                "vehicles": made.vehicles,
                "limits": made.limits,
            }
        )
        return
    print(f"written to {made.folder}; run it: {shlex.join(['sumo', '-c', str(made.configuration)])}")
    print("\n".join(["what XML cannot say:", *(f"  {text}" for text in made.limits)]))
