"""For people: the report, and everything at once."""

from pathlib import Path
from typing import Annotated

import typer

from scenariogen.cli import common
from scenariogen.cli.tables import estimates_table


def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A folder that `evaluate` wrote.")],
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("report.html"),
    at: Annotated[
        float | None, typer.Option(help="Multiplier at which means are taken apart; by default the one nearest to 1.")
    ] = None,
    costs: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Also write expected delay per edge and year (.csv, .gpkg); repeatable."),
    ] = None,
    hours_per_year: Annotated[
        float, typer.Option(help="Hours a year like those studied; 500 are 250 working days with two such hours.")
    ] = 500.0,
    occupancy: Annotated[
        str, typer.Option(help="People by vehicle class, such as bus=20,passenger=1.3; by default those of the FHWA.")
    ] = "",
    evenly: Annotated[
        bool,
        typer.Option("--evenly", help="Incidents of one scenario share delay evenly, not by blocked capacity-time."),
    ] = False,
    json: common.Json = False,
) -> None:
    """Write the results as one page that works offline.

    Says in a paragraph what to do, where the ranking flips, what the bad days are like and which incidents carry it.
    With --json the same numbers are printed.

    \b
    Example:
      scenariogen report results --out report.html --costs costs.gpkg --hours-per-year 500
    """
    common.require_suffix(out, ".html")
    for path in costs or []:
        if path.suffix not in (".csv", ".gpkg"):
            raise typer.BadParameter(f"--costs is {path}, expected a file that ends in .csv or .gpkg")
    from scenariogen.pipeline import report_to_file
    from scenariogen.report.as_json import views_json
    from scenariogen.report.attribution import Split
    from scenariogen.report.paragraph import verdict_paragraph
    from scenariogen.report.people import parse_occupancy
    from scenariogen.report.views import Options

    options = Options(
        frequency=at,
        hours_per_year=hours_per_year,
        occupancy=parse_occupancy(occupancy),
        split=Split.EVEN if evenly else Split.BLOCKED,
    )
    with common.progress("report") as update:
        views = report_to_file(results, out, options=options, costs=costs or [])
        update(1, 1)
    if json:
        common.print_json({"out": out, "costs": costs or []} | views_json(views))
    else:
        print("\n".join([verdict_paragraph(views), *(str(path.resolve()) for path in (out, *(costs or [])))]))


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("demo"),
    network: Annotated[str, typer.Option(help="A network of `scenariogen networks`.")] = "cologne8",
    days: Annotated[int, typer.Option(min=2, help="Days to record.")] = 6,
    count: Annotated[int, typer.Option("-n", "--count", min=20, help="Scenarios to draw.")] = 120,
    jobs: common.Jobs = 2,
    seed: common.Seed = 1,
    json: common.Json = False,
) -> None:
    """Run everything on a real city network.

    Answers which of two signal policies stands incidents better. Records days with incidents, finds them again,
    learns how likely they are, draws scenarios, simulates them under the network's own signal programmes (no_control)
    and under max_pressure, and writes a report. A few minutes on two cores. The same seed gives the same numbers.

    \b
    Example:
      scenariogen demo --out demo
    """
    from scenariogen.pipeline import Stage, run_demo

    def stage(title: str) -> Stage:
        return common.progress(title)

    found = run_demo(network, out=out, days=days, count=count, jobs=jobs, seed=seed, stage=stage)
    if json:
        from dataclasses import asdict

        common.print_json(
            {
                "report": found.report,
                "verdict": found.verdict,
                "estimates": [asdict(each) for each in found.estimates],
            }
        )
    else:
        print(f"\n{estimates_table(found.estimates)}\n\n{found.verdict}\nreport: {found.report}")
