"""``report`` by its options: JSON, costs per edge and year, and what is refused."""

import json

import pytest

from tests.cli.runner import scenariogen
from tests.cli.test_mistakes import refused
from tests.report.folders import crossing_delays, drawn_batch, results_folder


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    batch = drawn_batch(240)
    return results_folder(tmp_path_factory.mktemp("report") / "results", batch, crossing_delays(batch))


def test_the_json_has_what_the_page_has_and_costs_are_written(results, tmp_path):
    page, table = tmp_path / "r.html", tmp_path / "costs.csv"
    done = scenariogen("report", results, "--out", page, "--costs", table, "--hours-per-year", 100, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["out"] == str(page) and told["costs"] == [str(table)] and page.is_file()
    assert told["paragraph"].startswith(told["verdict"]) and told["flips"][0]["shape"]
    assert {row["hours_per_year"] for row in told["per_edge_and_year"]} == {100.0}
    assert len(table.read_text(encoding="utf-8").splitlines()) == 1 + len(told["per_edge_and_year"])


def test_what_cannot_be_is_refused(results, tmp_path):
    out = ("--out", tmp_path / "r.html")
    refused("report", results, *out, "--costs", tmp_path / "c.gpkg", says=("needs the roads' geometry", "A .csv needs"))
    refused("report", results, *out, "--at", 40, says=("lies outside the range",))
    refused("report", results, *out, "--occupancy", "bus:20", says=("expected a vehicle class and people in it",))
    refused("report", results, *out, "--hours-per-year", 0, says=("at most 8784",))
    assert scenariogen("report", results, *out, "--costs", tmp_path / "c.shp").exit_code == 2
    assert not (tmp_path / "r.html").exists()
