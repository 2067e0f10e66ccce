"""Which of the known readers is for a file: the one named, or the first that recognises the file's beginning."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, TypeVar

from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made
from scenariogen.suggested_mapping import suggest_mapping

TABLE = "csv"
"""The format that only a mapping explains."""
NAMES_SHOWN = 20


class Recognises(Protocol):
    """What every reader can do; the argument is the beginning of a file, which must not be opened again."""

    name: ClassVar[str]

    def recognises(self, head: FileHead) -> bool: ...


R = TypeVar("R", bound=Recognises)


def choose(head: FileHead, known: Mapping[str, R], *, what: str, example: str, format: str = "") -> R:
    """The reader named by ``format``, else the first that recognises the file.

    ``what``     what the readers read, in the plural, and ``example`` a mapping for a table of unknown columns
    Raises ``DataError`` where none fits, or where the named one is unknown.
    """
    if format:
        if format not in known:
            raise DataError(f"--format {format}: unknown, expected one of {', '.join(known)}")
        return known[format]
    for reader in known.values():
        if reader.recognises(head):
            return reader
    is_table = head.made is Made.TEXT and len(head.header) > 1
    suggested = suggest_mapping(head.header) if is_table else ""
    seen = f"its columns are {', '.join(head.header[:NAMES_SHOWN])}" if is_table else f"it is {head.made.value}"
    advice = (
        f"By their names these may hold {suggested}; check that, and add units that are not SI, as in speed=v:km/h"
        if suggested
        else f"For a table say which column holds what, for example {example}"
    )
    raise DataError(f"{head.path} is none of the formats of {what} known here ({', '.join(known)}); {seen}. {advice}")
