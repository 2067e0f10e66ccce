"""Incidents as a DATEX II situation publication, version 3.5: one situation each.

After EN 16157-2 and EN 16157-3 and the schemas of version 3.5. The first record says what happened; a second one of
the type ``RoadOrCarriagewayOrLaneManagement`` says what is closed, unless the first one is that. A number of closed
lanes is written where it is certain; "some lanes" is written as a closure of lanes without a number. Probabilities,
mileposts (which have no unit), speed limits and places on a network are not written; a direction stands in the second
record only, and an incident of the kind ``other`` that closes lanes is read back as a closure. An incident whose end
was not seen has none here, and the time of its last version is its last update.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from scenariogen.incidents.events import EndIs, EventKind, Points
from scenariogen.incidents.lane_words import ALTERNATING, known_count
from scenariogen.incidents.readers.geometry import from_wkb
from scenariogen.incidents.writers.rows import Refusals, Written, is_printable, rows_of
from scenariogen.written import written_whole

if TYPE_CHECKING:
    import pyarrow as pa

NAMESPACES = {
    "xmlns:d2": "http://datex2.eu/schema/3/d2Payload",
    "xmlns:com": "http://datex2.eu/schema/3/common",
    "xmlns:loc": "http://datex2.eu/schema/3/locationReferencing",
    "xmlns:sit": "http://datex2.eu/schema/3/situation",
    "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
MANAGEMENT = "RoadOrCarriagewayOrLaneManagement"
RECORDS: dict[str, tuple[str, str, str]] = {
    EventKind.CRASH: ("Accident", "accidentType", "accident"),
    EventKind.BREAKDOWN: ("VehicleObstruction", "vehicleObstructionType", "brokenDownVehicle"),
    EventKind.OBSTRUCTION: ("GeneralObstruction", "obstructionType", "obstructionOnTheRoad"),
    EventKind.PLANNED_WORK: ("MaintenanceWorks", "roadMaintenanceType", "roadworks"),
    EventKind.WEATHER: ("PoorEnvironmentConditions", "poorEnvironmentType", "badWeather"),
    EventKind.OTHER: ("GenericSituationRecord", "genericSituationRecordName", "other"),
}
"""Kind to type of record, the element that holds its category, and that category."""
_DIRECTIONS = {"N": "northBound", "E": "eastBound", "S": "southBound", "W": "westBound"}
_USES = {"left": "leftLane", "right": "rightLane", "centre": "middleLane"}


def write_datex2(table: "pa.Table", target: Path, *, publisher: str, country: str, published: datetime) -> Written:
    """Write every incident that has a place; what was left out and why.

    ``publisher``  national identifier of whoever publishes
    ``country``    two letters (ISO 3166), ``eu`` for none
    ``published``  time of the publication, with a time zone; ends before it count as seen
    Raises ``DataError`` where no row can be written; ``target`` is replaced only when everything is written.
    """
    refusals, rows = Refusals(), 0
    with written_whole(target) as partial:
        with partial.open("w", encoding="utf-8") as stream:
            xml = _Xml(stream)
            with xml.publication(publisher, country, published):
                for row in rows_of(table):
                    why = _refusal(row)
                    if why:
                        refusals.counts[why] += 1
                        continue
                    _situation(xml, row, published)
                    rows += 1
        return refusals.close(rows, target, "a DATEX II situation")


class _Xml:
    """Elements as they are opened and closed."""

    def __init__(self, stream: Any) -> None:
        self._out = XMLGenerator(stream, encoding="utf-8", short_empty_elements=True)

    @contextmanager
    def element(self, name: str, **attributes: str) -> Iterator[None]:
        named = {key.replace("xsi_type", "xsi:type"): value for key, value in attributes.items()}
        self._out.startElement(name, AttributesImpl(named))
        yield
        self._out.endElement(name)

    def leaf(self, name: str, text: object) -> None:
        with self.element(name):
            self._out.characters(str(text))

    @contextmanager
    def publication(self, publisher: str, country: str, published: datetime) -> Iterator[None]:
        self._out.startDocument()
        attributes = {"lang": "en", "modelBaseVersion": "3", "xsi:type": "sit:SituationPublication"}
        self._out.startElement("d2:payload", AttributesImpl({**NAMESPACES, **attributes}))
        self.leaf("com:publicationTime", _time(published))
        with self.element("com:publicationCreator"):
            self.leaf("com:country", country)
            self.leaf("com:nationalIdentifier", publisher)
        yield
        self._out.endElement("d2:payload")
        self._out.endDocument()


def _refusal(row: Mapping[str, Any]) -> str:
    """Why a row cannot be written; empty where it can."""
    if row["geometry"] is None and not row["road"]:
        return "neither coordinates nor a road, and the format demands a place"
    if row["kind"] == EventKind.CLOSURE and not _management_type(row):
        return "a closure that does not say what is closed"
    if not is_printable(row["record_id"], row["road"]):
        return "control characters in the id or the road"
    return ""


def _situation(xml: _Xml, row: Mapping[str, Any], published: datetime) -> None:
    management = _management_type(row)
    with xml.element("sit:situation", id=row["record_id"]):
        with xml.element("sit:headerInformation"):
            xml.leaf("com:informationStatus", "real")
        if row["kind"] != EventKind.CLOSURE:
            name, element, category = RECORDS[row["kind"]]
            with _record(xml, row, name, "-1", published):
                xml.leaf(f"sit:{element}", category)
        if management:
            with _record(xml, row, MANAGEMENT, "-2", published):
                xml.leaf("sit:complianceOption", "mandatory")
                if row["direction"]:
                    xml.leaf("sit:applicableForTrafficDirection", _DIRECTIONS[row["direction"]])
                xml.leaf("sit:roadOrCarriagewayOrLaneManagementType", management)


def _management_type(row: Mapping[str, Any]) -> str:
    """What is closed, in the format's words; empty where nothing is, or nothing is said."""
    closed = row["lanes_closed"]
    if row["full_closure"]:
        return "roadClosed"
    if closed and tuple(closed) == ALTERNATING:
        return "singleAlternateLineTraffic"
    if row["shoulder_only"] or (closed and closed[0] == 0):
        return "laneClosures"
    return "laneClosures" if row["kind"] == EventKind.CLOSURE and closed else ""


