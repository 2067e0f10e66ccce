"""Scenarios: many drawn from a model, or one by hand."""

from pathlib import Path
from typing import Annotated

import typer

from scenariogen.cli import common

FORMATS = (".parquet", ".json")
RerouteShare = Annotated[
    float, typer.Option(help="Share of the drivers in the queue who look for another way after two minutes.")
]
Signs = Annotated[
    str, typer.Option(metavar="EDGE,EDGE,...", help="Edges with a variable message sign that tells of incidents.")
]
RadioShare = Annotated[float, typer.Option(help="Share of all drivers who hear of incidents by radio.")]
NavigationShare = Annotated[
    float, typer.Option(help="Share of all vehicles whose navigation hears of incidents and is followed.")
]
ReturnShare = Annotated[
    float, typer.Option(help="Share of those who take their old route again once told that the road is clear.")
]


def sample(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder that `fit` wrote.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Scenarios to draw.")] = 200,
    given: Annotated[
        str, typer.Option(help="Condition on incidents, e.g. 'capacity_left<=0.5 & road_class==motorway'.")
    ] = "",
    quantifier: Annotated[
        str, typer.Option(help="Which incidents the condition is about: any, all, none, count=N or given-one.")
    ] = "any",
    frequency: Annotated[
        str, typer.Option(help="Multipliers on the incident frequency that estimates shall be possible for.")
    ] = "0.5,1,2,5",
    by_kind: Annotated[
        bool,
        typer.Option(
            "--by-kind",
            help="Draw also for both ends of that range for each kind of incident alone, so that frequencies by kind "
            "can be answered well (--frequency crash=5 of evaluate).",
        ),
    ] = False,
    reroute_share: RerouteShare = 0.3,
    signs: Signs = "",
    radio_share: RadioShare = 0.0,
    navigation_share: NavigationShare = 0.0,
    return_share: ReturnShare = 0.0,
    seed: common.Seed = 0,
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    out: Annotated[Path, typer.Option(help="File to write, .parquet or .json.")] = Path("scenarios.parquet"),
    json: common.Json = False,
) -> None:
    """Draw scenarios from a model, each with its density.

    The batch is drawn for a range of frequencies: any multiplier within it can be answered afterwards without
    simulating again, and with --by-kind also one for each kind of incident. A condition compares capacity_left,
    lanes_blocked, kind, road_class or edge and joins with &. The project is the one that the model was fitted on,
    unless it is named.

    \b
    Example:
      scenariogen sample model -n 200 --given 'capacity_left<=0.5' --frequency 0.5,1,2,5 --out scenarios.parquet
    """
    common.require_suffix(out, *FORMATS)
    frequencies = common.numbers(frequency, "--frequency")
    from scenariogen.evaluation.enough import too_few
    from scenariogen.pipeline import draw_to_file
    from scenariogen.simulation.noted_project import noted_project

    project, name = common.open_target(network, sumocfg) if network or sumocfg else noted_project(model)
    with common.progress("scenarios") as update:
        batch = draw_to_file(
            model,
            project,
            n=count,
            frequencies=frequencies,
            by_kind=by_kind,
            given=given,
            quantifier=quantifier,
            drivers=_drivers(reroute_share, signs, radio_share, navigation_share, return_share),
            seed=seed,
            name=name,
            out=out,
        )
        update(len(batch), len(batch))
    incidents = sum(len(scenario.incidents) for scenario in batch.scenarios)
    free = sum(scenario.is_incident_free for scenario in batch.scenarios)
    few = too_few(batch)
    if json:
        told = {"out": out, "scenarios": len(batch), "incidents": incidents, "incident_free": free}
        common.print_json(told | {"warning": few or None})
    else:
        print(f"{out}: {len(batch)} scenarios with {incidents} incidents; {free} of them have none")
        if few:
            print(f"warning: {few}")


def _drivers(reroute_share: float, signs: str, radio_share: float, navigation_share: float, return_share: float):
    """What the options say of drivers, as the record of scenarios has it."""
    from scenariogen.scenarios.drivers import Drivers

    return Drivers(
        reroute_share=reroute_share,
        sign_edges=tuple(part.strip() for part in signs.split(",") if part.strip()),
        radio_share=radio_share,
        navigation_share=navigation_share,
        return_share=return_share,
    )


