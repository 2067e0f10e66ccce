"""DATEX II situation publications: version 2 (``d2LogicalModel``) and version 3 (``payload``).

After EN 16157-2 and EN 16157-3 (*Intelligent transport systems: DATEX II data exchange specifications*, location
referencing and situation publication) and the schemas of versions 2.2.3 and 3.5. Elements are known by their local
names, since the namespaces differ between versions. A situation of several records (accident, obstruction, lane
closure) is one incident; see :mod:`scenariogen.incidents.readers.datex2_situation`. Situations are read one by one.
"""

from collections.abc import Iterator
from datetime import tzinfo
from xml.etree.ElementTree import Element, ParseError

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_bytes
from scenariogen.incidents.events import Event
from scenariogen.incidents.readers.contract import EventOptions, EventReader
from scenariogen.incidents.readers.datex2_situation import local, situation_event, type_of
from scenariogen.incidents.readers.rows import readable
from scenariogen.incidents.readers.values import time_of
from scenariogen.units import zone_of

MARKS = ("datex2.eu/schema/", "levelC/schema/")
"""Parts of namespaces: of the standard, and of profiles that keep its names."""
ROOTS = {"d2LogicalModel": "2", "payload": "3"}
"""The element that holds the publication, and the version that it is of."""
PUBLICATION = "SituationPublication"


class Datex2Reader(EventReader):
    """A DATEX II situation publication."""

    name = "datex2"
    title = "a situation publication (DATEX II)"

    def recognises(self, head: FileHead) -> bool:
        if head.made is not Made.XML:
            return False
        return any(mark in head.text for mark in MARKS) or (
            PUBLICATION in head.text and any(root in head.text for root in ROOTS)
        )

    def events(self, head: FileHead, book: AccountBook, options: EventOptions) -> Iterator[Event]:
        book.units |= {
            "start": f"overallStartTime, ISO 8601 ({options.time_zone or 'UTC'} where no offset is given)",
            "lon_deg, lat_deg": "coordinates in degrees (ETRS89 or WGS 84, taken as one)",
            "speed_limit_mps": "temporarySpeedLimit in km/h",
        }
        book.derived["end"] = "overallEndTime: observed where the publication is later, else planned; without one the "
        book.derived["end"] += "publication's own time (still open then: a lower bound)"
        yield from _situations(_steps(head), head, book, zone_of(options.time_zone))


def _steps(head: FileHead) -> Iterator[tuple[str, Element]]:
    """Beginnings and ends of elements. Raises ``DataError`` for XML that is broken or dangerous."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    try:
        with readable(head), open_bytes(head.path) as stream:
            yield from iterparse(stream, events=("start", "end"))
    except DefusedXmlException as error:
        raise DataError(
            f"{head.path} declares entities or refers to other files ({type(error).__name__}): refused, since such "
            "a file can read others or grow without end"
        ) from error
    except (ParseError, LookupError, ValueError) as error:
        raise DataError(f"{head.path} is XML that is broken or was cut off: {error}") from error


def _situations(
    parser: Iterator[tuple[str, Element]], head: FileHead, book: AccountBook, zone: tzinfo
) -> Iterator[Event]:
    published, publications, version, path = None, [], "", []
    for step, element in parser:
        name = local(element)
        if step == "start":
            path.append(element)
            version = version or ROOTS.get(name, "")
            if name in ("payload", "payloadPublication"):
                publications.append(type_of(element))
            continue
        path.pop()
        if name == "publicationTime":
            published = time_of(element.text, zone)
        elif name == "situation":
            book.rows += 1
            event = situation_event(element, published, book, zone)
            if path:
                path[-1].remove(element)
            if event is not None:
                yield event
    found = sorted({kind for kind in publications if kind})
    if PUBLICATION not in found:
        what = f"holds {', '.join(found)}" if found else "holds no publication"
        raise DataError(f"{head.path} is DATEX II and {what}, expected a {PUBLICATION}")
    book.facts["version"] = f"DATEX II version {version}"
