"""Incident logs simulated from a known truth on the two-edge network: what was reported, and what was kept from it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scenariogen.incidents.priors import RATE_PER_KM, kind_shares
from scenariogen.incidents.record_settings import RecordSettings
from scenariogen.incidents.recorded import RecordedIncidents, use_records
from scenariogen.incidents.records import KINDS
from scenariogen.network import RoadNetwork
from tests.model.small import WINDOW, exposure_of

ZONE = "Europe/Berlin"
MONDAY = np.datetime64("2024-01-01", "us")
COLUMNS = (
    "kind", "kind_text", "is_planned", "start", "end_is", "duration_s", "duration_is_censored", "lanes_total",
    "lanes_closed", "lanes_side", "shoulder_only", "full_closure", "edge", "position_m", "location_confidence",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Rates as a factor on the published ones, shares of the number of blocked lanes, and lognormal durations."""

    factor: float = 1.5
    lanes: tuple[float, ...] = (0.5, 0.3, 0.15, 0.05)
    log_median_s: float = float(np.log(45 * 60))
    log_sd: float = 0.6

    def draw_durations(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Seconds."""
        return np.exp(self.log_median_s + self.log_sd * generator.standard_normal(count))


def events(rows: list[dict]) -> pd.DataFrame:
    """An event table from its more important cells; ``start`` is local, as datetime64 or text."""
    plain = {
        "kind": "crash", "kind_text": "crash", "is_planned": False, "end_is": "unknown", "duration_s": np.nan,
        "duration_is_censored": True, "lanes_total": None, "lanes_closed": None, "lanes_side": "",
        "shoulder_only": False, "full_closure": False, "edge": "first", "position_m": 100.0,
        "location_confidence": 0.9,
    }  # fmt: skip
    table = pd.DataFrame([{**plain, **row} for row in rows], columns=list(COLUMNS))
    local = pd.DatetimeIndex(pd.to_datetime(table["start"]))
    table["start"] = local.tz_localize(ZONE).tz_convert("UTC")
    return table


def simulated(
    network: RoadNetwork,
    truth: Truth,
    *,
    days: int,
    seed: int,
    kilometres: float = 4e4,
    lost_after_s: float = np.inf,
    silent_share: float = 0.0,
    taken_s: float | None = None,
    closed_only: bool = False,
    least_s: float = 0.0,
) -> pd.DataFrame:
    """A log of ``days`` days from Monday, 1 January 2024; clock time 0 is SUMO's second 0.

    ``lost_after_s``  mean time after which an incident is lost sight of: its record stays open
    ``silent_share``  of the records say nothing of lanes
    ``taken_s``       second of the last day at which the log is taken; later starts are not in it, and what is not
                      over by then is open, or missing where it is ``closed_only``
    ``least_s``       shorter incidents are not in it
    """
    generator = np.random.default_rng(seed)
    exposure = exposure_of(network, kilometres=kilometres)
    rate = truth.factor * np.array([RATE_PER_KM[edge.road_class] for edge in network.edges.values()])
    mean = exposure.vehicle_km[..., None] * rate[:, None, None] * np.array(kind_shares())
    rows = []
    for day in range(days):
        for edge, cell, kind in zip(*np.nonzero(counts := generator.poisson(mean)), strict=True):
            for _ in range(counts[edge, cell, kind]):
                begin, end = exposure.cell_edges_s[cell : cell + 2]
                rows.append((day, edge, generator.uniform(begin, end), kind))
    durations = truth.draw_durations(len(rows), generator)
    found = []
    for (day, edge, start_s, kind), duration in zip(rows, durations, strict=True):
        left_s = np.inf if taken_s is None else (days - 1 - day) * 86_400 + taken_s - start_s
        over = duration <= left_s
        if left_s <= 0 or duration < least_s or (closed_only and not over):
            continue
        seen_s = left_s if np.isinf(lost_after_s) else min(left_s, generator.exponential(lost_after_s))
        said, is_open = min(duration, seen_s), seen_s < duration
        found.append(
            {
                "kind": KINDS[kind].value,
                "start": MONDAY + np.timedelta64(round((day * 86_400 + start_s) * 1e6), "us"),
                "end_is": "last_update" if is_open else "observed",
                "duration_s": said,
                "duration_is_censored": is_open,
                "edge": network.edge_ids[edge],
                **_lanes(len(network.edges[network.edge_ids[edge]].driving_lanes), truth, silent_share, generator),
            }
        )
    return events(found)


def _lanes(driving: int, truth: Truth, silent_share: float, generator: np.random.Generator) -> dict:
    shares = np.array(truth.lanes[: driving + 1])
    blocked = int(generator.choice(len(shares), p=shares / shares.sum()))
    if generator.random() < silent_share:
        return {}
    return {"lanes_total": driving, "lanes_closed": np.eye(driving + 1)[blocked].tolist()}


def used(table: pd.DataFrame, network: RoadNetwork, **settings) -> RecordedIncidents:
    """What a fit takes of a log that covers all its days."""
    settings = {"time_zone": ZONE, "day_type": "all", "repeat_s": 0.0, "since": "2024-01-01", **settings}
    return use_records(table, network, WINDOW, RecordSettings(**settings))