def incident(
    edge: Annotated[str, typer.Option(help="Edge that it stands on.")],
    at: Annotated[str, typer.Option(help="Start: a clock time such as 07:40, or simulation seconds such as 600s.")],
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    duration: Annotated[str, typer.Option("--for", help="How long it stands, e.g. 35min.")] = "35min",
    lanes: Annotated[
        str, typer.Option(help="Blocked lanes, counted from the right from 0, e.g. 0,1; none: on the shoulder.")
    ] = "0",
    capacity_left: Annotated[
        float | None,
        typer.Option(help="Share of the capacity left, 0 to 1; by default what is usual for the blocked lanes."),
    ] = None,
    kind: Annotated[str, typer.Option(help="crash, breakdown or obstruction.")] = "crash",
    position: Annotated[
        float | None, typer.Option(help="Metres from the start of the edge; by default its middle.")
    ] = None,
    opposite_capacity: Annotated[
        float | None,
        typer.Option(help="Share left on the opposite carriageway, where drivers look, e.g. 0.87; by default all."),
    ] = None,
    lanes_reopen: Annotated[
        str, typer.Option(help="How several blocked lanes open again: at-once, or one-by-one while it is cleared.")
    ] = "at-once",
    reroute_share: RerouteShare = 0.3,
    signs: Signs = "",
    radio_share: RadioShare = 0.0,
    navigation_share: NavigationShare = 0.0,
    return_share: ReturnShare = 0.0,
    seed: common.Seed = 0,
    out: Annotated[Path, typer.Option(help="File to write, .json or .parquet.")] = Path("incident.json"),
    json: common.Json = False,
) -> None:
    """Write one incident by hand, as a scenario.

    Every later command accepts it. Clock times are simulation seconds counted as seconds after midnight. What cannot
    happen on the network, or not with so much capacity left, is refused with what can. Where drivers of the other
    direction slow down to look, 12.7 percent of the capacity was lost there on average (Masinick and Teng 2004, as
    others quote it), at about one accident in ten.

    \b
    Example:
      scenariogen incident --sumocfg my.sumocfg --edge E12 --lanes 0,1 --at 07:40 --for 35min --capacity-left 0.35
    """
    common.require_suffix(out, *FORMATS)
    start_s, lasts_s = common.time_s(at, "--at"), common.duration_s(duration, "--for")
    blocked = common.lanes(lanes)
    if kind not in (kinds := ("crash", "breakdown", "obstruction")):
        raise typer.BadParameter(f"--kind is {kind!r}, expected one of {', '.join(kinds)}")
    if lanes_reopen not in ("at-once", "one-by-one"):
        raise typer.BadParameter(f"--lanes-reopen is {lanes_reopen!r}, expected at-once or one-by-one")
    project, name = common.open_target(network, sumocfg)
    from scenariogen.scenarios.byhand import one_incident
    from scenariogen.scenarios.files import write_batch
    from scenariogen.scenarios.records import LanesReopen
    from scenariogen.simulation.study import study_window

    batch = one_incident(
        project.network(),
        study_window(project),
        edge=edge,
        lanes=blocked,
        start_s=start_s,
        duration_s=lasts_s,
        kind=kind,
        capacity_left=capacity_left,
        position_m=position,
        opposite_capacity=opposite_capacity,
        drivers=_drivers(reroute_share, signs, radio_share, navigation_share, return_share),
        lanes_reopen=LanesReopen(lanes_reopen.replace("-", " ")),
        seed=seed,
        project_hash=project.hash,
        network_name=name,
    )
    write_batch(batch, out)
    if json:
        made = batch.scenarios[0].incidents[0]
        common.print_json(
            {
                "out": out,
                "edge": made.edge,
                "lanes": made.lanes,
                "start_s": made.start_s,
                "duration_s": made.duration_s,
                "position_m": made.position_m,
                "capacity_left": made.capacity_left,
                "lanes_reopen": batch.scenarios[0].lanes_reopen,
                "drivers": batch.scenarios[0].drivers.to_plain(),
                "effects": [effect.to_plain() for effect in batch.scenarios[0].effects],
            }
        )
    else:
        print(f"{out}: {batch.scenarios[0]}")
