"""How many vehicles a lane discharges when a queue feeds it, and whether a queue stands on a stretch of road.

Newell (2002), *A simplified car-following theory: a lower order model*: a vehicle that follows another at speed v
keeps the spacing ``jam spacing + reaction time · v``. Hence a saturated lane discharges

    q(v) = v / (jam spacing + reaction time · v),

and the road that vehicles claim, Σ (jam spacing + reaction time · v_i), is the whole road in a queue, whether it
stands, creeps or moves, and less in traffic that flows freely.
"""

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.trajectories.tracks import Tracks


def saturation_veh_h(speed_mps: float, settings: DetectSettings) -> float:
    """Vehicles an hour and lane at saturation, at the speed that the road allows.

    >>> round(saturation_veh_h(50 / 3.6, DetectSettings()))
    1765
    """
    return 3600 * speed_mps / (settings.jam_spacing_m + settings.reaction_s * speed_mps)


def claimed_m(
    tracks: Tracks, rows: np.ndarray, *, begin_s: float, end_s: float, settings: DetectSettings
) -> np.ndarray:
    """Metres of lane that the vehicles of ``rows`` claim at each sampled second of a span (its ``grid``)."""
    count = grid_size(tracks, begin_s, end_s)
    slot = np.floor((tracks.time_s[rows] - begin_s) / tracks.period_s + 1e-6).astype(int)
    inside = (slot >= 0) & (slot < count)
    speed = np.maximum(tracks.speed_mps[rows[inside]], 0.0).astype(float)
    claim = settings.jam_spacing_m + settings.reaction_s * speed
    return np.bincount(slot[inside], weights=claim, minlength=count)


def mean_speed_mps(claims_m: np.ndarray, present: np.ndarray, settings: DetectSettings) -> np.ndarray:
    """Mean speed of so many vehicles that claim so much road; not a number where nobody is."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (claims_m / present - settings.jam_spacing_m) / settings.reaction_s


def vehicles_present(tracks: Tracks, rows: np.ndarray, *, begin_s: float, end_s: float) -> np.ndarray:
    """Number of vehicles among ``rows`` at each sampled second of a span."""
    count = grid_size(tracks, begin_s, end_s)
    slot = np.floor((tracks.time_s[rows] - begin_s) / tracks.period_s + 1e-6).astype(int)
    return np.bincount(slot[(slot >= 0) & (slot < count)], minlength=count).astype(float)


def grid_size(tracks: Tracks, begin_s: float, end_s: float) -> int:
    """Number of sampling periods in a span."""
    return max(1, int(np.floor((end_s - begin_s) / tracks.period_s + 1e-6)))


def stretch_rows(tracks: Tracks, edge: int, lanes: tuple[int, ...], low_m: float, high_m: float) -> np.ndarray:
    """Row numbers on some lanes of an edge between two positions."""
    rows = tracks.on_edge(edge)
    position_m = tracks.position_m[rows]
    return rows[(position_m > low_m) & (position_m <= high_m) & np.isin(tracks.lane[rows], lanes)]


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Centred moving average; at the ends over what there is."""
    if width <= 1 or len(values) == 0:
        return values.astype(float)
    kernel = np.ones(min(width, len(values)))
    sums = np.convolve(values, kernel, mode="same")
    return sums / np.convolve(np.ones(len(values)), kernel, mode="same")
