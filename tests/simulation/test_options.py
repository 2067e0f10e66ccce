"""The tables of SUMO's options against the installed simulator, and the spellings of values."""

import re
import subprocess

import pytest

from scenariogen.simulation.launch import sumo_home
from scenariogen.simulation.options import (
    INPUT_FILES,
    NEVER_PASSED_ON,
    canonical,
    is_output,
    is_true,
    parse_time_s,
    with_variables,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("template") / "all.sumocfg"
    binary = str(sumo_home() / "bin" / "sumo")
    subprocess.run([binary, "--save-template", str(path), "--save-commented"], check=True, capture_output=True)
    return path.read_text()


@pytest.mark.sumo
def test_every_file_option_of_the_installed_sumo_is_input_output_or_never_passed_on(template):
    names = re.findall(r'<([\w.-]+) value="[^"]*"[^>]*type="FILE"', template)
    assert len(names) > 50
    homeless = [n for n in names if not (n in INPUT_FILES or is_output(n) or n in NEVER_PASSED_ON)]
    assert homeless == []
    assert [n for n in names if n in INPUT_FILES and is_output(n)] == []


@pytest.mark.sumo
def test_every_synonym_of_the_installed_sumo_is_known(template):
    pairs = re.findall(r'<([\w.-]+) value="[^"]*" synonymes="([^"]*)"', template)
    wrong = {s: canonical(s) for name, synonyms in pairs for s in synonyms.split() if canonical(s) != name}
    assert len(pairs) > 50
    assert wrong == {}


def test_times_in_all_spellings():
    assert parse_time_s("90.5") == 90.5
    assert parse_time_s("7:00:00") == 25_200
    assert parse_time_s("1:00:00:30") == 86_430
    for wrong in ("", "noon", "7:00", "1:2:3:4:5"):
        with pytest.raises(ValueError):
            parse_time_s(wrong)


def test_truth_and_variables(monkeypatch):
    assert [is_true(text) for text in ("true", "1", "X", "on", "false", "0", "")] == [True] * 4 + [False] * 3
    monkeypatch.setenv("CITY", "cologne")
    assert with_variables("${CITY}.net.xml, ${NOT_SET}") == "cologne.net.xml, "
