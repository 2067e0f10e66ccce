"""The table of conditions from files."""

import pytest

from scenariogen.errors import DataError
from scenariogen.model.condition import ConditionTable
from scenariogen.model.condition_files import ConditionFiles, read_condition
from tests.model.demand_days import known_days
from tests.model.small import WINDOW, two_edges


def counts_file(folder, days: int, **others):
    """Known days on the two edges of the small network."""
    known = known_days(days, entries=2, **others)
    rows = ["day,edge,time_s,vehicles"]
    for day, by_entry in enumerate(known.flows.by_day):
        rows += [f"{day},{edge},0,{count:.0f}" for edge, count in zip(("first", "second"), by_entry, strict=True)]
    path = folder / "counts.csv"
    path.write_text("\n".join(rows))
    return path


def test_nothing_given_is_the_declared_table():
    found = read_condition(ConditionFiles(), two_edges(), WINDOW, clock_s=7200.0)
    assert found.table == ConditionTable(clock_s=7200.0) and not found.words


def test_counts_by_day_and_weather_make_a_table(tmp_path):
    weather = tmp_path / "weather.csv"
    weather.write_text("day,weather\n" + "".join(f"{day},{'rain' if day % 4 == 0 else 'sunny'}\n" for day in range(20)))
    files = ConditionFiles(entry_counts=counts_file(tmp_path, 20, common=0.3), weather=weather)
    found = read_condition(files, two_edges(), WINDOW)
    assert [(kind.weather, kind.share) for kind in found.table.kinds] == [("dry", 0.75), ("rain", 0.25)]
    assert found.table.demand is not None and set(found.table.demand.entries) == {"first", "second"}
    assert found.check is not None and found.check.days == 20
    kept = read_condition(
        ConditionFiles(entry_counts=files.entry_counts, weather=weather, keep_declared=True), two_edges(), WINDOW
    )
    assert kept.table.demand is None and len(kept.table.kinds) == 2


def test_days_of_the_week_are_known_by_their_date(tmp_path):
    """From a Monday on 14 days hold 10 weekdays; without a date all 14 count."""
    path = counts_file(tmp_path, 14, common=0.3)
    dated = read_condition(ConditionFiles(entry_counts=path, recorded_from="2024-03-04"), two_edges(), WINDOW)
    assert dated.check is not None and dated.check.days == 10
    both = ConditionFiles(entry_counts=path, recorded_from="2024-03-04", day_type="all")
    assert [kind.day_type for kind in read_condition(both, two_edges(), WINDOW).table.kinds] == ["weekday", "weekend"]
    plain = read_condition(ConditionFiles(entry_counts=path, day_type="all"), two_edges(), WINDOW)
    assert plain.check is not None and plain.check.days == 14 and len(plain.table.kinds) == 1


def test_every_fault_of_the_settings_is_listed(tmp_path):
    files = ConditionFiles(weather_words=("hail",), recorded_from="monday", day_type="holiday")
    with pytest.raises(DataError) as caught:
        read_condition(files, two_edges(), WINDOW)
    for part in ("'hail', expected WORD=WEATHER", "'monday'", "'holiday'", "no table of weather"):
        assert part in str(caught.value)
    strange = tmp_path / "x.csv"
    strange.write_text("day,edge,time_s,vehicles\n0,nowhere,0,4\n")
    with pytest.raises(DataError, match="nowhere"):
        read_condition(ConditionFiles(entry_counts=strange), two_edges(), WINDOW)
