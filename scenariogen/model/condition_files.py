"""The table of conditions from files: recorded days or counts of them, a table of weather, a date."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.errors import DataError, Problems
from scenariogen.incidents.recorded_days import DayTypes
from scenariogen.model.condition import DAY_TYPES, ConditionTable
from scenariogen.model.demand_table import LearnedCondition, learn_condition
from scenariogen.model.weather import WeatherTable, read_weather
from scenariogen.trajectories.columns import Place
from scenariogen.trajectories.entries import EntryFlows, entry_flows, read_entry_counts
from scenariogen.trajectories.records import open_trajectories
from scenariogen.window import StudyWindow

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

ALL_DAYS = "all"


@dataclass(frozen=True, kw_only=True)
class ConditionFiles:
    """What there is to learn conditions from; nothing of it must be there.

    ``trajectories``   recorded days; flows by entry are counted in them
    ``entry_counts``   a table of such flows (:func:`~scenariogen.trajectories.entries.read_entry_counts`); goes before
    ``weather``        a table of weather; ``weather_words`` are ``WORD=WEATHER``
    ``recorded_from``  date of the recorded day 0, empty where it is not known
    ``day_type``       ``weekday``, ``weekend`` or ``all``: the days that scenarios are for
    ``keep_declared``  leave the demand as declared, whatever the days say
    """

    trajectories: Path | None = None
    entry_counts: Path | None = None
    weather: Path | None = None
    weather_words: Sequence[str] = ()
    recorded_from: str = ""
    day_type: str = "weekday"
    keep_declared: bool = False


def read_condition(
    files: ConditionFiles, network: "RoadNetwork", window: StudyWindow, *, clock_s: float = 0.0, seed: int = 0
) -> LearnedCondition:
    """The table, with words on where each part of it came from. Raises ``DataError`` that lists every problem."""
    types, weather = read_day_types(files)
    return learn_condition(
        None if files.keep_declared else _flows(files, network, window),
        window,
        weather=weather,
        types=types,
        declared=ConditionTable(clock_s=clock_s),
        seed=seed,
    )


def read_day_types(files: ConditionFiles) -> tuple[DayTypes, WeatherTable | None]:
    """Of which type recorded days are, and the table of weather. Raises ``DataError`` that lists every problem."""
    problems = Problems("the conditions cannot be learned")
    words = dict(_word(text, problems) for text in files.weather_words)
    first = _date(files.recorded_from, problems)
    if files.day_type not in (*DAY_TYPES, ALL_DAYS):
        problems.add(f"the day type is {files.day_type!r}, expected one of {', '.join((*DAY_TYPES, ALL_DAYS))}")
    if files.weather_words and files.weather is None:
        problems.add("words for weather are given (--weather-word) but no table of weather (--weather)")
    problems.raise_as(DataError)
    weather = None if files.weather is None else read_weather(files.weather, words=words)
    knows_days = first is not None or weather is not None
    day_types = [files.day_type] if files.day_type != ALL_DAYS else list(DAY_TYPES if knows_days else DAY_TYPES[:1])
    named = {} if weather is None else weather.day_types
    return DayTypes(wanted=tuple(day_types), first_date=first, named=named), weather


def _flows(files: ConditionFiles, network: "RoadNetwork", window: StudyWindow) -> EntryFlows | None:
    """Flows by entry and day; None where there is nothing to count them in."""
    if files.entry_counts is not None:
        flows = read_entry_counts(files.entry_counts)
        strange = [entry for entry in flows.entries if entry not in network.edges]
        if strange:
            raise DataError(
                *[network.unknown_edge(entry) for entry in strange[:5]],
                title=f"{files.entry_counts} counts on edges that are not in {network.path.name}",
            )
        return flows
    if files.trajectories is None:
        return None
    opened = open_trajectories(files.trajectories, network)
    if Place.EDGE not in opened.places:
        return None
    locked = opened.header.get("locked_up_days", [])  # vehicles that wait outside never came in
    if len(locked) == len(opened.days):
        return None
    return entry_flows(opened, from_s=window.begin_s, until_s=window.end_s, without=locked)


def _word(text: str, problems: Problems) -> tuple[str, str]:
    word, sign, weather = text.rpartition("=")
    if not sign or not word.strip():
        problems.add(f"the word for weather is {text!r}, expected WORD=WEATHER, for example hail=ice")
    return word, weather.strip().lower()


def _date(text: str, problems: Problems) -> date | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.strip()).date()
    except ValueError:
        problems.add(f"--recorded-from is {text!r}, expected a date, YYYY-MM-DD")
        return None
