"""Recordings of a real project: what is written, that the truth stays apart, and bad input."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from scenariogen.errors import DataError, ProjectError, SimulationError
from scenariogen.injection import InjectionWarning
from scenariogen.recording import record
from scenariogen.recording.day import with_plain_ids
from scenariogen.recording.folder import FILES
from scenariogen.simulation.catalog import find_network
from scenariogen.simulation.project import SumoProject, open_project
from scenariogen.trajectories import columns
from scenariogen.trajectories.records import Trajectories, open_trajectories
from scenariogen.window import StudyWindow
from tests.support import copy_project, resco

SHORT = StudyWindow(
    begin_s=25200.0, count_from_s=25260.0, incidents_until_s=25440.0, end_s=25560.0, demand_end_s=28799.0
)
"""Six minutes of the project's hour."""
INTENSITY = 60_000.0
"""About six incidents in these six minutes."""


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> SumoProject:
    return open_project(copy_project(resco("cologne1"), tmp_path_factory.mktemp("project")))


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make(project: SumoProject, out: Path, **options):
    settings = {"days": 2, "seed": 4, "intensity": INTENSITY, "window": SHORT, **options}
    return record(project, out=out, **settings)


@pytest.fixture(scope="session")
def recording(project, tmp_path_factory):
    """A recording by one process, its summary, the progress told, and the project's files before and after."""
    told: list[tuple[int, int]] = []
    before = hashes(project.sumocfg.parent)
    folder = tmp_path_factory.mktemp("one") / "history"
    summary = make(project, folder, progress=lambda done, total: told.append((done, total)), network_name="cologne1")
    return summary, told, before, hashes(project.sumocfg.parent)


@pytest.fixture(scope="session")
def trajectories(recording, project) -> Trajectories:
    return open_trajectories(recording[0].folder, project.network())


@pytest.fixture(scope="session")
def truth(recording) -> pd.DataFrame:
    return pd.read_parquet(recording[0].folder / "truth.parquet")


@pytest.mark.sumo
def test_the_trajectories_have_our_columns_and_pass_the_readers_checks(recording, trajectories):
    summary, *_ = recording
    assert pq.read_schema(trajectories.file).equals(columns.schema())
    assert trajectories.days == (0, 1) and trajectories.period_s == 2.0
    assert trajectories.rows == summary.vehicle_rows > 1000
    assert (trajectories.begin_s, trajectories.end_s) == pytest.approx((SHORT.begin_s, SHORT.end_s), abs=10)
    codes = trajectories.query("SELECT DISTINCT time_s % 2 AS rest FROM trajectories")
    assert codes["rest"].tolist() == [0.0]


@pytest.mark.sumo
def test_the_header_says_how_it_was_made(recording, project):
    summary, *_ = recording
    header = json.loads((summary.folder / "history.json").read_text())
    assert header["network_name"] == "cologne1" and header["network_hash"] == project.network().sha256
    assert header["project_hash"] == project.hash and StudyWindow(**header["window"]).end_s == SHORT.end_s
    assert (header["days"], header["seed"], header["period_s"], header["intensity"]) == (2, 4, 2.0, INTENSITY)
    assert len(set(header["demand_scale"])) == 2 and all(0.5 < scale < 2 for scale in header["demand_scale"])
    assert header["failed_days"] == {} and header["versions"]["libsumo"].startswith("1.")


@pytest.mark.sumo
def test_the_project_stays_as_it_is_and_only_the_recording_appears(recording):
    summary, _, before, after = recording
    assert before == after
    assert {path.name for path in summary.folder.iterdir()} == FILES
    assert [path.name for path in summary.folder.parent.iterdir()] == ["history"]


@pytest.mark.sumo
def test_progress_counts_every_run(recording):
    _, told, *_ = recording
    assert told == [(done, 4) for done in range(5)]


@pytest.mark.sumo
def test_the_truth_says_what_was_asked_and_what_happened(recording, truth):
    summary, *_ = recording
    assert len(truth) == summary.incidents > 3 and truth["realised"].sum() == summary.realised > 3
    stood = truth[truth["realised"]]
    late = stood["realised_start_s"] - stood["start_s"]
    assert ((late >= -1e-6) & (late <= 3)).all()
    asked_end_s = stood["start_s"] + stood[["detection_s", "response_s", "clearance_s"]].sum(axis=1)
    assert np.allclose(stood["realised_end_s"], np.minimum(asked_end_s, SHORT.end_s), atol=1.5)
    assert (stood["realised_position_m"] >= 0).all()
    assert truth["day"].is_monotonic_increasing and set(truth["kind"]) <= {"crash", "breakdown", "obstruction"}


@pytest.mark.sumo
def test_rates_are_written_apart(recording):
    summary, *_ = recording
    rates = pd.read_parquet(summary.folder / "truth_rates.parquet")
    assert rates["per_day"].sum() == pytest.approx(summary.expected) and (rates["vehicle_km"] > 0).all()
    assert rates["cell_begin_s"].min() == SHORT.count_from_s and rates["cell_end_s"].max() == SHORT.incidents_until_s


