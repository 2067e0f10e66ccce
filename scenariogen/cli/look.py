"""Before anything else: which networks there are, and what a project is like without incidents."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenariogen.cli import common
from scenariogen.cli.tables import table
from scenariogen.units import clock_text, duration_text

if TYPE_CHECKING:
    from scenariogen.incidents.priors import ExpectedIncidents
    from scenariogen.simulation.inspect import ProjectReport

EDGES_SHOWN = 10


def networks(json: common.Json = False) -> None:
    """List the networks that are known by name.

    Any other SUMO project is given to the other commands by its file, with --sumocfg.

    \b
    Example:
      scenariogen networks
    """
    from scenariogen.simulation.catalog import list_networks

    found = list_networks()
    if json:
        common.print_json(
            [
                {
                    "name": each.name,
                    "description": each.description,
                    "origin": each.origin,
                    "sumocfg": each.sumocfg,
                    "available": each.available,
                    "why_not": each.why_not,
                }
                for each in found
            ]
        )
        return
    rows = [(each.name, each.description, "" if each.available else f"not here: {each.why_not}") for each in found]
    print(table(("name", "what it is", ""), rows))


def check(
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs without incidents.")] = 3,
    seed: common.Seed = 0,
    jobs: common.Jobs = 1,
    states: Annotated[
        bool, typer.Option("--states", help="Test whether runs may go on from saved states; on 20 seeds or --seeds.")
    ] = False,
    state_at: Annotated[
        str, typer.Option(help="When states are saved, e.g. 07:30 or 600s; by default amid the starts of incidents.")
    ] = "",
    json: common.Json = False,
) -> None:
    """Run a project without incidents and say what to expect.

    Prints the study window and what was changed to get it, whether the network locks up by itself, the backlog,
    vehicle-kilometres, the incidents to expect at the published rates, the edges where one could matter, and which
    of the project's options are replaced. Nothing is written into the project. The exit code is 1 where the network
    locks up by itself, since `evaluate` will then refuse it, and where --states is asked and does not pass.

    \b
    Example:
      scenariogen check --sumocfg my_city/city.sumocfg
    """
    if state_at and not states:
        raise typer.BadParameter("--state-at is for --states")
    at_s = common.time_s(state_at, "--state-at") if state_at else None
    project, name = common.open_target(network, sumocfg)
    from scenariogen.incidents.priors import expected_incidents
    from scenariogen.injection.passing_speed import project_capacity
    from scenariogen.simulation.inspect import check_project

    with common.progress("runs without incidents") as update:
        report = check_project(project, seeds=seeds, seed=seed, jobs=jobs, progress=update)
    expected = expected_incidents(report.network, _exposed_km(report))
    capacity, differs = project_capacity(project)
    branching = None
    if states:
        from scenariogen.simulation.branching import SEEDS, check_branching

        with common.progress("runs from saved states") as update:
            branching = check_branching(
                project, seeds=max(seeds, SEEDS), seed=seed, at_s=at_s, jobs=jobs, progress=update
            )
    if json:
        told = _as_json(name, report, expected) | {"capacity_table": capacity, "capacity_warning": differs or None}
        common.print_json(told if branching is None else told | {"states": branching.to_json()})
    else:
        shares = [f"capacity         {capacity}", *([f"warning          {differs}"] if differs else [])]
        print("\n".join([*_lines(name, report, expected), *shares, *(branching.lines() if branching else ())]))
    report.require_sound()
    if branching is not None:
        branching.require_passed()


def _lines(name: str, report: "ProjectReport", expected: "ExpectedIncidents") -> list[str]:
    network, runs = report.network, report.runs
    lines = [
        f"{name}: {len(network.edges)} edges, {len(network.signals)} signals",
        f"demand           {report.demand}",
        f"study window     {report.window}",
        *(f"                 {remark}" for remark in report.window.remarks),
        f"locks up         in {len(report.locked_up)} of {len(runs)} runs without incidents",
        f"system delay     {_range([run.delay.delay_veh_h for run in runs])} vehicle-hours",
        f"backlog          at most {max(run.health.backlog_most for run in runs)} vehicles wait to enter, "
        f"{max(run.health.backlog_at_end for run in runs)} at the end",
        f"traffic          {report.vehicles_in_window:,.0f} vehicles, {report.total_vehicle_km:,.0f} vehicle-km a run",
        f"incidents        {expected.total:.3g} a run start at the published rates, {expected.lane_blocking:.3g} "
        f"of them block a lane (one in {_one_in(expected.lane_blocking)})",
    ]
    matter = report.edges_that_matter
    lines.append(f"edges that matter  {len(matter)}: with one lane blocked a queue grows there")
    lines += [
        f"                 {each.edge}: {each.lanes} lane{'s' if each.lanes > 1 else ''}, {each.flow_veh_h:,.0f} veh/h "
        f"against {each.capacity_left_veh_h:,.0f} left"
        for each in matter[:EDGES_SHOWN]
    ]
    if len(matter) > EDGES_SHOWN:
        lines.append(f"                 and {len(matter) - EDGES_SHOWN} more (--json lists all)")
    lines += [f"assumed          {text}" for text in report.assumptions]
    lines += [f"replaced         {each}" for each in report.overrides]
    return lines + [f"warning          {text}" for text in report.warnings]


def _exposed_km(report: "ProjectReport") -> dict[str, float]:
    """Vehicle-kilometres by edge in the span in which incidents may start; a cell counts by its share inside."""
    import numpy as np

    window, cells = report.window, max(len(row) for row in report.vehicle_km.values())
    begins = window.begin_s + report.cell_s * np.arange(cells)
    inside = np.minimum(begins + report.cell_s, window.incidents_until_s) - np.maximum(begins, window.count_from_s)
    share = np.clip(inside / report.cell_s, 0.0, 1.0)
    return {edge: float(row @ share[: len(row)]) for edge, row in report.vehicle_km.items()}


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:,.1f}" if low == high else f"{low:,.1f} to {high:,.1f}"


def _one_in(expected: float) -> str:
    return f"{1 / expected:,.0f} runs" if expected > 0 else "none at all"


def _as_json(name: str, report: "ProjectReport", expected: "ExpectedIncidents") -> dict[str, Any]:
    window = report.window
    return {
        "name": name,
        "project_hash": report.project_hash,
        "window": {
            "begin_s": window.begin_s,
            "count_from_s": window.count_from_s,
            "incidents_until_s": window.incidents_until_s,
            "end_s": window.end_s,
            "demand_copies": window.demand_copies,
            "warm_up": duration_text(window.count_from_s - window.begin_s),
            "remarks": window.remarks,
        },
        "locks_up": bool(report.locked_up),
        "runs": [
            {
                "seed": run.seed,
                "system_delay_veh_h": run.delay.delay_veh_h,
                "vehicles": run.delay.due,
                "arrived": run.delay.arrived,
                "backlog_most": run.health.backlog_most,
                "backlog_at_end": run.health.backlog_at_end,
                "collisions": run.health.collisions,
                "locked_up_since": None
                if run.health.locked_up_since_s is None
                else clock_text(run.health.locked_up_since_s),
            }
            for run in report.runs
        ],
        "vehicle_km": report.total_vehicle_km,
        "expected_incidents": {"total": expected.total, "lane_blocking": expected.lane_blocking},
        "edges_that_matter": [
            {
                "edge": each.edge,
                "lanes": each.lanes,
                "flow_veh_h": each.flow_veh_h,
                "capacity_veh_h": each.capacity_veh_h,
                "capacity_left_veh_h": each.capacity_left_veh_h,
            }
            for each in report.edges_that_matter
        ],
        "overrides": [
            {"option": each.option, "theirs": each.theirs, "ours": each.ours, "why": each.why}
            for each in report.overrides
        ],
        "assumptions": report.assumptions,
        "warnings": report.warnings,
    }
