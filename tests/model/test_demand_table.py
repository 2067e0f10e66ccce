"""Weather from a table, kinds of day, and what is learned scored on days held out."""

from datetime import date

import numpy as np
import pytest

from scenariogen.errors import DataError, ModelError
from scenariogen.incidents.recorded_days import DayTypes
from scenariogen.model.condition import ConditionTable, DayKind
from scenariogen.model.demand_check import check_held_out
from scenariogen.model.demand_density import FlowFactors
from scenariogen.model.demand_fit import fit_demand
from scenariogen.model.demand_table import clock_hours, learn_condition
from scenariogen.model.weather import read_weather
from scenariogen.window import StudyWindow
from tests.model.demand_days import known_days
from tests.model.small import WINDOW

MORNING = StudyWindow(
    begin_s=25_200.0, count_from_s=25_800.0, incidents_until_s=28_000.0, end_s=31_000.0, demand_end_s=31_000.0
)
MONDAY = date(2024, 3, 4)


def written(tmp_path, text: str, name: str = "weather.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


# Weather


def test_weather_counts_at_the_hours_of_the_study(tmp_path):
    """Rain at night is no rain in the morning; one dry and one wet hour of two count as the worse."""
    rows = ["time,weather"]
    for day, words in enumerate(["Clear", "Light Rain", "fog", "overcast"]):
        rows += [f"2024-03-0{4 + day} 03:00,rain", f"2024-03-0{4 + day} 07:10,{words}"]
    rows.append("2024-03-07 08:00,drizzle")
    table = read_weather(written(tmp_path, "\n".join(rows)))
    hours = clock_hours(MORNING, 0.0)
    assert hours == [7, 8]
    shares = {kind.weather: kind.share for kind in table.shares(hours, DayTypes(wanted=("weekday",)))}
    assert shares == {"dry": 0.25, "rain": 0.5, "fog": 0.25}
    assert table.mapping == {"clear": "dry", "light rain": "rain", "fog": "fog", "rain": "rain", "overcast": "dry",
                             "drizzle": "rain"}  # fmt: skip
    assert "weather rain: drizzle, light rain, rain" in table.words


def test_weekends_are_days_of_their_own(tmp_path):
    rows = ["date,weather"] + [f"2024-03-{4 + day:02d},{'snow' if day >= 5 else 'dry'}" for day in range(7)]
    table = read_weather(written(tmp_path, "\n".join(rows)))
    assert [(k.day_type, k.weather, k.share) for k in table.shares([7], DayTypes(wanted=("weekday",)))] == [
        ("weekday", "dry", 1.0)
    ]
    both = table.shares(
        [7],
        DayTypes(
            wanted=(
                "weekday",
                "weekend",
            )
        ),
    )
    assert [(k.day_type, k.weather) for k in both] == [("weekday", "dry"), ("weekend", "snow")]
    assert both[1].share == pytest.approx(2 / 7)


def test_hours_over_midnight():
    late = StudyWindow(begin_s=80_000, count_from_s=82_000, incidents_until_s=85_000, end_s=90_000, demand_end_s=90_000)
    assert clock_hours(late, 0.0) == [22, 23, 0]
    assert clock_hours(late, 3600.0) == [23, 0, 1]


def test_every_fault_of_a_table_of_weather_is_listed(tmp_path):
    text = (
        "date,hour,weather,day_type\n2024-03-04,7,plague,weekday\nyesterday,7,dry,weekday\n2024-03-05,25,dry,holiday\n"
    )
    with pytest.raises(DataError) as caught:
        read_weather(written(tmp_path, text))
    for part in ("'plague' (1 rows) is unknown", "row 2: date is 'yesterday'", "row 3: hour is 25"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match="expected weather and time, date or day"):
        read_weather(written(tmp_path, "when,sky\n1,dry\n"))
    with pytest.raises(DataError, match="does not exist"):
        read_weather(tmp_path / "none.csv")


def test_a_users_own_words_are_taken(tmp_path):
    path = written(tmp_path, "day;weather\n0;hail\n1;dry\n")
    assert read_weather(path, words={"Hail": "ice"}).mapping == {"hail": "ice", "dry": "dry"}
    with pytest.raises(DataError, match="expected one of dry"):
        read_weather(path, words={"hail": "stones"})


# The table of conditions


def test_the_default_table_stays_where_nothing_is_given():
    found = learn_condition(None, WINDOW)
    assert found.table == ConditionTable() and found.words == ()


def test_weather_alone_gives_kinds_of_day(tmp_path):
    weather = read_weather(written(tmp_path, "day,weather\n0,dry\n1,dry\n2,rain\n"))
    found = learn_condition(None, WINDOW, weather=weather, declared=ConditionTable(clock_s=3600.0))
    assert [(k.weather, round(k.share, 3)) for k in found.table.kinds] == [("dry", 0.667), ("rain", 0.333)]
    assert found.table.demand is None and found.table.clock_s == 3600.0


def test_demand_follows_the_weather_of_recorded_days(tmp_path):
    raining = np.arange(24) % 3 == 0
    known = known_days(24, common=0.06, effect=-0.35 * raining)
    text = "day,weather\n" + "".join(f"{day},{'rain' if raining[day] else 'dry'}\n" for day in range(24))
    weather = read_weather(written(tmp_path, text))
    found = learn_condition(known.flows, WINDOW, weather=weather)
    assert [kind.weather for kind in found.table.kinds] == ["dry", "rain"]
    assert found.table.demand is not None
    dry, rain = found.table.demand.density.location[:, 0]  # type: ignore[attr-defined]
    assert rain - dry == pytest.approx(-0.35, abs=0.08)
    assert found.check is not None
    assert found.check.network["learned"].log_score > found.check.network["declared"].log_score + 0.3
    assert "network, learned" in str(found) and "24 days held out" in str(found)


def test_days_of_another_type_and_without_weather_are_left_out_and_named(tmp_path):
    known = known_days(14)
    text = "date,weather\n" + "".join(f"2024-03-{4 + day:02d},dry\n" for day in range(14) if day != 3)
    weather = read_weather(written(tmp_path, text))
    found = learn_condition(known.flows, WINDOW, weather=weather, types=DayTypes(first_date=MONDAY))
    assert "4 recorded days are no weekday and are left out: 5, 6, 12, 13" in found.words
    assert "1 recorded days have no weather in the table and are left out: 3" in found.words
    with pytest.raises(DataError, match="--recorded-from"):
        learn_condition(known.flows, WINDOW, weather=weather)
    with pytest.raises(ModelError, match="day types"):
        learn_condition(None, WINDOW, types=DayTypes(wanted=("holiday",)))


def test_days_that_the_weather_numbers_are_of_the_type_of_their_date(tmp_path):
    known = known_days(14)
    text = "day,weather\n" + "".join(f"{day},{'rain' if day % 3 == 0 else 'dry'}\n" for day in range(14))
    weather = read_weather(written(tmp_path, text))
    types = DayTypes(wanted=("weekday", "weekend"), first_date=MONDAY)
    found = learn_condition(known.flows, WINDOW, weather=weather, types=types)
    shares = {(kind.day_type, kind.weather): round(14 * kind.share) for kind in found.table.kinds}
    assert shares == {("weekday", "dry"): 7, ("weekday", "rain"): 3, ("weekend", "dry"): 2, ("weekend", "rain"): 2}


# Days held out


def test_what_is_learned_beats_the_default_and_covers_what_it_says():
    """120 day-edge intervals each; 90 % within what a binomial of dependent edges of a day allows."""
    known = known_days(30, common=0.25, second=0.2, seed=3)
    kinds, kind = (DayKind(),), np.zeros(30, dtype=int)
    found = fit_demand(known.flows)
    check = check_held_out(known.flows, kinds, kind, found)
    for level in (check.network, check.edges):
        assert level["learned"].log_score > level["declared"].log_score + 2 * level["learned"].standard_error
    assert check.edges["learned"].log_score > check.edges["days resampled"].log_score - 0.05
    assert check.edges["learned"].coverage == pytest.approx(0.9, abs=0.06)
    assert check.network["learned"].coverage >= 0.75
    assert check.edges["declared"].coverage < 0.7


def test_where_nothing_was_learned_the_default_is_still_scored():
    known = known_days(6, common=0.1)
    found = fit_demand(known.flows)
    check = check_held_out(known.flows, (DayKind(),), np.zeros(6, dtype=int), found)
    assert ("learned" in check.network) == (found.pattern is not None)
    assert np.isfinite(check.network["declared"].log_score)


@pytest.mark.slow
def test_many_days_of_two_sorts_are_given_a_flow():
    """Two modes of the common scale, whose reason nobody knows, are no Student-t."""
    random = np.random.default_rng(1)
    known = known_days(90, common=0.05, effect=np.where(random.random(90) < 0.5, -0.35, 0.25))
    found = fit_demand(known.flows)
    assert found.pattern is not None and isinstance(found.pattern.density, FlowFactors)
    x, weight = found.pattern.density.rule(0)
    between = weight[(x[:, 0] > -0.15) & (x[:, 0] < 0.1)].sum()
    assert between < 0.25, "a normal of this spread has more than half there"
