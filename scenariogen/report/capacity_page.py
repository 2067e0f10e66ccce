"""A capacity table as one page with its curves: it works offline."""

import json
from html import escape
from pathlib import Path

from scenariogen.incidents.capacity_tables import CapacityTable
from scenariogen.report.figures import COLOURS, DASHES, INK, SOFT, Figure
from scenariogen.written import written_whole


def capacity_figure(table: CapacityTable, road_class: str, lanes: int) -> Figure:
    """Share of capacity left against the speed past the blockage, a curve per number of blocked lanes.

    Dots are measured, with two standard errors; the line is the rising curve through them that speeds are looked up in.
    """
    data: list[dict] = []
    rows = [row for row in table.rows if (row["road_class"], row["lanes"]) == (road_class, lanes)]
    for number, row in enumerate(rows):
        colour, dash = COLOURS[row["blocked"] % len(COLOURS)], DASHES[1 if row["inner"] else 0]
        name = f"{row['blocked']} blocked{', inner' if row['inner'] else ''}" if row["blocked"] else "at the roadside"
        curve = table.curve(row["road_class"], lanes, row["blocked"], inner=row["inner"])
        group = f"{number}"
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "legendgroup": group,
                "x": curve.speeds_mps.tolist(), "y": (curve.veh_h / curve.free_veh_h).tolist(),
                "line": {"color": colour, "width": 2, "dash": dash}, "hoverinfo": "skip",
            }
        )  # fmt: skip
        data.append(
            {
                "type": "scatter", "mode": "markers", "showlegend": False, "legendgroup": group,
                "x": row["speeds_mps"], "y": row["share"],
                "error_y": {"type": "data", "array": [2 * each for each in row["standard_error"]], "color": colour},
                "marker": {"color": colour, "size": 6},
                "hovertemplate": f"{escape(name)}: %{{y:.3f}} at %{{x:.1f}} m/s<extra></extra>",
            }
        )  # fmt: skip
    layout = {
        "title": {"text": f"{escape(road_class)}, {lanes} lane{'s' if lanes > 1 else ''}", "font": {"size": 15}},
        "xaxis": {"title": {"text": "speed past the blockage, m/s"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "share of capacity left"}, "range": [0, 1.08]},
        "font": {"family": "system-ui, sans-serif", "color": INK}, "height": 380,
        "margin": {"l": 56, "r": 12, "t": 44, "b": 52}, "legend": {"orientation": "h", "y": -0.22},
        "plot_bgcolor": "#ffffff",
    }  # fmt: skip
    return {"data": data, "layout": layout}


def write_capacity_page(table: CapacityTable, out: Path) -> Path:
    """Write the page; returns its path. Raises ``OSError`` where it cannot be written."""
    from plotly.offline import get_plotlyjs

    roads = list(dict.fromkeys((row["road_class"], row["lanes"]) for row in table.rows))
    figures = [capacity_figure(table, *road) for road in roads]
    plots = "".join(f'<div id="plot{number}"></div>' for number in range(len(figures)))
    how = "{responsive: true, displayModeBar: false}"
    calls = "".join(
        f"Plotly.newPlot('plot{n}', {_in_script(f['data'])}, {_in_script(f['layout'])}, {how});"
        for n, f in enumerate(figures)
    )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Capacity left past an incident</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>body{{font-family:system-ui,sans-serif;color:{INK};margin:1.5rem auto;padding:0 1.5rem;"
        f"max-width:76rem}}p{{color:{SOFT};max-width:50rem}}main{{display:grid;grid-template-columns:repeat(auto-fit,minmax(26rem,1fr));"
        "gap:1rem}}</style></head><body><h1>Capacity left past an incident</h1>"
        f"<p>{escape(table.name)}; SUMO {escape(table.sumo_version)}. Dots: measured on a saturated road, with two "
        "standard errors. Lines: what speeds are looked up in. The right end of a curve is what the blocking vehicles "
        "leave when nobody is slowed.</p>"
        f"<main>{plots}</main><script>{get_plotlyjs()}</script><script>{calls}</script></body></html>"
    )
    with written_whole(out) as partial:
        partial.write_text(page, encoding="utf-8")
    return out


def _in_script(value: object) -> str:
    return json.dumps(value).replace("</", "<\\/")
