"""The true process: its rates in closed form, its draws against its rates."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from scenariogen.errors import ProjectError
from scenariogen.incidents import capacity
from scenariogen.incidents.priors import RATE_PER_KM, blocked_shares, kind_shares
from scenariogen.incidents.records import KINDS, IncidentKind
from scenariogen.network import RoadClass
from scenariogen.recording import truth
from scenariogen.recording.marks import NEAR_M, SINGLE_LANE_CLOSURE, blocking_share, lane_count_shares
from scenariogen.recording.truth import TrueProcess, time_factor
from tests.recording.roads import FAST_MPS, SLOW_MPS, WINDOW, edge, network

CELLS = 9
CRASH, BREAKDOWN, OBSTRUCTION = (KINDS.index(kind) for kind in IncidentKind)


def flat(roads, kilometres: float = 1.0) -> TrueProcess:
    """The same traffic on every edge at every time."""
    return TrueProcess(network=roads, window=WINDOW, vehicle_km=np.full((len(roads.edges), CELLS), kilometres))


@pytest.fixture
def features(tmp_path):
    """One edge for each feature and each interaction, beside one that has none."""
    fast = {"speed_mps": FAST_MPS}
    return network(
        tmp_path,
        edge("plain", length_m=1e5),
        edge("merge", length_m=1e5, before=("plain", "short")),
        edge("short", length_m=60.0),
        edge("drop", length_m=1e5, after=("plain",), **fast),
        edge("merge drop", length_m=1e5, after=("plain",), before=("plain", "short"), **fast),
        edge("fast", length_m=1e5, **fast),
        edge("wide", length_m=1e5, lanes=3),
        edge("wide fast", length_m=1e5, lanes=3, **fast),
        edge("faster after", length_m=1e5, after=("fast",)),
    )


def test_rates_follow_the_published_base_and_the_factors_on_top(features):
    rates = flat(features).rates()
    assert rates.shape == (len(features.edges), CELLS, len(KINDS))
    crash = {name: rates[number, :, CRASH].sum() for number, name in enumerate(features.edge_ids)}
    drop = 1 - SLOW_MPS / FAST_MPS
    base = RATE_PER_KM[RoadClass.STREET] * truth.CLASS_FACTOR[RoadClass.STREET] * kind_shares()[CRASH]
    span = (np.arange(CELLS) + 0.5) / CELLS
    assert crash["plain"] == pytest.approx(base * time_factor(span).sum(), rel=1e-9)
    ratio = {name: rate / crash["plain"] for name, rate in crash.items()}
    assert ratio["merge"] == pytest.approx(truth.MERGE)
    assert ratio["short"] == pytest.approx(1 + truth.SHORT * math.exp(-60 / truth.SHORT_LENGTH_M))
    assert ratio["drop"] == pytest.approx(math.exp(truth.DROP * drop))
    assert ratio["fast"] == ratio["wide"] == ratio["faster after"] == pytest.approx(1)  # neither alone does anything
    assert ratio["wide fast"] == pytest.approx(truth.WIDE_FAST)
    together = ratio["merge drop"] / (ratio["merge"] * ratio["drop"])
    assert together == pytest.approx(math.exp(truth.MERGE_DROP * drop)) and together > 1.5


def test_kinds_follow_the_road_to_different_degrees(features):
    rates = flat(features).rates().sum(axis=1)
    merge = rates[features.edge_index["merge"]] / rates[features.edge_index["plain"]]
    assert merge[CRASH] == pytest.approx(truth.MERGE)
    assert merge[BREAKDOWN] == pytest.approx(truth.MERGE**0.25)
    assert merge[OBSTRUCTION] == pytest.approx(truth.MERGE**0.5)


def test_the_time_of_day_has_mean_one_and_a_peak(features):
    span = (np.arange(100_000) + 0.5) / 100_000
    assert time_factor(span).mean() == pytest.approx(1, abs=1e-9)
    assert span[np.argmax(time_factor(span))] == pytest.approx(truth.PEAK_AT, abs=1e-4)
    rates = flat(features).rates()[0, :, CRASH]
    assert rates.max() / rates.min() > 2


def test_rates_are_proportional_to_exposure(features):
    assert np.allclose(flat(features, 3.0).rates(), 3 * flat(features).rates())
    assert not np.shares_memory(flat(features).rates(), flat(features).rates())


def test_road_classes_have_their_own_factor(tmp_path):
    roads = network(tmp_path, *(edge(str(kind), road_class=kind) for kind in RoadClass))
    rates = flat(roads).rates().sum(axis=(1, 2))
    expected = [RATE_PER_KM[kind] * truth.CLASS_FACTOR[kind] for kind in RoadClass]
    assert np.allclose(rates / rates[0], np.array(expected) / expected[0])


def test_exposure_of_a_run_is_cut_to_the_span_in_which_incidents_start(tmp_path):
    roads = network(tmp_path, edge("a"), edge("b"), edge("no cars", idle_lane=0))
    run = {"a": np.arange(20.0), ":inside": np.ones(20), "no cars": np.ones(20)}
    process = TrueProcess.from_run(roads, WINDOW, run)
    assert process.vehicle_km[0].tolist() == list(range(2, 11))  # cells of 300 s from second 600 to 3300
    assert not process.vehicle_km[1:].any()
    wide = TrueProcess.from_run(roads, WINDOW, {"a": np.ones(7)}, cell_s=1000.0)  # borders 600, 1600, 2600, 3300
    assert wide.vehicle_km[0] == pytest.approx([1.0, 1.0, 0.7])
    with pytest.raises(ProjectError, match="no vehicle drives on"):
        TrueProcess.from_run(roads, WINDOW, {"no cars": np.ones(20)})


@pytest.mark.parametrize("wrong", [np.ones((2, CELLS)), np.ones((1, 3)), np.full((1, CELLS), -1.0)])
def test_a_table_that_does_not_fit_is_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="vehicle_km"):
        TrueProcess(network=network(tmp_path, edge("a")), window=WINDOW, vehicle_km=wrong)


def test_intensity_and_demand_scale_the_counts(features):
    process = flat(features)
    days, base = 600, 1.0 / process.incidents_per_day
    for intensity, scale, mean in [(2 * base, 1.0, 2.0), (6 * base, 1.0, 6.0), (2 * base, 1.5, 3.0)]:
        counts = np.array([len(process.draw(1, day, intensity=intensity, demand_scale=scale)) for day in range(days)])
        assert abs(counts.mean() - mean) < 4 * math.sqrt(mean / days)
        # Poisson: the variance is the mean; its estimate has variance (mean + 2 mean²) / days.
        assert abs(counts.var(ddof=1) - mean) < 4 * math.sqrt((mean + 2 * mean**2) / days)


def test_incidents_fall_where_the_rates_are(features):
    process = flat(features)
    found = [i for day in range(20) for i in process.draw(5, day, intensity=400 / process.incidents_per_day)]
    seen = np.zeros(process.rates().shape)
    for incident in found:
        cell = int((incident.start_s - WINDOW.count_from_s) // truth.CELL_S)
        seen[features.edge_index[incident.edge], cell, KINDS.index(incident.kind)] += 1
    for axes in [(1, 2), (0, 2), (0, 1)]:
        expected = process.rates().sum(axis=axes) / process.incidents_per_day * len(found)
        assert stats.chisquare(seen.sum(axis=axes), expected).pvalue > 1e-4


def test_a_day_depends_on_seed_and_day_alone(features):
    process = flat(features)
    intensity = 5 / process.incidents_per_day
    days = {day: process.draw(1, day, intensity=intensity) for day in (3, 1, 2)}
    assert days[3] == flat(features).draw(1, 3, intensity=intensity)
    assert days[1] != days[2] and days[1] != process.draw(2, 1, intensity=intensity)
    assert all(list(day) == sorted(day, key=lambda i: i.start_s) for day in days.values())


@pytest.fixture
def cross_sections(tmp_path):
    """Every road class with one to six lanes, a bus lane on the right and one in the middle."""
    plain = [edge(f"{kind} {n}", lanes=n, road_class=kind) for kind in RoadClass for n in range(1, 7)]
    buses = [edge("bus right", lanes=3, idle_lane=0), edge("bus middle", lanes=3, idle_lane=1)]
    return network(tmp_path, *plain, *buses, edge("tiny", length_m=4.0))


def test_every_incident_can_happen_as_drawn(cross_sections):
    process = flat(cross_sections)
    for incident in process.draw(7, 0, intensity=4000 / process.incidents_per_day):
        assert incident.problems(cross_sections) == []
        road = cross_sections.edges[incident.edge]
        problem = capacity.unreachable(
            road.road_class,
            len(road.driving_lanes),
            len(incident.lanes),
            incident.capacity_left,
            inner=capacity.is_inner(road.driving_lanes, incident.lanes),
        )
        assert problem is None
        assert WINDOW.count_from_s <= incident.start_s <= WINDOW.incidents_until_s
        closed = len(incident.lanes) == len(road.driving_lanes) >= 2
        assert incident.capacity_left > 0 or closed or len(road.driving_lanes) == 1


def test_blocked_lanes_have_the_stated_shares(tmp_path):
    process = flat(network(tmp_path, edge("one"), edge("three", lanes=3)))
    found = process.draw(11, 0, intensity=6000 / process.incidents_per_day)
    blocking = sum(incident.blocks_lane for incident in found)
    share = process.lane_blocking_per_day / process.incidents_per_day
    assert abs(blocking / len(found) - share) < 4 * math.sqrt(share * (1 - share) / len(found))
    for kind in KINDS:
        lanes = Counter(len(i.lanes) for i in found if i.kind is kind and i.edge == "three")
        expected = np.array(lane_count_shares(3, kind))
        assert expected.sum() == pytest.approx(1) and expected[3] == pytest.approx(blocked_shares(3)[3])
        few = [lanes[0], lanes[1], lanes[2] + lanes[3]]
        assert stats.chisquare(few, np.r_[expected[:2], expected[2:].sum()] * lanes.total()).pvalue > 1e-4
    single = [i for i in found if i.edge == "one" and i.blocks_lane]
    closed = sum(i.capacity_left == 0 for i in single)
    assert abs(closed - SINGLE_LANE_CLOSURE * len(single)) < 4 * math.sqrt(SINGLE_LANE_CLOSURE * len(single)) + 1
    assert all(i.lanes == (0,) for i in single)
    assert blocking_share(1, IncidentKind.CRASH) > 2 * blocking_share(1, IncidentKind.BREAKDOWN)


def test_incidents_stand_nearer_to_junctions_than_by_chance(tmp_path):
    process = flat(network(tmp_path, edge("a", length_m=800.0)))
    found = process.draw(13, 0, intensity=4000 / process.incidents_per_day)
    at_m = np.array([incident.position_m for incident in found])
    for near, share in [(at_m < NEAR_M, 0.2), (at_m > 800 - NEAR_M, 0.3)]:
        expected = 0.5 * NEAR_M / 800 + share * (1 - math.exp(-1))
        assert abs(near.mean() - expected) < 4 * math.sqrt(expected / len(at_m))
    assert at_m.min() >= 0 and at_m.max() <= 800


def test_durations_differ_from_the_published_by_the_stated_factors(tmp_path):
    process = flat(network(tmp_path, edge("a", lanes=2)))
    found = process.draw(17, 0, intensity=8000 / process.incidents_per_day)
    for kind, factor in [(IncidentKind.CRASH, 1.25), (IncidentKind.BREAKDOWN, 0.9)]:
        minutes = np.array([i.duration_s / 60 for i in found if i.kind is kind and not i.lanes])
        sd = 1.2 * 0.424
        assert abs(np.log(minutes).mean() - (3.436 + math.log(factor))) < 4 * sd / math.sqrt(len(minutes))
        assert abs(np.log(minutes).std() - sd) < 4 * sd / math.sqrt(2 * len(minutes))
