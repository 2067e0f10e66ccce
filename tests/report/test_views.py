"""The decision views: what carries a difference adds up, costs per year follow, and JSON and page say the same."""

import csv
import doctest
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from scenariogen.errors import FrequencyError, ResultsError
from scenariogen.evaluation import load_results
from scenariogen.evaluation.outcomes import EMITTED
from scenariogen.incidents.records import IncidentKind
from scenariogen.report import as_json, attribution, people, words
from scenariogen.report.attribution import Split, shares_of
from scenariogen.report.cases import calibrated
from scenariogen.report.costs import incident_free_levels, scenario_costs
from scenariogen.report.edge_costs import edge_costs, write_edge_costs
from scenariogen.report.findings import findings
from scenariogen.report.html import _facts, write_page
from scenariogen.report.paragraph import verdict_paragraph
from scenariogen.report.people import class_delays, parse_occupancy
from scenariogen.report.roadmap import map_figure
from scenariogen.report.tables import worst_scenarios
from scenariogen.report.view_tables import year_lead
from scenariogen.report.views import Options, work_out
from scenariogen.simulation.contract import EndReason
from tests.evaluation import synthetic
from tests.report.folders import (
    crossing_delays,
    drawn_batch,
    given_batch,
    hand_batch,
    results_folder,
    square_network,
)

BUS, CAR = 0.25, 0.75
"""Shares of the delay that buses and cars have in these runs."""


def classes(run):
    """The same run with its delay told by class: buses have a quarter of it."""
    if run.system_delay_veh_h is None:
        return run
    told = {"bus": BUS * run.system_delay_veh_h, "passenger": CAR * run.system_delay_veh_h}
    return replace(run, delay_by_class=json.dumps(told))


