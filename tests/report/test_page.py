"""The page as a whole: every part is there, its numbers are the file's, nothing is loaded, nothing breaks out."""

import json
import math
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from scenariogen.errors import ResultsError
from scenariogen.evaluation import load_results, read_estimates
from scenariogen.evaluation.evaluate import re_estimate
from scenariogen.evaluation.growth import GROWTH, Growth
from scenariogen.report import summary, write_report
from scenariogen.report.costs import scenario_costs
from scenariogen.report.findings import findings
from scenariogen.report.tables import question_tables, read_details, replay_command, worst_first
from scenariogen.report.words import hours_text, level_text, percent_text
from scenariogen.sampling.allocation import planned_runs
from scenariogen.sampling.looks import Looks
from scenariogen.scenarios.records import RateGroup
from scenariogen.simulation.contract import EndReason
from tests.evaluation import synthetic
from tests.report.folders import (
    NASTY,
    crossing_delays,
    drawn_batch,
    hand_batch,
    locked_up,
    results_folder,
    square_network,
)
from tests.report.test_verdict import one


def plain(text):
    """With ordinary spaces."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


VOID = {"meta", "br", "wbr", "link", "img", "input", "hr", "base"}


class Page(HTMLParser):
    """What a browser would make of it: text by section, attributes, scripts, and whether tags match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[tuple[str, dict]] = []
        self.text: dict[str, str] = {}
        self.scripts: dict[str, str] = {}
        self.elements: list[tuple[str, dict]] = []
        self.cells: list[dict] = []
        self.feed(html)
        assert not self.stack, f"tags left open: {self.stack}"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag == "td" and "data-field" in attributes:
            self.cells.append(attributes)
        if tag not in VOID:
            self.stack.append((tag, attributes))

    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1][0] == tag, f"</{tag}> closes {self.stack[-1:]}"
        self.stack.pop()

    def handle_data(self, data):
        tag, attributes = self.stack[-1] if self.stack else ("", {})
        if tag == "script":
            self.scripts[attributes.get("id", f"script{len(self.scripts)}")] = data
            return
        names = [a["id"] for _, a in self.stack if "id" in a] or ["rest"]
        self.text[names[0]] = self.text.get(names[0], "") + data

    def figure(self, name):
        return json.loads(self.scripts[f"data-{name}"])

    def flat(self, name):
        return " ".join(self.text.get(name, "").split())


def made(folder, tmp_path, **options):
    path = write_report(folder, tmp_path / "page.html", network=options.pop("network", square_network()))
    return Page(path.read_text(encoding="utf-8")), path


