"""From an agency's log to scenarios, by the command line alone, on a real network."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from scenariogen.mapgeometry import Projection
from scenariogen.network import RoadNetwork
from tests.cli.runner import scenariogen
from tests.support import resco

pytestmark = [pytest.mark.sumo, pytest.mark.xdist_group("fit_records")]

ZONE = ZoneInfo("Europe/Berlin")
HEADER = (
    "ID,EventType,EventSubType,StartDate,LastUpdated,PlannedEndDate,LanesAffected,IsFullClosure,Latitude,Longitude,"
    "RoadwayName,DirectionOfTravel"
)
WORDS = ("crash", "disabledVehicle", "debrisinroad", "snow", "roadwork")
LANES = {"": 0.5, "1 right lane blocked": 0.3, "right shoulder": 0.15, "all lanes closed": 0.05}
DAYS, A_DAY = 90, 4


def done(*arguments: object) -> str:
    result = scenariogen(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def write_log(path: Path, network: RoadNetwork) -> int:
    """Records between 06:30 and 09:00 of every day, on edges; a fifth with a planned end, the others still open."""
    generator, projection = np.random.default_rng(4), Projection(network)
    edges = [edge for edge in network.edges.values() if edge.driving_lanes and edge.length_m > 60]
    rows = []
    for day in range(DAYS):
        for _ in range(generator.poisson(A_DAY)):
            edge = edges[generator.integers(len(edges))]
            (x0, y0), (x1, y1) = edge.shape[:2]
            lon, lat = (float(value) for value in projection.to_degrees((x0 + x1) / 2, (y0 + y1) / 2))
            heading = np.degrees(np.arctan2(x1 - x0, y1 - y0)) % 360
            midnight = datetime(2024, 1, 8, tzinfo=ZONE).astimezone(UTC) + timedelta(days=day)
            start = midnight.astimezone(ZONE) + timedelta(seconds=float(generator.uniform(6.5 * 3600, 9 * 3600)))
            seen = start + timedelta(minutes=float(np.exp(generator.normal(3.5, 0.6))))
            planned = seen.isoformat() if generator.random() < 0.2 else ""
            lanes = generator.choice(
                ["", "1 right lane blocked", "right shoulder", "all lanes closed"], p=[0.5, 0.3, 0.15, 0.05]
            )
            direction = ("North", "East", "South", "West")[int(((heading + 45) % 360) // 90)]
            word = WORDS[generator.choice(5, p=[0.3, 0.4, 0.2, 0.05, 0.05])]
            kind = "roadwork" if word == "roadwork" else "accidentsAndIncidents"
            rows.append([len(rows) + 1, kind, word, start.isoformat(), seen.isoformat(), planned, lanes,
                         lanes == "all lanes closed", lat, lon, "", direction])  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([HEADER.split(","), *rows])
    return len(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records that were read and located, and counts of every second edge."""
    from scenariogen import open_project

    folder = tmp_path_factory.mktemp("records")
    network = open_project(resco("cologne8")).network()
    write_log(folder / "log.csv", network)
    done("convert", folder / "log.csv", "--time-zone", "Europe/Berlin", "--out", folder / "events.parquet")
    done("match", folder / "events.parquet", "--network", "cologne8", "--out", folder / "located.parquet")
    lines = [f"{edge},25200,30600,600" for edge in network.drivable[::2]]
    (folder / "counts.csv").write_text("\n".join(["edge,begin,end,count", *lines]), encoding="utf-8")
    return folder


def fit(folder: Path, *more: object):
    return scenariogen("fit", "--records", folder / "located.parquet", "--counts", folder / "counts.csv", "--network",
                       "cologne8", *more)  # fmt: skip


@pytest.fixture(scope="module")
def model(folder):
    result = fit(
        folder, "--records-from", "2024-01-08", "--records-until", "2024-04-06", "--out", folder / "model", "--json"
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_record_is_used_or_left_out_for_a_reason(folder, model):
    import pyarrow.parquet as pq

    records = model["records"]
    located = pq.read_metadata(folder / "located.parquet").num_rows
    assert records["used"] + sum(records["left_out"].values()) == located
    assert {"planned work", "weather", "outside the window's clock span", "of another day type"} <= set(
        records["left_out"]
    )
    assert records["days"] == 65 and records["day_type"] == "weekday" and records["time_zone"] == "Europe/Berlin"
    kinds = {row["word"]: row["kind"] for row in records["kinds"]}
    assert kinds["disabledVehicle"] == "breakdown" and kinds["snow"] == ""
    assert records["with_duration"] == records["with_lower_bound"] < records["used"]  # planned ends are none


def test_rates_move_from_the_prior_by_the_records(model):
    rates = {move["name"]: move for move in model["moves"] if "rate" in move["name"]}
    assert set(rates) == {f"{kind} rate, street" for kind in ("crash", "breakdown", "obstruction")}
    for move in rates.values():
        assert move["ratio"] > 2 and move["moved_sd"] > 1
        assert set(move["shares"]) == {"priors", "records"} and sum(move["shares"].values()) == pytest.approx(1)
    used = model["records"]["used"]
    counted = sum(sum(group["incidents"].values()) for group in model["groups"])
    assert counted == used
    assert model["dispersion"]["records"]["days"] == 65 and 0 < model["clusters"]["p"] <= 1
    assert model["exposure"]["source"] == "counts" and model["exposure"]["estimated_edges"] > 50


def test_scenarios_are_drawn_from_it(folder, model):
    done("sample", folder / "model", "-n", 20, "--frequency", "1,10", "--seed", 1, "--out", folder / "s.parquet")
    from scenariogen import read_batch

    assert len(read_batch(folder / "s.parquet")) == 20


def test_the_tables_fit_80_columns_and_name_the_sources(folder):
    result = fit(folder, "--out", folder / "again")
    assert result.exit_code == 0
    text = result.stdout
    tables = text[text.index("Which number came from where") :].splitlines()[:-1]
    assert max(map(len, tables)) <= 80
    for word in ("crash rate, street", "prior%", "rec%", "exposure, from counts", "published", "disabledVehicle"):
        assert word in text
    assert "first to its last start" in text  # no span was given


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--clock", "late", "--day-type", "holiday", "--closed-only"), ["--clock", "holiday", "--records-until"]),
        (("--time-zone", "Mars"), ["'Mars' is unknown"]),
        (("--records-from", "2030-01-01", "--records-until", "2029-01-01"), ["an end after the beginning"]),
        (("--counted-only",), ["driving edges lack counts"]),
    ],
)
def test_mistakes_are_said_and_nothing_is_written(folder, tmp_path, arguments, says):
    result = fit(folder, *arguments, "--out", tmp_path / "model")
    assert result.exit_code == 1 and not (tmp_path / "model").exists()
    for word in says:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), ["--incidents", "--trajectories"]),
        (("--incidents", "x.parquet", "--counts", "c.csv"), ["need the --trajectories"]),
        (("--records", "x.parquet"), ["--counts"]),
    ],
)
def test_too_little_is_said(tmp_path, arguments, says):
    result = scenariogen("fit", "--network", "cologne8", *arguments, "--out", tmp_path / "model")
    assert result.exit_code == 1
    for word in says:
        assert word in result.stderr


def test_records_that_are_not_on_the_network_are_refused(folder, tmp_path):
    result = scenariogen("fit", "--records", folder / "events.parquet", "--counts", folder / "counts.csv", "--network",
                         "cologne8", "--out", tmp_path / "model")  # fmt: skip
    assert result.exit_code == 1 and "scenariogen match" in result.stderr
