"""What a user may say about an incident log, checked."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from scenariogen.errors import Problems
from scenariogen.incidents.record_clock import DAY, DAY_TYPES
from scenariogen.units import parse_clock_s


@dataclass(frozen=True, kw_only=True)
class RecordSettings:
    """How a log is to be read.

    ``time_zone``         zone of the network; empty: what the file itself says
    ``clock``             clock time of SUMO's second 0, ``hh:mm``; empty: midnight
    ``since, until``      local dates or times between which the log is complete; empty: its first and last start
    ``day_type``          which days count: weekday, weekend or all
    ``least_confidence``  records whose place is less sure than this are left out
    ``least_duration_s``  incidents shorter than this do not get into the log (it is polled, or written by hand)
    ``closed_only``       the log lists an incident only once it is over, so late ones are missing near its end
    ``repeat_s``          records of one kind on one edge that start within so many seconds count once (0: keep all)
    ``recorded_from``     date of the trajectories' day 0, where they have dates: shared days count in them alone
    """

    time_zone: str = ""
    clock: str = ""
    since: str = ""
    until: str = ""
    day_type: str = "weekday"
    least_confidence: float = 0.5
    least_duration_s: float = 0.0
    closed_only: bool = False
    repeat_s: float = 300.0
    recorded_from: str = ""

    @property
    def clock_s(self) -> float:
        """Clock time at SUMO's second 0 in seconds after midnight. Raises ``ValueError`` for text that is no time."""
        return parse_clock_s(self.clock) if self.clock else 0.0

    @property
    def span(self) -> tuple[np.datetime64 | None, np.datetime64 | None]:
        """Begin and end as they were given; a plain date as the end takes that day in."""
        since, until = moment(self.since), moment(self.until)
        whole_day = until is not None and len(self.until.strip()) <= len("2024-03-01")
        return since, until + DAY if until is not None and whole_day else until

    def check(self, problems: Problems, zone: str) -> None:
        """Write down everything that is wrong; ``zone`` is the one to be used, empty where nobody says it."""
        if not zone:
            problems.add("nothing says in which time zone the network lies: give --time-zone, such as Europe/Berlin")
        elif not _is_zone(zone):
            problems.add(f"the time zone {zone!r} is unknown, expected a name such as Europe/Berlin")
        try:
            _ = self.clock_s
        except ValueError as error:
            problems.add(f"--clock: {error}")
        options = {"records-from": self.since, "records-until": self.until, "recorded-from": self.recorded_from}
        for option, text in options.items():
            if text and moment(text) is None:
                problems.add(f"--{option} is {text!r}, expected a local date or time, 2024-03-01 or 2024-03-01T06:00")
        if self.day_type not in DAY_TYPES:
            problems.add(f"the day type is {self.day_type!r}, expected one of {', '.join(DAY_TYPES)}")
        if self.closed_only and not self.until:
            problems.add("a log that lists closed incidents only needs --records-until, the time at which it was taken")
        if not 0 <= self.least_confidence <= 1:
            problems.add(f"the least confidence is {self.least_confidence}, expected a number from 0 to 1")
        for name, value in {"least duration": self.least_duration_s, "span of repeats": self.repeat_s}.items():
            if not value >= 0:
                problems.add(f"the {name} is {value} s, expected at least 0")


def moment(text: str) -> np.datetime64 | None:
    """A wall-clock time from text; None where it is none, or carries a zone."""
    try:
        found = pd.Timestamp(text) if text else pd.NaT
    except ValueError:
        return None
    return found.to_datetime64().astype("datetime64[us]") if isinstance(found, pd.Timestamp) and not found.tz else None


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
