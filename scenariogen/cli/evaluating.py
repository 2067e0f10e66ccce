"""Simulating all scenarios under every policy, and estimating."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenariogen.cli import common
from scenariogen.cli.tables import estimates_table, remarks
from scenariogen.errors import ResultsError

if TYPE_CHECKING:
    from scenariogen.evaluation import Results, Seen, SequentialEvaluation

USUAL_POLICIES = ("no_control", "max_pressure")


def evaluate(
    scenarios: Annotated[Path, typer.Option(help="A file of scenarios, .parquet or .json.")],
    network: common.Network = "",
    sumocfg: common.Sumocfg = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A policy's name or file, or learned:FILE; repeat it. {common.TOGETHER} The first is what others are "
            f"compared with. By default {' and '.join(USUAL_POLICIES)}."
        ),
    ] = None,
    incidents_known: common.IncidentsKnown = "detected",
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
        bool,
        typer.Option(
            "--total/--no-total",
            help="Also give intervals that cover how unsure rates and durations are.",
        ),
    ] = True,
    threshold: Annotated[
        float | None, typer.Option(help="Vehicle-hours of delay whose exceedance is asked; by default derived.")
    ] = None,
    until: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            help="Use scenarios of the file as they are needed until intervals are this narrow, for example "
            "'relative_half_width(mean)<=0.05' or 'half_width(difference)<=2'.",
        ),
    ] = "",
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="Use so many scenarios of the file at most, those that tell most; by default all."),
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
    emissions: Annotated[
        bool, typer.Option("--emissions", help="Also estimate CO2, NOx and particles, as SUMO computes them (HBEFA).")
    ] = False,
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

    With --until or --budget the results lie in OUT/all. One looks at numbers of scenarios that are fixed beforehand,
    and intervals are as much wider as that takes, so they hold wherever one stops. Draw twice as many scenarios as may
    be needed: drawing costs next to nothing, and the kind that tells most may be needed more than the other.

    \b
    Example:
      scenariogen evaluate --network cologne8 --scenarios scenarios.parquet --policy no_control \\
          --policy max_pressure --frequency 0.5,1,2,5 --jobs 2 --out results
    """
    asked = common.frequencies(frequency, "--frequency") if frequency else None
    limit_s = common.duration_s(time_limit, "--time-limit") if time_limit else None
    recorded = common.indices(record, "--record") if record else ()
    grows = bool(until) or budget is not None
    if grows and recorded:
        raise typer.BadParameter("--record names scenarios, and which are used is not known with --until or --budget")
    source = common.incident_source(incidents_known)
    project, _ = common.open_target(network, sumocfg)
    from dataclasses import asdict

    from scenariogen.evaluation import evaluate as evaluate_batch
    from scenariogen.evaluation import evaluate_until, parse_target, progress_bar, resolve_policies
    from scenariogen.pipeline import require_sound
    from scenariogen.scenarios.files import open_batch

    target = parse_target(until) if until else None
    batch = open_batch(scenarios)
    policies = policy or list(USUAL_POLICIES)
    resolve_policies(policies)
    if not allow_lock_up and not (out / ("stopping.json" if grows else "results.json")).exists():
        with common.progress("runs without incidents") as update:
            require_sound(project, batch.window, jobs=jobs, progress=update)
    how = {
        "frequencies": asked, "threshold_veh_h": threshold, "jobs": jobs, "replicas": seeds, "cluster": cluster,
        "time_limit_s": limit_s, "tail": tail, "level": level, "total": total,
        "emissions": emissions, "retry_quarantined": retry_quarantined, "incidents_known": source,
    }  # fmt: skip
    grown: SequentialEvaluation | None = None
    with progress_bar() as report:
        if grows:
            done = grown = evaluate_until(
                project, batch, policies, out=out, target=target, budget=budget, on_look=_tell_look, progress=report,
                **how,
            )  # fmt: skip
        else:
            done = evaluate_batch(project, batch, policies, out=out, record=recorded, progress=report, **how)
    estimates = [asdict(each) for each in done.estimates]
    if json and grown is not None:
        looks = [asdict(each) for each in grown.looks]
        common.print_json({"met": grown.is_met, "advice": grown.advice, "looks": looks, "estimates": estimates})
    elif json:
        common.print_json(estimates)
    else:
        print(estimates_table(done.estimates))
        for line in remarks(done.estimates, done.details):
            print(line)
        if grown is not None:
            print(_ended(grown, until))
        page = shlex.join(["scenariogen", "report", str(done.folder)])
        print(f"written to {done.folder / 'estimates.json'}; for a page: {page}")
    _tell_failures(done.results)
    if all(each.is_refused for each in done.estimates):
        raise ResultsError(f"every estimate is refused, for example: {done.estimates[0].verdict}")


def _tell_look(seen: "Seen") -> None:
    reached = "refused" if seen.reached is None else f"{seen.reached:.3g}"
    common.note(f"{seen.scenarios} scenarios, {seen.shares[1]:.0%} of new ones with incidents: {reached}")


def _ended(done: "SequentialEvaluation", until: str) -> str:
    """Why an evaluation that grew ended."""
    used = f"{len(done.results.batch)} scenarios"
    if done.advice:
        return f"the budget is spent: {done.advice}"
    return f"{until} is met with {used}" if until else f"{used} used"


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
