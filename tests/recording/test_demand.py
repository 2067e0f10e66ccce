"""Days recorded under a known pattern of demand: what is seen, what is learned, and what is realised again."""

import json

import numpy as np
import pytest

from scenariogen.model.condition import DayKind
from scenariogen.model.demand_check import check_held_out
from scenariogen.model.demand_density import StudentFactors
from scenariogen.model.demand_fit import fit_demand
from scenariogen.model.demand_pattern import DemandPattern
from scenariogen.recording import record
from scenariogen.trajectories.columns import HEADER_FILE
from scenariogen.trajectories.entries import entry_flows
from scenariogen.trajectories.records import open_trajectories
from tests.simulation.small import PLAIN, cross, small_project, window

pytestmark = [pytest.mark.sumo, pytest.mark.slow]
DAYS = 20
PER_HOUR = {"in[0]#1": 900, "sm": 500}
SPAN_S = 1500.0


def pattern() -> DemandPattern:
    """Two entries that move together by 15 % and against each other by 20 %."""
    return DemandPattern(
        entries=tuple(PER_HOUR),
        shares=np.array(list(PER_HOUR.values())) / sum(PER_HOUR.values()),
        loadings=np.array([[1.0, 0.15], [1.0, -0.27]]),
        density=StudentFactors(location=[[0.0, 0.0]], spread=[[0.15, 1.0]], degrees=[np.inf, np.inf]),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demand")
    ends = {"in[0]#1": "short", "sm": "mn"}
    flows = "".join(
        f'<flow id="{n}" type="plain" begin="0" end="{SPAN_S}" period="exp({rate / 3600})" from="{entry}" '
        f'to="{ends[entry]}" departLane="best"/>'
        for n, (entry, rate) in enumerate(PER_HOUR.items())
    )
    project = small_project(folder / "p", PLAIN + flows, net=cross())
    whole = window(SPAN_S, count_from_s=300.0)
    record(project, days=DAYS, seed=4, out=folder / "days", window=whole, jobs=2, intensity=1e-6, demand=pattern())
    return folder / "days"


def test_vehicles_come_in_as_the_days_scales_say(recorded):
    """Poisson flows: every day and entry within four standard deviations, and their chi-square as it should be."""
    asked = json.loads((recorded / HEADER_FILE).read_text())["entry_scales"]
    flows = entry_flows(open_trajectories(recorded))
    counts = flows.by_day[:, [flows.entries.index(entry) for entry in PER_HOUR]]
    span_s = flows.cell_edges_s[-1] - flows.cell_edges_s[0]
    mean = np.array([[rate * span_s / 3600 * day[entry] for entry, rate in PER_HOUR.items()] for day in asked])
    z = (counts - mean) / np.sqrt(mean)
    assert np.abs(z).max() < 4
    assert (z**2).mean() == pytest.approx(1, abs=4 * (2 / z.size) ** 0.5)


def test_the_pattern_is_found_again_in_the_trajectories(recorded):
    flows = entry_flows(open_trajectories(recorded))
    found = fit_demand(flows)
    assert found.pattern is not None, str(found)
    asked = json.loads((recorded / HEADER_FILE).read_text())["entry_scales"]
    # two entries can only show one factor beside the Poisson noise; what it leaves is the entries' own
    assert found.pattern.rest_spread > 0.08
    scales = np.array([[day[entry] for entry in PER_HOUR] for day in asked])
    assert np.corrcoef(flows.by_day.sum(1), scales @ pattern().shares)[0, 1] > 0.9
    check = check_held_out(flows, (DayKind(),), np.zeros(DAYS, dtype=int), found)
    assert check.edges["learned"].log_score > check.edges["declared"].log_score
