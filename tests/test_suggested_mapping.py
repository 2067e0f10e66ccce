"""Suggestions of a column mapping: what they name is read, and where names say nothing none is made."""

import shlex

import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.files import convert_file, inspect_file
from scenariogen.incidents.readers.mapped import EVENT_DIMENSIONS
from scenariogen.suggested_mapping import INCIDENT_WORDS, MOVEMENT_WORDS, suggest_mapping
from scenariogen.trajectories.readers.mapped import DIMENSIONS

TRACKS = "Track ID,time,UTM_X,UTM_Y,velocity\n" + "".join(f"7,{k},{10 * k},5,10\n" for k in range(5))
LOG = "Incident Id,Event Type,Start Time,Longitude,Latitude\n4,crash,2025-03-01T07:00:00Z,7.1,50.7\n"


def options(text):
    return [word for word in shlex.split(text) if word != "--map"]


def test_every_suggested_field_is_one_that_can_be_mapped():
    assert set(MOVEMENT_WORDS) <= set(DIMENSIONS)
    assert set(INCIDENT_WORDS) <= set(EVENT_DIMENSIONS)


@pytest.mark.parametrize(("text", "subject"), [(TRACKS, "vehicles"), (LOG, "incidents")])
def test_the_error_about_an_unknown_table_suggests_a_mapping_that_reads_it(tmp_path, text, subject):
    path = tmp_path / "table.csv"
    path.write_text(text)
    suggested = suggest_mapping(text.splitlines()[0].split(","))
    with pytest.raises(DataError) as told:
        inspect_file(path)
    assert suggested and suggested in str(told.value)
    account = convert_file(path, out=tmp_path / "out.parquet", mapping=options(suggested))
    assert account.subject == subject and account.subjects == 1


@pytest.mark.parametrize("header", [["a", "b", "c"], ["time", "vehicle"], ["start", "lon", "lat"], []])
def test_names_that_say_too_little_suggest_nothing(header):
    assert suggest_mapping(header) == ""


def test_a_column_fills_one_field_only():
    fields = options(suggest_mapping(["id", "t", "x", "y", "type"]))
    columns = [field.partition("=")[2] for field in fields]
    assert len(set(columns)) == len(columns) == 5