def one_bad_edge(batch, *, free=10.0, north=6.0, elsewhere=0.5, factor=1.0):
    """(batch, 1) delays without noise: each incident on the edge north costs more than those elsewhere."""
    costs = {True: north, False: elsewhere}
    added = [sum(costs[i.edge == "north"] for i in s.incidents) for s in batch.scenarios]
    return free * factor + np.array(added, dtype=float)[:, None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    batch = drawn_batch(240)
    noise = np.random.default_rng(3).normal(0, 0.05, (240, 1))
    tables = {
        "no_control": one_bad_edge(batch) + noise,
        "max_pressure": one_bad_edge(batch, factor=1.1, north=2.0) + noise,
    }
    return results_folder(tmp_path_factory.mktemp("views") / "results", batch, tables, change=classes)


@pytest.fixture(scope="module")
def views(folder):
    return work_out(load_results(folder), Options(occupancy={"bus": 20.0}))


def test_the_parts_add_up_in_every_grouping(views):
    for parts in (*views.carried.values(), *views.differences.values()):
        assert parts.total_veh_h == pytest.approx(parts.without_incidents.value_veh_h + parts.added.value_veh_h)
        for groups in parts.by.values():
            assert sum(each.value_veh_h for each in groups) == pytest.approx(parts.added.value_veh_h)
            assert sum(each.share_of_added for each in groups) == pytest.approx(1.0)
            assert sum(each.incidents for each in groups) == sum(
                len(s.incidents) for s in views.results.batch.scenarios
            )
            assert all(each.low <= each.value_veh_h <= each.high for each in groups)


def test_the_total_is_the_estimate(views):
    for found in (e for e in views.estimates if e.estimand == "mean_delay_veh_h" and e.frequency == 1.0):
        parts = (views.carried if found.versus is None else views.differences)[found.policy]
        assert parts.total_veh_h == pytest.approx(found.value, abs=2 * found.standard_error + 1e-9)


def test_the_edge_that_makes_the_difference_is_found(views):
    """At ×1 an incident a day, a quarter of them north: policies differ by 4 there and by nothing elsewhere.

    Where a scenario has incidents on several edges, they share what north costs: the split is a convention.
    """
    parts = views.differences["max_pressure"]
    assert parts.without_incidents.value_veh_h == pytest.approx(1.0, abs=0.05)
    assert parts.by["edge"][0].group == "north" and parts.by["edge"][0].high < 0
    alone = [s for s in views.results.batch.scenarios if len(s.incidents) == 1]
    assert alone and parts.by["edge"][0].value_veh_h < 3 * min(p.value_veh_h for p in parts.by["edge"][1:])
    assert parts.added.value_veh_h == pytest.approx(-4 * 0.25, abs=0.4)
    (kind,) = parts.by["kind"]
    assert kind.group == "crash" and kind.expected == pytest.approx(1.0, abs=0.1)


def test_an_even_split_is_another_convention_with_the_same_sum(folder, views):
    even = work_out(load_results(folder), Options(split=Split.EVEN))
    for policy, parts in views.carried.items():
        other = even.carried[policy]
        assert other.added.value_veh_h == pytest.approx(parts.added.value_veh_h)
        by_edge = {each.group: each.value_veh_h for each in other.by["edge"]}
        assert any(by_edge[each.group] != pytest.approx(each.value_veh_h, rel=1e-3) for each in parts.by["edge"])
    assert "evenly" in as_json.views_json(even)["carried"][0]["split"]


@pytest.mark.parametrize("name", EMITTED.values())
def test_emissions_are_told_in_kilograms(name):
    title = words.estimand_title(name)
    assert "kilograms" in title and "Chance" not in title


def test_hours_are_clock_hours(tmp_path):
    batch = hand_batch(2)
    moved = tuple(
        replace(s, incidents=(replace(s.incidents[0], start_s=hour * 3600 + 60.0),))
        for s, hour in zip(batch.scenarios, (7, 8), strict=True)
    )
    window = replace(batch.window, begin_s=0, end_s=36_000, incidents_until_s=35_000, demand_end_s=35_500)
    batch = replace(batch, scenarios=moved, window=window)
    delays = synthetic.delays(batch, replicas=10)
    views = work_out(load_results(results_folder(tmp_path / "r", batch, {"a": delays})))
    parts = views.carried["a"]
    seven, eight = delays.mean(axis=1) / 2
    assert {each.group: each.value_veh_h for each in parts.by["hour"]} == pytest.approx(
        {"07–08 h": seven, "08–09 h": eight}
    )
    assert not parts.has_levels and parts.without_incidents.value_veh_h == 0
    page = write_page(views, tmp_path / "page.html", square_network()).read_text(encoding="utf-8")
    assert "another estimator" not in page  # made by hand: one mean, however it is taken apart


def test_all_clock_times_of_a_page_are_those_of_the_scenarios_clock(tmp_path):
    """With SUMO's second 0 at seven, groups by hour said seven while the rest of the page counted from midnight."""
    seven = drawn_batch(240, frequencies=(1.0,))
    seven = replace(
        seven,
        scenarios=tuple(replace(s, condition=replace(s.condition, clock_s=7 * 3600.0)) for s in seven.scenarios),
    )
    assert seven.window.count_from_s < 3600 and seven.window.end_s < 3600
    found = work_out(load_results(results_folder(tmp_path / "r", seven, {"a": one_bad_edge(seven)})))
    page = write_page(found, tmp_path / "page.html", square_network()).read_text(encoding="utf-8")
    facts = dict(_facts(found.results))
    assert facts["Delay counted"].startswith("07:") and "–07:" in facts["Delay counted"]
    told = [line for row in worst_scenarios(found.results, found.costs) for line in row.incidents if " on " in line]
    assert told and all(" 07:" in line for line in told)
    assert "07–08 h" in page and " 00:" not in page.partition("<body>")[2].partition("Plotly")[0]
    dots = next(t for t in map_figure(found.results, square_network(), found.costs)["data"] if t["mode"] == "markers")
    assert dots["text"] and all(" 07:" in text for text in dots["text"])
    assert " at 07:" in str(next(s for s in seven.scenarios if s.incidents))


def test_incidents_share_by_blocked_capacity_time_or_evenly():
    one = synthetic.incident()
    short = replace(one, capacity_left=0.4, start_s=400.0, detection_s=0.0, response_s=0.0, clearance_s=300.0)
    long = replace(short, clearance_s=900.0)
    late = replace(short, start_s=2000.0, clearance_s=5000.0)  # the window ends at 2100
    scenario = replace(synthetic.hand_batch(1).scenarios[0], incidents=(short, long))
    assert shares_of(scenario, synthetic.WINDOW, Split.BLOCKED) == pytest.approx([0.25, 0.75])
    assert shares_of(scenario, synthetic.WINDOW, Split.EVEN) == [0.5, 0.5]
    assert shares_of(replace(scenario, incidents=(short, late)), synthetic.WINDOW, Split.BLOCKED) == [0.75, 0.25]
    open_road = replace(short, capacity_left=1.0, kind=IncidentKind.BREAKDOWN)
    assert shares_of(replace(scenario, incidents=(open_road,) * 2), synthetic.WINDOW, Split.BLOCKED) == [0.5, 0.5]


def test_intervals_of_parts_hold_the_truth_about_as_often_as_they_say():
    """40 batches: what incidents add at ×2 is 2 · 3 · exp(0.18) vehicle-hours."""
    truth, inside = 2 * 3 * math.exp(0.18), 0
    for seed in range(40):
        batch = synthetic.counted_batch(240, seed=seed)
        terms = [(1.0, synthetic.delays(batch, seed=seed + 500))]
        cases = attribution.Cases(batch=batch, terms=terms, weights=synthetic.paper_weights(batch, 2.0))
        sums = attribution.sums_by_group(cases, Split.BLOCKED, ["kind"], replicates=99)
        low, high = attribution.limits(sums.groups["kind"].values[:, 0, 0])
        inside += low <= truth <= high
    assert inside / 40 >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / 40)


