"""One DATEX II situation, of one or several records, as one incident.

Names of elements are those of EN 16157-2 and EN 16157-3; only those are read, never a comment. Causes lead: an accident
with a lane closure is an accident of which lanes are closed. Start and end are those of the records that say more than
``other`` (queues and messages of a situation last longer than the incident).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from xml.etree.ElementTree import Element

from scenariogen.accounts import AccountBook
from scenariogen.incidents.events import EndIs, Event, EventKind
from scenariogen.incidents.lane_words import (
    ALTERNATING,
    NOTHING_SAID,
    Lanes,
    all_lanes,
    certain,
    known_count,
    some,
)
from scenariogen.incidents.readers.datex2_place import direction, first_text, first_texts, inside, local, points, road
from scenariogen.incidents.readers.values import count_of, number_of, time_of, truth_of
from scenariogen.incidents.vocabulary import ALWAYS_PLANNED, CAUSES, kind_of_datex, leading
from scenariogen.units import MPS_PER_KMH

TYPE_ATTRIBUTE = "{http://www.w3.org/2001/XMLSchema-instance}type"
DETAILS = (
    "accidentType", "vehicleObstructionType", "obstructionType", "animalPresenceType", "environmentalObstructionType",
    "infrastructureDamageType", "equipmentDamageType", "roadMaintenanceType", "constructionWorkType",
    "roadOrCarriagewayOrLaneManagementType", "poorEnvironmentType", "weatherRelatedRoadConditionType",
    "nonWeatherRelatedRoadConditionType", "winterEquipmentManagementType", "genericSituationRecordName",
)  # fmt: skip
"""Elements that name a record's category within its type."""
ROAD_CLOSING = frozenset({"roadClosed", "carriagewayClosures", "closedPermanentlyForTheWinter", "overnightClosures"})
LANE_CLOSING = frozenset({"laneClosures", "doNotUseSpecifiedLanesOrCarriageways"})
BLOCKED = frozenset({"carriagewayBlocked", "roadBlocked"})
SHOULDER_USES = frozenset({"hardShoulder", "emergencyLane", "verge", "layBy"})
SIDES = {"leftLane": "left", "rightLane": "right", "middleLane": "centre", "overtakingLane": "left"}
FOR_ALL = frozenset({"anyVehicle", "car", "motorVehicle"})
"""Kinds of vehicles of which cars are one."""
MOST_LANES_SAID = 12


@dataclass(frozen=True, kw_only=True)
class _Record:
    """What matters of one situation record."""

    element: Element
    kind: EventKind
    cause: EventKind
    text: str
    start: datetime | None
    end: datetime | None
    updated: datetime | None
    validity: str
    is_over: bool


def type_of(element: Element) -> str:
    """The ``xsi:type`` of an element without its prefix; empty where it has none."""
    return element.get(TYPE_ATTRIBUTE, "").rpartition(":")[2].strip()


def situation_event(
    situation: Element, published: datetime | None, book: AccountBook, zone: tzinfo = UTC
) -> Event | None:
    """The incident, or None with the reason in ``book`` for a test, a cancelled or an empty situation.

    ``zone``  of times without an offset
    """
    status = first_text(situation, "informationStatus")
    if status and status != "real":
        book.drop("an exercise or a test, not a real situation")
        return None
    every = [each for each in situation if local(each) == "situationRecord"]
    records = [_record(each, published, zone) for each in every if not _says(each, "cancel")]
    if not records:
        book.drop("cancelled" if every else "a situation without a record")
        return None
    telling = [each for each in records if each.kind is not EventKind.OTHER]
    telling = telling or [replace(each, kind=each.cause) for each in records if each.cause is not EventKind.OTHER]
    telling = telling or records
    kind = leading(each.kind for each in telling)
    main = next(each for each in telling if each.kind is kind)
    latest = max((each.updated for each in records if each.updated), default=None)
    start = min((each.start for each in telling if each.start), default=None)
    end, end_is, status = _end(telling, start, max(filter(None, (published, latest)), default=None))
    elements = [each.element for each in records]
    for_all = [each for each in elements if not _is_for_some(each)]
    if len(for_all) < len(elements):
        book.note("have records for some kinds of vehicles alone, whose lanes are left out", rows=1)
    lanes, total = _lanes(for_all)
    place = points(elements)
    if not place and any("alertC" in local(each) for element in elements for each in element.iter()):
        book.note("are placed by Alert-C codes alone, whose table is not here: the code is kept as the road", rows=1)
    limit = number_of(next((text for each in elements if (text := first_text(each, "temporarySpeedLimit"))), None))
    return Event(
        record_id=situation.get("id", "").strip(),
        kind=kind,
        kind_text=main.text,
        status=status,
        is_planned=kind in ALWAYS_PLANNED or status == "planned",
        start=start,
        end=end,
        end_is=end_is,
        updated=latest or published,
        lanes_total=total,
        lanes_closed=lanes.closed,
        lanes_side=lanes.side,
        shoulder_only=lanes.shoulder_only,
        full_closure=lanes.full_closure,
        points=place,
        road=road(elements),
        direction=direction(elements),
        speed_limit_mps=limit * MPS_PER_KMH if limit is not None and 0 < limit <= 200 else None,
    )


