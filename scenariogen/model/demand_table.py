"""The table of conditions from what a user has: flows over days, a table of weather, the date of the first day."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scenariogen.errors import DataError, ModelError
from scenariogen.incidents.recorded_days import DayTypes
from scenariogen.model.condition import DAY_TYPES, ConditionTable, DayKind
from scenariogen.model.demand_check import HeldOutCheck, check_held_out
from scenariogen.model.demand_fit import LEAST_DAYS, DemandFit, fit_demand
from scenariogen.model.weather import WeatherTable
from scenariogen.trajectories.entries import EntryFlows
from scenariogen.units import SECONDS_PER_DAY
from scenariogen.window import StudyWindow


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedCondition:
    """``table`` to give to a model, ``words`` that say where each part of it came from, and how it does on days that
    it has not seen (None where there were too few)."""

    table: ConditionTable
    words: tuple[str, ...]
    check: HeldOutCheck | None = None

    def __str__(self) -> str:
        return "\n".join([*self.words, *(self.check.words if self.check else ())])


def learn_condition(
    flows: EntryFlows | None,
    window: StudyWindow,
    *,
    weather: WeatherTable | None = None,
    types: DayTypes | None = None,
    declared: ConditionTable | None = None,
    seed: int = 0,
) -> LearnedCondition:
    """Kinds of day with their shares, and the pattern of demand where days are enough.

    ``flows``     by entry and day; None leaves the demand as declared
    ``types``     of the recorded days, and those that the scenarios are for; the project's demand is that of the first
    ``declared``  the table whose clock, day multiplier and spread hold where nothing is learned

    Recorded days of another type, or without weather in a table that is given, are left out and named. Raises
    ``DataError`` or ``ModelError`` for tables that do not fit together.
    """
    declared, types = declared or ConditionTable(), types or DayTypes()
    day_types = types.wanted
    wrong = [name for name in day_types if name not in DAY_TYPES]
    if wrong or len(day_types) == 0:
        raise ModelError(f"day types are {list(day_types)}, expected one or both of {', '.join(DAY_TYPES)}")
    if weather is not None and flows is not None and weather.has_dates and types.first_date is None:
        raise DataError(
            f"{weather.path} gives dates and recorded days have numbers: say the date of the first recorded day "
            "(--recorded-from YYYY-MM-DD)"
        )
    hours = clock_hours(window, declared.clock_s)
    words: list[str] = []
    kinds: tuple[DayKind, ...]
    if weather is not None:
        kinds = weather.shares(hours, types)
        words += list(weather.words)
    elif len(day_types) == 1:
        kinds = (DayKind(day_type=day_types[0], weather=declared.weather),)
    else:
        kinds = tuple(DayKind(day_type=name, share=share) for name, share in _week(day_types))
        words.append("day types have their shares of a week, and no weather but dry")
    first = kinds[0]
    if len(kinds) > 1:
        words.append("kinds of day: " + ", ".join(f"{k.day_type} {k.weather} {k.share:.1%}" for k in kinds))
    table = replace(
        declared,
        day_type=first.day_type,
        weather=first.weather,
        shares=kinds if len(kinds) > 1 else (),
    )
    if flows is None:
        return LearnedCondition(table=table, words=tuple(words))
    rows, kind, said = _days(flows, kinds, hours, weather, types)
    words += said
    used = flows.of_days(rows)
    found: DemandFit = fit_demand(used, kinds, kind, reference=day_types[0], seed=seed)
    words += list(found.words)
    check = None
    if len(rows) >= LEAST_DAYS:
        check = check_held_out(used, kinds, kind, found, reference=day_types[0], seed=seed)
    return LearnedCondition(table=replace(table, demand=found.pattern), words=tuple(words), check=check)


def clock_hours(window: StudyWindow, clock_s: float) -> list[int]:
    """Hours of the day that the counting window touches."""
    begin_s, end_s = clock_s + window.count_from_s, clock_s + window.end_s
    count = int(np.ceil(end_s / 3600)) - int(begin_s // 3600)
    hours_a_day = int(SECONDS_PER_DAY // 3600)
    return [(int(begin_s // 3600) + number) % hours_a_day for number in range(min(count, hours_a_day))]


def _week(day_types: Sequence[str]) -> list[tuple[str, float]]:
    days = {"weekday": 5, "weekend": 2}
    total = sum(days[name] for name in day_types)
    return [(name, days[name] / total) for name in day_types]


def _days(
    flows: EntryFlows,
    kinds: Sequence[DayKind],
    hours: Sequence[int],
    weather: WeatherTable | None,
    types: DayTypes,
) -> tuple[list[int], list[int], list[str]]:
    """Rows of the recorded days that can be used, the numbers of their kinds, and what was left out."""
    rows, kind, other, without = [], [], [], []
    names = [(each.day_type, each.weather) for each in kinds]
    for row, number in enumerate(flows.days):
        day_type, sky = types.of(number), kinds[0].weather
        if weather is not None:
            sky = weather.of_day(types.date_of(number) or number if weather.has_dates else number, hours)
        if day_type not in types.wanted:
            other.append(number)
        elif sky is None:
            without.append(number)
        else:
            rows.append(row)
            kind.append(names.index((day_type, sky)))
    said = []
    if other:
        said.append(f"{len(other)} recorded days are no {' or '.join(types.wanted)} and are left out: {_listed(other)}")
    if without:
        said.append(f"{len(without)} recorded days have no weather in the table and are left out: {_listed(without)}")
    return rows, kind, said


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"{shown} …" if len(numbers) > 10 else shown
