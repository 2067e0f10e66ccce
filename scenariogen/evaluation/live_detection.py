"""Incidents found while a run goes on, by our own detector on what a control room's stations measure.

Once a minute the last hour of every station is compared with the same time of usual days
(:mod:`scenariogen.incidents.from_fields_usual`); what :mod:`scenariogen.incidents.from_fields_heads` finds at the head
of an unusual queue, and still finds now, is an incident that the control room knows of. So it learns of one minutes
after it began, not at all where it hardly obstructs anybody, and now and then of one that never was. Nothing of the
scenario is used.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scenariogen.evaluation.stationing import fill, traffic_of
from scenariogen.evaluation.usual_traffic import LIVE_SETTINGS, UsualTraffic, with_today
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields import field_row
from scenariogen.incidents.from_fields_cells import Cells
from scenariogen.incidents.from_fields_heads import find_heads
from scenariogen.incidents.from_fields_measure import measure
from scenariogen.incidents.from_fields_usual import SLACK_S, Unusual, compare
from scenariogen.incidents.leftovers import AHEAD_M, BEHIND_M, road_m, without_leftovers
from scenariogen.incidents.phases import IncidentPhase, expected_remaining_s
from scenariogen.simulation.contract import KnownIncident, Run
from scenariogen.simulation.incidentboard import IncidentBoard
from scenariogen.simulation.outages import FallibleDetectors
from scenariogen.simulation.stations import INTERVAL_S, StationReader

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

LOOK_BACK_S = 3_600.0
GONE_AFTER_S = 180.0
"""What is no longer found for so long is over."""


@dataclass(kw_only=True)
class FoundIncident:
    """One incident as it was found: seconds of finding it and of giving it up (None: still there), and where."""

    number: int
    edge: str
    position_m: float
    kind: str
    lanes: tuple[int, ...]
    found_s: float
    seen_s: float
    gone_s: float | None = None

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "number": self.number,
            "edge": self.edge,
            "position_m": round(self.position_m, 1),
            "kind": self.kind,
            "lanes": list(self.lanes),
            "found_s": self.found_s,
            "gone_s": self.gone_s,
        }


class LiveDetection:
    """Reads a run's stations and keeps its control room's board: ``update`` after every step.

    ``found``  every incident that was ever found, false alarms included
    """

    def __init__(
        self,
        run: Run,
        network: "RoadNetwork",
        usual: UsualTraffic,
        board: IncidentBoard,
        *,
        settings: DetectSettings = LIVE_SETTINGS,
    ) -> None:
        self._run, bank = run, run.control_room.detectors
        self._reader = StationReader(
            run,
            usual.where.stations,
            options=run.request.detector_options,
            detectors=bank if isinstance(bank, FallibleDetectors) else None,
        )
        self._network, self._usual, self._board, self._settings = network, usual, board, settings
        self._cells = with_today(network, usual, run.request.window)
        self._day = usual.days
        self._measured = 0
        self.found: list[FoundIncident] = []

    def update(self) -> None:
        """Take in the last step; where a minute is over, look."""
        measures = self._reader.update()
        if measures is None or self._measured >= self._cells.vehicles.shape[2]:
            return
        today = traffic_of([[measures]], self._usual.vehicle_m)
        fill(self._cells, self._usual.where, today, day=self._day, interval=self._measured)
        self._measured += 1
        self._take_in(self._look(self._measured), self._run.time_s)

    def _look(self, now: int) -> list[dict[str, Any]]:
        """Rows of the incidents that the stations show at the end of interval ``now``, which is the number measured."""
        first = max(0, now - round(LOOK_BACK_S / INTERVAL_S))
        last = min(self._cells.vehicles.shape[2], now + round(SLACK_S / INTERVAL_S))
        cells = _between(self._cells, first, last)  # usual days a little longer, since queues come at no exact minute
        unusual = _until(compare(cells, self._day, self._settings), now - first)
        cells = _between(self._cells, first, now)
        limit_s = cells.begin_s + (now - first) * INTERVAL_S
        rows = [
            field_row(
                self._day,
                self._network,
                cells,
                measure(cells, unusual, head, self._day, limit_s, self._settings),
                unusual.other_days,
            )
            for head in find_heads(cells, unusual, self._settings)
        ]
        least = self._settings.least_confidence
        return [
            row
            for row in without_leftovers(rows, self._network)
            if row["duration_is_censored"] and row["confidence"] >= least
        ]

    def _take_in(self, rows: list[dict[str, Any]], now_s: float) -> None:
        standing = [each for each in self.found if each.gone_s is None]
        for row in rows:
            same = next((each for each in standing if _is_same(each, row, self._network)), None)
            if same is None:
                same = FoundIncident(
                    number=len(self.found),
                    edge=row["edge"],
                    position_m=row["position_m"],
                    kind=row["kind"],
                    lanes=tuple(row["lanes"]),
                    found_s=now_s,
                    seen_s=now_s,
                )
                self.found.append(same)
                standing.append(same)
            same.seen_s = now_s
            same.kind, same.lanes = row["kind"], tuple(row["lanes"])
            same.edge, same.position_m = row["edge"], row["position_m"]
        for each in standing:
            if now_s - each.seen_s >= GONE_AFTER_S:
                each.gone_s = now_s
                self._board.withdraw(each.number)
            else:
                self._board.show(_known(each, now_s))


def _between(cells: Cells, first: int, last: int) -> Cells:
    """Some of the intervals of cells."""
    return replace(
        cells,
        begin_s=cells.begin_s + first * cells.cell_s,
        vehicles=cells.vehicles[..., first:last],
        flow_veh_h=cells.flow_veh_h[..., first:last],
    )


def _until(unusual: Unusual, intervals: int) -> Unusual:
    """The first intervals of a comparison. Its averages reach past the last measure, where nothing is known yet."""
    parts = ("vehicles", "flow_veh_h", "excess", "usual_veh_h", "congested", "queued", "filled")
    return replace(unusual, **{name: getattr(unusual, name)[:, :intervals] for name in parts})


def _is_same(found: FoundIncident, row: dict[str, Any], network: "RoadNetwork") -> bool:
    """Near enough along the road to be the head of the same queue."""
    here = {"edge": found.edge, "position_m": found.position_m}
    return road_m(network, here, row, AHEAD_M) <= AHEAD_M or road_m(network, row, here, BEHIND_M) <= BEHIND_M


def _known(found: FoundIncident, now_s: float) -> KnownIncident:
    remaining_s = expected_remaining_s(len(found.lanes), detected_s=found.found_s, now_s=now_s)
    return KnownIncident(
        number=found.number,
        kind=found.kind,
        edge=found.edge,
        position_m=found.position_m,
        lanes=found.lanes,
        since_s=found.found_s,
        phase=IncidentPhase.DETECTED,
        expected_end_s=now_s + remaining_s,
        lanes_known=bool(found.lanes),
    )
