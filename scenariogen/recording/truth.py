"""The true incident process of a recording: how often which incident happens where and when.

Base rates are the published ones (:mod:`scenariogen.incidents.priors`), exposure is vehicle-kilometres. On top lies
structure that a fit has to find by itself. With edge e, time cell b and kind k the expected incidents of a day are

    Λ_ebk = vehicle-km_eb · RATE_PER_KM[class] · CLASS_FACTOR[class] · share_k · F_e^SENSITIVITY[k] · T_b,

    F_e = MERGE^[e has several predecessors] · (1 + SHORT · exp(−length / SHORT_LENGTH_M)) · exp(DROP · d_e)
          · exp(MERGE_DROP · d_e · [several predecessors]) · WIDE_FAST^[three lanes or more, and fast],

where d_e = max(0, 1 − lowest limit of a successor / limit of e) is the speed drop ahead, and T_b varies with the time
within the span in which incidents start, with mean 1. MERGE_DROP and WIDE_FAST are interactions: neither feature
alone has their effect. All figures are choices, none is published: they are what is to be recovered.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from scenariogen.errors import ProjectError
from scenariogen.incidents.priors import RATE_PER_KM, kind_shares
from scenariogen.incidents.records import KINDS, Incident, IncidentKind
from scenariogen.network import Edge, RoadClass, RoadNetwork
from scenariogen.randomness import child_seed
from scenariogen.recording.marks import blocking_share, draw_incident
from scenariogen.window import StudyWindow

CELL_S = 300.0
CLASS_FACTOR: dict[RoadClass, float] = {RoadClass.MOTORWAY: 1.15, RoadClass.RAMP: 1.30, RoadClass.STREET: 0.85}
MERGE = 1.7
SHORT = 0.8
SHORT_LENGTH_M = 120.0
DROP = 1.2
MERGE_DROP = 1.5
WIDE_LANES = 3
FAST_MPS = 19.0
WIDE_FAST = 1.6
SENSITIVITY: dict[IncidentKind, float] = {
    IncidentKind.CRASH: 1.0,
    IncidentKind.BREAKDOWN: 0.25,
    IncidentKind.OBSTRUCTION: 0.5,
}
"""How far a kind follows the road's risk: breakdowns go mostly with exposure."""
PEAK_AT = 0.6
"""Place of the daily peak within the span in which incidents start, 0 to 1."""
PEAK_STRENGTH = 0.5


def speed_drop(edge: Edge, network: RoadNetwork) -> float:
    """Share of its speed limit that an edge loses at its end, at worst; 0 where none of its successors is slower."""
    after = [network.edges[name].speed_mps for name in edge.successors if name in network.edges]
    return max(0.0, 1 - min(after) / edge.speed_mps) if after and edge.speed_mps > 0 else 0.0


def risk_factor(edge: Edge, network: RoadNetwork) -> float:
    """F_e: what the shape of the road does to the rate of incidents that follow it fully."""
    merges = len(edge.predecessors) >= 2
    drop = speed_drop(edge, network)
    wide_and_fast = len(edge.driving_lanes) >= WIDE_LANES and edge.speed_mps >= FAST_MPS
    return (
        (MERGE if merges else 1.0)
        * (1 + SHORT * math.exp(-edge.length_m / SHORT_LENGTH_M))
        * math.exp((DROP + (MERGE_DROP if merges else 0.0)) * drop)
        * (WIDE_FAST if wide_and_fast else 1.0)
    )


