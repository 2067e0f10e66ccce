"""One page that holds everything: it works offline, on a phone and on paper."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scenariogen.errors import ProjectError, ResultsError
from scenariogen.evaluation.answer import Estimate, EstimateDetail
from scenariogen.evaluation.estimate import read_estimates
from scenariogen.evaluation.ranking import Ranking
from scenariogen.evaluation.store import Results, load_results
from scenariogen.network import RoadNetwork
from scenariogen.report.costs import incident_free_levels
from scenariogen.report.edge_costs import why_no_costs
from scenariogen.report.figures import Figure, alt_text, difference_figure, frequency_figure, runs_figure
from scenariogen.report.findings import findings
from scenariogen.report.intervals import left_out_of_total, more_intervals, share_table
from scenariogen.report.paragraph import capital, sentences
from scenariogen.report.roadmap import map_alt, map_figure
from scenariogen.report.tables import full_rows, question_tables, read_details, refusals, worst_scenarios
from scenariogen.report.verdict import verdict_sentence
from scenariogen.report.view_tables import carried_sections, class_tables, how_shared, year_lead, year_table
from scenariogen.report.views import Options, Views, left_out_text, ranking_for, work_out
from scenariogen.report.words import counted, given_text, level_text, listed, per_hours_text, times_text
from scenariogen.scenarios.records import ScenarioBatch
from scenariogen.units import duration_text

_HERE = Path(__file__).resolve().parent


def write_report(
    results_folder: str | Path, out: str | Path, *, network: RoadNetwork | None = None, options: Options | None = None
) -> Path:
    """Write the page about a results folder; returns its path.

    ``network`` is read from the project that the results name where it is None; where that project is gone or has
    changed, the page says so in place of the map. Raises ``ResultsError``.
    """
    views = work_out(load_results(results_folder), options)
    return write_page(views, Path(out), network_of(views.results) if network is None else network)


def write_page(views: Views, out: Path, network: RoadNetwork | str) -> Path:
    """Write the page; ``network`` may be the reason why there is no map. Raises ``ResultsError``."""
    details = read_details(views.results, views.estimates)
    return write_whole(out, page(views, details, network))


def summary(results_folder: str | Path) -> str:
    """The verdict about a results folder in one sentence, as it heads the page."""
    results = load_results(results_folder)
    estimates = read_estimates(results.folder)
    return verdict_sentence(results, estimates, ranking_for(results, estimates))


def page(views: Views, details: Sequence[EstimateDetail], network: RoadNetwork | str) -> str:
    """The whole page. ``network`` may be the reason why there is no map."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape
    from plotly.offline import get_plotlyjs

    results, estimates, ranking = views.results, views.estimates, views.ranking
    refused, was_asked = refusals(results, estimates)
    charts, alts = _charts(views, network)
    blank = [name for name, figure in charts.items() if not figure["data"]]
    said = sentences(views)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["breakable"] = lambda name: Markup("_<wbr>").join(escape(part) for part in name.split("_"))
    return environment.get_template("page.html.j2").render(
        title=_title(results),
        verdict=said[0],
        paragraph=" ".join(said[1:]),
        facts=_facts(results),
        statements=[] if ranking is None else [f"{capital(each)}." for each in ranking.statements],
        charts={name: Markup(script_json(figure)) for name, figure in charts.items() if name not in blank},
        alts=alts,
        no_map="" if isinstance(network, RoadNetwork) else network,
        has_levels=bool(incident_free_levels(results)),
        policies=results.policies,
        levels=_levels(ranking, estimates),
        stopped=_stopped(results, estimates),
        tables=question_tables(results, estimates),
        more_intervals=more_intervals(results, estimates),
        shares=share_table(views),
        left_out_of_total=left_out_of_total(details),
        rows=full_rows(estimates),
        refused=refused,
        refused_was_asked=was_asked,
        worst=worst_scenarios(results, views.costs, frequency=views.frequency),
        carried=carried_sections(views),
        shared=how_shared(views),
        left_out=left_out_text(views),
        classes=class_tables(views),
        per_year=year_table(views),
        year_lead=year_lead(views),
        no_year="" if results.batch.design is None else why_no_costs(results),
        at="" if views.frequency is None else times_text(views.frequency),
        findings=findings(results, estimates, details),
        by_hand=results.batch.design is None,
        remarks=results.batch.window.remarks,
        results=results,
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )


