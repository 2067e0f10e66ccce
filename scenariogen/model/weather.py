"""Weather from a user's table: one word by day or hour, in a small vocabulary.

The table (CSV or Parquet) has a column ``weather`` and says when: ``time`` (date and clock time as the place keeps
it), ``date`` with or without ``hour``, or ``day``, the number of a recorded day, with or without ``hour``. A column
``day_type`` is taken where it is there; dates know theirs. What weather does to vehicles is not modelled: it is drawn,
stored and weighed, and the demand may depend on it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.errors import DataError, Problems
from scenariogen.incidents.recorded_days import DayTypes, day_type_of
from scenariogen.model.condition import DAY_TYPES, WEATHERS, DayKind

if TYPE_CHECKING:
    import pandas as pd

WORDS: dict[str, tuple[str, ...]] = {
    "dry": (
        "dry", "clear", "sun", "sunny", "fair", "fine", "cloudy", "partly cloudy", "mostly cloudy", "clouds",
        "overcast", "hot", "windy", "none",
    ),
    "rain": (
        "rain", "rainy", "light rain", "medium rain", "moderate rain", "heavy rain", "drizzle", "shower", "showers",
        "rain showers", "thunderstorm", "storm", "wet",
    ),
    "snow": (
        "snow", "snowy", "light snow", "heavy snow", "snowfall", "snow showers", "sleet", "blizzard", "slush",
    ),
    "fog": ("fog", "foggy", "mist", "misty", "haze", "low visibility"),
    "ice": ("ice", "icy", "black ice", "freezing rain", "frost", "glaze"),
}  # fmt: skip
"""Common words for each kind of weather; whatever stands in no list is a problem that names it."""
_NAMES = {word: weather for weather, words in WORDS.items() for word in words}
_MOST_SHOWN = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class WeatherTable:
    """Weather by day, and by hour where the table has hours.

    ``path``      the user's file
    ``by_day``    day to hour (−1: the whole day) to weather; days are dates, or numbers of recorded days
    ``day_types``  day to day type where it is known
    ``mapping``   each word of the table to what it was taken for
    """

    path: Path
    by_day: Mapping[date | int, Mapping[int, str]] = field(repr=False)
    day_types: Mapping[date | int, str] = field(repr=False)
    mapping: Mapping[str, str]

    @property
    def has_dates(self) -> bool:
        return isinstance(next(iter(self.by_day)), date)

    def of_day(self, day: date | int, hours: Sequence[int]) -> str | None:
        """The weather that lasts longest in ``hours`` of a day, the worse of two that last alike; None where the
        table says nothing."""
        found = self.by_day.get(day, {})
        seen = Counter(found[hour] for hour in hours if hour in found) or Counter([found[-1]] if -1 in found else [])
        return max(seen, key=lambda weather: (seen[weather], WEATHERS.index(weather))) if seen else None

    def shares(self, hours: Sequence[int], types: DayTypes) -> tuple[DayKind, ...]:
        """Kinds of day and their shares among the table's days of the wanted types, by the weather in ``hours``.

        Raises ``DataError`` where no day remains.
        """
        day_types = types.wanted
        counted: Counter[tuple[str, str]] = Counter()
        for day in self.by_day:
            kind = types.of(day) if isinstance(day, int) else self.day_types[day]
            weather = self.of_day(day, hours)
            if kind in day_types and weather is not None:
                counted[kind, weather] += 1
        if not counted:
            raise DataError(
                f"{self.path} has no weather on a {' or '.join(day_types)} between {hours[0]}:00 and {hours[-1] + 1}:00"
            )
        total = sum(counted.values())
        order = sorted(counted, key=lambda kind: (day_types.index(kind[0]), WEATHERS.index(kind[1])))
        return tuple(DayKind(day_type=kind, weather=weather, share=counted[kind, weather] / total)
                     for kind, weather in order)  # fmt: skip

    @property
    def words(self) -> tuple[str, ...]:
        """What each word was taken for, for people."""
        taken: dict[str, list[str]] = {}
        for word, weather in sorted(self.mapping.items()):
            taken.setdefault(weather, []).append(word)
        return tuple(
            f"weather {weather}: {', '.join(words[:_MOST_SHOWN])}{' …' * (len(words) > _MOST_SHOWN)}"
            for weather, words in sorted(taken.items(), key=lambda item: WEATHERS.index(item[0]))
        )

    def __repr__(self) -> str:
        return f"WeatherTable({self.path.name}: {len(self.by_day)} days, {len(self.mapping)} words)"


def read_weather(path: str | Path, *, words: Mapping[str, str] | None = None) -> WeatherTable:
    """Read a table of weather.

    ``words``  what further words stand for, each one of dry, rain, snow, fog and ice

    Raises ``DataError`` that lists every problem, unknown words among them.
    """
    path = Path(path)
    table = _read(path)
    problems = Problems(f"{path} is no table of weather")
    names = {**_NAMES, **{word.strip().lower(): weather for word, weather in (words or {}).items()}}
    for word, weather in (words or {}).items():
        if weather not in WEATHERS:
            problems.add(f"{word!r} is said to be {weather!r}, expected one of {', '.join(WEATHERS)}")
    when = next((name for name in ("time", "date", "day") if name in table), None)
    if "weather" not in table or when is None:
        problems.add(f"it has the columns {', '.join(map(str, table.columns))}; expected weather and time, date or day")
    problems.raise_as(DataError)
    by_day: dict[date | int, dict[int, str]] = {}
    day_types: dict[date | int, str] = {}
    mapping: dict[str, str] = {}
    unknown: Counter[str] = Counter()
    for number, row in enumerate(table.to_dict("records"), start=1):
        word = str(row["weather"]).strip().lower()
        if word not in names:
            unknown[word] += 1
            continue
        moment = _moment(row, str(when), number, problems)
        if moment is None:
            continue
        mapping[word] = names[word]
        _put(by_day, *moment, names[word], number, problems)
        day_type = _day_type(row, moment[0], number, problems)
        if day_type:
            day_types[moment[0]] = day_type
    for word, count in unknown.most_common(_MOST_SHOWN):
        problems.add(
            f"the word {word!r} ({count} rows) is unknown: say what it is, for example --weather-word "
            f"'{word}=rain' ({', '.join(WEATHERS)})"
        )
    if not by_day and not problems:
        problems.add("it has no rows")
    problems.raise_as(DataError)
    return WeatherTable(path=path, by_day=by_day, day_types=day_types, mapping=mapping)


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    if not path.is_file():
        raise DataError(f"the table of weather {path} does not exist")
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, sep=None, engine="python")
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    return table.rename(columns=lambda name: str(name).strip().lower())


def _moment(row: Mapping, when: str, number: int, problems: Problems) -> tuple[date | int, int] | None:
    """Day and hour of a row, −1 where it has no hour."""
    try:
        if when == "day":
            day: date | int = int(row["day"])
            if day != float(row["day"]):
                raise ValueError("a part of a day")
        else:
            value = row[when]
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
            if when == "time":
                return moment.date(), moment.hour
            day = moment.date()
    except (ValueError, TypeError):
        expected = {"day": "a whole number", "date": "YYYY-MM-DD", "time": "YYYY-MM-DD HH:MM"}[when]
        problems.add(f"row {number}: {when} is {row[when]!r}, expected {expected}")
        return None
    hour = row.get("hour")
    if hour is None or hour != hour:
        return day, -1
    try:
        if not (0 <= int(hour) < 24 and int(hour) == float(hour)):
            raise ValueError("out of range")
    except (ValueError, TypeError):
        problems.add(f"row {number}: hour is {hour!r}, expected 0 to 23")
        return None
    return day, int(hour)


def _put(by_day, day: date | int, hour: int, weather: str, number: int, problems: Problems) -> None:
    hours = by_day.setdefault(day, {})
    if hour == -1 and hours.get(hour, weather) != weather:
        problems.add(f"row {number}: {day} is said to be {hours[hour]} and {weather}; give hours, or one row a day")
        return
    if hour in hours:  # several rows within an hour: the worst of them
        weather = max(hours[hour], weather, key=WEATHERS.index)
    hours[hour] = weather


def _day_type(row: Mapping, day: date | int, number: int, problems: Problems) -> str:
    given = row.get("day_type")
    if given is not None and given == given:
        if str(given) not in DAY_TYPES:
            problems.add(f"row {number}: day_type is {given!r}, expected {' or '.join(DAY_TYPES)}")
        return str(given)
    return day_type_of(day) if isinstance(day, date) else ""
