"""Where an incident log lies in time: whose clock, which days of it count, what of the study window it covers.

A record carries an absolute time, a network has simulation seconds. ``clock_s`` is the clock time at SUMO's second 0: a
record that starts at the local clock time h of day D starts at simulation second h − clock_s of that day. Days are
those of the wall clock: where it is put forward or back, a day has an hour more or less than is reckoned here.
"""

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from scenariogen.errors import DataError
from scenariogen.units import SECONDS_PER_DAY
from scenariogen.window import StudyWindow

DAY_TYPES = ("weekday", "weekend", "all")
DAY = np.timedelta64(1, "D")
MONDAY = np.datetime64("1970-01-05", "D")


def local_times(times: Any, zone: str) -> np.ndarray:
    """Absolute times as wall-clock times of a zone, datetime64[us] without a zone; NaT where there is none."""
    return pd.DatetimeIndex(times).tz_convert(ZoneInfo(zone)).tz_localize(None).to_numpy().astype("datetime64[us]")


def seconds_between(later: Any, earlier: Any) -> np.ndarray:
    """Seconds between datetime64 values or arrays of them, float64; nan where either is NaT."""
    return np.asarray((later - earlier) / np.timedelta64(1, "s"), dtype=float)


@dataclass(frozen=True, kw_only=True)
class RecordClock:
    """The span that a log covers, on the network's clock.

    ``zone``          name of the network's time zone
    ``clock_s``       clock time at SUMO's second 0, seconds after midnight
    ``day_type``      ``weekday``, ``weekend`` or ``all``: which days count
    ``since, until``  wall-clock times between which the log is complete
    ``window``        the study window; incidents start within at most a day of it
    """

    zone: str
    clock_s: float
    day_type: str
    since: np.datetime64
    until: np.datetime64
    window: StudyWindow

    def __post_init__(self) -> None:
        if self.day_type not in DAY_TYPES:
            raise DataError(f"the day type is {self.day_type!r}, expected one of {', '.join(DAY_TYPES)}")
        if not self.since < self.until:
            raise DataError(f"the records cover {self.since} to {self.until}, expected an end after the beginning")
        if self.window.start_span_s > SECONDS_PER_DAY:
            raise DataError(
                f"incidents may start in {self.window.start_span_s / 3600:.1f} h of the study window, more than a day: "
                "the days of a log would overlap"
            )

    def _after_midnight(self, simulation_s: float) -> np.timedelta64:
        return np.timedelta64(round((self.clock_s + simulation_s) * 1e6), "us")

    def place(self, local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each wall-clock time the day (datetime64[D]) in whose window it may lie, and its simulation second.

        The second lies in [count_from_s, count_from_s + 86,400); whether that is in the window is not asked here.
        """
        day = (local - self._after_midnight(self.window.count_from_s)).astype("datetime64[D]")
        return day, seconds_between(local, day.astype("datetime64[us]")) - self.clock_s

    def is_counted(self, day: np.ndarray) -> np.ndarray:
        """Whether days are of the day type, by the date on which the window begins."""
        if self.day_type == "all":
            return np.ones(len(day), dtype=bool)
        date = (day.astype("datetime64[us]") + self._after_midnight(self.window.count_from_s)).astype("datetime64[D]")
        return ((date - MONDAY).astype(int) % 7 >= 5) == (self.day_type == "weekend")

    def days(self) -> np.ndarray:
        """The days of that type whose window the log covers at least in part, datetime64[D]."""
        first, last = (self._after_midnight(at) for at in (self.window.count_from_s, self.window.incidents_until_s))
        every = np.arange((self.since - last).astype("datetime64[D]"), self.until.astype("datetime64[D]") + DAY)
        midnight = every.astype("datetime64[us]")
        every = every[(midnight + last > self.since) & (midnight + first < self.until)]
        return every[self.is_counted(every)]

    def coverage(self, days: np.ndarray, cell_edges_s: np.ndarray) -> np.ndarray:
        """(day, cell): the share of each time cell that the log covers."""
        begin, end = self._covered(days, cell_edges_s)
        return np.clip(end - begin, 0, None) / np.diff(cell_edges_s)

    def left_s(self, days: np.ndarray, cell_edges_s: np.ndarray) -> np.ndarray:
        """(day, cell): seconds from the middle of a cell's covered part to the end of the log; 0 where none is."""
        begin, end = self._covered(days, cell_edges_s)
        midnight = seconds_between(days.astype("datetime64[us]"), self.until)[:, None] + self.clock_s
        return np.clip(-(midnight + (begin + end) / 2), 0, None)

    def _covered(self, days: np.ndarray, cell_edges_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(day, cell) begin and end of what is covered of each cell, simulation seconds of its day."""
        midnight = days.astype("datetime64[us]")
        since, until = (seconds_between(each, midnight)[:, None] - self.clock_s for each in (self.since, self.until))
        return np.maximum(cell_edges_s[None, :-1], since), np.minimum(cell_edges_s[None, 1:], until)