def _levels(ranking: Ranking | None, estimates: Sequence[Estimate]) -> dict[str, str]:
    """The levels of the bands, of the bands that hold at all frequencies at once, and of the estimates."""
    table = listed([level_text(level) for level in sorted({each.level for each in estimates})])
    if ranking is None:
        return {"table": table}
    flips = level_text(ranking.flips[0].level) if ranking.flips else ""
    return {"table": table, "band": level_text(ranking.curves[0].points[0].level), "flips": flips}


def _stopped(results: Results, estimates: Sequence[Estimate]) -> str:
    """What the level of intervals is for, where an evaluation might have stopped at several looks."""
    growth = results.growth
    if growth is None or not growth.may_stop or not estimates:
        return ""
    return f"; at this level those of all {len(growth.looks)} looks where it might have stopped hold together"


def _charts(views: Views, network: RoadNetwork | str) -> tuple[dict[str, Figure], dict[str, str]]:
    """The charts, and what each shows for those who do not see it."""
    results, estimates, ranking, costs = views.results, views.estimates, views.ranking, views.costs
    charts: dict[str, Figure] = {}
    alts: dict[str, str] = {}
    if ranking is not None:
        charts["frequency"] = frequency_figure(results, ranking, estimates)
        alts["frequency"] = alt_text(results, ranking)
        if ranking.differences:
            charts["difference"] = difference_figure(results, ranking, estimates)
            alts["difference"] = "Difference of mean delays. " + ". ".join(ranking.statements) + "."
    else:
        charts["runs"] = runs_figure(results, estimates, costs)
        alts["runs"] = f"Delay of {counted(len(costs), 'scenario')} under {listed(results.policies)}."
    if isinstance(network, RoadNetwork):
        charts["map"] = map_figure(results, network, costs)
        alts["map"] = map_alt(results, costs)
    return charts, alts


def script_json(value: Any) -> str:
    """JSON that cannot end the ``<script>`` it stands in, whatever edges and policies are called.

    >>> script_json("</script>&")
    '"\\\\u003c/script\\\\u003e\\\\u0026"'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def write_whole(path: Path, text: str) -> Path:
    """Write a file whole or not at all. Raises ``ResultsError`` where it cannot be written."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(text, encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise ResultsError(f"the report {path} cannot be written: {error.strerror}; give another --out") from error
    return path


def network_of(results: Results) -> RoadNetwork | str:
    """The network that the results were made on, or why it cannot be drawn."""
    from scenariogen.simulation.project import open_project

    sumocfg = results.manifest.sumocfg
    try:
        network = open_project(sumocfg).network()
    except ProjectError as error:
        return f"The roads are not drawn: {error}"
    if network.sha256 != results.manifest.network_hash:
        return f"The roads are not drawn: the network of {sumocfg} has changed since the evaluation."
    return network


def _title(results: Results) -> str:
    name = results.manifest.project_name
    if len(results.policies) == 1:
        return f"How {results.policies[0]} stands incidents on {name}"
    return f"Which policy stands incidents better on {name}?"


def _facts(results: Results) -> list[tuple[str, str]]:
    """What was compared on what, in a few words each."""
    batch, design = results.batch, results.batch.design
    window = batch.window
    free = sum(scenario.is_incident_free for scenario in batch.scenarios)
    facts = [
        ("Policies", " · ".join(results.policies)),
        ("Scenarios", f"{len(batch):,}, of which {free:,} without incident"),
        (
            "Delay counted",
            f"{_span_text(batch)} ({duration_text(window.horizon_s)})",
        ),
    ]
    if design is None:
        return [*facts, ("Frequency", "none: made by hand")]
    low, high = min(design.frequencies), max(design.frequencies)
    span = times_text(low) if low == high else f"{times_text(low)} to {times_text(high)}"
    if math.isfinite(design.lane_blocking_per_100_h):
        rates = [per_hours_text(f * design.lane_blocking_per_100_h) for f in dict.fromkeys((low, high))]
        span += f", {' to '.join(rates)} lane-blocking incidents per 100 peak hours"
    facts.append(("Frequency", span))
    if design.given:
        facts.append(("Condition", given_text(design)))
    return facts


def _span_text(batch: ScenarioBatch) -> str:
    """From when to when delay is counted: times of day, or simulation seconds where scenarios are of several."""
    from_s, to_s = batch.window.count_from_s, batch.window.end_s
    clocks = {scenario.condition.clock_s: scenario.condition for scenario in batch.scenarios}
    if len(clocks) > 1:
        return f"seconds {from_s:g} to {to_s:g} of the simulation"
    (condition,) = clocks.values()
    return f"{condition.clock_at(from_s)}–{condition.clock_at(to_s)}"
