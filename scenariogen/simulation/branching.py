"""May a project be branched from a saved state? A self-test that compares what follows.

A state that SUMO saves is not the whole simulation (see :data:`NOT_SAVED`), so a run that goes on from one need not be
distributed like the run that it was taken from. For each of N seeds a run goes through; the same run is saved at second
t, once with its random numbers and once without, and both states are loaded again, the second one under another seed.
After t three things are compared: delay (the integral of vehicles running plus waiting to enter, which differs from the
system delay by free-flow time, the same for both), arrivals, and vehicles by edge.

Given what happened up to t, the run that went through and one that was branched are exchangeable where branching is
right. So within each pair they are swapped at random, which gives the null of the energy distance (see
:mod:`scenariogen.sampling.two_sample`) exactly, whatever their distribution. A difference that is not found may be
there all the same; therefore passing also asks that the intervals of the mean differences lie within a margin.

Nothing in this package branches from states: every run is simulated from its beginning. Whoever adds it asks
:func:`check_branching` first and branches only where ``passes`` is true.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scenariogen.errors import ProjectError
from scenariogen.randomness import child_seed, sumo_seed
from scenariogen.simulation.branching_pairs import paired_energy_test, relative_difference
from scenariogen.simulation.branching_runs import Followed, follow_one_seed
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.study import study_window
from scenariogen.simulation.xmlfiles import elements
from scenariogen.units import clock_text
from scenariogen.window import StudyWindow

LEAST_SEEDS = 10
SEEDS = 20
LEVEL = 0.05
"""Chance that a project on which branching is right fails, over all comparisons together (Bonferroni)."""
MARGIN = 0.05
"""Largest mean difference, as a share of the mean, that its interval may reach."""
NOT_SAVED = (
    "what vehicles remember of lane changes, and some of their car-following models",
    "the state of signals that react to traffic",
    "the random numbers of the rerouting device",
)
"""What a state leaves out, by SUMO's own list of known problems and its issue 16769."""
_REACTING = frozenset({"actuated", "delay_based", "NEMA"})


_VERDICTS = {
    True: "pass: branching from a state gives what running through does, within the margin",
    False: "fail: branching from a state is not to be used",
}


class Way(StrEnum):
    """How a state is loaded."""

    KEPT = "with its random numbers"
    OTHER = "under another seed"


class Quantity(StrEnum):
    """What is compared."""

    DELAY = "delay"
    ARRIVALS = "arrivals"
    EDGES = "vehicles by edge"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs that went through against branched ones.

    ``energy_distance``  of the two, columns in standard deviations
    ``p_value``          share of swaps within pairs that reach it
    ``difference``       mean of branched minus through, as a share of the mean of those that went through; for edges of
                         all vehicles together
    ``interval``         95 % interval of it (Student, by pairs)
    """

    way: Way
    quantity: Quantity
    energy_distance: float
    p_value: float
    difference: float
    interval: tuple[float, float]

    def differs(self, level: float) -> bool:
        """Whether the swaps say so at that level, for this comparison alone."""
        return self.p_value < level

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.way}, {self.quantity}: {self.difference:+.2%} ({low:+.2%} to {high:+.2%}), p = {self.p_value:.3f}"
        )


@dataclass(frozen=True, kw_only=True)
class BranchingReport:
    """What the self-test found.

    ``refusal``  SUMO's words where it did not take the state that it had saved; nothing is compared then
    ``hints``    parts of the project whose state is known not to be saved
    """

    at_s: float
    until_s: float
    seeds: int
    comparisons: tuple[Comparison, ...]
    refusal: str = ""
    hints: tuple[str, ...] = ()
    level: float = LEVEL
    margin: float = MARGIN

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why branching is not to be used; empty where it may be."""
        if self.refusal:
            return (f"SUMO does not take the state that it saved: {self.refusal}",)
        each_level = self.level / len(self.comparisons)
        found = [f"{each} is not the same" for each in self.comparisons if each.differs(each_level)]
        found += [
            f"{each} may differ by more than {self.margin:.0%}: too few seeds to tell"
            for each in self.comparisons
            if not each.differs(each_level) and max(map(abs, each.interval)) > self.margin
        ]
        return tuple(found)

    @property
    def passes(self) -> bool:
        """Whether branching at that second gives what running through does, as far as these runs tell."""
        return not self.reasons

    def lines(self) -> list[str]:
        """For people."""
        head = (
            f"states           saved at {clock_text(self.at_s)}, compared until {clock_text(self.until_s)}, "
            f"{self.seeds} seeds, level {self.level:g} over all comparisons, margin {self.margin:.0%}"
        )
        lines = [head, *(f"                 {each}" for each in self.comparisons)]
        lines.append(f"                 {_VERDICTS[self.passes]}")
        lines += [f"                 {reason}" for reason in self.reasons]
        lines += [f"                 not saved: {text}" for text in (*NOT_SAVED, *self.hints)]
        return lines

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "passes": self.passes,
            "reasons": self.reasons,
            "refusal": self.refusal,
            "at_s": self.at_s,
            "until_s": self.until_s,
            "seeds": self.seeds,
            "level": self.level,
            "margin": self.margin,
            "not_saved": [*NOT_SAVED, *self.hints],
            "comparisons": [asdict(each) | {"interval": list(each.interval)} for each in self.comparisons],
        }

    def require_passed(self) -> None:
        """Raise a ``ProjectError`` with the reasons where it did not pass."""
        if not self.passes:
            raise ProjectError(*self.reasons, title="branching from a saved state is not to be used on this project")


