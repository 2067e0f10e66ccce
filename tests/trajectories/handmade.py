"""Hand-made roads and traffic: three edges in a row, and files of vehicles that obey Newell's rule exactly.

A vehicle drives at the limit, and never closer to the one before it than where that one was ``REACTION_S`` ago less
``JAM_M``. A queue then discharges v / (JAM_M + REACTION_S v) vehicles a second at speed v, which the tests rely on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from scenariogen.network import Edge, Lane, RoadClass, RoadNetwork
from scenariogen.trajectories import columns
from scenariogen.trajectories.records import Trajectories, open_trajectories

LENGTH_M = 500.0
LIMIT_MPS = 14.0
JAM_M = 7.5
REACTION_S = 1.5
STEP_S = 0.5
NAMES = ("before", "here", "after")


def road(lanes: int = 1, *, signal: bool = False, lengths_m: Sequence[float] = (LENGTH_M,) * 3) -> RoadNetwork:
    """Edges ``before``, ``here`` and ``after`` in a row; with ``signal`` a traffic light ends ``here``."""
    starts = np.r_[0.0, np.cumsum(lengths_m)]
    edges = {}
    for number, name in enumerate(NAMES):
        low, high = float(starts[number]), float(starts[number + 1])
        edges[name] = Edge(
            id=name,
            from_junction=f"n{number}",
            to_junction=f"n{number + 1}",
            length_m=high - low,
            speed_mps=LIMIT_MPS,
            road_class=RoadClass.STREET,
            signalised=signal and name == "here",
            lanes=tuple(
                Lane(
                    id=f"{name}_{lane}",
                    index=lane,
                    length_m=high - low,
                    speed_mps=LIMIT_MPS,
                    width_m=3.2,
                    drives=True,
                    shape=((low, 3.2 * lane), (high, 3.2 * lane)),
                )
                for lane in range(lanes)
            ),
            successors=NAMES[number + 1 : number + 2],
            predecessors=NAMES[max(0, number - 1) : number],
            turn_angles=(0.0,) * (number < 2),
        )
    links = {
        f"{name}_{lane}": (f"{NAMES[number + 1]}_{lane}",) if number < 2 else ()
        for number, name in enumerate(NAMES)
        for lane in range(lanes)
    }
    return RoadNetwork(path=Path("road.net.xml"), sha256="0" * 64, edges=edges, lane_links=links, signals={})


@dataclass
class Traffic:
    """Collects vehicles; ``rows`` are (time, vehicle, lane, metres from the start of ``before``, speed)."""

    end_s: float = 1800.0
    period_s: float = 2.0
    lengths_m: tuple[float, float, float] = (LENGTH_M,) * 3
    parts: list[pd.DataFrame] = field(default_factory=list)
    count: int = 0

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def stand(self, lane: int, at_m: float, begin_s: float, end_s: float, name: str | None = None) -> None:
        """One vehicle that stands at one place and is gone afterwards."""
        times = np.arange(np.ceil(begin_s / self.period_s) * self.period_s, end_s + 1e-9, self.period_s)
        times = times[times <= self.end_s]
        self._add(times, name or self.name(), lane, np.full(len(times), at_m), np.zeros(len(times)))

    def file(
        self,
        lane: int,
        arrivals_s: Sequence[float],
        *,
        holds: Sequence[tuple[float, float, float]] = (),
        slow: Sequence[tuple[float, float, float, float, float]] = (),
        stops: dict[int, tuple[float, float]] | None = None,
    ) -> None:
        """Vehicles one behind the other on one lane.

        ``holds``  (metre, from, to): nobody crosses that metre between these seconds
        ``slow``   (from metre, to metre, speed, from, to): at most that speed there and then
        ``stops``  vehicle number -> (metre, seconds): it stops there for so long
        """
        steps = int(self.end_s / STEP_S) + 1
        lag = round(REACTION_S / STEP_S)
        every = round(self.period_s / STEP_S)
        total_m = sum(self.lengths_m)
        leader = np.full(steps, np.inf)
        for number, arrival_s in enumerate(arrivals_s):
            first = int(np.ceil(arrival_s / STEP_S))
            while first < steps and leader[max(0, first - lag)] < JAM_M:
                first += 1  # the entry is full
            if first >= steps:
                return
            x = np.full(steps, -np.inf)
            x[first] = 0.0
            wait_m, wait_s = (stops or {}).get(number, (np.inf, 0.0))
            for step in range(first + 1, steps):
                now_s, here = step * STEP_S, x[step - 1]
                limit = min([LIMIT_MPS, *(v for a, b, v, t0, t1 in slow if a <= here < b and t0 <= now_s < t1)])
                ahead = min(here + limit * STEP_S, leader[step - lag] - JAM_M)
                for metre, t0, t1 in holds:
                    if t0 <= now_s < t1 and here <= metre:
                        ahead = min(ahead, metre)
                if wait_s > 0 and ahead >= wait_m:
                    ahead = wait_m
                    wait_s -= STEP_S
                x[step] = max(here, ahead)
                if x[step] >= total_m:
                    x[step:] = np.inf
                    break
            seen = np.arange(0, steps, every)
            seen = seen[np.isfinite(x[seen])]
            after = np.minimum(seen + 1, steps - 1)
            speed = np.where(np.isfinite(x[after]), x[after] - x[seen], LIMIT_MPS * STEP_S) / STEP_S
            self._add(seen * STEP_S, self.name(), lane, x[seen], speed)
            leader = x

    def add_rows(self, frame: pd.DataFrame) -> None:
        """Rows made by the test itself: time_s, vehicle, lane, x (metres from the start), speed_mps."""
        self.parts.append(frame)

    def _add(self, times, name: str, lane: int, x, speed) -> None:
        self.parts.append(pd.DataFrame({"time_s": times, "vehicle": name, "lane": lane, "x": x, "speed_mps": speed}))

    def table(self, day: int = 0) -> pd.DataFrame:
        """Rows in the columns of a recording."""
        rows = pd.concat(self.parts, ignore_index=True)
        starts = np.r_[0.0, np.cumsum(self.lengths_m)]
        edge = np.clip(np.searchsorted(starts, rows["x"], side="right") - 1, 0, 2)
        table = pd.DataFrame(
            {
                columns.DAY: day,
                columns.TIME: rows["time_s"].astype(float),
                columns.VEHICLE: rows["vehicle"],
                columns.EDGE: np.array(NAMES)[edge],
                columns.LANE: rows["lane"],
                columns.POSITION: rows["x"] - starts[edge],
                columns.SPEED: rows["speed_mps"],
                columns.X: rows["x"],
                columns.Y: 3.2 * rows["lane"],
            }
        )
        return table.sort_values([columns.TIME, columns.VEHICLE], kind="stable").reset_index(drop=True)


def write(folder: Path, *tables: pd.DataFrame, header: str = "") -> Path:
    """A recording folder with one table a day."""
    folder.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(folder / columns.TRAJECTORIES_FILE, columns.schema()) as writer:
        for day, table in enumerate(tables):
            arrow = pa.Table.from_pandas(table.assign(day=day), preserve_index=False)
            writer.write_table(arrow.cast(columns.schema()))
    if header:
        (folder / columns.HEADER_FILE).write_text(header, encoding="utf-8")
    return folder


def record(folder: Path, *days: Traffic) -> Trajectories:
    """Traffic of one or several days as an opened recording."""
    return open_trajectories(write(folder, *(day.table() for day in days)))


def every(headway_s: float, *, until_s: float, begin_s: float = 0.0) -> list[float]:
    """Arrivals at a constant headway."""
    return list(np.arange(begin_s, until_s, headway_s))
