"""The page's charts as plotly specifications: plain dictionaries, drawn in the browser."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from scenariogen.evaluation.answer import Estimate
from scenariogen.evaluation.outcomes import MEAN
from scenariogen.evaluation.ranking import Curve, Ranking
from scenariogen.evaluation.simultaneous import Flips
from scenariogen.evaluation.store import Results
from scenariogen.report.costs import ScenarioCost
from scenariogen.report.words import hours_text, listed, per_hours_text, times_text

Figure = dict[str, Any]

INK, SOFT, GRID = "#1d2733", "#5b6773", "#e4e8ec"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#8a6d00", "#56606b")
"""One per policy, told apart with every common kind of colour blindness; dashes tell them apart in grey."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
BAR_STEP = 0.032
"""Height of a row of bars under the curves, as a share of the chart's."""


def frequency_figure(results: Results, ranking: Ranking, estimates: Sequence[Estimate]) -> Figure:
    """Mean delay of every policy against the frequency multiplier, with 95 % bands; dots are the table's rows."""
    style = _styles(results)
    data: list[dict] = []
    for curve in ranking.curves:
        data += _curve_traces(curve, estimates, style[curve.policy], curve.policy)
    layout = _layout(xaxis=_frequency_axis(results, ranking), yaxis=_axis("mean delay, vehicle-hours per run"))
    layout["yaxis"]["rangemode"] = "tozero"
    layout["showlegend"] = True
    return {"data": data, "layout": layout}


def difference_figure(results: Results, ranking: Ranking, estimates: Sequence[Estimate]) -> Figure:
    """Mean delay of each other policy less the first's; below zero the other is better."""
    style = _styles(results)
    data: list[dict] = []
    for flips in ranking.flips:
        data += _whole_band(flips, style[flips.policy][0])
    for curve in ranking.differences:
        data += _curve_traces(curve, estimates, style[curve.policy], f"{curve.policy} − {curve.versus}", signed=True)
    layout = _layout(xaxis=_frequency_axis(results, ranking), yaxis=_axis("difference, vehicle-hours per run"))
    zero = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "line": {"color": INK, "width": 1.5}}
    first = escape(results.policies[0])
    is_one = len(ranking.differences) == 1
    other = escape(results.policies[1]) if is_one else "the other policy"
    if is_one:
        shapes, notes = _one_flip_set(ranking, style)
    else:
        data += [_crosses(curve, style[curve.policy][0]) for curve in ranking.differences if curve.crossings]
        shapes, notes = _flip_bars(ranking, style, layout), []
    layout["showlegend"] = not is_one
    layout["shapes"] = [zero, *shapes]
    bottom = layout["yaxis"].get("domain", [0.0, 1.0])[0]
    layout["annotations"] = [
        _note(f"▲ {first} better", x=0.01, y=0.99, xanchor="left", yanchor="top"),
        _note(f"▼ {other} better", x=0.01, y=bottom + 0.01, xanchor="left", yanchor="bottom"),
        *notes,
    ]
    _show_zero(layout, ranking)
    return {"data": data, "layout": layout}


def _one_flip_set(ranking: Ranking, style: Mapping[str, tuple[str, str]]) -> tuple[list[dict], list[dict]]:
    """Of one difference: a line and a note where the estimates are equal, and grey where the ranking may flip."""
    (curve,) = ranking.differences
    lines = [
        {"type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1,
         "line": {"color": style[curve.policy][0], "width": 1.5, "dash": "dot"}}
        for x in curve.crossings
    ]  # fmt: skip
    spans = [
        {"type": "rect", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1, "layer": "below",
         "line": {"width": 0}, "fillcolor": "rgba(91,103,115,0.10)"}
        for flips in ranking.flips for low, high in flips.pieces if low < high
    ]  # fmt: skip
    notes = [
        _note(f"equal at {times_text(x)}", x=math.log10(x), y=1.0, xref="x", xanchor="center", yanchor="bottom")
        for x in curve.crossings
    ]
    return [*lines, *spans], notes


def _flip_bars(ranking: Ranking, style: Mapping[str, tuple[str, str]], layout: Figure) -> list[dict]:
    """Of several differences: a row for each between the curves and the ticks, with a bar where its ranking may flip.

    The curves give way: the vertical axis ends above the rows.
    """
    room = BAR_STEP * len(ranking.flips)
    layout["yaxis"]["domain"] = [room + BAR_STEP / 2, 1.0]
    layout["xaxis"] |= {"anchor": "free", "position": 0.0}
    return [
        {"type": "rect", "yref": "paper", "x0": low, "x1": high, "y0": room - BAR_STEP * (row + 0.75),
         "y1": room - BAR_STEP * (row + 0.25), "line": {"width": 0}, "fillcolor": style[flips.policy][0]}
        for row, flips in enumerate(ranking.flips) for low, high in flips.pieces if low < high
    ]  # fmt: skip


