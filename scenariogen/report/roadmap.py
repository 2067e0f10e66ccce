"""The road network, where the incidents of a batch fell, and what their scenarios cost."""

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from scenariogen.evaluation.store import Results
from scenariogen.network import RoadClass, RoadNetwork
from scenariogen.report.costs import ScenarioCost
from scenariogen.report.figures import INK, SOFT, Figure
from scenariogen.report.tables import incident_text
from scenariogen.report.words import counted, hours_text

MOST = 3000
"""Incidents that are drawn; with more, the costliest."""
SCALE = ((0.0, "#fee391"), (0.35, "#fe9929"), (0.65, "#cc4c02"), (1.0, "#54123b"))
"""From light to dark, so that it reads without colour."""
WIDTH = {RoadClass.STREET: 1.4, RoadClass.RAMP: 1.8, RoadClass.MOTORWAY: 3.0}
_MARGIN = 0.04


def map_figure(results: Results, network: RoadNetwork, costs: Sequence[ScenarioCost]) -> Figure:
    """One trace of dots per policy, the first one's shown; colour and size say what the scenario cost.

    The layout carries ``meta``: ``aspect`` (height over width of the network), ``policies`` (names by trace) and
    ``first`` (number of the first trace of dots).
    """
    roads = _roads(network)
    left, bottom, right, top = _bounds(network)
    by_extra = any(cost.extra_veh_h for cost in costs)
    tops = [value for cost in costs if cost.scenario.incidents for value in _values(cost, by_extra).values()]
    ceiling = max([1e-6, *tops])
    dots = [
        _dots(policy, network, costs, by_extra=by_extra, ceiling=ceiling, visible=number == 0)
        for number, policy in enumerate(results.policies)
    ]
    width, height = max(right - left, 1.0), max(top - bottom, 1.0)
    side = max(width, height) * _MARGIN
    low = bottom - side - 0.06 * max(height, 0.4 * width)
    bar_m = nice_length(width / 4)
    axis = {"visible": False, "fixedrange": False, "showgrid": False, "zeroline": False}
    layout = {
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "color": INK},
        "paper_bgcolor": "#ffffff", "plot_bgcolor": "#f7f9fa", "margin": {"l": 0, "r": 0, "t": 4, "b": 4},
        "xaxis": axis | {"range": [left - side, right + side], "constrain": "domain"},
        "yaxis": axis | {"range": [low, top + side], "scaleanchor": "x", "scaleratio": 1, "constrain": "domain"},
        "hovermode": "closest", "dragmode": False, "showlegend": False,
        "meta": {
            "aspect": (top + side - low) / (width + 2 * side), "policies": list(results.policies), "first": len(roads)
        },
        "annotations": [
            {"text": _length_text(bar_m), "x": left + bar_m / 2, "y": low, "xanchor": "center", "yanchor": "bottom",
             "showarrow": False, "font": {"size": 11, "color": SOFT}, "yshift": 7}
        ],
        "shapes": [
            {"type": "line", "x0": left, "x1": left + bar_m, "y0": low, "y1": low,
             "line": {"color": SOFT, "width": 3}}
        ],
    }  # fmt: skip
    return {"data": [*roads, *dots], "layout": layout}


def _roads(network: RoadNetwork) -> list[dict]:
    traces = []
    for road_class, width in WIDTH.items():
        x: list[float | None] = []
        y: list[float | None] = []
        for edge in network.edges.values():
            if edge.road_class is road_class:
                x += [round(point[0], 1) for point in edge.shape] + [None]
                y += [round(point[1], 1) for point in edge.shape] + [None]
        if x:
            traces.append(
                {"type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip", "showlegend": False,
                 "line": {"color": "#a9b4be", "width": width}}
            )  # fmt: skip
    return traces


