"""For people: the report, and everything at once."""

from pathlib import Path
from typing import Annotated

import typer

from scenariogen.cli import common
from scenariogen.cli.tables import estimates_table


def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A folder that `evaluate` wrote.")],
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("report.html"),
    json: common.Json = False,
) -> None:
    """Write the results as one page that works offline.

    \b
    Example:
      scenariogen report results --out report.html
    """
    common.require_suffix(out, ".html")
    from scenariogen.pipeline import report_to_file

    with common.progress("report") as update:
        verdict = report_to_file(results, out)
        update(1, 1)
    if json:
        common.print_json({"out": out, "verdict": verdict})
    else:
        print(f"{verdict}\n{out.resolve()}")


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