@pytest.mark.sumo
def test_blocking_vehicles_are_there_and_their_ids_say_nothing(trajectories, truth):
    blockers = {(row.day, name) for row in truth.itertuples() for name in row.vehicles}
    seen = trajectories.query(
        "SELECT day, CAST(vehicle AS VARCHAR) AS vehicle, max(speed_mps) AS fastest FROM trajectories GROUP BY ALL"
    )
    everybody = set(zip(seen["day"], seen["vehicle"], strict=True))
    assert len(blockers) > 3 and blockers <= everybody
    fastest = {(day, name): speed for day, name, speed in seen.itertuples(index=False)}
    assert all(fastest[blocker] == 0 for blocker in blockers)  # they are the ones that stood
    assert seen["vehicle"].str.fullmatch(r"veh\d{6}").all()
    for day in (0, 1):  # numbers without a gap, and rows in their order
        numbers = sorted(int(name[3:]) for d, name in everybody if d == day)
        assert numbers == list(range(len(numbers)))
        table = trajectories.day_table(day).to_pandas()
        assert table[["time_s", "vehicle"]].astype({"vehicle": str}).apply(tuple, axis=1).is_monotonic_increasing


@pytest.mark.sumo
def test_the_same_seed_gives_the_same_bytes_at_any_number_of_processes(recording, project, tmp_path):
    summary, *_ = recording
    make(project, tmp_path / "history", jobs=2, network_name="cologne1")
    assert hashes(tmp_path / "history") == hashes(summary.folder)
    make(project, tmp_path / "history", days=1, seed=5)  # a recording may be replaced by another
    other = hashes(tmp_path / "history")
    assert all(other[name] != digest for name, digest in hashes(summary.folder).items())


@pytest.mark.sumo
def test_without_an_intensity_one_incident_a_day_blocks_a_lane(project, tmp_path):
    summary = make(project, tmp_path / "history", days=1, intensity=None)
    assert summary.intensity * summary.expected_lane_blocking == pytest.approx(1)
    assert "at which 1.00 a day block a lane" in str(summary)


@pytest.mark.sumo
def test_settings_that_make_no_sense_are_listed_together(project, tmp_path):
    foreign = tmp_path / "results"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError) as caught:
        make(project, foreign, days=0, jobs=0, period_s=1.5, intensity=-2.0)
    text = str(caught.value)
    for fault in ("days is 0", "jobs is 0", "period_s is 1.5", "intensity is -2", "thesis.tex"):
        assert fault in text
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]


@pytest.mark.sumo
def test_a_project_that_changed_or_cannot_run_leaves_nothing(project, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ProjectError, match="changed while it was recorded"):
        make(replace(project, hash="0" * 64), out / "history")
    broken = copy_project(project.sumocfg, tmp_path / "broken")
    routes = next(broken.parent.glob("*.rou.xml"))
    routes.write_text('<routes><trip id="lost" depart="25201" from="nowhere" to="nowhere"/></routes>')
    with pytest.raises(SimulationError, match="cannot be simulated without incidents"):
        make(open_project(broken), out / "history")
    shutil.rmtree(tmp_path / "broken")
    assert list(out.iterdir()) == []


def test_new_ids_keep_every_row_and_every_vehicle_apart():
    import pyarrow as pa

    names = ["b.2", "a.10", "b.2", "z", "a.10"]
    times = [0.0, 0.0, 1.0, 1.0, 1.0]
    table = pa.table(
        {
            columns.DAY: pa.array([3] * 5, pa.int32()),
            columns.TIME: times,
            columns.VEHICLE: pa.array(names).dictionary_encode(),
            columns.POSITION: pa.array([1.0, 2.0, 3.0, 4.0, 5.0], pa.float32()),
        }
    )
    renamed, ids = with_plain_ids(table, seed=1)
    assert sorted(ids.values()) == ["veh000000", "veh000001", "veh000002"] and set(ids) == set(names)
    rows = {(row[columns.TIME], row[columns.VEHICLE], row[columns.POSITION]) for row in renamed.to_pylist()}
    assert rows == {(t, ids[name], p) for t, name, p in zip(times, names, [1.0, 2.0, 3.0, 4.0, 5.0], strict=True)}
    assert with_plain_ids(table, seed=1)[1] == ids
    orders = {tuple(with_plain_ids(table, seed=seed)[1].values()) for seed in range(30)}
    assert len(orders) == 6  # every numbering occurs: order says nothing
    empty, none = with_plain_ids(table.slice(0, 0).combine_chunks(), seed=1)
    assert empty.num_rows == 0 and set(none) <= set(names)


@pytest.mark.sumo
def test_what_all_days_warn_of_is_told_once(tmp_path):
    """The corridor's vehicles are not those of the shipped table of capacities."""
    window = StudyWindow(
        begin_s=23400.0, count_from_s=23460.0, incidents_until_s=23580.0, end_s=23640.0, demand_end_s=30600.0
    )
    project = open_project(find_network("corridor"))
    with pytest.warns(InjectionWarning) as told:
        summary = record(
            project, days=2, seed=4, intensity=1_000_000.0, window=window, out=tmp_path / "history", jobs=2
        )
    assert summary.incidents > 2 and summary.failed == ()
    texts = [str(each.message) for each in told]
    assert len(texts) == len(set(texts)) and sum("scenariogen calibrate" in text for text in texts) == 1
