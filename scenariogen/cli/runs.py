"""Simulating: one scenario to look at, or all of them under every policy."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenariogen.cli import common
from scenariogen.cli.tables import estimates_table, remarks
from scenariogen.errors import ResultsError, ScenarioError, SimulationError
from scenariogen.units import clock_text

if TYPE_CHECKING:
    from scenariogen.evaluation import Results

PHASES = (("detected_s", "detected"), ("responded_s", "responders there"), ("recovered_s", "queue gone"))
"""Phases that are told besides the time for which an incident stood, and how."""

TOGETHER = "a+b runs several as one."
IncidentsKnown = Annotated[
    str,
    typer.Option(
        metavar="detected|reported",
        help="How policies learn of incidents: by our detector on the run's own traffic, or by the scenario's report.",
    ),
]


def run(
    scenarios: Annotated[Path, typer.Option(help="A file of scenarios, .parquet or .json.")],
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    index: Annotated[int, typer.Option(help="Which scenario of the file.")] = 0,
    policy: Annotated[str, typer.Option(help=f"A policy's name or file, or learned:FILE. {TOGETHER}")] = "no_control",
    incidents_known: IncidentsKnown = "detected",
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

    Says what became of each incident and what the scenario cost. In the window blocked lanes are red, the stretch that
    drivers pass slowly is amber, and vehicles have the colour of their speed. A screenshot needs a display or Xvfb.
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
    source = _source(incidents_known)
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
    incidents = _loaded(result.incidents)
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
            }
        )
        return
    print(chosen[0])
    for each in incidents:
        print(f"  {each['kind']} on {each['edge']}: {_told(each)}")
    print(
        f"{result.policy}: {result.system_delay_veh_h:,.1f} vehicle-hours of delay, {result.arrived:,} of "
        f"{result.due:,} vehicles arrived; {result.end_reason}"
    )
    if queue is not None:
        print(f"queues by minute in {queue}, drawn in {queue.with_suffix('.svg')}")


def _source(text: str) -> str:
    if text not in ("detected", "reported"):
        raise typer.BadParameter(f"--incidents-known is {text!r}, expected detected or reported")
    return text


def _told(incident: dict) -> str:
    """What became of an incident, with its phases, for people."""
    if not incident["realised"]:
        return f"not realised, {incident['reason']}"
    done, phases = incident["happened"], incident["phases"]
    times = [(phases[key], text) for key, text in PHASES if phases[key] is not None]
    times += [(opened_s, f"lane {lane} open") for lane, opened_s in phases["reopened"]]
    by = ", ".join(f"{count} {source}" for source, count in incident["rerouted_by"].items())
    parts = [
        f"stood {clock_text(done['start_s'])}-{'the end' if done['end_s'] is None else clock_text(done['end_s'])}",
        *(f"{text} {clock_text(time_s)}" for time_s, text in sorted(times)),
        f"{incident['rerouted']} drivers took another way" + (f" ({by})" if by else ""),
    ]
    return ", ".join(parts)


def _loaded(text: str) -> Any:
    import json

    return json.loads(text)


def evaluate(
    scenarios: Annotated[Path, typer.Option(help="A file of scenarios, .parquet or .json.")],
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A policy's name or file, or learned:FILE; repeat it. {TOGETHER} The first is what others are "
            "compared with."
        ),
    ] = None,
    incidents_known: IncidentsKnown = "detected",
    frequency: Annotated[
        str,
        typer.Option(
            metavar="0.5,1,2 | KIND=2,...",
            help="Multipliers to answer for, or one for each kind of incident, as crash=2,breakdown=1 (kinds not named "
            "keep 1); ; parts several. By default those that the scenarios were drawn for.",
        ),
    ] = "",
    tail: Annotated[float, typer.Option(min=0.5, max=0.999, help="Level of the quantile and CVaR of delay.")] = 0.95,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="Level of the intervals.")] = 0.95,
    total: Annotated[
        bool, typer.Option("--total/--no-total", help="Also give intervals that cover how unsure the rates are.")
    ] = True,
    threshold: Annotated[
        float | None, typer.Option(help="Vehicle-hours of delay whose exceedance is asked; by default derived.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Simulator seeds per scenario.")] = 1,
    jobs: common.Jobs = 1,
    cluster: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Scheduler of dask.distributed whose workers simulate, e.g. tcp://host:8786, or local for --jobs "
            "workers here. The numbers are the same.",
        ),
    ] = "",
    time_limit: Annotated[
        str,
        typer.Option(
            help="What a run may take, e.g. 10min; by default 20 times the median of the finished ones, at least a "
            "minute, and an hour until five have finished."
        ),
    ] = "",
    record: Annotated[
        str, typer.Option(help="Scenarios whose trajectories are kept under kept/, by their indices, e.g. 3,17.")
    ] = "",
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Try those runs again that crashed or took too long.")
    ] = False,
    allow_lock_up: Annotated[
        bool, typer.Option("--allow-lock-up", help="Go on with a network that locks up by itself.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder to write; the same command goes on with it.")] = Path("results"),
    json: common.Json = False,
) -> None:
    """Run all scenarios under each policy and estimate its cost.

    Killed at any moment, the same command goes on where it was. Writes estimates.json and prints it as a table;
    estimates that the runs do not carry are refused with the reason. The exit code is 1 where all are refused.

    A run that crashes or takes too long is tried once more. Where that fails too it goes into quarantine.json with its
    reason, and the intervals are widened to what it could have been at best and at worst.

    \b
    Example:
      scenariogen evaluate --network cologne8 --scenarios scenarios.parquet --policy no_control \\
          --policy max_pressure --frequency 0.5,1,2,5 --jobs 2 --out results
    """
    asked = common.frequencies(frequency, "--frequency") if frequency else None
    limit_s = common.duration_s(time_limit, "--time-limit") if time_limit else None
    recorded = common.indices(record, "--record") if record else ()
    source = _source(incidents_known)
    project, _ = common.open_target(network, sumocfg)
    from scenariogen.evaluation import evaluate as evaluate_batch
    from scenariogen.evaluation import progress_bar, resolve_policies
    from scenariogen.pipeline import require_sound
    from scenariogen.scenarios.files import open_batch

    batch = open_batch(scenarios)
    policies = policy or ["no_control", "max_pressure"]
    resolve_policies(policies)
    if not allow_lock_up and not (out / "results.json").exists():
        with common.progress("runs without incidents") as update:
            require_sound(project, batch.window, jobs=jobs, progress=update)
    with progress_bar() as report:
        done = evaluate_batch(
            project, batch, policies, out=out, frequencies=asked, threshold_veh_h=threshold, jobs=jobs,
            replicas=seeds, cluster=cluster, time_limit_s=limit_s, record=recorded, tail=tail, level=level, total=total,
            retry_quarantined=retry_quarantined, incidents_known=source, progress=report,
        )  # fmt: skip
    if json:
        from dataclasses import asdict

        common.print_json([asdict(each) for each in done.estimates])
    else:
        print(estimates_table(done.estimates))
        for line in remarks(done.estimates, done.details):
            print(line)
        print(f"written to {out / 'estimates.json'}; for a page: scenariogen report {out} --out report.html")
    _tell_failures(done.results)
    if all(each.is_refused for each in done.estimates):
        raise ResultsError(f"every estimate is refused, for example: {done.estimates[0].verdict}")


def _tell_failures(results: "Results") -> None:
    """How many runs gave no result, and where those in quarantine are listed."""
    from scenariogen.evaluation.store import QUARANTINE

    count, first, quarantined = 0, "", 0
    for run in results.runs:
        if run.failed:
            first = first or run.error
            count, quarantined = count + 1, quarantined + run.is_quarantined
    if count:
        common.note(f"{count} of {len(results.runs)} runs gave no result; the first: {first}")
    if quarantined:
        common.note(
            f"{quarantined} of them crashed or took too long twice; they are listed in {results.folder / QUARANTINE} "
            "and counted as the best and the worst they could be; to try them again: --retry-quarantined"
        )
