"""The table of incident records from elsewhere: names, types and units, in this one place.

One row per incident, sorted by start. What a source does not say is null (or an empty word), never a guess:

======================  ======================  =======================================================================
``record_id``           string                  the source's id, unique in the table
``source``              string                  short name of the format it was read from
``kind``                string                  an :class:`EventKind`
``kind_text``           string                  the source's own category word (never free text)
``status``              string                  ``planned``, ``active``, ``ended``, ``suspended`` or empty
``is_planned``          bool                    known beforehand
``start``               timestamp (us, UTC)     when it began or is to begin
``end``                 timestamp (us, UTC)     what it is, ``end_is`` says; null where nothing is known
``end_is``              string                  an :class:`EndIs`
``duration_s``          float64                 end minus start in seconds; null where there is no end
``duration_is_censored``  bool                  it lasted at least that long, or nothing is known of its end
``lanes_total``         int16                   lanes for through traffic of that direction
``lanes_closed``        list of float           probabilities that 0, 1, 2, ... of these lanes are closed, sum 1; null
                                                where nothing is said about how many (see ``full_closure``)
``lanes_side``          string                  ``left``, ``right``, ``centre`` or empty, in the direction of travel
``shoulder_only``       bool                    nothing but a shoulder is taken
``full_closure``        bool                    no lane is left, whatever their number
``lon_deg, lat_deg``    float64                 a point on the incident, WGS 84
``geometry``            binary                  WKB, Point or LineString, longitude before latitude, WGS 84
``road``                string                  name, number or location code of the road
``direction``           string                  ``N``, ``E``, ``S``, ``W`` or empty
``milepost, milepost_end``  float64             as the source counts along its road
``speed_limit_mps``     float64                 limit in force at the incident
``edge``                string                  edge of a SUMO network, filled by location
``position_m``          float64                 metres from the start of that edge, filled by location
``location_confidence`` float64                 between 0 and 1, filled by location
``location_method``     string                  what told the place, a ``LocationMethod``; filled by location
======================  ======================  =======================================================================
"""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

Points = tuple[tuple[float, float], ...]
"""Longitudes and latitudes in degrees, one point or the corners of a line."""


class EventKind(StrEnum):
    """What happened, in the one vocabulary that all sources are mapped to."""

    CRASH = "crash"
    BREAKDOWN = "breakdown"
    OBSTRUCTION = "obstruction"
    PLANNED_WORK = "planned_work"
    CLOSURE = "closure"
    WEATHER = "weather"
    OTHER = "other"


class EndIs(StrEnum):
    """What the end of a record is."""

    OBSERVED = "observed"
    """The source says that it was over then."""
    PLANNED = "planned"
    """It is to be over then, or is expected to be."""
    LAST_UPDATE = "last_update"
    """It was still open when the record was last touched: the duration is a lower bound."""
    UNKNOWN = "unknown"
    """There is no end."""


SIDES: tuple[str, ...] = ("left", "right", "centre", "")
DIRECTIONS: tuple[str, ...] = ("N", "E", "S", "W", "")

EVENT_COLUMNS: dict[str, str] = {
    "record_id": "string", "source": "string", "kind": "string", "kind_text": "string", "status": "string",
    "is_planned": "bool", "start": "time", "end": "time", "end_is": "string", "duration_s": "double",
    "duration_is_censored": "bool", "lanes_total": "int16", "lanes_closed": "list", "lanes_side": "string",
    "shoulder_only": "bool", "full_closure": "bool", "lon_deg": "double", "lat_deg": "double", "geometry": "binary",
    "road": "string", "direction": "string", "milepost": "double", "milepost_end": "double",
    "speed_limit_mps": "double", "edge": "string", "position_m": "double", "location_confidence": "double",
    "location_method": "string",
}  # fmt: skip
"""Every column with its type, in the order in which tables hold them."""
UPDATED = "updated"
"""When a record was last touched. Only conversion sees it: of two records with one id the later one is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One record as a reader found it, in SI units; the columns of the table that follow from others are left out.

    ``points``   where it is; empty where the source has no coordinates
    ``end``      together with ``end_is``
    ``updated``  when the record was last touched
    Times carry a zone.
    """

    record_id: str
    kind: EventKind
    kind_text: str = ""
    status: str = ""
    is_planned: bool = False
    start: datetime | None = None
    end: datetime | None = None
    end_is: EndIs = EndIs.UNKNOWN
    updated: datetime | None = None
    lanes_total: int | None = None
    lanes_closed: tuple[float, ...] | None = None
    lanes_side: str = ""
    shoulder_only: bool = False
    full_closure: bool = False
    points: Points = ()
    road: str = ""
    direction: str = ""
    milepost: float | None = None
    milepost_end: float | None = None
    speed_limit_mps: float | None = None

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, None where either is unknown."""
        if self.start is None or self.end is None:
            return None
        return (self.end - self.start).total_seconds()

    @property
    def is_censored(self) -> bool:
        """True where the incident may have lasted longer than ``duration_s`` says, or nothing is known of it."""
        return self.end_is in (EndIs.LAST_UPDATE, EndIs.UNKNOWN)


_PLAIN = tuple(each.name for each in fields(Event) if each.name in EVENT_COLUMNS)


def arrow_type(name: str) -> "pa.DataType":
    """The Arrow type of a column."""
    import pyarrow as pa

    kind = "time" if name == UPDATED else EVENT_COLUMNS[name]
    if kind == "time":
        return pa.timestamp("us", tz="UTC")
    return pa.list_(pa.float32()) if kind == "list" else pa.type_for_alias(kind)


def schema(*, with_updated: bool = False) -> "pa.Schema":
    """The Arrow schema of the table."""
    import pyarrow as pa

    names = [*EVENT_COLUMNS, *([UPDATED] if with_updated else [])]
    return pa.schema([(name, arrow_type(name)) for name in names])


def event_table(events: list[Event], *, source: str) -> "pa.Table":
    """Checked events as a table with the columns of the schema and ``updated``."""
    import pyarrow as pa

    from scenariogen.incidents.readers.geometry import middle, to_wkb

    made: dict[str, list] = {name: [getattr(each, name) for each in events] for name in _PLAIN}
    centres = [middle(each.points) if each.points else (None, None) for each in events]
    made |= {
        "source": [source] * len(events),
        "duration_s": [each.duration_s for each in events],
        "duration_is_censored": [each.is_censored for each in events],
        "lon_deg": [lon for lon, _ in centres],
        "lat_deg": [lat for _, lat in centres],
        "geometry": [to_wkb(each.points) if each.points else None for each in events],
        UPDATED: [each.updated for each in events],
    }
    nothing = [None] * len(events)
    wanted = schema(with_updated=True)
    return pa.table([pa.array(made.get(each.name, nothing), each.type) for each in wanted], schema=wanted)
