"""CommonRoad: both versions, numbers and intervals, what is left out."""

from pathlib import Path

import pytest

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.trajectories.readers import commonroad
from scenariogen.trajectories.readers.commonroad import CommonRoadReader
from scenariogen.trajectories.readers.contract import ReadOptions
from tests.support import shared_data


def state(step: int, *, tag: str = "state", position: str = "", speed: str = "<exact>10</exact>") -> str:
    position = position or f"<point><x>{step}.5</x><y>-2</y></point>"
    return (
        f"<{tag}><position>{position}</position><orientation><exact>0</exact></orientation>"
        f"<time><exact>{step}</exact></time><velocity>{speed}</velocity>"
        f"<acceleration><exact>0.5</exact></acceleration></{tag}>"
    )


def obstacle(number: int, *states: str, tag: str = "dynamicObstacle", role: str = "", kind: str = "car") -> str:
    first, *others = states
    return (
        f'<{tag} id="{number}">{role}<type>{kind}</type><shape><rectangle><length>4.5</length><width>1.8</width>'
        f"</rectangle></shape>{first}<trajectory>{''.join(others)}</trajectory></{tag}>"
    )


def scenario(*obstacles: str, version: str = "2020a", step: str = "0.1") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><commonRoad commonRoadVersion="{version}" benchmarkID="X_1" '
        f'timeStepSize="{step}"><lanelet id="1"/><lanelet id="2"/>{"".join(obstacles)}</commonRoad>'
    )


def car(number: int, *, steps: int = 4, **other: str) -> str:
    return obstacle(number, state(0, tag="initialState"), *(state(step) for step in range(1, steps)), **other)


def write(folder: Path, text: str) -> Path:
    path = folder / "scene.xml"
    path.write_text(text, encoding="utf-8")
    return path


def sample(folder: Path) -> Path:
    return write(folder, scenario(car(7), car(8)))


def book() -> AccountBook:
    return AccountBook(file="x", format="commonroad", title="", subject="vehicles")


def read(path: Path, account: AccountBook | None = None) -> dict[str, list]:
    found: dict[str, list] = {}
    for table in CommonRoadReader().tables(read_head(path), account or book(), ReadOptions()):
        for name, values in table.to_pydict().items():
            found.setdefault(name, []).extend(values)
    return found


def test_states_become_rows_and_steps_seconds(tmp_path: Path):
    account = book()
    rows = read(sample(tmp_path), account)
    assert rows["vehicle"] == ["7"] * 4 + ["8"] * 4
    assert rows["time_s"][:4] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert (rows["x_m"][3], rows["y_m"][3]) == (3.5, -2)
    assert (rows["speed_mps"][0], rows["accel_mps2"][0]) == (10, 0.5)
    assert (rows["length_m"][0], rows["width_m"][0]) == pytest.approx((4.5, 1.8))
    assert account.facts["lanelets"] == "2"
    assert account.rows == 8


def test_the_older_version_names_its_obstacles_otherwise(tmp_path: Path):
    dynamic, static = "<role>dynamic</role>", "<role>static</role>"
    text = scenario(car(1, tag="obstacle", role=dynamic), car(2, tag="obstacle", role=static), version="2018b")
    assert set(read(write(tmp_path, text))["vehicle"]) == {"1"}


def test_the_middle_of_intervals_and_shapes_is_taken_and_counted(tmp_path: Path):
    speed = "<intervalStart>8</intervalStart><intervalEnd>10</intervalEnd>"
    shape = "<rectangle><length>2</length><width>1</width><center><x>5</x><y>6</y></center></rectangle>"
    account = book()
    rows = read(
        write(tmp_path, scenario(obstacle(1, state(0, tag="initialState"), state(1, position=shape, speed=speed)))),
        account,
    )
    assert (rows["x_m"][1], rows["y_m"][1], rows["speed_mps"][1]) == (5, 6, 9)
    assert {finding.text: finding.rows for finding in account.findings} == {
        "give velocity as an interval, of which the middle is taken": 1,
        "give the position as a shape, of which the centre is taken": 1,
    }


def test_pedestrians_and_states_without_a_place_are_dropped(tmp_path: Path):
    account = book()
    lost = obstacle(2, state(0, tag="initialState"), state(1, position="<lanelet ref='1'/>"))
    rows = read(write(tmp_path, scenario(car(1, kind="pedestrian"), lost)), account)
    assert rows["vehicle"] == ["2"]
    assert account.dropped == {"of pedestrians": 4, "without a point or a shape as position": 1}


@pytest.mark.parametrize("step", ["", "0", "-1", "x", "nan"])
def test_a_time_step_of_nothing_is_refused(tmp_path: Path, step: str):
    with pytest.raises(DataError, match="timeStepSize"):
        read(write(tmp_path, scenario(car(1), step=step)))


def test_entities_are_refused(tmp_path: Path):
    text = scenario(car(1)).replace("<commonRoad ", '<!DOCTYPE c [<!ENTITY a "b">]><commonRoad ', 1)
    with pytest.raises(DataError, match="cannot be read as CommonRoad XML"):
        read(write(tmp_path, text))


def test_a_cut_file_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="cannot be read as CommonRoad XML"):
        read(write(tmp_path, scenario(car(1))[:-30]))


def test_tables_have_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(commonroad, "CHUNK_ROWS", 8)
    path = write(tmp_path, scenario(*(car(number) for number in range(5))))
    assert [len(table) for table in CommonRoadReader().tables(read_head(path), book(), ReadOptions())] == [8, 8, 4]


@pytest.mark.data
def test_a_real_scene_has_the_rows_of_its_table():
    account = book()
    rows = read(shared_data("trajectories", "ngsim_us101_half_A", "USA_US101-23_1_T-1.xml.gz"), account)
    assert (len(rows["vehicle"]), len(set(rows["vehicle"])), account.facts["lanelets"]) == (5304, 57, "18")