def _record(element: Element, published: datetime | None, zone: tzinfo) -> _Record:
    record_type = type_of(element)
    texts = first_texts(element)
    detail = _detail(each for each in element if local(each) != "cause")
    kind, cause, why = kind_of_datex(record_type, detail), EventKind.OTHER, ""
    for each in inside(element, "cause"):
        said = first_text(each, "causeType")
        if said in CAUSES:
            cause, why = kind_of_datex(CAUSES[said], _detail(each)), f"caused by {said}"
    if kind is EventKind.CLOSURE and cause is not EventKind.OTHER:
        kind = cause
    validity = next(inside(element, "validity"), None)
    span = None if validity is None else next(inside(validity, "validityTimeSpecification"), None)
    start = None if span is None else time_of(first_text(span, "overallStartTime"), zone)
    end = None if span is None else time_of(first_text(span, "overallEndTime"), zone)
    updated = time_of(texts.get("situationRecordVersionTime"), zone)
    state = "" if validity is None else first_text(validity, "validityStatus")
    is_over = _says(element, "end") or (state == "suspended" and end is not None)
    if is_over and end is None:
        end = updated or published
    return _Record(
        element=element,
        kind=kind,
        cause=cause,
        text=" ".join(filter(None, (record_type, detail, why))),
        start=start or time_of(texts.get("situationRecordCreationTime"), zone),
        end=end,
        updated=updated,
        validity=state,
        is_over=is_over or (end is not None and published is not None and end <= published),
    )


def _detail(parts: Iterable[Element]) -> str:
    """The category that a record names within its type."""
    texts: dict[str, str] = {}
    for part in parts:
        for name, text in first_texts(part).items():
            texts.setdefault(name, text)
    return next((texts[name] for name in DETAILS if name in texts), "")


def _is_for_some(record: Element) -> bool:
    """Whether a record concerns some vehicles alone, as a road that is closed to lorries."""
    whom = [each for each in record.iter() if local(each) == "forVehiclesWithCharacteristicsOf"]
    kinds = [{(each.text or "").strip() for each in one.iter() if local(each) == "vehicleType"} for one in whom]
    return bool(whom) and not any(each & FOR_ALL for each in kinds)


def _says(record: Element, what: str) -> bool:
    """Whether the life cycle of a record says that it ended (``end``) or was withdrawn (``cancel``)."""
    cycles = (each for each in record.iter() if local(each) == "lifeCycleManagement")
    return any(bool(truth_of(first_text(cycle, what))) for cycle in cycles)


def _end(records: list[_Record], start: datetime | None, seen: datetime | None) -> tuple[datetime | None, EndIs, str]:
    """End, what it is, and the status. Without an end the incident was open when the message was written."""
    ends = [each.end for each in records if each.end is not None]
    if all(each.is_over for each in records):
        return (max(ends), EndIs.OBSERVED, "ended") if ends else (None, EndIs.UNKNOWN, "ended")
    if any(each.validity == "planned" for each in records) or (start is not None and seen is not None and start > seen):
        status = "planned"
    else:
        status = "suspended" if all(each.validity == "suspended" for each in records) else "active"
    if len(ends) == len(records):
        return max(ends), EndIs.PLANNED, status
    if seen is None or start is None or seen <= start:
        return None, EndIs.UNKNOWN, status
    return seen, EndIs.LAST_UPDATE, status


def _lanes(elements: Iterable[Element]) -> tuple[Lanes, int | None]:
    """What all records of a situation together say: a number before a word, all lanes before some."""
    elements = list(elements)
    uses = set(_lane_uses(elements))
    sides = {SIDES[use] for use in uses if use in SIDES}
    side = sides.pop() if len(sides) == 1 else ""
    total = _count(_texts(elements, "originalNumberOfLanes"))
    found: list[Lanes] = []
    for impact in (each for element in elements for each in inside(element, "impact")):
        restricted = number_of(first_text(impact, "numberOfLanesRestricted"))
        left = number_of(first_text(impact, "numberOfOperationalLanes"))
        if restricted is not None and restricted == int(restricted) and 0 <= restricted <= MOST_LANES_SAID:
            if total is None and left is not None:
                total = count_of(restricted + left)
            found.append(
                Lanes(closed=certain(int(restricted)), side=side, full_closure=left == 0 or restricted == total)
            )
    words = {*_texts(elements, "roadOrCarriagewayOrLaneManagementType"), *_texts(elements, "trafficConstrictionType")}
    if words & (ROAD_CLOSING | BLOCKED):
        closed = next((each.closed for each in found if known_count(each.closed)), all_lanes(total).closed)
        return Lanes(closed=closed, full_closure=True), total
    if uses and uses <= SHOULDER_USES:
        return Lanes(closed=certain(0), side=side, shoulder_only=True), total
    if found:
        return max(found, key=lambda each: known_count(each.closed) or 0), total
    if "allLanesCompleteCarriageway" in uses and words & LANE_CLOSING:
        return all_lanes(total), total
    if words & LANE_CLOSING or "lanesBlocked" in words:
        return Lanes(closed=certain(1) if len(uses) == 1 and side else some(total=total), side=side), total
    if "singleAlternateLineTraffic" in words:
        return Lanes(closed=ALTERNATING), total
    return NOTHING_SAID, total


def _lane_uses(elements: Iterable[Element]) -> Iterator[str]:
    """Words for lanes: ``laneUsage`` in version 3, ``lane`` in version 2."""
    for element in elements:
        for each in element.iter():
            if local(each) in ("laneUsage", "lane") and each.text and each.text.strip():
                yield each.text.strip()


def _texts(elements: Iterable[Element], name: str) -> list[str]:
    return [text for element in elements if (text := first_text(element, name))]


def _count(texts: list[str]) -> int | None:
    return next((count for text in texts if (count := count_of(text)) is not None), None)