def _crosses(curve: Curve, colour: str) -> dict:
    """Crosses on zero where the estimates are equal; the frequencies stand in the hover and in the statements."""
    name = escape(f"{curve.policy} − {curve.versus}")
    return {
        "type": "scatter", "x": list(curve.crossings), "y": [0.0] * len(curve.crossings), "mode": "markers",
        "showlegend": False, "legendgroup": name,
        "marker": {"symbol": "x", "size": 9, "color": colour, "line": {"color": "#ffffff", "width": 1}},
        "text": [f"<b>{name}</b><br>equal at {times_text(x)}" for x in curve.crossings],
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def runs_figure(results: Results, estimates: Sequence[Estimate], costs: Sequence[ScenarioCost]) -> Figure:
    """For scenarios made by hand: the delay of every scenario under every policy, with the mean's interval."""
    data: list[dict] = []
    for policy, (colour, dash) in _styles(results).items():
        here = [cost for cost in costs if policy in cost.delay_veh_h]
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": escape(policy),
                "x": [str(cost.scenario.index) for cost in here],
                "y": [cost.delay_veh_h[policy] for cost in here],
                "marker": {"color": colour, "size": 10, "symbol": "circle" if dash == "solid" else "diamond"},
                "hovertemplate": "scenario %{x}: %{y:.1f} veh h<extra>" + escape(policy) + "</extra>",
            }
        )  # fmt: skip
    answered = [e for e in estimates if e.estimand == MEAN and e.versus is None and e.value is not None]
    shapes = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": e.value, "y1": e.value,
         "line": {"color": _styles(results)[e.policy][0], "width": 1.5, "dash": "dot"}}
        for e in answered
    ]  # fmt: skip
    layout = _layout(xaxis=_axis("scenario"), yaxis=_axis("delay, vehicle-hours"))
    layout["xaxis"]["type"] = "category"
    layout["yaxis"]["rangemode"] = "tozero"
    return {"data": data, "layout": layout | {"shapes": shapes, "showlegend": True}}


def _styles(results: Results) -> dict[str, tuple[str, str]]:
    return {p: (COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]) for i, p in enumerate(results.policies)}


def _curve_traces(
    curve: Curve, estimates: Sequence[Estimate], style: tuple[str, str], name: str, *, signed: bool = False
) -> list[dict]:
    """Band, line and dots of one curve, in pieces where points between are refused."""
    colour, dash = style
    label, group = escape(name), escape(name)
    known = {e.frequency for e in estimates if _belongs(e, curve)}
    data: list[dict] = []
    for number, piece in enumerate(_pieces(curve.points)):
        x = [point.frequency for point in piece]
        low, high = [point.low for point in piece], [point.high for point in piece]
        data.append(
            {"type": "scatter", "x": [*x, *reversed(x)], "y": [*low, *reversed(high)], "fill": "toself",
             "fillcolor": _pale(colour), "line": {"width": 0}, "mode": "lines", "hoverinfo": "skip",
             "showlegend": False, "legendgroup": group}
        )  # fmt: skip
        data.append(
            {"type": "scatter", "x": x, "y": [point.value for point in piece], "mode": "lines", "name": label,
             "line": {"color": colour, "width": 2.5, "dash": dash}, "legendgroup": group, "showlegend": number == 0,
             "text": [_hover(point, name, signed) for point in piece], "hovertemplate": "%{text}<extra></extra>"}
        )  # fmt: skip
        dots = [point for point in piece if point.frequency in known or len(piece) == 1]
        value = [point.value or 0.0 for point in dots]
        data.append(
            {"type": "scatter", "x": [point.frequency for point in dots], "y": value, "mode": "markers",
             "marker": {"color": colour, "size": 7, "line": {"color": "#ffffff", "width": 1}}, "hoverinfo": "skip",
             "showlegend": False, "legendgroup": group,
             "error_y": {"type": "data", "symmetric": False, "visible": len(piece) == 1, "color": colour,
                         "array": [(p.high or 0.0) - v for p, v in zip(dots, value, strict=True)],
                         "arrayminus": [v - (p.low or 0.0) for p, v in zip(dots, value, strict=True)]}}
        )  # fmt: skip
    return data


