"""A run's key names the capacity table that its incidents were made with, where that is not the shipped default."""

import json

import pytest

from scenariogen.evaluation.evaluate import capacity_table_of
from scenariogen.evaluation.records import run_key
from scenariogen.injection import calibration_cache
from scenariogen.injection.calibration_cache import keep_table
from scenariogen.injection.vehicle_mix_reading import project_traffic
from scenariogen.scenarios.records import Scenario
from tests.simulation.small import small_project, window

ABOUT = {
    "replica": 0, "policy_sha256": "p", "project_hash": "q", "window": window(600), "sumo_version": "1",
    "scenariogen_version": "0", "simulator": "libsumo",
}  # fmt: skip
LORRIES = (
    '<vType id="lorry" vClass="truck" length="16"/>'
    '<vehicle id="v" type="lorry" depart="0"><route edges="ab bc"/></vehicle>'
)


def test_the_default_table_leaves_keys_as_they_were_and_another_one_changes_them():
    scenario = Scenario(index=0, seed=1)
    plain = run_key(scenario, **ABOUT)
    assert run_key(scenario, **ABOUT, capacity_table="") == plain
    assert len({plain, *(run_key(scenario, **ABOUT, capacity_table=name) for name in "ab")}) == 3


@pytest.mark.sumo
def test_a_table_measured_for_the_project_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = small_project(tmp_path / "p", LORRIES)
    assert capacity_table_of(project) == ""
    from scenariogen.incidents.capacity_tables import shipped_table

    measured = json.loads(json.dumps(shipped_table().content))
    measured |= {"traffic": project_traffic(project).as_record(), "vehicles": "lorries"}
    keep_table(measured)
    first = capacity_table_of(project)
    measured["rows"][0]["free_veh_h"] += 1.0
    keep_table(measured)
    calibration_cache._kept.cache_clear()
    assert first and capacity_table_of(project) not in ("", first)