@pytest.fixture(scope="module")
def crossing(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("crossing")
    batch = drawn_batch(300)
    changes = {(7, "no_control"): "failed", (8, "max_pressure"): "missed", (9, "no_control"): "locked"}

    def change(run):
        what = changes.get((run.scenario, run.policy))
        if what == "failed":
            return replace(run, end_reason=EndReason.SIMULATOR_DIED, error="no <memory>", system_delay_veh_h=None)
        if what == "missed":
            lost = json.dumps([{"realised": False, "reason": "no gap & no time"}])
            return replace(run, incidents_realised=run.incidents_due - 1, incidents=lost)
        return locked_up(run) if what == "locked" else run

    folder = results_folder(tmp / "results", batch, crossing_delays(batch), change=change)
    page, path = made(folder, tmp)
    return folder, page, path


def test_every_part_is_there(crossing):
    _, page, _ = crossing
    for part in ("frequency", "difference", "map", "estimates", "refused", "worst", "trust", "numbers"):
        assert page.flat(part), part
    assert page.flat("verdict").startswith("Let the incident frequency decide: use no_control below about ")
    assert {"data-frequency", "data-difference", "data-map"} <= set(page.scripts)
    charts = [a for tag, a in page.elements if tag == "div" and a.get("class") == "chart"]
    assert len(charts) == 3 and all(a["role"] == "img" and len(a["aria-label"]) > 30 for a in charts)


def test_nothing_is_loaded_from_anywhere(crossing):
    _, page, path = crossing
    loads = [
        (tag, name, value)
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action", "poster") and not (value or "").startswith("#")
    ]
    assert loads == []
    assert not {"link", "iframe", "img", "object", "base"} & {tag for tag, _ in page.elements}
    html = path.read_text(encoding="utf-8")
    css = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in css and "@import" not in css
    assert "Plotly" in html and len(html) > 3_000_000


def test_the_numbers_are_those_of_the_file(crossing):
    folder, page, _ = crossing
    records = json.loads((folder / "estimates.json").read_text())
    width = len(records[0])
    shown = [
        {cell["data-field"]: json.loads(cell["data-value"]) for cell in page.cells[i : i + width]}
        for i in range(0, len(page.cells), width)
    ]
    assert shown == records


def test_the_curves_go_through_the_estimates(crossing):
    folder, page, _ = crossing
    lines = {t["name"]: t for t in page.figure("frequency")["data"] if t.get("name")}
    bands = [t for t in page.figure("frequency")["data"] if t.get("fill")]
    assert set(lines) == {"no_control", "max_pressure"} and len(bands) == 2
    checked = 0
    for each in read_estimates(folder):
        if each.estimand == "mean_delay_veh_h" and each.versus is None:
            place = lines[each.policy]["x"].index(each.frequency)
            assert lines[each.policy]["y"][place] == pytest.approx(each.value, rel=1e-12)
            checked += 1
    assert checked == 8


def test_the_axis_says_multiplier_and_incidents_per_100_hours(crossing):
    _, page, _ = crossing
    axis = page.figure("frequency")["layout"]["xaxis"]
    assert axis["type"] == "log"
    assert dict(zip(axis["tickvals"], axis["ticktext"], strict=True)) == {
        0.5: "×0.5<br>20", 1.0: "×1<br>40", 2.0: "×2<br>80", 5.0: "×5<br>200",
    }  # fmt: skip
    assert "lane-blocking incidents per 100 peak hours" in axis["title"]["text"]


def test_the_crossing_is_drawn_and_said(crossing):
    folder, page, _ = crossing
    layout = page.figure("difference")["layout"]
    drawn = [s["x0"] for s in layout["shapes"] if s.get("yref") == "paper" and s["type"] == "line"]
    (undecided,) = [s for s in layout["shapes"] if s["type"] == "rect"]
    assert undecided["x0"] < drawn[0] < undecided["x1"]
    day, slope = 0.3 * 10 * math.exp(0.15**2 / 2), (3.0 - 1.2) * math.exp(0.6**2 / 2)
    error = max(
        e.standard_error for e in read_estimates(folder) if e.versus and "mean" in e.estimand and e.frequency <= 2
    )
    assert len(drawn) == 1 and drawn[0] == pytest.approx(day / slope, abs=4 * error / slope)
    assert f"{drawn[0]:.3g} times the model's" in page.flat("verdict")
    assert "change places" in page.flat("difference")


def test_several_differences_have_a_row_each_and_no_labels_over_each_other(tmp_path):
    """Labels of all crossings were printed over each other and the legend, and grey of all flip sets was stacked."""
    batch = drawn_batch(240)
    tables = crossing_delays(batch)
    tables["third"] = tables["max_pressure"] * 1.02
    folder = results_folder(tmp_path / "results", batch, tables)
    page, _ = made(folder, tmp_path)
    figure = page.figure("difference")
    layout, bars = figure["layout"], [s for s in figure["layout"]["shapes"] if s["type"] == "rect"]
    colours = {bar["fillcolor"]: (bar["y0"], bar["y1"]) for bar in bars}
    (low, high), (lower, upper) = sorted(colours.values())
    assert len(colours) == 2 and 0 < low < high < lower < upper < layout["yaxis"]["domain"][0] < 0.15
    assert [s["y0"] for s in layout["shapes"] if s["type"] == "line"] == [0]
    assert not any("equal" in note["text"] for note in layout["annotations"])
    crosses = [t for t in figure["data"] if t.get("marker", {}).get("symbol") == "x"]
    assert {t["marker"]["color"] for t in crosses} == set(colours)
    assert all("equal at ×" in text for t in crosses for text in t["text"])
    assert "All 3 policies met" in page.flat("difference") and "the two above" not in page.flat("difference")


def test_hostile_names_are_shown_as_they_are(crossing):
    _, page, path = crossing
    assert f"on {NASTY}," in page.flat("worst")
    hovers = [text for t in page.figure("map")["data"] for text in t.get("text", [])]
    assert any("a&lt;b&gt;&amp;&#x27;&quot;&lt;/script&gt;" in text for text in hovers)
    assert not any(NASTY in text for text in hovers)
    assert NASTY not in path.read_text(encoding="utf-8")
    assert "no <memory>" in page.flat("trust")


def test_the_map_shows_what_incidents_added(crossing):
    _, page, _ = crossing
    figure = page.figure("map")
    roads = [t for t in figure["data"] if t["mode"] == "lines"]
    dots = [t for t in figure["data"] if t["mode"] == "markers"]
    assert len(roads) == 1 and roads[0]["x"].count(None) == 4
    assert [t["visible"] for t in dots] == [True, False]
    assert figure["layout"]["meta"]["first"] == len(roads)
    xs, ys = dots[0]["x"], dots[0]["y"]
    assert all(x in (0, 400) or y in (0, 400) for x, y in zip(xs, ys, strict=True))
    assert "diamond" in dots[0]["marker"]["symbol"] and "scenario 9" in "".join(
        text for text in dots[0]["text"] if "locked up" in text
    )


def test_the_worst_come_first_with_their_commands(crossing):
    folder, page, _ = crossing
    start = f"scenariogen run --sumocfg '/no where/square.sumocfg' --scenarios {folder / 'scenarios.parquet'} --index "
    shown = [int(part.split(" --policy")[0]) for part in page.flat("worst").split(start)[1:]]
    delay = load_results(folder).runs_frame().groupby("scenario")["system_delay_veh_h"].max()
    assert shown == delay.sort_values(ascending=False).index[:6].tolist()


@pytest.mark.parametrize(("usual", "source"), [("", "reported"), ("u" * 64, "detected")])
def test_a_command_replays_what_the_row_shows(crossing, usual, source):
    """It ran without control, whichever policy the row's delay was of, and with incidents detected in any case."""
    folder, _, _ = crossing
    results = load_results(folder)
    results = replace(results, manifest=replace(results.manifest, usual_traffic=usual))
    costs = worst_first(scenario_costs(results))
    for cost in costs[:6]:
        worst = max(cost.extra_veh_h, key=cost.extra_veh_h.get)
        words = shlex.split(replay_command(results, cost))
        assert words[words.index("--policy") + 1] == f"/{worst}.py"
        assert words[words.index("--incidents-known") + 1] == source
    assert {cost.worst_policy for cost in costs} == {"no_control", "max_pressure"}


def test_diagnostics_are_told_in_words(crossing):
    _, page, _ = crossing
    text = page.flat("trust")
    assert "600 of 600, 1 failed" in text and "no gap & no time" in text
    assert "Runs that locked up" in text and "1 of 600" in text and "no_control: 1" in text
    assert "Blind spot" in text and "Pareto" in text and "Effective runs" in text


@pytest.mark.parametrize(
    ("scenarios", "level", "figure", "says"),
    [
        (30, "watch", "not enough to tell", "Sample more scenarios"),
        (150, "good", "no tail", "no run outweighs the others"),
    ],
)
def test_few_decide_is_fine_only_where_it_can_be_told(tmp_path, scenarios, level, figure, says):
    """Three runs without any shape of a tail were called fine: no run outweighs the others."""
    batch = drawn_batch(scenarios, frequencies=(1.0,))
    folder = results_folder(tmp_path / "results", batch, {"a": np.full((scenarios, 1), 10.0)}, frequencies=[1.0])
    results, estimates = load_results(folder), read_estimates(folder)
    found = findings(results, estimates, read_details(results, estimates))
    (told,) = [each for each in found if each.title.startswith("Do a few runs decide?")]
    assert all(each.k_hat is None for each in estimates)
    assert (told.level, told.figure) == (level, figure) and says in told.meaning


def test_where_all_is_answered_one_step_outside_is_refused(crossing):
    folder, page, _ = crossing
    assert not any(each.is_refused for each in read_estimates(folder))
    assert "Everything that was asked is answered" in page.flat("refused")
    assert "×12.5" in page.flat("refused") and "12.5" in page.flat("refused").partition("×12.5")[2]


def test_refused_estimates_are_shown_with_their_reason(tmp_path):
    batch = drawn_batch(60)
    folder = results_folder(tmp_path / "results", batch, crossing_delays(batch))
    page, _ = made(folder, tmp_path)
    refused = [each for each in read_estimates(folder) if each.is_refused]
    assert refused
    for each in refused:
        assert each.verdict.removeprefix("refused: ") in page.flat("refused")
    assert page.flat("estimates").count("refused") == len(refused)
    assert page.flat("verdict") == summary(folder)
    assert page.flat("verdict").startswith("No verdict: no_control and max_pressure are not compared, because ")
    assert "data-frequency" not in page.scripts and "Every point of this chart is refused" in page.flat("frequency")


def test_scenarios_made_by_hand_have_no_frequency(tmp_path):
    batch = hand_batch(3)
    delays = {
        "no_control": synthetic.delays(batch, replicas=6),
        "max_pressure": synthetic.delays(batch, replicas=6, factor=0.7),
    }
    folder = results_folder(tmp_path / "results", batch, delays)
    page, _ = made(folder, tmp_path)
    assert "data-frequency" not in page.scripts and "frequency" not in page.text
    dots = page.figure("runs")["data"]
    assert dots[0]["y"] == pytest.approx(delays["no_control"].mean(axis=1)) and dots[0]["x"] == ["0", "1", "2"]
    assert "no incident-free run to compare with" in page.flat("map")
    assert page.flat("refused").count("Refused") == 1 and "made by hand" in page.flat("refused")
    assert page.flat("verdict").startswith("Use max_pressure: over the 3 scenarios made by hand it saves")


def test_the_level_of_intervals_is_told_as_it_was_asked_for(tmp_path):
    batch = drawn_batch(240)
    folder = results_folder(tmp_path / "results", batch, {"no_control": synthetic.delays(batch)})
    re_estimate(folder, level=0.9)
    page, _ = made(folder, tmp_path)
    assert "Value and 90 % interval." in plain(page.flat("estimates"))
    assert "90 % interval" in plain(page.flat("verdict")) and "95 % interval" not in plain(page.flat("verdict"))


def test_where_an_evaluation_might_have_stopped_its_own_level_is_told(tmp_path):
    batch = drawn_batch(240)
    folder = results_folder(tmp_path / "results", batch, crossing_delays(batch))
    looks = Looks(runs=(60, 120, 240))
    cuts = np.cumsum((0, *planned_runs(looks, 2)))
    stages = tuple(tuple(range(low, high)) for low, high in pairwise(map(int, cuts)))
    growth = Growth(looks=looks.runs, look=2, may_stop=True, scenarios=stages)
    (folder / GROWTH).write_text(growth.to_json())
    re_estimate(folder)
    page, _ = made(folder, tmp_path)
    level = level_text(growth.level(0.95))
    assert level != level_text(0.95)
    told = f"Value and {level} interval; at this level those of all 3 looks where it might have stopped hold together."
    assert plain(told) in plain(page.flat("estimates")) and plain(f"Bands are {level}") in plain(page.flat("frequency"))


def test_one_policy_alone(tmp_path):
    batch = drawn_batch(240)
    folder = results_folder(tmp_path / "results", batch, {"no_control": synthetic.delays(batch)})
    page, _ = made(folder, tmp_path)
    assert "difference" not in page.text and "data-difference" not in page.scripts
    assert page.flat("verdict").startswith("At the model's incident frequency (40 lane-blocking incidents per 100")
    assert not [a for tag, a in page.elements if tag == "button" and "data-policy" in a]


def test_one_frequency_is_a_point_with_its_interval(tmp_path):
    batch = drawn_batch(240, frequencies=(1.0,))
    folder = results_folder(tmp_path / "results", batch, crossing_delays(batch))
    page, _ = made(folder, tmp_path)
    dots = [t for t in page.figure("frequency")["data"] if t["mode"] == "markers"]
    assert [t["x"] for t in dots] == [[1.0], [1.0]] and all(t["error_y"]["visible"] for t in dots)


def test_without_its_project_the_page_says_why_there_is_no_map(tmp_path):
    batch = hand_batch(1)
    folder = results_folder(tmp_path / "results", batch, {"a": synthetic.delays(batch, replicas=10)})
    page = Page(write_report(folder, tmp_path / "p.html").read_text(encoding="utf-8"))
    assert "data-map" not in page.scripts
    assert "/no where/square.sumocfg does not exist" in page.flat("map")


def test_a_folder_without_estimates_or_with_others_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="does not exist"):
        write_report(tmp_path / "nothing", tmp_path / "p.html")
    batch = hand_batch(1)
    folder = results_folder(tmp_path / "results", batch, {"a": synthetic.delays(batch, replicas=10)})
    (folder / "diagnostics.json").write_text("[]")
    with pytest.raises(ResultsError, match="do not belong to the 3 estimates"):
        write_report(folder, tmp_path / "p.html")
    (folder / "estimates.json").unlink()
    with pytest.raises(ResultsError, match="run scenariogen evaluate"):
        write_report(folder, tmp_path / "p.html")
    assert not (tmp_path / "p.html").exists()


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path):
    batch = hand_batch(1)
    folder = results_folder(tmp_path / "results", batch, {"a": synthetic.delays(batch, replicas=10)})
    blocked = tmp_path / "folder"
    blocked.mkdir()
    with pytest.raises(ResultsError, match="cannot be written"):
        write_report(folder, blocked, network=square_network())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "results"]