def test_calibrated_weights_sum_to_one_and_meet_the_controls():
    generator = np.random.default_rng(1)
    w, controls = generator.lognormal(0, 0.5, 60), generator.normal(0.2, 1, (60, 2))
    found = calibrated(w, controls, draws=60)
    assert found.sum() == pytest.approx(1.0) and found @ controls == pytest.approx([0.0, 0.0], abs=1e-6)
    assert calibrated(w, controls, draws=9) == pytest.approx(w / w.sum())


# ------------------------------------------------------------------------------------------------------ people, years


def test_classes_and_causes_add_up_and_persons_are_counted(views):
    for policy, parts in views.carried.items():
        here = [each for each in views.classes if each.policy == policy]
        assert sum(each.delay_veh_h for each in here) == pytest.approx(parts.total_veh_h)
        crash = {each.vehicle_class: each for each in here if each.cause == "crash"}
        assert sum(each.delay_veh_h for each in crash.values()) == pytest.approx(parts.added.value_veh_h)
        assert crash["bus"].delay_veh_h == pytest.approx(BUS * parts.added.value_veh_h)
        assert crash["bus"].delay_person_h == pytest.approx(20 * crash["bus"].delay_veh_h)
        assert crash["passenger"].occupancy == people.CAR
        assert all(each.low_veh_h <= each.delay_veh_h <= each.high_veh_h for each in here)


def test_runs_of_old_versions_tell_no_classes(tmp_path):
    batch = drawn_batch(60)
    folder = results_folder(tmp_path / "r", batch, {"a": synthetic.delays(batch)})
    assert class_delays(load_results(folder), "a", frequency=1.0) == []


def test_a_wrong_occupancy_lists_every_problem():
    with pytest.raises(ResultsError) as raised:
        parse_occupancy("bus=many,=3,car=1,car=2,van=-1")
    text = raised.value.text()
    assert all(part in text for part in ("'bus=many'", "'=3'", "car is named twice", "'van=-1'"))


def test_costs_per_year_are_rate_times_cost(views):
    """The window of these batches has starts in a third of an hour: 500 hours are 1,500 runs."""
    for each in views.per_year:
        parts = {part.group: part for part in views.carried[each.policy].by["edge"]}[each.edge]
        assert each.delay_veh_h_per_year == pytest.approx(1500 * parts.value_veh_h)
        assert each.incidents_per_year * each.delay_veh_h_per_incident == pytest.approx(each.delay_veh_h_per_year)
    first = views.per_year[0]
    assert (first.edge, first.policy) == ("north", "no_control")
    assert sum(e.incidents_per_year for e in views.per_year if e.policy == "no_control") == pytest.approx(1500, rel=0.1)


