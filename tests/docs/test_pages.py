"""What the pages say is run: README, tutorial, the policy of the policy page, the commands' own help."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scenariogen import find_network, open_project
from tests.cli.runner import VERBS, scenariogen
from tests.support import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")])


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[list[str]]:
    lines = [line for block in blocks(path, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("scenariogen ")]


def run_python(code: str, folder: Path) -> str:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pages_of_the_commands_are_current():
    from scenariogen.cli.pages import command_pages

    stored = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert stored == command_pages(), "run: .venv/bin/python -m scenariogen.cli.pages docs/cli.md"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    targets = re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [t for t in targets if not t.startswith("http") and not (path.parent / t).exists()]
    assert missing == []


def test_the_page_of_formats_names_all_that_stands_in_estimates_and_in_a_model():
    from dataclasses import fields

    from scenariogen.evaluation.estimates import Estimate
    from scenariogen.evaluation.outcomes import EMITTED, LOCK_UP, MEAN, SOMETIMES
    from scenariogen.model.checkpoint import DESCRIPTION, NETWORK, TENSORS

    text = (DOCS / "formats.md").read_text(encoding="utf-8")
    asked = [MEAN, LOCK_UP, *SOMETIMES, "quantile_0.95_delay_veh_h", "cvar_0.95_delay_veh_h", "P(delay>… veh h)"]
    named = [*(each.name for each in fields(Estimate)), *asked, *EMITTED.values()]
    assert [name for name in named if f"`{name}`" not in text] == []
    assert [name for name in (DESCRIPTION, NETWORK, TENSORS) if f"`model/{name}`" not in text] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_on_a_page_names_a_verb_and_options_that_exist(path: Path):
    for command in commands(path):
        assert command[1] in VERBS, command
        known = scenariogen(command[1], "--help").stdout
        for word in command[2:]:
            if word.startswith("-"):
                assert re.search(rf"(^|\s){re.escape(word)}[\s,]", known), f"{word} is not an option of {command[1]}"


def test_the_readme_shows_all_stages_in_order():
    verbs = [command[1] for command in commands(ROOT / "README.md")]
    assert [verb for verb in VERBS if verb not in verbs] == ["networks", "demo"]
    # An incident by hand, an effect beside it, and both in a simulation that runs already, stand first.
    assert verbs[:3] == ["incident", "effect", "attach"]
    stages = verbs[3:]
    assert stages == sorted(stages, key=VERBS.index)


def test_the_readme_opens_with_the_picture_and_the_two_scripts():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.split("\n\n")[1].startswith("![")
    for script in re.findall(r"^(scripts/\w+)", blocks(ROOT / "README.md", "bash")[0], flags=re.MULTILINE):
        assert os.access(ROOT / script, os.X_OK), script


@pytest.mark.sumo
def test_the_three_lines_of_the_readme_add_an_incident_to_a_traci_script(tmp_path: Path):
    """The README's block as it stands, with a script of somebody's own around it."""
    result = scenariogen(
        "incident", "--network", "cologne8", "--edge", "-186623965#14", "--lanes", "0", "--at", "07:02", "--for",
        "3min", "--out", tmp_path / "one.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (lines,) = blocks(ROOT / "README.md", "python")
    code = f"""
import traci
from sumo import SUMO_HOME
from scenariogen import find_network

stood = set()

def run_my_simulation():
    while traci.simulation.getTime() < 25200 + 400:
        traci.simulationStep()
        stood.update(v for v in traci.vehicle.getIDList() if v.startswith("incident."))

traci.start([SUMO_HOME + "/bin/sumo", "-c", str(find_network("cologne8")), "--no-step-log", "--no-warnings",
             "--time-to-teleport", "-1", "--collision.action", "warn"])
{lines}
print("stood:", len(stood), "left:", [v for v in traci.vehicle.getIDList() if v.startswith("incident.")])
traci.close()
"""
    said = run_python(code, tmp_path)
    assert "left: []" in said
    assert int(said.split("stood:")[1].split()[0]) >= 1


@pytest.mark.sumo
def test_the_tutorial_runs(tmp_path: Path):
    code = "\n".join(blocks(DOCS / "tutorial.md", "python"))
    said = run_python(code, tmp_path)
    assert "lanes [17]" in said
    assert "stood from" in said
    assert re.search(r"no_control [\d.]+ vehicle-hours", said)
    assert re.search(r"max_pressure [\d.]+ vehicle-hours", said)


@pytest.mark.sumo
def test_the_policy_of_the_policy_page_controls_a_run(tmp_path: Path):
    (source,) = blocks(DOCS / "writing-a-policy.md", "python")
    (tmp_path / "longest_queue.py").write_text(source, encoding="utf-8")
    out = tmp_path / "one.json"
    network = open_project(find_network("cologne1")).network()
    edge = max(network.edges.values(), key=lambda each: each.length_m)
    made = scenariogen("incident", "--network", "cologne1", "--edge", edge.id, "--at", "07:20", "--out", out)
    assert made.exit_code == 0, made.output
    policy = tmp_path / "longest_queue.py"
    ran = scenariogen("run", "--network", "cologne1", "--scenarios", out, "--policy", policy, "--json")
    assert ran.exit_code == 0, ran.output
    result = json.loads(ran.stdout)
    assert result["policy"] == "longest_queue"
    assert result["arrived"] > 0
    assert [each["realised"] for each in result["incidents"]] == [True]


def test_the_page_on_data_lists_every_format_and_field():
    from scenariogen.incidents.event_formats import event_readers
    from scenariogen.incidents.readers.mapped import EVENT_DIMENSIONS
    from scenariogen.trajectories.formats import readers
    from scenariogen.trajectories.readers.mapped import FIELDS

    text = (DOCS / "data-in.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w[\w-]*)` \|", text, flags=re.MULTILINE)
    assert listed == [*readers(), *event_readers()]
    assert [name for name in (*FIELDS, *EVENT_DIMENSIONS) if f"`{name}`" not in text] == []