def test_several_differences_are_coloured_by_the_interval_for_all_of_them():
    """Each one's own interval was taken, so one of many equal policies came out surely better."""
    batch = synthetic.counted_batch(12)
    results = SimpleNamespace(batch=batch, policies=("a", "b", "c"))
    base = one(1.0, -1.0, 0.5, policy="b")
    pairs = [
        replace(base, low_all=-2.1, high_all=0.1, low_total=-2.2, high_total=0.2),
        replace(base, policy="c", low_all=-1.6, high_all=-0.4),
    ]
    ((_, _, (unsure, sure)),) = question_tables(results, pairs)[0].rows
    assert (unsure.tone, sure.tone) == ("", "better")
    assert unsure.more == (("all", "−2.10 to +0.10"), ("rates", "−2.20 to +0.20"))
    two = SimpleNamespace(batch=batch, policies=("a", "b"))
    ((_, _, (alone,)),) = question_tables(two, [base])[0].rows
    assert alone.tone == "better" and alone.more == ()


def test_lower_bounds_are_shown_as_such_and_differences_of_them_are_not_sure(tmp_path):
    batch = drawn_batch(150, frequencies=(1.0,))
    incidents = {each.index: each.incidents for each in batch.scenarios}

    def change(run):
        cut = run.policy == "b" and run.scenario % 2
        told = [
            {"realised": True, "reason": "", "kind": "crash", "edge": each.edge,
             "asked": {"start_s": each.start_s, "end_s": each.end_s},
             "happened": {"start_s": each.start_s, "end_s": each.end_s},
             "phases": {"recovered_s": None if cut else each.start_s + 300.0 + run.scenario % 50}}
            for each in incidents[run.scenario]
        ]  # fmt: skip
        return replace(run, incidents=json.dumps(told))

    tables = {"a": synthetic.delays(batch), "b": synthetic.delays(batch)}
    page, _ = made(results_folder(tmp_path / "results", batch, tables, change=change), tmp_path)
    recovery = page.flat("estimates").partition("Mean time from an incident's start")[2]
    assert recovery.count("≥") == 2 and "▲" not in recovery and "▼" not in recovery
    assert "×1, b: lower bound: in " in recovery
    assert "×1, b − a: a difference of lower bounds: in " in recovery and "need not be a bound itself" in recovery


