"""From a user's file onto a network in one step: the account tells of both halves of the way."""

import json
from pathlib import Path

import pandas as pd

from scenariogen.accounts import FileAccount, account_path
from scenariogen.incidents.files import convert_file
from scenariogen.incidents.placing import PlaceOptions, place_file
from tests.trajectories import handmade

MAPPING = ("time=t:s", "vehicle=car", "road_position=at:ft", "road_lane=lane", "speed=v:mph")


def table(folder: Path) -> Path:
    """Twenty rows of a car along a road, one of them twice, and one without a time."""
    path = folder / "tracks.csv"
    rows = [f"{second},7,{100 + 40 * second},1,27" for second in range(20)]
    path.write_text("\n".join(["t,car,at,lane,v", *rows, rows[3], ",7,100,1,27"]) + "\n")
    return path


def placed(file: Path, out: Path, **options) -> FileAccount:
    account = place_file(file, handmade.road(1), out=out, options=PlaceOptions(chain=handmade.NAMES), **options)
    assert FileAccount.from_json(json.loads(account_path(out).read_text())) == account
    return account


def test_the_account_begins_with_the_file_that_was_given(tmp_path):
    """It named a temporary file, counted from what reading had kept, and knew no unit."""
    account = placed(table(tmp_path), tmp_path / "placed.parquet", mapping=MAPPING)
    assert (account.file, account.format, account.rows, account.kept) == ("tracks.csv", "chain", 22, 20)
    assert account.dropped == {"without a time": 1, "repeat another row exactly": 1}
    assert account.units["road_m"] == "at in ft" and account.units["speed_mps"] == "v in mph"
    assert account.facts["read as"] == "a table, read by a column mapping (csv)"
    assert account.facts["period"] == "1 s between the samples of a vehicle"
    assert set(account.derived) == {"accel_mps2", "lane", "position_m"}


def test_an_account_beside_a_converted_file_is_carried_on(tmp_path):
    straight = placed(table(tmp_path), tmp_path / "straight.parquet", mapping=MAPPING)
    ours = tmp_path / "ours.parquet"
    convert_file(table(tmp_path), out=ours, mapping=MAPPING)
    assert placed(ours, tmp_path / "placed.parquet") == straight
    pd.read_parquet(ours).head(15).to_parquet(ours, index=False)
    account = placed(ours, tmp_path / "fewer.parquet")
    assert (account.rows, account.kept) == (22, 15)
    assert account.findings[-1].text == "the account beside the file tells of 20 rows, and there are 15"
    account_path(ours).unlink()
    alone = placed(ours, tmp_path / "alone.parquet")
    assert (alone.file, alone.rows, alone.units) == ("ours.parquet", 15, {})