def _dots(
    policy: str,
    network: RoadNetwork,
    costs: Sequence[ScenarioCost],
    *,
    by_extra: bool,
    ceiling: float,
    visible: bool,
) -> dict:
    """Incidents under one policy, the cheap ones first, so that the costly ones lie on top."""
    found = []
    for cost in costs:
        value = _values(cost, by_extra).get(policy)
        if value is None:
            continue
        count = len(cost.scenario.incidents)
        beside = f", with {counted(count - 1, 'other incident')}" if count > 1 else ""
        word = "extra delay" if by_extra else "delay"
        locked = "<br>the network locked up" if policy in cost.locked_up else ""
        for incident in cost.scenario.incidents:
            if incident.edge not in network.edges:
                continue
            x, y = place(network.edges[incident.edge].shape, incident.position_m, network.edges[incident.edge].length_m)
            told = escape(incident_text(incident, cost.scenario.condition))
            text = (
                f"<b>{word} {hours_text(value, signed=by_extra)} veh h</b><br>{told}<br>"
                f"scenario {cost.scenario.index}{beside}{locked}"
            )
            found.append((value, round(x, 1), round(y, 1), text, "diamond" if locked else "circle"))
    found = sorted(found)[-MOST:]
    largest = 20.0 if len(found) <= 100 else 14.0
    sizes = [6 + (largest - 6) * math.sqrt(min(max(value, 0.0) / ceiling, 1.0)) for value, *_ in found]
    return {
        "type": "scatter", "mode": "markers", "name": escape(policy), "visible": visible, "showlegend": False,
        "x": [each[1] for each in found], "y": [each[2] for each in found], "text": [each[3] for each in found],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "color": [each[0] for each in found], "symbol": [each[4] for each in found],
            "size": [round(size, 1) for size in sizes], "opacity": 0.9, "cmin": 0, "cmax": ceiling,
            "colorscale": [list(stop) for stop in SCALE], "line": {"color": INK, "width": 0.8}, "showscale": True,
            "colorbar": {
                "title": {"text": f"{'extra ' if by_extra else ''}delay of the scenario, vehicle-hours", "side": "top",
                          "font": {"size": 12, "color": SOFT}},
                "orientation": "h", "thickness": 10, "len": 0.6, "x": 0.5, "xanchor": "center", "y": 1.0,
                "yanchor": "bottom", "outlinewidth": 0, "tickfont": {"size": 11}, "nticks": 5,
            },
        },
    }  # fmt: skip


def _values(cost: ScenarioCost, by_extra: bool) -> dict[str, float]:
    return dict(cost.extra_veh_h if by_extra else cost.delay_veh_h)


def _bounds(network: RoadNetwork) -> tuple[float, float, float, float]:
    points = [point for edge in network.edges.values() for point in edge.shape]
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    return min(xs), min(ys), max(xs), max(ys)


def place(shape: Sequence[tuple[float, float]], position_m: float, length_m: float) -> tuple[float, float]:
    """Point of a polyline at a share of its length; an edge's stated length may differ from its drawn one.

    >>> place([(0, 0), (10, 0), (10, 10)], 75.0, 100.0)
    (10.0, 5.0)
    """
    pieces = [math.dist(a, b) for a, b in pairwise(shape)]
    left = sum(pieces) * min(max(position_m / length_m, 0.0), 1.0) if length_m > 0 else 0.0
    for (a, b), piece in zip(pairwise(shape), pieces, strict=True):
        if left <= piece and piece > 0:
            share = left / piece
            return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])
        left -= piece
    return float(shape[-1][0]), float(shape[-1][1])


def nice_length(length_m: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not longer.

    >>> nice_length(730.0), nice_length(1999.0)
    (500.0, 1000.0)
    """
    power = 10.0 ** math.floor(math.log10(max(length_m, 1e-3)))
    return max(factor * power for factor in (1.0, 2.0, 5.0) if factor * power <= max(length_m, 1e-3) * (1 + 1e-12))


def _length_text(length_m: float) -> str:
    return f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"


def map_alt(results: Results, costs: Sequence[ScenarioCost]) -> str:
    """What the map shows, for those who do not see it."""
    with_incidents = [cost for cost in costs if cost.scenario.incidents]
    number = sum(len(cost.scenario.incidents) for cost in with_incidents)
    edges = {incident.edge for cost in with_incidents for incident in cost.scenario.incidents}
    return (
        f"Map of {results.manifest.project_name}: {counted(number, 'incident')} on {counted(len(edges), 'edge')}, "
        "coloured by what their scenarios cost."
    )
