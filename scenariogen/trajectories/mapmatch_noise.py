"""How noisy are the coordinates? Told from how far the rows lie from the lanes that they are matched to.

Across a road the noise of a coordinate is that of the distance to the lane, a folded normal: 90 % of it lie within
1.645 σ. The first guess takes the nearest lane of any edge, which is often not the one driven on and so makes σ too
small; it is mended by matching a sample with it and taking the distances to the matched edges, three times over.
(Newson and Krumm 2009 use 1.4826 times the median of such distances; between lanes side by side the median hardly grows
with the noise, the upper tenth does. Even so the estimate stays 10 to 25 % too low where roads have several lanes.)
"""

import numpy as np

from scenariogen.mapgeometry import LaneIndex
from scenariogen.trajectories.mapmatch_routes import RouteLengths
from scenariogen.trajectories.mapmatch_tracks import match_tracks
from scenariogen.trajectories.mapmatch_viterbi import Points

SAMPLE_ROWS = 20_000
REACH_M = 50.0
SHARE = 0.9
SIGMAS_OF_SHARE = 1.645
"""A normal lies within so many standard deviations with probability 0.9."""
ROUNDS = 3
LEAST_NOISE_M = 2.0
"""Even without noise a vehicle leaves the middle of its lane, and maps are not better than this."""
MOST_NOISE_M = 20.0


def estimate_noise_m(points: Points, index: LaneIndex, routes: RouteLengths) -> float:
    """Standard deviation of a coordinate (m), between 2 and 20, from a sample of whole tracks."""
    starts = points.starts
    tracks = len(starts) - 1
    some = np.linspace(0, tracks - 1, min(tracks, max(1, SAMPLE_ROWS * tracks // max(len(points.track), 1)))).astype(
        int
    )
    _, number = np.unique(some, return_inverse=True)
    lengths = np.minimum(np.diff(starts)[some], SAMPLE_ROWS)
    track = np.repeat(number, lengths)
    rows = np.repeat(starts[some] - np.cumsum(lengths) + lengths, lengths) + np.arange(len(track))
    sample = Points(track=track, x_m=points.x_m[rows], y_m=points.y_m[rows])
    near = index.near(sample.x_m, sample.y_m, reach_m=REACH_M, most=1)
    sigma_m = _sigma_m(near.places.distance_m)
    for _ in range(ROUNDS):
        found = match_tracks(sample, index, routes, sigma_m=sigma_m)
        sigma_m = max(sigma_m, _sigma_m(found.distance_m[(found.edge >= 0) & (found.junction < 0)]))
    return sigma_m


def _sigma_m(distance_m: np.ndarray) -> float:
    if not len(distance_m):
        return LEAST_NOISE_M
    return float(np.clip(np.quantile(distance_m, SHARE) / SIGMAS_OF_SHARE, LEAST_NOISE_M, MOST_NOISE_M))
