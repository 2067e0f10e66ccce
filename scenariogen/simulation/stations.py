"""Measuring stations: loops across the lanes of a road that say once a minute how many vehicles passed and how long
they covered the loop, as those that control rooms have.

A loop of SUMO (E1) has no length: the share of the time that it is covered is the share of its lane that vehicles
cover. Flow is the count; density is the covered share over the mean length of a vehicle, also where nobody moves.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np

from scenariogen.errors import SimulationError

if TYPE_CHECKING:
    from scenariogen.simulation.contract import Run
    from scenariogen.simulation.outages import FallibleDetectors
    from scenariogen.simulation.roadside import DetectorOptions

INTERVAL_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Station:
    """One loop for each of some lanes, ``position_m`` from the start of their edge."""

    lanes: tuple[str, ...]
    position_m: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Measures:
    """What stations said of one interval, shape ``(station,)``, all lanes together.

    Not a number where the loop of one of the lanes gives no data: what passed beside it is not what passed.

    ``end_s``       simulation second at which the interval ended
    ``vehicles``    vehicles that passed
    ``covered``     share of the time for which loops were covered, added up over the lanes
    ``passing_mps``  mean speed of those that passed; not a number without any
    """

    end_s: float
    vehicles: np.ndarray
    covered: np.ndarray
    passing_mps: np.ndarray


class StationReader:
    """Reads the stations of a run, whose request must name their loops: ``update`` after every step.

    ``options``    how late and how wrong they tell it; None: at once and rightly
    ``detectors``  which lanes are out of order; None: none ever is
    """

    def __init__(
        self,
        run: "Run",
        stations: Sequence[Station],
        *,
        options: "DetectorOptions | None" = None,
        detectors: "FallibleDetectors | None" = None,
    ) -> None:
        if run.request.stations != tuple(stations) or run.connection is None:
            raise SimulationError(
                f"{len(stations)} stations are to be read, but the run has {len(run.request.stations)} or others: "
                "expected a run of SUMO that was opened with RunRequest(stations=...)"
            )
        self._run, self._options, self._detectors = run, options, detectors
        self._loops = run.connection.inductionloop
        self._lanes = lanes_of(stations)
        self._ids = [
            loop_id(number, lane) for number, station in enumerate(stations) for lane in range(len(station.lanes))
        ]
        self._of = np.repeat(np.arange(len(stations)), [len(station.lanes) for station in stations])
        self._size = len(stations)
        self._begin_s = run.request.window.begin_s
        self._read = 0
        self._last = np.full((3, len(self._ids)), np.nan)
        self._on_the_way: deque[Measures] = deque()

    def update(self) -> Measures | None:
        """The measures of an interval, in the first step in which they are there; None in all other steps."""
        ended = int((self._run.time_s - self._begin_s) / INTERVAL_S + 1e-6)
        if ended > self._read:
            self._read = ended
            self._on_the_way.append(self._measured(self._begin_s + ended * INTERVAL_S))
        lag_s = 0.0 if self._options is None else self._options.lag_s
        if not self._on_the_way or self._run.time_s < self._on_the_way[0].end_s + lag_s - 1e-6:
            return None
        return self._on_the_way.popleft()

    def _measured(self, end_s: float) -> Measures:
        loops = self._loops
        told = np.array(
            [
                [loops.getLastIntervalVehicleNumber(name) for name in self._ids],
                [loops.getLastIntervalOccupancy(name) / 100 for name in self._ids],
                [loops.getLastIntervalMeanSpeed(name) for name in self._ids],
            ],
            dtype=float,
        )
        vehicles, covered, speed = self._as_told(told, end_s)
        passed = self._added(vehicles)
        way = self._added(vehicles * np.maximum(speed, 0.0))  # negative where nobody passed
        with np.errstate(invalid="ignore", divide="ignore"):
            passing = np.where(passed > 0, way / passed, np.nan)
        return Measures(end_s=end_s, vehicles=passed, covered=self._added(covered), passing_mps=passing)

    def _as_told(self, told: np.ndarray, end_s: float) -> np.ndarray:
        """What reaches the control room of (count, covered share, speed) by loop: with errors, held, or not at all."""
        if self._options is not None and self._options.error:
            seed, when = self._run.request.seed, f"{end_s:.3f}"
            for row, what in enumerate(("station flow", "station occupancy", "station speed")):
                told[row] *= [self._options.factor(seed, what, lane, when) for lane in self._lanes]
            told[1] = np.minimum(told[1], 1.0)
        if self._detectors is not None:
            silent = np.array([not self._detectors.has_data(lane) for lane in self._lanes], dtype=bool)
            held = np.array([self._detectors.repeats(lane) for lane in self._lanes], dtype=bool)
            self._last = np.where(silent | held, self._last, told)
            told = np.where(silent, np.nan, self._last)
        return told

    def _added(self, by_loop: np.ndarray) -> np.ndarray:
        return np.bincount(self._of, weights=by_loop, minlength=self._size)


def lanes_of(stations: Iterable[Station]) -> tuple[str, ...]:
    """All lanes with a loop."""
    return tuple(lane for station in stations for lane in station.lanes)


def loop_id(station: int, lane: int) -> str:
    """Id of one loop, by the numbers of its station and of its lane within the station."""
    return f"scenariogen-station-{station}-{lane}"


def station_elements(stations: Sequence[Station]) -> list[str]:
    """The loops as elements of an additional file."""
    return [
        f'    <inductionLoop id="{loop_id(number, place)}" lane={quoteattr(lane)} pos="{station.position_m:.2f}" '
        f'period="{INTERVAL_S:g}" friendlyPos="true" file="NUL"/>'
        for number, station in enumerate(stations)
        for place, lane in enumerate(station.lanes)
    ]
