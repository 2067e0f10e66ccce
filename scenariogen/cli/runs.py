"""Simulating one scenario, to look at it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenariogen.cli import common
from scenariogen.errors import ScenarioError, SimulationError

if TYPE_CHECKING:
    from scenariogen.scenarios.records import Condition

PHASES = (("detected_s", "detected"), ("responded_s", "responders there"), ("recovered_s", "queue gone"))
"""Phases that are told besides the time for which an incident stood, and how."""


def run(
    scenarios: Annotated[Path, typer.Option(help="A file of scenarios, .parquet or .json.")],
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    index: Annotated[int, typer.Option(help="Which scenario of the file.")] = 0,
    policy: Annotated[
        str, typer.Option(help=f"A policy's name or file, or learned:FILE. {common.TOGETHER}")
    ] = "no_control",
    incidents_known: common.IncidentsKnown = "detected",
    gui: Annotated[bool, typer.Option("--gui", help="Watch it in sumo-gui, with its incidents drawn.")] = False,
    screenshot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .png of sumo-gui's window to write while an incident stands."),
    ] = None,
    queue: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .csv of the vehicles that stand upstream of each incident, by minute."),
    ] = None,
    json: common.Json = False,
) -> None:
    """Simulate one scenario, also to watch it.

    Says what became of each incident and each effect, and what the scenario cost. In the window blocked lanes are red,
    the stretch that drivers pass slowly is amber, and vehicles have the colour of their speed. A screenshot needs a
    display or Xvfb.
    With --queue, a picture of the queues is written beside the table, an .svg of the same name.

    \b
    Example:
      scenariogen run --network cologne8 --scenarios scenarios.parquet --index 7 --gui
    """
    if screenshot is not None and screenshot.suffix != ".png":
        raise typer.BadParameter(f"--screenshot is {screenshot}, expected a file that ends in .png")
    if queue is not None:
        if queue.suffix != ".csv":
            raise typer.BadParameter(f"--queue is {queue}, expected a file that ends in .csv")
        if gui or screenshot is not None:
            raise typer.BadParameter("--queue is for a run without a window: leave out --gui and --screenshot")
    source = common.incident_source(incidents_known)
    project, _ = common.open_target(network, sumocfg)
    from scenariogen.pipeline import run_one
    from scenariogen.scenarios.files import read_batch

    batch = read_batch(scenarios)
    chosen = [each for each in batch.scenarios if each.index == index]
    if not chosen:
        have = sorted(each.index for each in batch.scenarios)
        raise ScenarioError(f"{scenarios} has no scenario {index}: its indices go from {have[0]} to {have[-1]}")
    if queue is not None and not chosen[0].incidents:
        raise ScenarioError(f"scenario {index} has no incident whose queue could be counted: choose another --index")
    with common.progress(f"scenario {index} under {policy}") as update:
        update(0, 1)
        shown = gui or screenshot is not None
        result = run_one(
            project,
            batch,
            chosen[0],
            policy=policy,
            gui=shown,
            screenshot=screenshot,
            queue=queue,
            incidents_known=source,
        )
        update(1, 1)
    if result.failed:
        raise SimulationError(f"{result.end_reason}: {result.error}")
    incidents, effects = _loaded(result.incidents), _loaded(result.effects)
    if json:
        common.print_json(
            {
                "scenario": index,
                "policy": result.policy,
                "seed": result.seed,
                "end_reason": result.end_reason.name,
                "system_delay_veh_h": result.system_delay_veh_h,
                "due": result.due,
                "arrived": result.arrived,
                "waiting_at_end": result.waiting_at_end,
                "locked_up_at_s": result.locked_up_at_s,
                "delay_by_class": _loaded(result.delay_by_class),
                "queue": queue,
                "incidents": incidents,
                "effects": effects,
            }
        )
        return
    print(chosen[0])
    for line in _lines(incidents, effects, chosen[0].condition):
        print(f"  {line}")
    print(
        f"{result.policy}: {result.system_delay_veh_h:,.1f} vehicle-hours of delay, {result.arrived:,} of "
        f"{result.due:,} vehicles arrived; {result.end_reason}"
    )
    if queue is not None:
        print(f"queues by minute in {queue}, drawn in {queue.with_suffix('.svg')}")


def _lines(incidents: list[dict], effects: list[dict], condition: "Condition") -> list[str]:
    """What became of all that was asked, a line each."""
    lines = [f"{each['kind']} on {each['edge']}: {_told(each, condition)}" for each in incidents]
    return lines + [
        f"effect {each['number']}, {each['asked']['effect']}: {_told_effect(each, condition)}" for each in effects
    ]


def _told(incident: dict, condition: "Condition") -> str:
    """What became of an incident, with its phases, for people."""
    if not incident["realised"]:
        return f"not realised, {incident['reason']}"
    done, phases = incident["happened"], incident["phases"]
    times = [(phases[key], text) for key, text in PHASES if phases[key] is not None]
    times += [(opened_s, f"lane {lane} open") for lane, opened_s in phases["reopened"]]
    by = ", ".join(f"{count} {source}" for source, count in incident["rerouted_by"].items())
    clock = condition.clock_at
    parts = [
        f"stood {_span(done, condition)} at {done['position_m']:.0f} m",
        *(f"{text} {clock(time_s)}" for time_s, text in sorted(times)),
        f"{incident['rerouted']} drivers took another way" + (f" ({by})" if by else ""),
    ]
    return ", ".join(parts) + (f" ({incident['reason']})" if incident["reason"] else "")


def _told_effect(effect: dict, condition: "Condition") -> str:
    """What became of an effect, with what it did in numbers, for people."""
    if not effect["realised"]:
        return f"not realised, {effect['reason']}"
    told = [f"{name} {count}" for name, count in effect["counts"].items()]
    note = "; ".join([*told, *([effect["reason"]] if effect["reason"] else [])])
    return f"held {_span(effect, condition)}" + (f" ({note})" if note else "")


def _span(happened: dict, condition: "Condition") -> str:
    end_s, clock = happened["end_s"], condition.clock_at
    return f"{clock(happened['start_s'])}-{'the end' if end_s is None else clock(end_s)}"


def _loaded(text: str) -> Any:
    import json

    return json.loads(text)
