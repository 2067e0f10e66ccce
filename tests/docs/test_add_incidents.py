"""The page on adding incidents to a project, on a real project that nobody prepared."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scenariogen.simulation.launch import sumo_home
from tests.docs.test_pages import blocks, commands, run_python
from tests.support import ROOT

PAGE = ROOT / "docs" / "add-incidents.md"
BOLOGNA = ROOT.parent / "shared" / "data" / "networks" / "bologna_acosta"
pytestmark = [
    pytest.mark.sumo,
    pytest.mark.skipif(not BOLOGNA.is_dir(), reason=f"{BOLOGNA.name} is not beside the project"),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy, since SUMO writes the project's own outputs beside its files."""
    folder = tmp_path / "project"
    shutil.copytree(BOLOGNA, folder)
    folder.chmod(0o755)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def run_command(words: list[str], folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    code = "import sys; from scenariogen.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_runs_on_a_project_that_stays_as_it_was(project: Path):
    before = content(project)
    by_verb = {command[1]: command[1:] for command in commands(PAGE)}
    run_command(by_verb["incident"], project)
    (code,) = blocks(PAGE, "python")
    said = run_python(code, project)
    assert re.search(r"crash on 85 at \d+ m, lanes \[1, 2\], from 00:15(:00)? for 20 min", said), said
    run_command(by_verb["export"], project)
    configuration = next((project / "plain").glob("*.sumocfg"))
    plain = subprocess.run(
        [str(sumo_home() / "bin" / "sumo"), "-c", str(configuration), "--end", "1000", "--no-step-log"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert plain.returncode == 0, plain.stderr
    after = content(project)
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_the_check_of_the_page_says_what_to_expect(project: Path):
    before = content(project)
    (words,) = [command[1:] for command in commands(PAGE) if command[1] == "check"]
    said = run_command(words, project)
    assert "time-to-teleport" in said and "edges that matter" in said
    assert content(project) == before
