"""How the answer moves with incident frequency, and where the ranking of two policies flips, if anywhere.

The same runs are weighted for every multiplier on a logarithmic grid over the batch's range. The intervals of a curve
hold at each multiplier on its own; where the ranking may flip is told by bands that hold for all differences and
the whole curve at once (:mod:`.simultaneous`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from scenariogen.errors import FrequencyError
from scenariogen.evaluation.answer import Estimate, answer
from scenariogen.evaluation.estimate import weights_or_error
from scenariogen.evaluation.outcomes import MEAN, Question, outcomes, questions
from scenariogen.evaluation.rivals import rival_questions
from scenariogen.evaluation.simultaneous import LEVEL, Flips, flip_sets
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
    ``flips``                    where each difference may flip, in their order
    ``rivals``                   the same for every two policies after the first, whose bands hold together as well
    """

    frequencies: tuple[float, ...]
    lane_blocking_per_100_h: tuple[float, ...]
    curves: tuple[Curve, ...]
    differences: tuple[Curve, ...]
    flips: tuple[Flips, ...] = ()
    rivals: tuple[Flips, ...] = field(default=(), repr=False)

    @property
    def statements(self) -> tuple[str, ...]:
        """One sentence for each difference: where the ranking flips, or that it does not within the range."""
        rate = self.lane_blocking_per_100_h[0] / self.frequencies[0]
        return tuple(flip_statement(each, rate) for each in self.flips)


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
    stages, level = results.stages, results.level(LEVEL)

    def curve(question: Question) -> Curve:
        found = tuple(
            answer(question, w, frequency, level=level, stages=stages)[0]
            for frequency, w in zip(grid, weights, strict=True)
        )
        return Curve(policy=question.policy, versus=question.versus, points=found)

    curves = [curve(question) for question in asked]

    def flips(paired: Sequence[Question], differences: Sequence[Curve]) -> tuple[Flips, ...]:
        refused = [[point.value is None for point in each.points] for each in differences]
        return tuple(flip_sets(paired, weights, grid, refused, stages=stages, level=level))

    differences = tuple(each for each in curves if each.versus is not None)
    rivals = rival_questions(asked)
    return Ranking(
        frequencies=grid,
        lane_blocking_per_100_h=tuple(frequency * design.lane_blocking_per_100_h for frequency in grid),
        curves=tuple(each for each in curves if each.versus is None),
        differences=differences,
        flips=flips([q for q in asked if q.versus is not None], differences),
        rivals=flips(rivals, [curve(question) for question in rivals]),
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


def flip_statement(flips: Flips, lane_blocking_per_100_h: float = math.nan) -> str:
    """Where a difference may change sign, by its simultaneous band, in a sentence.

    ``lane_blocking_per_100_h``  at multiplier 1, to say the same on that axis; nan leaves it out
    """
    rate = lane_blocking_per_100_h
    whole = _spans([(flips.frequencies[0], flips.frequencies[-1])], rate)
    if len(flips.refused) == len(flips.frequencies):
        return f"{flips.policy} against {flips.versus}: no estimate was given anywhere in the range"
    if flips.is_empty:
        better, other = (flips.policy, flips.versus) if flips.better else (flips.versus, flips.policy)
        return (
            f"the ranking does not flip {whole}: {better} has a smaller mean delay than {other} at every frequency, "
            "beyond doubt"
        )
    crossed = ", ".join(f"×{each:.3g}" for each in flips.crossings)
    near = f" (the estimates are equal at {crossed})" if flips.crossings else ""
    if flips.refused:
        near += f" (refused at {len(flips.refused)} of {len(flips.frequencies)} frequencies looked at)"
    if flips.shape == "everywhere":
        return (
            f"whether and where {flips.policy} and {flips.versus} change places {whole} these runs do not tell{near}: "
            "the band of their difference holds zero everywhere"
        )
    beyond = [end for end, reaches in (("below", flips.reaches_low), ("above", flips.reaches_high)) if reaches]
    open_end = f", and perhaps {' and '.join(beyond)} the range" if beyond else ""
    verb = "change places" if flips.better and flips.worse else "may change places"
    sides = ((flips.policy, flips.better), (flips.versus, flips.worse))
    sure = " and ".join(f"{name} is better {_spans(spans)}" for name, spans in sides if spans)
    return (
        f"{flips.policy} and {flips.versus} {verb} somewhere {_spans(flips.pieces, rate)}{near}{open_end}; "
        f"beyond doubt {sure}"
    )


def _spans(pieces: Sequence[tuple[float, float]], rate: float = math.nan) -> str:
    """Spans of multipliers, and the same as lane-blocking incidents per 100 peak hours where a rate is given."""

    def text(factor: float, sign: str) -> str:
        ends = [f"{sign}{low * factor:.3g} to {sign}{high * factor:.3g}" if low != high else f"{sign}{low * factor:.3g}"
                for low, high in pieces]  # fmt: skip
        return " or ".join(ends)

    said = f"from {text(1.0, '×')}" if any(low != high for low, high in pieces) else f"at {text(1.0, '×')}"
    return said + (f" ({text(rate, '')} lane-blocking incidents per 100 peak hours)" if math.isfinite(rate) else "")


def _sign(point: Estimate) -> int:
    if point.low is None or point.high is None:
        return 0
    return 1 if point.low > 0 else -1 if point.high < 0 else 0
