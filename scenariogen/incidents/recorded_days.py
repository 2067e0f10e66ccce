"""Of which type recorded days are, and so which of them count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from scenariogen.errors import DataError


def day_type_of(day: date) -> str:
    """``weekend`` on Saturdays and Sundays; public holidays are not known here."""
    return "weekend" if day.weekday() >= 5 else "weekday"


@dataclass(frozen=True, kw_only=True)
class DayTypes:
    """What is known of the recorded days' types.

    ``wanted``      the types that scenarios are for; demand scale 1 is the mean of the recorded days of the first
    ``first_date``  date of the recorded day 0; None where days have no dates
    ``named``       types that a table says, by date or by number of a day; they go before the date's own

    Without a date or a name a day is of the first type.
    """

    wanted: tuple[str, ...] = ("weekday",)
    first_date: date | None = None
    named: Mapping[date | int, str] = field(default_factory=dict, repr=False)

    def date_of(self, number: int) -> date | None:
        """The date of a recorded day; None where days have no dates."""
        return None if self.first_date is None else self.first_date + timedelta(days=number)

    def of(self, number: int) -> str:
        """The type of a recorded day."""
        day = self.date_of(number)
        if day is None:
            return self.named.get(number, self.wanted[0])
        return self.named.get(day, self.named.get(number, day_type_of(day)))

    def counted(self, days: Sequence[int]) -> tuple[int, ...]:
        """Those of the recorded days that are of a wanted type. Raises ``DataError`` where none is."""
        found = tuple(day for day in days if self.of(day) in self.wanted)
        if days and not found:
            raise DataError(
                f"none of the {len(days)} recorded days is a {' or '.join(self.wanted)}: --day-type says which days "
                "count, --recorded-from the date of the first"
            )
        return found

    def reference(self, days: Sequence[int]) -> tuple[int, ...]:
        """Those of the counted days whose mean is demand scale 1: of the first type, all where none is."""
        return tuple(day for day in days if self.of(day) == self.wanted[0]) or tuple(days)
