"""How the answer moves with incident frequency, and where the ranking of two policies flips, if anywhere.

The same runs are weighted for every multiplier on a logarithmic grid over the batch's range. Bands hold at each
multiplier on its own (95 %), not for the whole curve at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from scenariogen.errors import FrequencyError
from scenariogen.evaluation.answer import Estimate, answer
from scenariogen.evaluation.estimate import weights_or_error
from scenariogen.evaluation.outcomes import MEAN, Question, outcomes, questions
from scenariogen.evaluation.store import Results

GRID = 25


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Mean delay of a policy, or of a difference, at each multiplier; refused points have no value."""

    policy: str
    versus: str | None
    points: tuple[Estimate, ...] = field(repr=False)

    @property
    def crossings(self) -> tuple[float, ...]:
        """Multipliers at which the value changes sign, by interpolation over the logarithm of the multiplier."""
        known = [(p.frequency, p.value) for p in self.points if p.frequency is not None and p.value is not None]
        return tuple(
            math.exp(math.log(f) + (math.log(g) - math.log(f)) * a / (a - b))
            for (f, a), (g, b) in pairwise(known)
            if a * b < 0
        )

    @property
    def sure_signs(self) -> tuple[int, ...]:
        """−1 or 1 where the band excludes zero, otherwise 0, at each multiplier."""
        return tuple(_sign(point) for point in self.points)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Mean delay against frequency.

    ``frequencies``              multipliers, ascending, evenly spaced in the logarithm
    ``lane_blocking_per_100_h``  the same axis as incidents that block a lane in 100 hours of the start span
    ``curves``                   mean delay (veh h) of each policy
    ``differences``              of each other policy to the first
    """

    frequencies: tuple[float, ...]
    lane_blocking_per_100_h: tuple[float, ...]
    curves: tuple[Curve, ...]
    differences: tuple[Curve, ...]

    @property
    def statements(self) -> tuple[str, ...]:
        """One sentence for each difference: where the ranking flips, or that it does not within the range."""
        return tuple(crossing_statement(curve) for curve in self.differences)


def ranking_by_frequency(
    results: Results, *, frequencies: Sequence[float] | None = None, points: int = GRID
) -> Ranking | None:
    """Mean delay per policy and difference over the batch's range of frequencies; None for hand-made scenarios.

    ``frequencies`` replaces the grid of ``points`` multipliers. Raises ``FrequencyError`` where the batch has none.
    """
    design = results.batch.design
    if design is None:
        return None
    if not design.frequencies:
        raise FrequencyError("the batch names no frequency: sample again with --frequency")
    grid = tuple(frequencies) if frequencies is not None else log_grid(design.frequencies, points)
    by_policy = outcomes(results.runs, results.batch, results.policies, replicas=results.manifest.replicas)
    asked = [q for q in questions(by_policy, results.batch) if q.estimand == MEAN]
    weights = [weights_or_error(results.batch, frequency) for frequency in grid]

    def curve(question: Question) -> Curve:
        found = tuple(answer(question, w, frequency)[0] for frequency, w in zip(grid, weights, strict=True))
        return Curve(policy=question.policy, versus=question.versus, points=found)

    curves = [curve(question) for question in asked]
    return Ranking(
        frequencies=grid,
        lane_blocking_per_100_h=tuple(frequency * design.lane_blocking_per_100_h for frequency in grid),
        curves=tuple(each for each in curves if each.versus is None),
        differences=tuple(each for each in curves if each.versus is not None),
    )


def log_grid(frequencies: Sequence[float], points: int = GRID) -> tuple[float, ...]:
    """Evenly spaced in the logarithm from the smallest to the largest, both exactly included.

    >>> log_grid([0.5, 2.0], 3)
    (0.5, 1.0, 2.0)
    """
    low, high = min(frequencies), max(frequencies)
    if low == high:
        return (float(low),)
    inner = (low * (high / low) ** (i / (points - 1)) for i in range(1, points - 1))
    return (float(low), *inner, float(high))


def crossing_statement(curve: Curve) -> str:
    """Where a difference changes sign, in a sentence with how sure that is."""
    known = [p for p in curve.points if p.value is not None]
    if not known:
        return f"{curve.policy} against {curve.versus}: no estimate was given anywhere in the range"
    low, high = known[0].frequency, known[-1].frequency
    span = f"between {low:.3g} and {high:.3g} times the model's frequency" if low != high else f"at {low:.3g} times"
    signs = [sign for sign in curve.sure_signs if sign]
    if curve.crossings:
        where = ", ".join(f"{each:.3g}" for each in curve.crossings)
        sure = "on both sides of it the difference is clear" if {-1, 1} <= set(signs) else "but the bands overlap there"
        return f"{curve.policy} and {curve.versus} change places at {where} times the model's frequency; {sure}"
    better = curve.policy if sum(p.value or 0.0 for p in known) < 0 else curve.versus
    clear = sum(1 for sign in signs if sign)
    share = "everywhere" if clear == len(known) else f"at {clear} of {len(known)} frequencies"
    sure = f"and the band excludes zero {share}" if clear else "but the band includes zero everywhere"
    return f"no change of places {span}: {better} has the smaller mean delay, {sure}"


def _sign(point: Estimate) -> int:
    if point.low is None or point.high is None:
        return 0
    return 1 if point.low > 0 else -1 if point.high < 0 else 0