def _whole_band(flips: Flips, colour: str) -> list[dict]:
    """The limits of a band that holds for the whole curve at once, as two thin lines with gaps where it has none."""
    name = f"{flips.policy} − {flips.versus}"
    return [
        {"type": "scatter", "x": list(flips.frequencies), "y": list(limit), "mode": "lines", "hoverinfo": "skip",
         "showlegend": False, "legendgroup": escape(name), "connectgaps": False,
         "line": {"color": colour, "width": 1, "dash": "dot"}}
        for limit in (flips.low, flips.high)
        if any(value is not None for value in limit)
    ]  # fmt: skip


def _belongs(found: Estimate, curve: Curve) -> bool:
    return found.estimand == MEAN and (found.policy, found.versus) == (curve.policy, curve.versus)


def _pieces(points: Sequence[Estimate]) -> Iterator[list[Estimate]]:
    for refused, piece in groupby(points, key=lambda point: point.value is None):
        if not refused:
            yield list(piece)


def _hover(point: Estimate, name: str, signed: bool) -> str:
    low, value, high = (hours_text(v or 0.0, signed=signed) for v in (point.low, point.value, point.high))
    return f"<b>{escape(name)}</b> at {times_text(point.frequency or 0.0)}<br>{value} veh h ({low} to {high})"


def _frequency_axis(results: Results, ranking: Ranking) -> dict:
    """A logarithmic axis whose ticks say both the multiplier and what it means on the road."""
    design = results.batch.design
    asked = sorted(set(design.frequencies)) if design is not None else []
    rate = design.lane_blocking_per_100_h if design is not None else math.nan
    ticks = thinned(asked or list(ranking.frequencies))
    both = math.isfinite(rate)
    axis = _axis(
        "<b>×</b> multiplier on the model's incident frequency"
        + ("<br><b>below it</b> lane-blocking incidents per 100 peak hours" if both else "")
    )
    low, high = math.log10(ranking.frequencies[0]), math.log10(ranking.frequencies[-1])
    margin = max(0.03 * (high - low), 0.02)
    axis |= {
        "type": "log",
        "range": [low - margin, high + margin],
        "tickvals": ticks,
        "ticktext": [times_text(f) + (f"<br>{per_hours_text(f * rate)}" if both else "") for f in ticks],
        "automargin": True,
    }
    return axis


def thinned(frequencies: Sequence[float], *, apart: float = 0.11) -> list[float]:
    """Ticks that do not run into each other: at least a share ``apart`` of the logarithmic range between them."""
    if len(frequencies) < 2:
        return list(frequencies)
    span = math.log(frequencies[-1] / frequencies[0])
    kept = [frequencies[-1]]
    for frequency in reversed(frequencies[:-1]):
        if math.log(kept[-1] / frequency) >= apart * span:
            kept.append(frequency)
    return kept[::-1]


def _show_zero(layout: Figure, ranking: Ranking) -> None:
    """A range that holds zero and leaves room for the words above and below."""
    limits = [v for c in ranking.differences for p in c.points for v in (p.low, p.high) if v is not None]
    limits += [v for flips in ranking.flips for v in (*flips.low, *flips.high) if v is not None]
    low, high = min([0.0, *limits]), max([0.0, *limits])
    room = 0.18 * (high - low) or 1.0
    layout["yaxis"]["range"] = [low - room, high + room]


def _axis(title: str) -> dict:
    return {
        "title": {"text": title, "font": {"size": 12.5, "color": SOFT}, "standoff": 10},
        "gridcolor": GRID, "linecolor": SOFT, "tickfont": {"size": 12}, "zeroline": False, "fixedrange": True,
        "automargin": True,
    }  # fmt: skip


def _layout(**axes: dict) -> Figure:
    return {
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "color": INK},
        "paper_bgcolor": "#ffffff", "plot_bgcolor": "#ffffff", "margin": {"l": 56, "r": 12, "t": 34, "b": 60},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}, "hovermode": "closest",
        "dragmode": False, **axes,
    }  # fmt: skip


def _note(text: str, **where: Any) -> dict:
    return {"text": text, "showarrow": False, "xref": "paper", "yref": "paper", "font": {"size": 12, "color": SOFT},
            "bgcolor": "rgba(255,255,255,0.75)", **where}  # fmt: skip


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def alt_text(results: Results, ranking: Ranking) -> str:
    """What the first chart shows, for those who do not see it."""
    low, high = ranking.frequencies[0], ranking.frequencies[-1]
    parts = []
    for curve in ranking.curves:
        known = [point for point in curve.points if point.value is not None]
        if known:
            parts.append(f"{curve.policy} from {hours_text(known[0].value or 0)} to {hours_text(known[-1].value or 0)}")
        else:
            parts.append(f"{curve.policy} refused throughout")
    return f"Mean delay in vehicle-hours per run, at {times_text(low)} to {times_text(high)}: {listed(parts)}."
