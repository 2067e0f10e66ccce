"""One run with its queues over time: a table, and one SVG file, which any browser and word processor shows."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.run_one import run_scenario
from scenariogen.evaluation.usual_traffic import UsualTraffic
from scenariogen.injection.queues import QueueMoment, QueueSimulator, read_queues
from scenariogen.report.figures import COLOURS, GRID, INK, SOFT
from scenariogen.report.roadmap import nice_length
from scenariogen.scenarios.records import Condition, Scenario
from scenariogen.simulation.isolation import in_own_process
from scenariogen.simulation.sumo import SumoSimulator
from scenariogen.window import StudyWindow
from scenariogen.written import written_whole

if TYPE_CHECKING:
    from scenariogen.simulation.project import SumoProject

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 40
LEGEND_PX = 18
"""Height of a line of the legend."""
MIDNIGHT = Condition()
"""SUMO's second 0 is midnight."""


def run_with_queues(
    project: "SumoProject",
    scenario: Scenario,
    policy: str,
    *,
    window: StudyWindow,
    folder: Path,
    out: Path,
    usual: UsualTraffic | None = None,
) -> RunResult:
    """Simulate a scenario under a policy in a process of its own; write ``out``, a ``.csv``, and an ``.svg`` beside it.

    ``folder``  the run's own, removed afterwards; ``usual`` as in :func:`scenariogen.evaluation.run_scenario`
    """
    simulator = SumoSimulator(project, backend="libsumo", project_outputs=False)
    watched = QueueSimulator(simulator, scenario, project.network(), out)
    project.free_flow()  # read here, since what a fork reads is lost with it
    made = partial(run_scenario, window=window, folder=folder, simulator=watched, keep=False, usual=usual)
    result = in_own_process(made, project, scenario, policy)
    if not result.failed:
        title = f"{project.name}, scenario {scenario.index} under {result.policy}: vehicles that stand upstream"
        write_queue_svg(read_queues(out), out.with_suffix(".svg"), title=title, condition=scenario.condition)
    return result


def queue_svg(moments: Sequence[QueueMoment], *, title: str = "", condition: Condition = MIDNIGHT) -> str:
    """Vehicles in the queue of each incident by time of day; the bar below the axis is the time for which it stands."""
    numbers = list(dict.fromkeys(each.incident for each in moments))
    begin_s, end_s = (pick([each.time_s for each in moments], default=0.0) for pick in (min, max))
    most = max([each.standing_veh for each in moments], default=0) or 1
    step = max(nice_length(most / 4), 1.0)
    top = step * -(-most // step)
    span_s = max(end_s - begin_s, 1.0)

    def x(time_s: float) -> float:
        return round(LEFT + (time_s - begin_s) / span_s * (WIDTH - LEFT - RIGHT), 1)

    def y(vehicles: float) -> float:
        return round(HEIGHT - BOTTOM - vehicles / top * (HEIGHT - TOP - BOTTOM), 1)

    parts = []
    for i in range(round(top / step) + 1):
        parts.append(_line(LEFT, y(i * step), WIDTH - RIGHT, y(i * step), GRID))
        parts.append(_text(LEFT - 8, y(i * step) + 4, f"{i * step:g}", "end"))
    every_s = next(s for s in (300, 600, 900, 1800, 3600, 7200, 14_400, 1e9) if span_s / s <= 8)
    first_s = -(-(condition.clock_s + begin_s) // every_s) * every_s - condition.clock_s  # a round time of day
    for i in range(int((end_s - first_s) // every_s) + 1):
        time_s = first_s + i * every_s
        parts.append(_text(x(time_s), HEIGHT - BOTTOM + 26, condition.clock_at(time_s)[:5], "middle"))
    for row, number in enumerate(numbers):
        here = [each for each in moments if each.incident == number]
        colour = COLOURS[row % len(COLOURS)]
        points = " ".join(f"{x(each.time_s)},{y(each.standing_veh)}" for each in here)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        stood = [each.time_s for each in here if each.phase == "standing"]
        if stood:
            below = HEIGHT - BOTTOM + 4 + 3 * min(row, 3)
            parts.append(_line(x(stood[0]), below, x(stood[-1]), below, colour, width=3))
        longest = max(each.standing_veh for each in here)
        label = f"{here[0].kind} on {here[0].edge}: at most {longest} vehicles, {max(e.reach_m for e in here):,.0f} m"
        parts.append(_text(LEFT, HEIGHT + LEGEND_PX * (row + 1) - 4, label, "start", colour=colour))
    parts.append(_text(LEFT + 6, TOP + 12, title or "vehicles that stand upstream of the incident", "start"))
    height = HEIGHT + LEGEND_PX * len(numbers) + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def write_queue_svg(
    moments: Sequence[QueueMoment], out: Path, *, title: str = "", condition: Condition = MIDNIGHT
) -> Path:
    """Write the picture, whole or not at all; its path."""
    with written_whole(out) as partial:
        partial.write_text(queue_svg(moments, title=title, condition=condition), encoding="utf-8")
    return out


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str, *, colour: str = "") -> str:
    fill = colour or (INK if anchor == "start" else SOFT)
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'
