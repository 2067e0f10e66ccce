"""The study window: the same in every command, found without simulating, with a word about all that it changes."""

import pytest

from scenariogen.errors import ProjectError
from scenariogen.simulation.project import open_project
from scenariogen.simulation.study import study_window, warm_up_s
from tests.simulation.small import PLAIN, small_project, vehicle
from tests.support import resco, shared_data

pytestmark = pytest.mark.sumo
FLOW = '<flow id="f" type="plain" begin="{}" end="{}" period="10" from="ab" to="cd"/>'


def flow_project(tmp_path, begin, end, options=""):
    return small_project(tmp_path, PLAIN + FLOW.format(begin, end), options=options)


def test_enough_demand_is_used_as_it_is(tmp_path):
    project = flow_project(tmp_path, 0, 5700, '<begin value="0"/><end value="5700"/>')
    window = study_window(project)
    assert (window.begin_s, window.count_from_s, window.incidents_until_s, window.end_s) == (0, 300, 3000, 5700)
    assert (window.demand_copies, window.remarks) == (1, ())
    assert study_window(open_project(project.sumocfg)) == window


def test_short_demand_is_repeated_in_whole_minutes_and_said(tmp_path):
    window = study_window(flow_project(tmp_path, 0, 3590, '<end value="5700"/>'))
    assert (window.demand_copies, window.demand_period_s) == (2, 3600)
    assert "played 2 times, every 60 min" in window.remarks[0]
    very_short = study_window(flow_project(tmp_path / "b", 0, 600, '<end value="5700"/>'))
    assert very_short.demand_copies * very_short.demand_period_s >= very_short.end_s


def test_absurd_missing_and_early_ends_are_replaced_and_said(tmp_path):
    absurd = study_window(flow_project(tmp_path, 0, 5700, '<end value="200000"/>'))
    assert absurd.end_s == 5700
    assert "ends at second 200,000, 54" in absurd.remarks[0]
    missing = study_window(flow_project(tmp_path / "b", 0, 5700))
    assert missing.remarks == ("the project has no end: simulated until 01:35",)
    early = study_window(flow_project(tmp_path / "c", 0, 5700, '<end value="900"/>'))
    assert early.remarks == ("the project ends at 00:15: simulated until 01:35 instead",)


def test_an_idle_begin_is_skipped(tmp_path):
    window = study_window(flow_project(tmp_path, 25_230, 33_000, '<end value="33000"/>'))
    assert window.begin_s == 25_200
    assert "its first vehicle departs at 07:00:30: simulated from 07:00" in window.remarks[0]


def test_a_long_demand_is_cut_and_the_busiest_part_named(tmp_path):
    routes = (
        PLAIN
        + FLOW.format(0, 86_400)
        + '<flow id="peak" type="plain" begin="27000" end="32000" period="2" from="ab" to="cd"/>'
    )
    project = small_project(tmp_path, routes, options='<end value="86400"/>')
    window = study_window(project)
    assert (window.begin_s, window.end_s, window.demand_copies) == (0, 5700, 1)
    assert any("busiest from 07:30" in remark for remark in window.remarks)
    chosen = study_window(project, begin_s=27_000, horizon_s=3600, start_span_s=600)
    assert (chosen.begin_s, chosen.horizon_s, chosen.start_span_s) == (27_000, 3600, 600)


def test_endless_flows_need_no_copies(tmp_path):
    project = small_project(tmp_path, PLAIN + '<flow id="f" type="plain" period="10" from="ab" to="cd"/>')
    window = study_window(project)
    assert window.demand_copies == 1
    assert window.demand_end_s == float("inf")


def test_warm_up_is_the_slow_journeys_time_rounded_up(tmp_path):
    assert warm_up_s(flow_project(tmp_path, 0, 5700)) == 300
    slow = small_project(
        tmp_path / "slow",
        PLAIN + FLOW.format(0, 5700),
        net=(flow_project(tmp_path / "n", 0, 9).net_file.read_text()).replace('speed="13.89"', 'speed="2.5"'),
    )
    assert warm_up_s(slow) == 900  # 1,500 m at 2.5 m/s less dawdling take between 600 and 900 s
    crawling = small_project(
        tmp_path / "crawl",
        PLAIN + FLOW.format(0, 5700),
        net=slow.net_file.read_text().replace('speed="2.50"', 'speed="0.5"').replace('speed="2.5"', 'speed="0.5"'),
    )
    assert warm_up_s(crawling) == 1800


def test_arguments_that_leave_nothing(tmp_path):
    project = flow_project(tmp_path, 0, 5700)
    with pytest.raises(ProjectError, match="no vehicle departs at or after second 9000"):
        study_window(project, begin_s=9000)
    for horizon_s, span_s in ((0, None), (600, 700), (600, 0)):
        with pytest.raises(ProjectError, match="expected a positive start span"):
            study_window(project, horizon_s=horizon_s, start_span_s=span_s)
    late = small_project(tmp_path / "late", PLAIN + vehicle("v", 5), options='<begin value="100"/>')
    with pytest.raises(ProjectError, match="after its last departure at 5"):
        study_window(late)


@pytest.mark.parametrize("name", ["cologne1", "cologne3", "cologne8", "ingolstadt1"])
def test_resco_hours_are_played_twice(name):
    project = open_project(resco(name))
    window = study_window(project)
    assert window.begin_s == project.begin_s
    assert (window.end_s - window.begin_s, window.demand_copies) == (5700, 2)


@pytest.mark.data
@pytest.mark.parametrize(
    ("parts", "copies", "remark"),
    [
        (("i210", "config_file.sumocfg"), 2, "ends at second 200,000"),
        (("bologna_acosta", "run.sumocfg"), 2, "no end"),
        (("chicago_roosevelt", "roosevelt.sumocfg"), 10, "played 10 times, every 10 min"),
    ],
)
def test_real_projects(parts, copies, remark):
    window = study_window(open_project(shared_data("networks", *parts)))
    assert (window.begin_s, window.count_from_s, window.end_s, window.demand_copies) == (0, 300, 5700, copies)
    assert any(remark in each for each in window.remarks)
