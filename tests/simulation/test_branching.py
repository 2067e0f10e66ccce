"""Whether a run may go on from a saved state: the test passes where it is right and fails where it is not."""

from dataclasses import replace

import numpy as np
import pytest

from scenariogen.errors import ProjectError
from scenariogen.sampling.two_sample import energy_distance
from scenariogen.simulation import branching_runs
from scenariogen.simulation.branching import (
    BranchingReport,
    Comparison,
    Quantity,
    Way,
    check_branching,
)
from scenariogen.simulation.branching_pairs import paired_energy_test, relative_difference
from tests.cli.runner import scenariogen
from tests.simulation import small

FLOWS = (
    '<vType id="car" sigma="0.5" speedDev="0.1"/>'
    '<flow id="f" type="car" begin="0" end="600" period="4"><route edges="ab bc cd"/></flow>'
    '<flow id="g" type="car" begin="0" end="600" period="9"><route edges="ab bu ud dc cd"/></flow>'
)


def pairs(rng: np.random.Generator, count: int, shift: float, columns: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that share most of their variation: a common part of deviation 10, and 1 for each of the two."""
    common = 10 * rng.standard_normal((count, columns))
    first, second = (common + rng.standard_normal((count, columns)) for _ in range(2))
    return first, second + shift


def test_the_level_holds_although_the_rows_of_a_pair_are_alike():
    rng = np.random.default_rng(5)
    repeats = 200
    p_values = [paired_energy_test(*pairs(rng, 12, 0.0), seed=n, swaps=99)[1] for n in range(repeats)]
    for level in (0.05, 0.2):
        share = np.mean([p <= level for p in p_values])
        assert abs(share - level) <= 3 * np.sqrt(level * (1 - level) / repeats)


def test_a_shift_far_below_the_variation_between_seeds_is_found():
    rng = np.random.default_rng(6)
    # one standard deviation of the difference within a pair; a seventh of that between seeds
    found = [paired_energy_test(*pairs(rng, 20, np.sqrt(2)), seed=n)[1] < 0.05 / 6 for n in range(60)]
    assert np.mean(found) > 0.8


def test_the_distance_is_the_projects_own():
    first, second = pairs(np.random.default_rng(1), 15, 2.0)
    theirs = energy_distance(first, second, seed=0, permutations=0).value
    assert paired_energy_test(first, second, seed=0, swaps=9)[0] == pytest.approx(theirs, rel=1e-9)


def test_tables_that_are_the_same_do_not_differ():
    same = np.random.default_rng(0).standard_normal((12, 2))
    assert paired_energy_test(same, same.copy(), seed=0) == (0.0, 1.0)
    assert relative_difference(same[:, 0] + 5, same[:, 0] + 5) == (0.0, (0.0, 0.0))


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(8)
    repeats, covered = 400, 0
    for _ in range(repeats):
        base = 100 + 20 * rng.standard_normal(15)
        _, (low, high) = relative_difference(base, base + 3 + 5 * rng.standard_normal(15))
        covered += low <= 3 / base.mean() <= high
    assert abs(covered / repeats - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / repeats)


@pytest.fixture
def project(tmp_path):
    return small.small_project(tmp_path / "city", FLOWS)


@pytest.mark.sumo
def test_a_plain_project_passes_and_is_not_touched(project, tmp_path):
    before = small.fingerprint(tmp_path / "city")
    report = check_branching(project, window=small.window(700.0, count_from_s=100.0), seeds=10, at_s=300.0)
    assert report.passes, "; ".join(map(str, (*report.reasons, *report.comparisons)))
    assert {(each.way, each.quantity) for each in report.comparisons} == {(w, q) for w in Way for q in Quantity}
    other = next(each for each in report.comparisons if (each.way, each.quantity) == (Way.OTHER, Quantity.DELAY))
    assert other.interval[0] < other.interval[1]  # another seed is another future
    assert any("pass" in line for line in report.lines())
    assert small.fingerprint(tmp_path / "city") == before


@pytest.mark.sumo
def test_what_this_process_simulated_before_does_not_matter(project):
    """Forks of a process that had used libsumo got other random numbers back from a state than were saved in it."""
    import libsumo

    libsumo.start(["sumo", "-c", str(project.sumocfg), "--no-step-log"])
    for _ in range(300):
        libsumo.simulationStep()
    libsumo.close()
    report = check_branching(project, window=small.window(700.0, count_from_s=100.0), seeds=10, at_s=300.0)
    reach = [max(map(abs, each.interval)) for each in report.comparisons if each.way is Way.KEPT]
    assert max(reach) < 0.01  # from such forks it was 0.04


@pytest.mark.sumo
def test_a_state_that_goes_on_differently_fails(project, monkeypatch):
    rightly = branching_runs.loading
    monkeypatch.setattr(branching_runs, "loading", lambda at_s, state: rightly(at_s, state) | {"scale": "1.3"})
    report = check_branching(project, window=small.window(700.0, count_from_s=100.0), seeds=10, at_s=300.0)
    assert not report.passes
    assert any("is not the same" in reason for reason in report.reasons)
    with pytest.raises(ProjectError, match="not to be used"):
        report.require_passed()


def test_what_cannot_be_told_does_not_pass():
    def comparison(p_value: float, interval: tuple[float, float]) -> Comparison:
        return Comparison(
            way=Way.OTHER, quantity=Quantity.DELAY, energy_distance=0.0, p_value=p_value, difference=0.0,
            interval=interval,
        )  # fmt: skip

    report = BranchingReport(at_s=1, until_s=2, seeds=10, comparisons=(comparison(0.6, (-0.01, 0.04)),))
    assert report.passes
    wide = replace(report, comparisons=(comparison(0.6, (-0.01, 0.06)),))
    assert not wide.passes
    assert "too few seeds" in wide.reasons[0]
    assert not replace(report, comparisons=(comparison(0.04, (-0.01, 0.04)),)).passes
    assert replace(report, comparisons=(comparison(0.04, (-0.01, 0.04)),) * 2).passes  # two looks: half the level each


@pytest.mark.sumo
@pytest.mark.parametrize(
    ("asked", "said"), [({"at_s": 5000.0}, "within the simulated"), ({"seeds": 5}, "expected at least 10")]
)
def test_bad_settings_are_said_before_anything_runs(project, asked, said):
    with pytest.raises(ProjectError, match=said):
        check_branching(project, window=small.window(1200.0), **asked)


@pytest.mark.sumo
def test_signals_that_react_are_named_as_what_is_not_saved(tmp_path):
    net = small.cross().replace('type="static"', 'type="actuated"')
    flow = '<flow id="f" begin="0" end="300" period="8"><route edges="in[0]#1 out"/></flow>'
    project = small.small_project(tmp_path / "city", flow, net=net)
    report = check_branching(project, window=small.window(400.0), seeds=10, at_s=100.0)
    assert any("1 signals that react" in line for line in report.lines())
    assert report.to_json()["not_saved"][-1] == report.hints[0]
    assert report.refusal  # SUMO 1.28 writes a state of such a signal that it cannot read
    assert not report.passes
    assert "does not take the state" in report.reasons[0]


def test_a_second_without_the_test_is_wrong_usage():
    result = scenariogen("check", "--network", "corridor", "--state-at", "600s")
    assert result.exit_code == 2
    assert "--state-at is for --states" in result.stderr
