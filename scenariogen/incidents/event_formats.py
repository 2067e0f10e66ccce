"""The formats of incident records that are read, and how one is recognised."""

from collections.abc import Mapping

from scenariogen.errors import DataError
from scenariogen.heads import FileHead
from scenariogen.incidents.readers.contract import EventReader


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


def find_event_reader(head: FileHead, *, format: str = "", is_mapped: bool = False) -> EventReader:
    """The reader for a file: the one named, the mapped table where a mapping is given, else by the content.

    Raises ``DataError`` where no format fits, or where the named one is unknown.
    """
    known = event_readers()
    if format:
        if format not in known:
            raise DataError(f"--format {format}: unknown, expected one of {', '.join(known)}")
        return known[format]
    if is_mapped:
        return known["csv"]
    for reader in known.values():
        if reader.recognises(head):
            return reader
    raise DataError(_stranger(head, known))


def _stranger(head: FileHead, known: Mapping[str, EventReader]) -> str:
    what = f"its columns are {', '.join(head.header[:20])}" if len(head.header) > 1 else f"it is {head.made.value}"
    return (
        f"{head.path} is none of the formats of incident records known here ({', '.join(known)}); {what}. For a table "
        "say which column holds what, for example --map record_id=id --map kind=type --map start=begin --map lon=x "
        "--map lat=y"
    )
