"""A simulation that somebody else runs, joined as a second client."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenariogen.cli import common

if TYPE_CHECKING:
    from scenariogen.injection.records import RealisedEffect, RealisedIncident


def attach(
    scenario: Annotated[
        Path, typer.Argument(metavar="SCENARIO", help="Scenario file, .json of one, or a batch with --index.")
    ],
    port: Annotated[int, typer.Option(min=1, max=65_535, help="TraCI port of the running simulation.")],
    host: Annotated[str, typer.Option(help="Where it runs.")] = "localhost",
    order: Annotated[int, typer.Option(min=1, help="Our number among its clients.")] = 2,
    index: Annotated[int | None, typer.Option(min=0, help="Which scenario of a batch.")] = None,
    net: Annotated[
        Path | None, typer.Option("--net", metavar="FILE", help="Network file, where SUMO's own path is not here.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to look for the port.")] = 10.0,
    json: common.Json = False,
) -> None:
    """Make a scenario happen in a simulation that somebody else drives.

    For projects in other languages and for programs that are not to be touched: SUMO takes several clients where it
    was started with `--num-clients 2`. The one that drives it calls setOrder(1); this one steps along until its last
    incident or effect is over, and leaves.

    \b
    Example:
      scenariogen attach one.json --port 8813
    """
    from scenariogen.injection.second_client import inject_by_port
    from scenariogen.scenarios.files import read_scenario

    chosen = read_scenario(scenario, index)
    last_s = max((each.end_s for each in (*chosen.incidents, *chosen.effects)), default=0.0)
    with common.progress("simulated seconds") as update:
        reports = inject_by_port(
            port,
            scenario,
            host=host,
            order=order,
            index=index,
            network=net,
            wait_s=wait,
            progress=lambda now_s: update(int(now_s), int(last_s)),
        )
    if json:
        common.print_json([_row(each) for each in reports])
        return
    for each in reports:
        print(each)


def _row(report: "RealisedIncident | RealisedEffect") -> dict[str, object]:
    from scenariogen.injection.records import RealisedIncident

    row = {"kind": str(report.asked.kind), "realised": report.realised, "reason": report.reason}
    row |= {"start_s": report.start_s, "end_s": report.end_s}
    if isinstance(report, RealisedIncident):
        row |= {"edge": report.asked.edge, "lanes": list(report.lanes), "position_m": report.position_m}
    return row