def check_branching(
    project: SumoProject,
    *,
    window: StudyWindow | None = None,
    seeds: int = SEEDS,
    seed: int = 0,
    at_s: float | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> BranchingReport:
    """Compare branching at ``at_s`` with running through, on at least :data:`LEAST_SEEDS` seeds.

    ``at_s`` is by default the middle of the span in which incidents start; runs end with the study window. Raises
    ``ProjectError`` for a second outside the window or too few seeds, and ``SimulationError`` where SUMO cannot run
    this project. Files go to a temporary folder, which is removed.
    """
    window = window or study_window(project)
    at_s = _second(project, window, at_s)
    if seeds < LEAST_SEEDS:
        raise ProjectError(f"states are compared on {seeds} seeds, expected at least {LEAST_SEEDS}")
    folder = Path(tempfile.mkdtemp(prefix="scenariogen-states-"))
    numbers = [(sumo_seed(seed, "states", n), sumo_seed(seed, "states", n, "other")) for n in range(seeds)]
    through: list[Followed] = []
    branched: dict[Way, list[Followed]] = {way: [] for way in Way}
    refusal = ""
    try:
        for whole, *branches in _outcomes(project, window, at_s, numbers, folder, jobs):
            refusal = next((each for each in branches if isinstance(each, str)), "")
            if refusal:
                break
            through.append(whole)
            for way, run in zip(Way, branches, strict=True):
                branched[way].append(run)  # pyright: ignore[reportArgumentType] - refusals ended the loop
            if progress is not None:
                progress(len(through), seeds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return BranchingReport(
        at_s=at_s,
        until_s=window.end_s,
        seeds=seeds,
        comparisons=()
        if refusal
        else tuple(_compared(way, quantity, through, branched[way], seed) for way in Way for quantity in Quantity),
        refusal=refusal,
        hints=tuple(_hints(project)),
    )


def _second(project: SumoProject, window: StudyWindow, asked_s: float | None) -> float:
    """The state's second, on a step and within the window."""
    at_s = (window.count_from_s + window.incidents_until_s) / 2 if asked_s is None else asked_s
    steps = round((at_s - window.begin_s) / project.step_length_s)
    at_s = window.begin_s + steps * project.step_length_s
    if not window.begin_s < at_s < window.end_s:
        raise ProjectError(
            f"the state is to be saved at {clock_text(at_s)}, expected a moment within the simulated "
            f"{clock_text(window.begin_s)}-{clock_text(window.end_s)}"
        )
    return at_s


def _outcomes(
    project: SumoProject, window: StudyWindow, at_s: float, seeds: list[tuple[int, int]], folder: Path, jobs: int
) -> Iterator[tuple[Followed, Followed | str, Followed | str]]:
    task = partial(follow_one_seed, project, window, at_s, folder)
    if jobs == 1:
        yield from (task(*pair) for pair in seeds)
        return
    from joblib import Parallel, delayed

    results: Iterator[Any] = Parallel(n_jobs=min(jobs, len(seeds)), return_as="generator")(  # type: ignore[assignment]
        delayed(task)(*pair) for pair in seeds
    )
    yield from results


def _compared(way: Way, quantity: Quantity, through: list[Followed], branched: list[Followed], seed: int) -> Comparison:
    first, second = (_table(quantity, runs) for runs in (through, branched))
    value, p_value = paired_energy_test(first, second, seed=child_seed(seed, str(way), str(quantity)))
    difference, interval = relative_difference(first.sum(1), second.sum(1))
    return Comparison(
        way=way,
        quantity=quantity,
        energy_distance=value,
        p_value=p_value,
        difference=difference,
        interval=interval,
    )


def _table(quantity: Quantity, runs: list[Followed]) -> np.ndarray:
    if quantity is Quantity.EDGES:
        return np.stack([run.edges for run in runs])
    return np.array([[run.veh_h if quantity is Quantity.DELAY else float(run.arrivals)] for run in runs])


def _hints(project: SumoProject) -> Iterator[str]:
    """What this project has of the things that states leave out."""
    reacting = 0
    for _, element in elements(project.net_file, ("end",)):
        reacting += element.tag == "tlLogic" and element.get("type") in _REACTING
        element.clear()
    if reacting:
        yield f"this project has {reacting} signals that react to traffic"
    if any(name.startswith("device.rerouting.") for name in project.options):
        yield "this project uses the rerouting device"