def test_intervals_with_the_rates_and_their_sources_are_on_the_page(tmp_path):
    batch = drawn_batch(240, edges=("north",), frequencies=(1.0,))
    rate = RateGroup(kind="crash", road_class="street", expected=1.0, expected_given=1.0, shape=20.0)
    design = replace(batch.design, rates=(rate,), road_classes=(("north", "street"),))
    folder = results_folder(tmp_path / "results", replace(batch, design=design), crossing_delays(batch))
    page, _ = made(folder, tmp_path)
    text = plain(page.flat("estimates"))
    assert "Rates: what also covers how unsure the incident rates are." in text and "All:" not in text
    found = next(each for each in read_estimates(folder) if each.estimand == "mean_delay_veh_h")
    assert f"rates {hours_text(found.low_total)} to {hours_text(found.high_total)}" in text
    sources = text.partition("Where the variance of mean delay at ×1 comes from")[2]
    assert "no_control" + "".join(plain(percent_text(found.shares[name])) for name in ("scenarios", "rates")) in sources
    assert "The interval with the rates: where on a road incidents happen" in sources


def test_plotly_accepts_every_chart(crossing):
    import plotly.graph_objects as go

    _, page, _ = crossing
    for name in ("frequency", "difference", "map"):
        figure = page.figure(name)
        assert len(go.Figure(figure).data) == len(figure["data"])
