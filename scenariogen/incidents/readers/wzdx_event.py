"""One road event of a WZDx feed of any version as one record.

What ``vehicle_impact`` says about lanes, after the specification's definitions: lanes merge towards the side that
stays open, so ``merge-left`` closes lanes on the right. In ``lanes`` the order 1 is the leftmost lane.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from scenariogen.accounts import AccountBook
from scenariogen.incidents.events import EndIs, Event, EventKind, Points
from scenariogen.incidents.lane_words import ALTERNATING, NOTHING_SAID, Lanes, all_lanes, certain, some
from scenariogen.incidents.readers.values import (
    count_of,
    direction_of,
    list_of,
    mapping_of,
    number_of,
    text_of,
    time_of,
    truth_of,
)
from scenariogen.units import MPS_PER_KMH, MPS_PER_MPH

NO_LANE_FOR_TRAFFIC = (
    "shoulder", "sidewalk", "bike", "parking", "median", "exit", "entrance", "merging", "ramp", "turn",
)  # fmt: skip
"""Words in the types of lanes beside those for through traffic, such as ``right-exit-ramp``."""
EVERY_LANE = "all"
"""A type of lane of version 2 that stands for all of them."""
CLOSED = frozenset({"closed", "merge-left", "merge-right"})
"""What is said of a lane whose traffic has to leave it."""
IN_TURN = frozenset({"alternating-flow", "alternating-one-way"})
ONE_WAY_IN_TURN = ("alternating-one-way", "flagging", "temporary-traffic-signal")
IMPACTS_SAID = (
    "alternating one-way traffic (also by flagger or temporary signal) counts as 0 or 1 lane closed in a direction, "
    "each with probability one half (an assumption)"
)
GIVEN_UP = frozenset({"cancelled", "canceled"})
STATUSES = {"planned": "planned", "pending": "planned", "active": "active", "completed": "ended"}


@dataclass(frozen=True, kw_only=True)
class FeedInfo:
    """What the header of a feed says, its version and when it was made; and the zone of times without an offset."""

    version: str = ""
    updated: datetime | None = None
    zone: tzinfo = UTC


def road_event(
    properties: Mapping[str, Any], points: Points, identifier: str, info: FeedInfo, book: AccountBook
) -> Event | None:
    """The record of a road event, or None with the reason in ``book`` where it is none."""
    core = {**properties, **mapping_of(properties.get("core_details"))}
    event_type = text_of(core.get("event_type")).lower() or "work-zone"
    if event_type == "detour":
        return _drop(book, "a detour: another road to take, not a closure")
    said_status = text_of(properties.get("event_status")).lower()
    if said_status in GIVEN_UP:
        return _drop(book, "cancelled")
    start, end = (time_of(properties.get(name), info.zone) for name in ("start_date", "end_date"))
    status = STATUSES.get(said_status) or _status(start, end, info.updated)
    lanes, total = _lanes(properties, book)
    work = event_type in ("work-zone", "workzone", "work_zone")
    kind = EventKind.PLANNED_WORK if work else EventKind.OTHER
    if not work:
        book.note(f"are of the type {event_type if len(event_type) < 24 else 'unknown'}: kept as 'other'", rows=1)
    return Event(
        record_id=identifier or text_of(core.get("road_event_id")),
        kind=kind,
        kind_text=event_type,
        status=status,
        is_planned=work,
        start=start,
        end=end,
        end_is=_end_is(properties, end, status, info.updated),
        updated=time_of(core.get("update_date"), info.zone),
        lanes_total=total,
        lanes_closed=lanes.closed,
        lanes_side=lanes.side,
        shoulder_only=lanes.shoulder_only,
        full_closure=lanes.full_closure,
        points=points,
        road=_road(core),
        direction=direction_of(core.get("direction")),
        milepost=number_of(properties.get("beginning_milepost")),
        milepost_end=number_of(properties.get("ending_milepost")),
        speed_limit_mps=_speed_limit(properties),
    )


def _drop(book: AccountBook, why: str) -> None:
    book.drop(why)


def _status(start: datetime | None, end: datetime | None, now: datetime | None) -> str:
    """By the clock of the feed, where the feed itself says nothing."""
    if now is None or start is None:
        return ""
    if start > now:
        return "planned"
    return "ended" if end is not None and end <= now else "active"


def _end_is(properties: Mapping[str, Any], end: datetime | None, status: str, now: datetime | None) -> EndIs:
    """An end is observed where it is verified and past; any other end is planned."""
    if end is None:
        return EndIs.UNKNOWN
    verified = truth_of(properties.get("is_end_date_verified")) or properties.get("end_date_accuracy") == "verified"
    past = status == "ended" or (now is not None and end <= now)
    return EndIs.OBSERVED if verified and past else EndIs.PLANNED


def _road(core: Mapping[str, Any]) -> str:
    names = [text_of(name) for name in list_of(core.get("road_names"))]
    found = [name for name in names if name]
    return ", ".join(found) or text_of(core.get("road_names")) or text_of(core.get("road_name"))


def _speed_limit(properties: Mapping[str, Any]) -> float | None:
    """Kilometres an hour from 4.0 on; before that miles an hour, under another name."""
    for name, factor in (("reduced_speed_limit_kph", MPS_PER_KMH), ("reduced_speed_limit", MPS_PER_MPH)):
        number = number_of(properties.get(name))
        if number is not None and 0 < number < 200:
            return number * factor
    return None


def _lanes(properties: Mapping[str, Any], book: AccountBook) -> tuple[Lanes, int | None]:
    """Lanes and their total: listed lanes where they agree with the impact, else the impact."""
    listed = [mapping_of(lane) for lane in list_of(properties.get("lanes"))]
    total = count_of(properties.get("total_num_lanes"))
    impact = text_of(properties.get("vehicle_impact")).lower()
    traffic = [lane for lane in listed if _is_through(lane)]
    by_impact = _impact(impact, total)
    if traffic and any(_type(lane) == EVERY_LANE for lane in traffic):
        return (all_lanes(total) if any(_is_closed(lane) for lane in traffic) else by_impact), total
    if traffic:
        closed = sum(_is_closed(lane) for lane in traffic)
        are_some = impact.startswith("some-lanes-closed")
        if are_some and closed == len(traffic) and (total is None or total > closed):  # the open ones are not listed
            return Lanes(closed=certain(closed), side=by_impact.side), total
        if not closed and impact in ("", *ONE_WAY_IN_TURN) and any(_status_of(lane) in IN_TURN for lane in traffic):
            return Lanes(closed=ALTERNATING), len(traffic)
        beside = any(_is_closed(lane) for lane in listed if not _is_through(lane))
        if _agrees(impact, closed, len(traffic), beside=beside):
            return _listed(traffic, listed), len(traffic)
        book.note("list lanes that contradict the vehicle_impact: the impact is taken", rows=1)
    if by_impact.closed == certain(0) and any(_is_closed(lane) and "shoulder" in _type(lane) for lane in listed):
        return Lanes(closed=certain(0), shoulder_only=True), total
    return by_impact, total


def _agrees(impact: str, closed: int, listed: int, *, beside: bool) -> bool:
    """Whether so many closed lanes of those listed, and perhaps a shoulder ``beside``, are what the impact says."""
    if impact == "all-lanes-closed":
        return closed == listed
    if impact.startswith("all-lanes-open"):
        return closed == 0
    if impact.startswith("some-lanes-closed"):
        return 0 < closed < listed or (not closed and beside)
    return closed > 0 or impact not in ONE_WAY_IN_TURN


def _is_through(lane: Mapping[str, Any]) -> bool:
    kind = _type(lane)
    return bool(kind) and not any(word in kind for word in NO_LANE_FOR_TRAFFIC)


def _type(lane: Mapping[str, Any]) -> str:
    return (text_of(lane.get("type")) or text_of(lane.get("lane_type"))).lower()


def _status_of(lane: Mapping[str, Any]) -> str:
    return (text_of(lane.get("status")) or text_of(lane.get("lane_status"))).lower()


def _is_closed(lane: Mapping[str, Any]) -> bool:
    return _status_of(lane) in CLOSED


def _order(lane: Mapping[str, Any]) -> float:
    """Counted from the left, unless version 2 counts from the right."""
    number = number_of(lane.get("order"))
    number = number if number is not None else number_of(lane.get("lane_number")) or 0.0
    return -number if text_of(lane.get("lane_edge_reference")).lower() == "right" else number


def _listed(traffic: list[dict[str, Any]], listed: list[dict[str, Any]]) -> Lanes:
    closed = [_is_closed(lane) for lane in sorted(traffic, key=_order)]
    if all(closed):
        return all_lanes(len(closed))
    if not any(closed):
        return Lanes(
            closed=certain(0), shoulder_only=any(_is_closed(lane) and "shoulder" in _type(lane) for lane in listed)
        )
    at_both_ends = closed[0] and closed[-1]
    side = "" if at_both_ends else "left" if closed[0] else "right" if closed[-1] else "centre"
    return Lanes(closed=certain(sum(closed)), side=side)


def _impact(impact: str, total: int | None) -> Lanes:
    if impact == "all-lanes-closed":
        return all_lanes(total)
    if impact.startswith("all-lanes-open"):
        return Lanes(closed=certain(0))
    if impact.startswith("some-lanes-closed"):
        side = {"merge-left": "right", "merge-right": "left", "split": "centre"}.get(impact[18:], "")
        return Lanes(closed=some(total=total), side=side)
    return Lanes(closed=ALTERNATING) if impact in ONE_WAY_IN_TURN else NOTHING_SAID