def time_factor(share: np.ndarray) -> np.ndarray:
    """T at a place within the span in which incidents start (0 to 1); its mean over the span is 1."""
    return np.exp(PEAK_STRENGTH * np.cos(2 * math.pi * (share - PEAK_AT))) / np.i0(PEAK_STRENGTH)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueProcess:
    """The incident process of one project's recordings.

    ``vehicle_km``  of a day at demand scale 1 without incidents, shape (edge, cell): edges in the network's order,
                    cells of ``cell_s`` from ``window.count_from_s``, the last one cut at ``incidents_until_s``
    """

    network: RoadNetwork
    window: StudyWindow
    vehicle_km: np.ndarray = field(repr=False)
    cell_s: float = CELL_S

    def __post_init__(self) -> None:
        shape = (len(self.network.edge_ids), len(self.borders_s) - 1)
        if self.vehicle_km.shape != shape:
            raise ValueError(f"vehicle_km has shape {self.vehicle_km.shape}, expected {shape} for (edge, cell)")
        if not (np.isfinite(self.vehicle_km).all() and (self.vehicle_km >= 0).all()):
            raise ValueError("vehicle_km holds negative numbers or none at all, expected kilometres of at least 0")

    @classmethod
    def from_run(
        cls, network: RoadNetwork, window: StudyWindow, vehicle_km: Mapping[str, np.ndarray], *, cell_s: float = CELL_S
    ) -> "TrueProcess":
        """From vehicle-kilometres by edge id in cells of ``cell_s`` counted from ``window.begin_s``.

        Kilometres are taken as evenly spread within a cell. Raises ``ProjectError`` where nobody drove.
        """
        borders = cell_borders_s(window, cell_s)
        table = np.zeros((len(network.edge_ids), len(borders) - 1))
        for name, kilometres in vehicle_km.items():
            edge = network.edges.get(name)
            if edge is None or not edge.driving_lanes:
                continue
            times = window.begin_s + cell_s * np.arange(len(kilometres) + 1)
            table[network.edge_index[name]] = np.diff(np.interp(borders, times, np.r_[0.0, np.cumsum(kilometres)]))
        if not table.any():
            raise ProjectError(
                f"no vehicle drives on {network.path.name} while incidents may start ({window}): nothing can happen"
            )
        return cls(network=network, window=window, vehicle_km=table, cell_s=cell_s)

    @property
    def borders_s(self) -> np.ndarray:
        """Borders of the time cells, simulation seconds; ``cell`` + 1 numbers."""
        return cell_borders_s(self.window, self.cell_s)

    def rates(self) -> np.ndarray:
        """Expected incidents of a day at intensity 1 and demand scale 1, shape (edge, cell, kind)."""
        return self._rates.copy()

    @cached_property
    def _rates(self) -> np.ndarray:
        edges = list(self.network.edges.values())
        base = np.array([RATE_PER_KM[edge.road_class] * CLASS_FACTOR[edge.road_class] for edge in edges])
        risk = np.array([risk_factor(edge, self.network) for edge in edges])
        drivable = np.array([bool(edge.driving_lanes) for edge in edges])
        by_kind = np.stack(
            [share * risk ** SENSITIVITY[kind] for kind, share in zip(KINDS, kind_shares(), strict=True)], axis=-1
        )
        middles = (self.borders_s[:-1] + self.borders_s[1:]) / 2
        times = time_factor((middles - self.window.count_from_s) / self.window.start_span_s)
        return (self.vehicle_km * (base * drivable)[:, None] * times)[:, :, None] * by_kind[:, None, :]

    @property
    def incidents_per_day(self) -> float:
        """Expected incidents of a day at intensity 1 and demand scale 1."""
        return float(self._rates.sum())

    @cached_property
    def lane_blocking_per_day(self) -> float:
        """The same, only those that block a lane."""
        shares = np.array(
            [
                [blocking_share(len(edge.driving_lanes), kind) if edge.driving_lanes else 0.0 for kind in KINDS]
                for edge in self.network.edges.values()
            ]
        )
        return float((self._rates.sum(axis=1) * shares).sum())

    def draw(self, seed: int, day: int, *, intensity: float = 1.0, demand_scale: float = 1.0) -> tuple[Incident, ...]:
        """The incidents of one day, by start. They depend on the arguments alone, not on days drawn before."""
        random = np.random.default_rng(child_seed(seed, "truth", day))
        total = np.cumsum(self._rates.ravel())
        count = random.poisson(total[-1] * intensity * demand_scale)
        found = []
        for place in np.searchsorted(total, random.random(count) * total[-1], side="right"):
            edge, cell, kind = np.unravel_index(min(int(place), len(total) - 1), self._rates.shape)
            low, high = self.borders_s[cell], self.borders_s[cell + 1]
            start_s = float(low + random.random() * (high - low))
            found.append(draw_incident(random, self.network.edges[self.network.edge_ids[edge]], KINDS[kind], start_s))
        return tuple(sorted(found, key=lambda incident: (incident.start_s, incident.edge)))


def cell_borders_s(window: StudyWindow, cell_s: float) -> np.ndarray:
    """Borders of cells over the span in which incidents may start; the last cell may be shorter."""
    count = max(1, math.ceil(window.start_span_s / cell_s - 1e-9))
    borders = window.count_from_s + cell_s * np.arange(count + 1)
    borders[-1] = window.incidents_until_s
    return borders
