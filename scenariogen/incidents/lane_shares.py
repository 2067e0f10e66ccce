"""Which lanes are blocked, told by who passes on which lane.

Past a blocked lane vehicles keep to the others. With ``n`` of them seen, lane by lane, during an incident, and the
split between lanes known from other times, each set of adjacent lanes has a likelihood: vehicles choose among lanes
independently (a multinomial), the open ones in the usual proportions or evenly, the blocked ones as rarely as the
place of the count allows. Where the edge as a whole is counted, lanes are in use up to the blockage, so how rarely is
left open.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scenariogen.network import Edge

MOST_COUNTED = 40.0
"""Vehicles follow each other in their choice of lane: more of them than this say no more than so many would."""
STILL_USED = (0.03, 0.2, 0.5)
"""Flow of a blocked lane over its usual one: at the place itself, and averaged over the edge."""


def lane_chances(
    edge: "Edge", usual: np.ndarray, seen: np.ndarray, counts: dict[int, float]
) -> dict[tuple[int, ...], float]:
    """Probability of each set of blocked lanes of an edge, none included.

    ``usual``   vehicles on each driving lane at other times, in any unit
    ``seen``    vehicles on each during the incident
    ``counts``  probability of each number of blocked lanes beforehand
    """
    driving = edge.driving_lanes
    lanes = len(driving)
    even = np.full(lanes, 1.0 / lanes)
    split = 0.5 * even + 0.5 * (usual / usual.sum() if usual.sum() > 0 else even)
    weight = seen * min(1.0, MOST_COUNTED / max(float(seen.sum()), 1e-9))
    score = {}
    for count, chance in counts.items():
        places = max(1, lanes - count + 1) if count else 1
        for first in range(places):
            inside = np.zeros(lanes, dtype=bool)
            inside[first : first + count] = True
            fits = [_loglik(split, weight, inside, used) for used in (STILL_USED if 0 < count < lanes else (1.0,))]
            score[tuple(driving[first : first + count])] = float(np.log(max(chance, 1e-12) / places) + max(fits))
    top = max(score.values())
    total = sum(np.exp(value - top) for value in score.values())
    return {lanes: float(np.exp(value - top) / total) for lanes, value in score.items()}


def _loglik(split: np.ndarray, seen: np.ndarray, inside: np.ndarray, used: float) -> float:
    expected = np.where(inside, used * split, split)
    return float((seen * np.log(expected / expected.sum())).sum())


def number_chances(chances: dict[tuple[int, ...], float]) -> dict[int, float]:
    """Probability of each number of blocked lanes."""
    numbers: dict[int, float] = {}
    for lanes, chance in chances.items():
        numbers[len(lanes)] = numbers.get(len(lanes), 0.0) + chance
    return numbers
