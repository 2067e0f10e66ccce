"""What incidents can leave of a road's capacity, measured: the table, and a picture of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenariogen.cli import common
from scenariogen.cli.tables import table as as_table

if TYPE_CHECKING:
    from scenariogen.incidents.capacity_tables import CapacityTable
    from scenariogen.injection.project_calibration import ProjectTable


def calibrate(
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    out: Annotated[Path, typer.Option(help="Page with the plot to write (.html).")] = Path("capacity.html"),
    again: Annotated[bool, typer.Option("--again", help="Measure even where a table is at hand.")] = False,
    jobs: common.Jobs = 1,
    json: common.Json = False,
) -> None:
    """Show how much of a road's capacity incidents can leave, and which passing speed leaves it.

    Without a project, the table of SUMO's default car is shown. With one, its vehicle types, step length and
    car-following model are read; where they differ materially from those of every table at hand, its roads are
    measured on a small automatic rig (some seconds to minutes a road) and the table is kept in the user's cache
    folder, where later injections find it. Prints the reachable range of each cross-section and what is left at stop
    lines, and writes a page with the curves that works offline. Nothing is written into the project.

    \b
    Example:
      scenariogen calibrate --sumocfg my_city/city.sumocfg --out capacity.html
    """
    common.require_suffix(out, ".html")
    from scenariogen.incidents.capacity_tables import shipped_table
    from scenariogen.report.capacity_page import write_capacity_page

    if not network and sumocfg is None:
        if again:
            raise typer.BadParameter("--again needs --network or --sumocfg: the shipped table is not measured here")
        found, table = None, shipped_table()
    else:
        found = _measured(network, sumocfg, again, jobs)
        table = found.table
    write_capacity_page(table, out)
    if json:
        common.print_json(_as_json(found, table, out))
    else:
        print("\n".join(_lines(found, table, out)))


def _measured(network: str, sumocfg: Path | None, again: bool, jobs: int) -> "ProjectTable":
    project, _ = common.open_target(network, sumocfg)
    from scenariogen.injection.project_calibration import project_table

    with common.progress("cross-sections") as update:
        return project_table(project, jobs=jobs, again=again, progress=update)


def _lines(found: "ProjectTable | None", table: "CapacityTable", out: Path) -> list[str]:
    lines = []
    if found is not None:
        lines.append(f"traffic   {found.traffic}")
        lines += [f"differs   {each}" for each in found.differences]
        if found.kept_at is not None:
            lines.append(f"kept      {found.kept_at}")
    lines += [f"table     {table.name}", f"measured  with SUMO {table.sumo_version}", ""]
    rows = []
    for row in table.rows:
        low, high = table.reachable(row["road_class"], row["lanes"], row["blocked"], inner=row["inner"])
        blocked = f"{row['blocked']}{' inner' if row['inner'] else ''}" if row["blocked"] else "roadside"
        rows.append(
            (
                row["road_class"],
                f"{row['limit_mps'] * 3.6:.0f}",
                f"{row['lanes']}",
                blocked,
                f"{row['free_veh_h']:,.0f}",
                f"{low:.2f} to {high:.2f}",
                f"{min(row['speeds_mps']):.1f}",
                f"{max(row['standard_error']):.3f}",
            )
        )
    header = ("road", "km/h", "lanes", "blocked", "free veh/h", "share left", "slowest m/s", "std. error")
    lines.append(as_table(header, rows))
    if losses := table.content.get("stop_line"):
        lines += ["", "left at a stop line, as a share of what the signal serves undisturbed:"]
        lines.append(
            as_table(
                ("lanes", "blocked", "m before the line", "asked at the blockage", "left at the line", "std. error"),
                [
                    (
                        f"{each['lanes']}",
                        f"{each['blocked']}",
                        f"{each['before_m']:.0f}",
                        "nobody slowed" if each["asked"] is None else f"{each['asked']:.2f}",
                        f"{each['measured']:.2f}",
                        f"{each['standard_error']:.3f}",
                    )
                    for each in losses
                ],
            )
        )
    return [*lines, "", f"plot: {out.resolve()}"]


def _as_json(found: "ProjectTable | None", table: "CapacityTable", out: Path) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        low, high = table.reachable(row["road_class"], row["lanes"], row["blocked"], inner=row["inner"])
        rows.append({**row, "reachable": (low, high)})
    return {
        "table": table.name,
        "sumo_version": table.sumo_version,
        "traffic": table.content["traffic"],
        "settings": table.content["settings"],
        "rows": rows,
        "stop_line": table.content.get("stop_line", []),
        "project": None
        if found is None
        else {
            "traffic": found.traffic.as_record(),
            "differences": found.differences,
            "measured_now": found.kept_at is not None,
            "kept_at": found.kept_at,
        },
        "plot": out,
    }
