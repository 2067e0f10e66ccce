"""The formats of incident records that are read, and how one is recognised."""

from collections.abc import Mapping

from scenariogen.heads import FileHead
from scenariogen.incidents.readers.contract import EventReader
from scenariogen.recognise import TABLE, choose


def event_readers() -> Mapping[str, EventReader]:
    """Every reader by its name, in the order in which they are asked."""
    from scenariogen.incidents.readers import datex2, log511, mapped, stats19, us_accidents, wzdx

    classes = (
        wzdx.WzdxReader,
        datex2.Datex2Reader,
        log511.Log511Reader,
        us_accidents.UsAccidentsReader,
        stats19.Stats19Reader,
        mapped.MappedEventReader,
    )
    return {each.name: each() for each in classes}


EVENT_EXAMPLE = "--map record_id=id --map kind=type --map start=begin --map lon=x --map lat=y"


def find_event_reader(head: FileHead, *, format: str = "", is_mapped: bool = False) -> EventReader:
    """The reader for a file: the one named, the mapped table where a mapping is given, else by the content.

    Raises ``DataError`` where no format fits, or where the named one is unknown.
    """
    asked = format or (TABLE if is_mapped else "")
    return choose(head, event_readers(), what="incident records", example=EVENT_EXAMPLE, format=asked)