def test_costs_are_written_as_csv_and_as_geopackage(views, tmp_path):
    import pyogrio

    network = replace(square_network(), projection="+proj=utm +zone=32 +ellps=WGS84 +units=m", offset=(-356e3, -5645e3))
    rows = list(csv.DictReader(write_edge_costs(views.per_year, tmp_path / "c.csv", network).open(encoding="utf-8")))
    assert len(rows) == 8 and float(rows[0]["delay_veh_h_per_year"]) == views.per_year[0].delay_veh_h_per_year
    path = write_edge_costs(views.per_year, tmp_path / "c.gpkg", network)
    info = pyogrio.read_info(path)
    assert (info["crs"], info["features"], info["geometry_type"]) == ("EPSG:4326", 8, "LineString")
    west, south, *_ = info["total_bounds"]
    assert 6 < west < 8 and 50 < south < 52
    assert {"edge", "policy", "delay_veh_h_per_year", "road_class"} <= set(info["fields"])
    plain = write_edge_costs(views.per_year, tmp_path / "plain.gpkg", square_network())
    assert tuple(pyogrio.read_info(plain)["total_bounds"]) == (0, 0, 400, 400)
    never = replace(views.per_year[0], delay_veh_h_per_incident=None)  # a column without a number has its type as well
    for rows in ([never], []):
        path = write_edge_costs(rows, tmp_path / "never.gpkg", network)
        found = pyogrio.read_info(path)
        assert (len(found["fields"]), found["features"]) == (14, len(rows))
    with pytest.raises(ResultsError, match=r"needs the roads' geometry\. The roads are gone"):
        write_edge_costs(views.per_year, tmp_path / "no.gpkg", "The roads are gone.")
    with pytest.raises(ResultsError, match=r"expected a name in \.csv or \.gpkg"):
        write_edge_costs(views.per_year, tmp_path / "no.shp", network)


def test_under_a_condition_only_runs_that_meet_it_are_counted(tmp_path):
    """They were counted as if every run of a year met it: 1,500 instead of 948, far too many where that is rare."""
    batch = given_batch(600)
    views = work_out(load_results(results_folder(tmp_path / "r", batch, {"a": one_bad_edge(batch)})))
    at_all = 1500 * -math.expm1(-1.0)
    assert all(each.runs_per_year == pytest.approx(at_all) for each in views.per_year)
    assert sum(each.incidents_per_year for each in views.per_year) == pytest.approx(1500, rel=0.1)
    mean = views.carried["a"].added.value_veh_h
    assert sum(each.delay_veh_h_per_year for each in views.per_year) == pytest.approx(at_all * mean)
    assert {each.given for each in views.per_year} == {"capacity_left<=1 (any)"}
    assert "Only runs that meet the condition capacity_left<=1 (any) are counted" in year_lead(views)
    assert "the delay that is shared among them" in year_lead(views)


def test_an_incident_that_is_given_has_no_costs_per_year(tmp_path):
    batch = given_batch(240, quantifier="given-one")
    views = work_out(load_results(results_folder(tmp_path / "r", batch, {"a": one_bad_edge(batch)})))
    assert views.carried and not views.per_year
    page = write_page(views, tmp_path / "page.html", "no roads").read_text(encoding="utf-8")
    assert "Not told: delay per year needs the probability of what scenarios were drawn under" in page
    with pytest.raises(ResultsError, match=r"capacity_left<=1 \(given-one\) is no event that has one"):
        views.per_year_or_why()


# ------------------------------------------------------------------------------------------------------ words and JSON


def test_the_paragraph_says_all_that_decides(views):
    text = verdict_paragraph(views)
    assert text.startswith(views.verdict)
    assert "change places somewhere from ×" in text and "lane-blocking incidents per 100 peak hours" in text
    assert "Chance that the delay of a run exceeds 20 vehicle-hours at ×1:" in text
    assert "Of the vehicle-hours of max_pressure less no_control at ×1, +1.0" in text and "most on north" in text
    refused = [e for e in views.estimates if e.is_refused]
    assert (f"Refused: {len(refused)} of" in text) == bool(refused)


def test_the_json_is_strict_and_complete(views):
    plain = json.loads(json.dumps(as_json.views_json(views), allow_nan=False))
    assert plain["paragraph"] == verdict_paragraph(views) and plain["frequency"] == 1.0
    (flips,) = plain["flips"]
    piece = flips["pieces"][0]
    assert flips["shape"].startswith("bounded") and flips["statement"] in " ".join(views.ranking.statements)
    assert piece["per_100_h"] == pytest.approx([40 * piece["low"], 40 * piece["high"]])
    assert len(flips["band"]) == len(views.ranking.frequencies)
    worst = plain["worst"][0]
    assert set(worst["delay_veh_h"]) == {"no_control", "max_pressure"} and worst["incidents"][0]["edge"]
    assert "--index" in worst["command"] and 0 <= worst["weight"] < 1
    assert len(plain["curves"]) == 3 and len(plain["carried"]) == 3
    assert {e["cause"] for e in plain["by_cause_and_class"]} == {"without incidents", "crash"}