@contextmanager
def _record(xml: _Xml, row: Mapping[str, Any], record_type: str, suffix: str, published: datetime) -> Iterator[None]:
    """A record up to its place; what its type adds is written inside the block."""
    last_update = row["end"] if row["end_is"] == EndIs.LAST_UPDATE else None
    end = None if last_update is not None else row["end"]
    begun = min(row["start"], published)
    with xml.element("sit:situationRecord", id=row["record_id"] + suffix, version="1", xsi_type=f"sit:{record_type}"):
        xml.leaf("sit:situationRecordCreationTime", _time(begun))
        xml.leaf("sit:situationRecordVersionTime", _time(last_update or begun))
        xml.leaf("sit:probabilityOfOccurrence", "certain")
        with xml.element("sit:validity"):
            xml.leaf("com:validityStatus", "definedByValidityTimeSpec" if end is not None else "active")
            with xml.element("com:validityTimeSpecification"):
                xml.leaf("com:overallStartTime", _time(row["start"]))
                if end is not None:
                    xml.leaf("com:overallEndTime", _time(end))
        _impact(xml, row)
        _place(xml, row)
        yield


def _impact(xml: _Xml, row: Mapping[str, Any]) -> None:
    count, total = known_count(row["lanes_closed"]), row["lanes_total"]
    if count is None:
        return
    with xml.element("sit:impact"):
        xml.leaf("sit:numberOfLanesRestricted", count)
        if total is not None and total >= count:
            xml.leaf("sit:numberOfOperationalLanes", total - count)


def _place(xml: _Xml, row: Mapping[str, Any]) -> None:
    points = from_wkb(row["geometry"]) if row["geometry"] is not None else ()
    location = "loc:LinearLocation" if len(points) > 1 else "loc:PointLocation"
    with xml.element("sit:locationReference", xsi_type=location):
        _position_words(xml, row)
        _coordinates(xml, points)


def _position_words(xml: _Xml, row: Mapping[str, Any]) -> None:
    """Road and lanes in words. A side says which lane only where the number of closed lanes is certain."""
    side = row["lanes_side"] if known_count(row["lanes_closed"]) else ""
    use = "hardShoulder" if row["shoulder_only"] else _USES.get(side, "")
    if not (row["road"] or use or row["lanes_total"] is not None):
        return
    with xml.element("loc:supplementaryPositionalDescription"):
        if use or row["lanes_total"] is not None:
            with xml.element("loc:carriageway"):
                xml.leaf("loc:carriageway", "unspecifiedCarriageway")
                if row["lanes_total"] is not None:
                    xml.leaf("loc:originalNumberOfLanes", row["lanes_total"])
                if use:
                    with xml.element("loc:lane"):
                        xml.leaf("loc:laneUsage", use)
        if row["road"]:
            with xml.element("loc:roadInformation"):
                xml.leaf("loc:roadName", row["road"])


def _coordinates(xml: _Xml, points: Points) -> None:
    if len(points) > 1:
        with xml.element("loc:gmlLineString", srsDimension="2", srsName="EPSG:4326"):
            xml.leaf("loc:posList", " ".join(f"{lat!r} {lon!r}" for lon, lat in points))
    elif points:
        with xml.element("loc:pointByCoordinates"), xml.element("loc:pointCoordinates"):
            xml.leaf("loc:latitude", repr(points[0][1]))
            xml.leaf("loc:longitude", repr(points[0][0]))


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
