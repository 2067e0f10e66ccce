"""What must hold of a record whatever its source: a real start, an end after it, a place on the earth."""

from dataclasses import replace
from datetime import datetime

from scenariogen.accounts import AccountBook
from scenariogen.incidents.events import EndIs, Event
from scenariogen.incidents.lane_words import known_count
from scenariogen.incidents.readers.contract import Bounds

EARLIEST_YEAR = 1971
"""The year 1970 is what a clock of 0 shows."""
LATEST_YEAR = 2100
"""Later years (2200, 3099, 9999) stand for "no time given" in every log seen so far."""
LONGEST_NAME = 80
"""Longer names of roads and categories, or with line breaks, are free text, which may hold names of people."""
NOWHERE_DEG = 1e-6
"""Nearer to 0, 0 than that is an empty place, not a road."""


def sieve(event: Event, book: AccountBook, bounds: Bounds) -> Event | None:
    """The record, mended where only its end or place says nothing; None where it was dropped, with the reason."""
    if not event.record_id:
        return _drop(book, "without an id")
    if event.start is None:
        return _drop(book, "without a start that can be read")
    if not _is_real(event.start):
        return _drop(book, f"with a start in the year {event.start.year}, which stands for no time")
    event = _end_checked(_names_checked(event, book), book)
    duration_s = event.duration_s
    if duration_s is not None and duration_s < 0:
        what = "the last update" if event.end_is is EndIs.LAST_UPDATE else "the end"
        return _drop(book, f"with a negative duration: {what} lies before the start")
    return _placed(_lanes_checked(event, book), book, bounds)


def _drop(book: AccountBook, why: str) -> None:
    book.drop(why)


def _is_real(time: datetime) -> bool:
    return EARLIEST_YEAR <= time.year <= LATEST_YEAR


def _names_checked(event: Event, book: AccountBook) -> Event:
    """Free text where a name belongs is left out; blanks within a name become one."""
    changes: dict[str, str] = {}
    for field, words in (("road", "a road name"), ("kind_text", "a category")):
        text = getattr(event, field)
        if len(text) > LONGEST_NAME or "\n" in text:
            book.note(f"have a block of text for {words}: taken as empty", rows=1)
            changes[field] = ""
        elif "  " in text:
            changes[field] = " ".join(text.split())
    return replace(event, **changes) if changes else event


def _end_checked(event: Event, book: AccountBook) -> Event:
    """An end that stands for none is left out; so is the reason for it where there is no end."""
    if event.end is None:
        return event if event.end_is is EndIs.UNKNOWN else replace(event, end_is=EndIs.UNKNOWN)
    if not _is_real(event.end):
        book.note(f"have an end in the year {event.end.year}, which stands for no end: taken as empty", rows=1)
        return replace(event, end=None, end_is=EndIs.UNKNOWN)
    return event


def _lanes_checked(event: Event, book: AccountBook) -> Event:
    """More lanes closed than there are: the number of closed lanes was seen by someone, the total is taken as empty."""
    closed = known_count(event.lanes_closed)
    if closed is None or event.lanes_total is None or closed <= event.lanes_total:
        return event
    book.note("have more lanes closed than lanes: the total is taken as empty", rows=1)
    return replace(event, lanes_total=None)


def _placed(event: Event, book: AccountBook, bounds: Bounds) -> Event | None:
    points = event.points
    if points and all(abs(lon) < NOWHERE_DEG and abs(lat) < NOWHERE_DEG for lon, lat in points):
        book.note("have the place 0, 0, which stands for none: taken as empty", rows=1)
        event = replace(event, points=())
    elif not all(bounds.hold(lon, lat) for lon, lat in points):
        if all(bounds.hold(lat, lon) for lon, lat in points):
            return _drop(book, "with longitude and latitude swapped")
        return _drop(book, f"with a place outside {_words(bounds)}")
    if not event.points:
        book.note("have no coordinates", rows=1)
    return event


def _words(bounds: Bounds) -> str:
    if bounds == Bounds():
        return "the degrees of the earth"
    return f"longitude {bounds.west:g} to {bounds.east:g} and latitude {bounds.south:g} to {bounds.north:g}"
