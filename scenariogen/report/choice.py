"""Which policies are left to choose from: those that no other is surely better than, at one frequency or over a range.

Where two differences say that a policy is surely better than a second, and that one than a third, the first is better
than the third as well, whatever their own difference says.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from scenariogen.evaluation.estimates import Estimate
from scenariogen.evaluation.frequency_spans import crossings
from scenariogen.evaluation.ranking import Ranking
from scenariogen.evaluation.simultaneous import Flips

Beaten = tuple[str, str]
"""A policy, and one that it is surely better than."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The policies at one frequency.

    ``values``  mean delay (veh h) less the first policy's, by policy; 0 for the first
    ``beaten``  with what follows from it
    """

    frequency: float | None
    values: dict[str, float]
    beaten: frozenset[Beaten] = field(repr=False)

    @property
    def left(self) -> tuple[str, ...]:
        """Policies that no other is surely better than."""
        worse = {name for _, name in self.beaten}
        return tuple(name for name in self.values if name not in worse)

    @property
    def leader(self) -> str:
        """The policy with the smallest estimate."""
        return min(self.values, key=lambda name: self.values[name])

    def better_than(self, policy: str) -> tuple[str, ...]:
        """What is left and surely better than a policy, the smallest estimate first."""
        found = [name for name in self.left if (name, policy) in self.beaten]
        return tuple(sorted(found, key=lambda name: self.values[name]))


def standing(first: str, differences: Sequence[Estimate], rivals: Sequence[Estimate], *, several: bool) -> Standing:
    """From the answered differences to the first policy at one frequency, and from those among the others.

    ``several``  more than one difference to the first was asked for
    """
    known = {each.policy for each in differences}
    signs = [(each.policy, first, each.sign(several=several)) for each in differences]
    signs += [
        (each.policy, each.versus, each.sign(several=len(rivals) > 1))
        for each in rivals
        if each.policy in known and each.versus in known
    ]
    return Standing(
        frequency=differences[0].frequency,
        values={first: 0.0, **{each.policy: each.value or 0.0 for each in differences}},
        beaten=_beaten(signs),
    )


def standings(ranking: Ranking, policies: Sequence[str]) -> list[Standing]:
    """At each frequency of the ranking at which all these policies, the first at their head, have an answer."""
    first, *others = policies
    with_first = [each for each in ranking.flips if each.policy in others]
    among = [each for each in ranking.rivals if each.policy in others and each.versus in others]
    found = []
    for i, frequency in enumerate(ranking.frequencies):
        values = {each.policy: value for each in with_first if (value := each.value[i]) is not None}
        if len(values) == len(others):
            signs = [(each.policy, each.versus, _sign(each, i)) for each in (*with_first, *among)]
            found.append(Standing(frequency=frequency, values={first: 0.0, **values}, beaten=_beaten(signs)))
    return found


@dataclass(frozen=True, kw_only=True)
class Reign:
    """Neighbouring frequencies with the same smallest estimate.

    ``until``  multiplier at which the next policy takes over, None for the last
    """

    leader: str
    standings: tuple[Standing, ...]
    until: float | None = None

    def sure_against(self, policies: Iterable[str]) -> tuple[str, ...]:
        """What is left where all of these are surely beaten; empty where they nowhere are."""
        rest = set(policies)
        names = [name for each in self.standings if not rest & set(each.left) for name in each.left]
        return tuple(dict.fromkeys(sorted(names, key=list(self.standings[0].values).index)))


def reigns(over: Sequence[Standing]) -> list[Reign]:
    """The range in parts, each with one leader."""
    parts = _runs(over, lambda each: each.leader)
    return [
        Reign(
            leader=part[0].leader,
            standings=part,
            until=None if following is None else _takeover(part[-1], following[0]),
        )
        for part, following in zip_longest(parts, parts[1:])
    ]


def elsewhere(over: Sequence[Standing], is_other: Callable[[Standing], bool]) -> list[tuple[Standing, ...]]:
    """The parts of the range in which something else holds."""
    return [part for part in _runs(over, is_other) if is_other(part[0])]


def _runs(over: Sequence[Standing], key: Callable[[Standing], object]) -> list[tuple[Standing, ...]]:
    parts: list[list[Standing]] = []
    for each in over:
        if parts and key(parts[-1][-1]) == key(each):
            parts[-1].append(each)
        else:
            parts.append([each])
    return [tuple(part) for part in parts]


def _takeover(before: Standing, after: Standing) -> float:
    """The multiplier at which the next leader's estimate gets smaller than the last one's."""
    difference = [each.values[before.leader] - each.values[after.leader] for each in (before, after)]
    return crossings([before.frequency or 0.0, after.frequency or 0.0], np.array(difference))[0]


def _beaten(signs: Iterable[tuple[str, str, int]]) -> frozenset[Beaten]:
    """Who is surely better than whom, from the signs of differences (policy, versus, sign), and what follows."""
    found = {(one, other) if sign < 0 else (other, one) for one, other, sign in signs if sign}
    names = {name for pair in found for name in pair}
    for middle in names:
        found |= {(one, other) for one in names for other in names if {(one, middle), (middle, other)} <= found}
    return frozenset(found)


def _sign(flips: Flips, i: int) -> int:
    low, high = flips.low[i], flips.high[i]
    return 1 if low is not None and low > 0 else -1 if high is not None and high < 0 else 0