def test_the_page_shows_the_views(views, tmp_path):
    from tests.report.test_page import Page

    page = Page(write_page(views, tmp_path / "page.html", square_network()).read_text(encoding="utf-8"))
    assert "max_pressure − no_control" in page.flat("carried") and "By hour of the start" in page.flat("carried")
    assert "use another estimator of the same mean" in page.flat("carried")
    assert "passenger (× 1.7)" in page.flat("people") and "bus (× 20)" in page.flat("people")
    assert "500 hours a year" in page.flat("year") and "north" in page.flat("year")
    assert page.flat("paragraph") == " ".join(verdict_paragraph(views).removeprefix(views.verdict).split())
    dotted = [t for t in page.figure("difference")["data"] if t.get("line", {}).get("dash") == "dot" and t.get("x")]
    (flips,) = views.ranking.flips
    assert [list(flips.low), list(flips.high)] == [t["y"] for t in dotted]


def test_what_the_gate_refuses_is_not_taken_apart(tmp_path):
    batch = drawn_batch(60)
    folder = results_folder(tmp_path / "r", batch, crossing_delays(batch))
    views = work_out(load_results(folder))
    assert not views.carried and set(views.left_out) == {"no_control", "max_pressure", "max_pressure − no_control"}
    assert "Refused:" in verdict_paragraph(views)
    with pytest.raises(ResultsError, match=r"leave --costs out for the page alone\. Not taken apart"):
        views.per_year_or_why()


def test_frequencies_and_years_that_cannot_be_are_refused(folder, tmp_path):
    results = load_results(folder)
    with pytest.raises(FrequencyError, match=r"×9 lies outside the range ×0\.5 to ×5"):
        work_out(results, Options(frequency=9.0))
    with pytest.raises(ResultsError, match="at most 8784"):
        Options(hours_per_year=9000)
    batch = hand_batch(2)
    by_hand = load_results(results_folder(tmp_path / "r", batch, {"a": synthetic.delays(batch, replicas=6)}))
    with pytest.raises(FrequencyError, match="made by hand"):
        work_out(by_hand, Options(frequency=1.0))
    with pytest.raises(ResultsError, match="made by hand"):
        edge_costs(by_hand, {})


def test_another_frequency_can_be_taken_apart(folder):
    parts = work_out(load_results(folder), Options(frequency=3.3)).carried["no_control"]
    assert parts.frequency == 3.3 and parts.by["kind"][0].expected == pytest.approx(3.3, rel=0.1)


def test_failed_runs_are_left_out_of_the_parts(tmp_path):
    batch = drawn_batch(240)

    def change(run):
        if run.scenario != 3:
            return classes(run)
        return replace(run, end_reason=EndReason.SIMULATOR_DIED, error="x", system_delay_veh_h=None)

    folder = results_folder(tmp_path / "r", batch, {"a": one_bad_edge(batch)}, change=change)
    parts = attribution.attribution(load_results(folder), "a", frequency=1.0)
    assert parts.total_veh_h == pytest.approx(parts.without_incidents.value_veh_h + parts.added.value_veh_h)


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"incidents_due": 1, "incidents_realised": 0}, "Incidents not realised"),
        ({"balance_broken": "second 60"}, "Runs with vehicles not accounted for"),
    ],
)
def test_a_delay_that_is_not_the_scenarios_own_is_no_cost(tmp_path, changes, title):
    """Runs whose incident did not happen, or that lost vehicles, stood among the worst scenarios, in the levels without
    incidents and in the delay by class, since they have a delay."""
    batch = drawn_batch(60)
    free = next(s.index for s in batch.scenarios if s.is_incident_free)
    hit = next(s.index for s in batch.scenarios if s.incidents)

    def change(run):
        bad = {"system_delay_veh_h": 1e5, "locked_up": True, **changes} if run.scenario in (free, hit) else {}
        return classes(replace(run, **bad))

    results = load_results(results_folder(tmp_path / "r", batch, {"a": one_bad_edge(batch)}, change=change))
    costs = {cost.scenario.index: cost for cost in scenario_costs(results)}
    assert len(costs) == 58 and not {free, hit} & set(costs)
    assert incident_free_levels(results)["a"](1.0) == pytest.approx(10.0)
    assert sum(each.delay_veh_h for each in class_delays(results, "a", frequency=1.0)) < 100
    told = {each.title: each.meaning for each in findings(results, [], [])}
    assert "stay out of the values" in told[title]


@pytest.mark.parametrize("module", [as_json, attribution, people, words], ids=lambda module: module.__name__)
def test_doctests(module):
    assert doctest.testmod(module, extraglobs={"math": math}).failed == 0
