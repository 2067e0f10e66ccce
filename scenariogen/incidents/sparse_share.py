"""Which share of all vehicles a set of trajectories holds, where nobody says it.

Behind a red light vehicles stand bumper to bumper. Of a vehicle that stands ``d`` metres from the line, the place says
how many stand before it, ``d`` over the jam spacing; how many of them are in the data says the share. Comert and Cetin
(2009), *Queue length estimation from probe vehicle location and the impacts of sample size*, turn the same relation
around. Only vehicles that go on standing until the wave of starting vehicles would have reached them (Newell, 2002: at
jam spacing over reaction time) are asked: before others some may have left already.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.errors import DataError
from scenariogen.incidents.detect_settings import DetectSettings

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

EVERY_S = 97.0
"""Queues are looked at so often: about once a cycle, so that none is counted many times, and never in step with one
(cycles are multiples of 5 s)."""
LEAST_AHEAD = 100.0
"""Vehicles that must have stood ahead in all; fewer leave an error of more than a third at a share of 10 %."""
LEAST_NEIGHBOURS = 20.0
"""With fewer gaps that are those of neighbours, their spacing is not read off the data; the setting's is taken."""
SPACING_ERROR = 0.25
"""Relative error that this leaves: vehicles of other lengths (seen: 30 % more of them in a queue than expected)."""
STEPS = 8
"""Share and spacing follow from each other; they settle within a few rounds."""
FARTHEST_M = 120.0
"""Farther from the line, a vehicle may stand for another reason."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share between 0 and 1 with its standard error, and the number of vehicles ahead that it rests on."""

    value: float
    standard_error: float
    ahead: float


def estimate_share(days: "Iterable[Tracks]", network: "RoadNetwork", settings: DetectSettings) -> Share:
    """Share of vehicles seen, from the queues at signals.

    Raises ``DataError`` where too few vehicles stand at signals to tell, as on a motorway.
    """
    seen, lasts_m, gaps_m = 0, [], []
    wave_mps = settings.jam_spacing_m / settings.reaction_s
    for tracks in days:
        stays_s = _stays_s(tracks, settings)
        slot = np.floor((tracks.time_s - tracks.begin_s) / EVERY_S)
        at_slot = tracks.time_s - tracks.begin_s - slot * EVERY_S < tracks.period_s - 1e-6
        for number, name in enumerate(network.edge_ids):
            edge = network.edges[name]
            if not edge.signalised:
                continue
            rows = tracks.on_edge(number)
            rows = rows[(tracks.speed_mps[rows] < settings.standing_mps) & at_slot[rows]]
            to_line_m = edge.length_m - tracks.position_m[rows].astype(float)
            stays = (to_line_m < FARTHEST_M) & (stays_s[rows] >= to_line_m / wave_mps)
            queue = slot[rows].astype(int) * 64 + tracks.lane[rows]
            for one in np.unique(queue[stays]):
                last_m = float(to_line_m[stays & (queue == one)].max())
                places = np.sort(to_line_m[(queue == one) & (to_line_m <= last_m)])
                lasts_m.append(last_m)
                seen += len(places) - 1
                gaps_m.append(np.diff(places))
    gaps = np.concatenate(gaps_m) if gaps_m else np.empty(0)
    gaps = gaps[gaps > 1.0]  # less than a vehicle's length: beside each other in one lane
    spacing_m = settings.jam_spacing_m
    ahead = float(np.floor(np.array(lasts_m) / spacing_m).sum())
    for _ in range(STEPS):
        if ahead < LEAST_AHEAD or seen * seen / ahead < LEAST_NEIGHBOURS:
            break
        # A share p of the gaps between vehicles that were seen has nobody unseen in it; its middle is the spacing.
        spacing_m = float(np.quantile(gaps, min(1.0, seen / ahead) / 2))
        ahead = float(np.floor(np.array(lasts_m) / spacing_m).sum())
    if ahead < LEAST_AHEAD:
        raise DataError(
            f"the share of vehicles in these trajectories cannot be told: only {ahead:.0f} vehicles stood before "
            f"others at signals, expected {LEAST_AHEAD:.0f} or more; give the share, for example share=0.1"
        )
    value = float(np.clip(seen / ahead, 1.0 / ahead, 1.0))
    chance = np.sqrt(value * max(1.0 - value, 0.05) / ahead)
    assumed = 0.0 if seen * seen / ahead >= LEAST_NEIGHBOURS else value * SPACING_ERROR
    return Share(value=value, standard_error=float(np.hypot(chance, assumed)), ahead=ahead)


def _stays_s(tracks: "Tracks", settings: DetectSettings) -> np.ndarray:
    """For each row how much longer its vehicle goes on standing."""
    still = tracks.speed_mps < settings.standing_mps
    goes_on = np.r_[still[1:] & still[:-1] & tracks.follows[1:], False]
    ends = np.flatnonzero(~goes_on)
    last = ends[np.searchsorted(ends, np.arange(len(still)))]
    return tracks.time_s[last] - tracks.time_s
