"""The support of the capacity left ends where a project's own traffic cannot be brought further."""

import json
import math
from dataclasses import replace

import pytest
import torch

from scenariogen.incidents.capacity_tables import CapacityTable, shipped_table
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.injection import passing_speed
from scenariogen.model.checkpoint import DESCRIPTION, load_model, save_model
from scenariogen.model.fit import fit_model
from scenariogen.model.options import lane_options
from scenariogen.network import RoadClass
from scenariogen.simulation.catalog import find_network
from tests.model.small import QUICK, WINDOW, exposure_of, no_incidents, two_edges

SLOWEST = 4
"""So many of the slowest speeds past a blockage are missing in the narrower table."""
NAME = "a table of heavy lorries"


def narrower() -> CapacityTable:
    content = dict(shipped_table().content)
    lists = ("speeds_mps", "share", "standard_error")
    rows = [{**row, **{name: row[name][SLOWEST:] for name in lists}} for row in content["rows"]]
    return CapacityTable(NAME, {**content, "rows": [row for row in rows if row["road_class"] != "street"]})


def incident(share: float) -> Incident:
    return Incident(
        edge="first", start_s=1000.0, position_m=400.0, kind=IncidentKind.CRASH, lanes=(0,), capacity_left=share,
        detection_s=300.0, response_s=300.0, clearance_s=600.0,
    )  # fmt: skip


def test_the_support_ends_where_both_tables_reach():
    network, table = two_edges(), narrower()
    usual, own = lane_options(network), lane_options(network, table)
    option = own.find(0, (0,))
    assert option is not None
    low, high = table.reachable(RoadClass.MOTORWAY, 3, 1)
    assert (float(own.low[0, option]), float(own.high[0, option])) == (low, high)
    assert low > float(usual.low[0, option]) and high == float(usual.high[0, option])
    # The table holds no streets: there it is as with SUMO's default car. Nothing is wider than that.
    assert torch.equal(own.low[1], usual.low[1]) and torch.equal(own.high[1], usual.high[1])
    assert (own.low >= usual.low).all() and (own.high <= usual.high).all() and (own.low <= own.high).all()


def test_a_model_keeps_its_table_and_has_no_density_beyond_it(tmp_path):
    network = two_edges()
    net = tmp_path / "two.net.xml"
    net.write_text("<net/>", encoding="utf-8")
    network = replace(network, path=net)
    evidence = (no_incidents(), exposure_of(network), network, WINDOW)
    model = fit_model(*evidence, days=1, seed=1, settings=QUICK, capacity_table=narrower())
    usual = fit_model(*evidence, days=1, seed=1, settings=QUICK)
    assert model.info["capacity_table"] == NAME and "capacity_table" not in usual.info
    folder = save_model(model, tmp_path / "model")
    again = load_model(folder, network)
    assert again.capacity_table is not None and again.capacity_table.name == NAME
    assert torch.equal(again.options.low, model.options.low)
    assert "capacity_table" not in json.loads((save_model(usual, tmp_path / "usual") / DESCRIPTION).read_text())
    option = model.options.find(0, (0,))
    low = float(model.options.low[0, option or 0])
    between = (float(usual.options.low[0, option or 0]) + low) / 2
    assert usual.log_prob([incident(between)], scale=1.0, day=1.0) > -math.inf
    assert again.log_prob([incident(low + 0.05)], scale=1.0, day=1.0) > -math.inf
    assert again.log_prob([incident(between)], scale=1.0, day=1.0) == -math.inf


@pytest.mark.sumo
def test_a_projects_own_table_is_found_and_sumos_default_car_needs_none(monkeypatch):
    from scenariogen.simulation.project import open_project

    project = open_project(find_network("corridor"))
    monkeypatch.setattr(passing_speed, "find_table", lambda traffic: shipped_table())
    assert passing_speed.project_table(project) is None
    table = narrower()
    monkeypatch.setattr(passing_speed, "find_table", lambda traffic: table)
    assert passing_speed.project_table(project) is table
