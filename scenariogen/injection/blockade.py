"""The vehicles of one incident on the road: side by side at once where traffic leaves room, closed up later elsewhere.

Whoever finds the blocked lanes closed at different places drives round one vehicle and then aside before the next, so
that a road closed by vehicles that stand apart is open. Until the deadline a place is awaited where all lanes leave
room side by side. In dense traffic there may be none in time: the vehicles then stand as little apart as they can, and
those behind move up beside the foremost one as soon as there is room, which the report tells.
"""

from collections.abc import Callable, Iterable, Sequence

from scenariogen.incidents.records import Incident
from scenariogen.injection.blockers import SEARCH_M, Blocker, Blockers
from scenariogen.injection.placement import Spot, stand_abreast
from scenariogen.units import clock_text

_SECOND_VEHICLE_GAP_M = 1.0
_SECOND_VEHICLE_SEARCH_M = 10.0
_SHIFT_WORTH_SAYING_M = 20.0
_CLOSE_UP_EVERY_S = 1.0
_CLOSE_UP_SEARCH_M = 1.5
"""Less than what :func:`stand_abreast` takes for abreast."""


class Blockade:
    """Puts the vehicles of one incident on its lanes, keeps them together, and takes them away."""

    def __init__(
        self,
        number: int,
        incident: Incident,
        blockers: Blockers,
        blocker_id: Callable[[int, int], str],
        *,
        lanes: Sequence[int],
        parked: bool,
    ) -> None:
        self._number = number
        self._incident = incident
        self._blockers = blockers
        self._blocker_id = blocker_id
        self._lanes = lanes
        self._parked = parked
        self._standing: dict[int, Blocker] = {}
        self._company: list[Blocker] = []
        self._ids: list[str] = []
        self._position_m = incident.position_m
        self._apart = ""
        self.closes_up_due_s = float("inf")
        """When :meth:`close_up` has something to do next."""

    @property
    def front(self) -> Blocker:
        """The vehicle farthest downstream, which the others stand beside or move up to."""
        return max(self._standing.values(), key=lambda blocker: blocker.position_m)

    @property
    def position_m(self) -> float:
        """Front of the blockage, metres from the start of the edge; the mean over the lanes that were blocked last."""
        return self._position_m

    @property
    def vehicles(self) -> tuple[str, ...]:
        """Ids of all that stood there."""
        return tuple(self._ids)

    def remarks(self) -> tuple[str, ...]:
        """What differs from what was asked, in words."""
        shift_m = self._position_m - self._incident.position_m
        if abs(shift_m) <= _SHIFT_WORTH_SAYING_M:
            return (self._apart,)
        return f"it stands {shift_m:+.0f} m from the asked position, where traffic left room", self._apart

    def put(self, now_s: float, *, is_last: bool) -> str:
        """Put a vehicle on each lane where none of ours stands yet; why it did not work, or an empty text.

        ``is_last``  there is no later try: vehicles are put also where they stand apart
        """
        missing = [lane for lane in self._lanes if lane not in self._standing]
        asked_m = self.front.position_m if self._standing else self._incident.position_m
        found = dict(zip(missing, self._blockers.find(self._incident.edge, missing, asked_m=asked_m), strict=True))
        spots = {lane: spot for lane, spot in found.items() if spot is not None}
        if not (is_last or self._parked or self._abreast([*self._standing.values(), *spots.values()])):
            return "no place where all lanes leave room side by side"
        if not (is_last or self._parked) and len(spots) > 1 and any(spot.hard for spot in spots.values()):
            return "no place side by side before which nobody has to brake hard"
        full = [lane for lane in missing if lane not in spots]
        where = f"within {SEARCH_M:.0f} m on lane {full[0]}" if full else ""
        why = f"no spot {where} where the traffic behind could still stop" if full else ""
        for lane, spot in spots.items():
            refusal = self._put(lane, spot, now_s, number=self._lanes.index(lane))
            why = why or refusal
        if not why:
            self._stand(now_s)
        return why

    def add_second_vehicle(self, now_s: float) -> None:
        """A crash on one lane has two vehicles, one behind the other, where there is room: it blocks no more."""
        if len(self._standing) != 1:
            return
        first = self.front
        (spot,) = self._blockers.find(
            first.edge,
            [first.lane],
            asked_m=first.position_m - first.length_m - _SECOND_VEHICLE_GAP_M,
            search_m=_SECOND_VEHICLE_SEARCH_M,
        )
        if spot is not None:
            self._put(first.lane, spot, now_s, number=1, into=self._company)

    def close_up(self, now_s: float) -> None:
        """Where vehicles stand apart, move those behind up beside the foremost one, as far as there is room now."""
        if now_s < self.closes_up_due_s - 1e-6:
            return
        front = self.front
        behind = [blocker for blocker in self._standing.values() if not self._abreast([front, blocker])]
        spots = self._blockers.find(
            front.edge, [each.lane for each in behind], asked_m=front.position_m, search_m=_CLOSE_UP_SEARCH_M
        )
        for blocker, spot in zip(behind, spots, strict=True):
            # Nobody has to brake hard for it: that is how those behind come to harm, and a second later is soon enough.
            if spot is not None and not spot.hard and not self._put(blocker.lane, spot, now_s, number=len(self._ids)):
                self._blockers.remove([blocker])
        self._stand(now_s)

    def stands(self) -> bool:
        """Whether all are where they were put."""
        return all(self._blockers.stands(blocker) for blocker in self._standing.values())

    def open(self, lane: int) -> None:
        """Take away what stands on one lane."""
        self._blockers.remove([self._standing.pop(lane)])
        if self._abreast(self._standing.values()):
            self.closes_up_due_s = float("inf")

    def remove(self) -> None:
        """Take all away."""
        self._blockers.remove([*self._standing.values(), *self._company])

    def _put(self, lane: int, spot: Spot, now_s: float, *, number: int, into: list[Blocker] | None = None) -> str:
        """Put one vehicle there; what SUMO refused it for."""
        blocker, refusal = self._blockers.put(
            self._blocker_id(self._number, number),
            spot,
            edge=self._incident.edge,
            lane=lane,
            duration_s=self._incident.end_s - now_s,
            parked=self._parked,
        )
        if blocker is None:
            return refusal
        self._ids.append(blocker.id)
        if into is None:
            self._standing[lane] = blocker
        else:
            into.append(blocker)
        return ""

    def _stand(self, now_s: float) -> None:
        """Note where they stand, and whether that is side by side."""
        standing = self._standing.values()
        self._position_m = sum(blocker.position_m for blocker in standing) / len(standing)
        if self._parked or self._abreast(standing):
            self.closes_up_due_s = float("inf")
            if self._apart:
                self._apart = f"until {clock_text(now_s)} its vehicles stood apart, and traffic could pass between them"
            return
        self.closes_up_due_s = now_s + _CLOSE_UP_EVERY_S
        where = ", ".join(f"on lane {each.lane} at {each.position_m:.0f} m" for each in standing)
        self._apart = f"its vehicles stand apart, {where}: traffic may pass between them"

    def _abreast(self, places: Iterable[Blocker | Spot]) -> bool:
        return stand_abreast((place.position_m, place.length_m) for place in places)
