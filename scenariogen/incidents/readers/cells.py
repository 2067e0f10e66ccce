"""Cells of a file that writes its times in one way; what cannot be read is told, and an example of it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Any

from scenariogen.accounts import AccountBook
from scenariogen.incidents.readers.values import number_of, text_of, time_of

LONGEST_EXAMPLE = 30
MOST_LOOKED_AT = 100_000
"""Rows in which dates are looked at to learn how they are written."""
WITHOUT_A_SLASH = 1_000
"""After so many rows whose dates have none, none is expected."""
_SLASHED_DAY = re.compile(r"^\s*(\d{1,2})/(\d{1,2})/\d{4}\b")


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Reads the cells of one file.

    ``zone``       of times without an offset
    ``day_first``  03/02/2024 is the third of February
    """

    book: AccountBook
    zone: tzinfo = UTC
    day_first: bool = False

    def time(self, value: Any, name: str) -> datetime | None:
        """As :func:`time_of`; text that is no time is counted under the column's name."""
        found = time_of(value, self.zone, day_first=self.day_first)
        if found is None:
            self._tell(value, f"have something else than a time in {name}: taken as empty")
        return found

    def number(self, value: Any, name: str) -> float | None:
        """As :func:`number_of`; text that is no number is counted under the column's name."""
        found = number_of(value)
        if found is None:
            self._tell(value, f"have something else than a number in {name}: taken as empty")
        return found

    def _tell(self, value: Any, words: str) -> None:
        text = text_of(value)
        if text:
            self.book.note(words, rows=1, example=text[:LONGEST_EXAMPLE])


def cells_of(
    rows: Callable[[AccountBook], Iterable[Mapping[str, Any]]], times: Sequence[str], book: AccountBook, zone: tzinfo
) -> Cells:
    """How the cells of a file are read: a look at its times says in which order their dates are written.

    ``rows``   reads the file, telling a book that is thrown away
    ``times``  names of the columns with times
    """
    unread = AccountBook(file=book.file, format="", title="", subject=book.subject)
    return Cells(book=book, zone=zone, day_first=day_comes_first(rows(unread), times, book))


def day_comes_first(rows: Iterable[Mapping[str, Any]], names: Sequence[str], book: AccountBook) -> bool:
    """Whether dates with slashes are written day first, by the first one that can only be read in one way.

    Where none tells, the month comes first, as American agencies write; that this was not known is noted.
    """
    some = False
    for number, row in enumerate(islice(rows, MOST_LOOKED_AT)):
        if not some and number >= WITHOUT_A_SLASH:
            break
        for name in names:
            found = _SLASHED_DAY.match(str(row.get(name) or ""))
            if found is None:
                continue
            some = True
            first, second = int(found[1]), int(found[2])
            if first > 12 or second > 12:
                if first > 12:
                    book.note(f"dates with slashes are day first, as {found[0].strip()} in {name} tells")
                return first > 12
    if some:
        book.note("dates with slashes are read as month/day/year: none of them tells which comes first")
    return False
