"""The proof of exact undo, in short; ``scripts/check_undo`` makes it with thousands."""

import json
import subprocess
from pathlib import Path

import pytest

from scenariogen.injection.values import Ledger
from scenariogen.network import read_network
from scenariogen.simulation.catalog import find_network
from tests.injection.undo_proof import ENDINGS, prove
from tests.support import ROOT

pytestmark = pytest.mark.sumo


def proof(name: str, **options):
    sumocfg = Path(find_network(name))
    return prove(name, sumocfg, read_network(sumocfg.with_name(f"{name}.net.xml")), **options)


@pytest.mark.parametrize(
    ("name", "backend", "things"),
    [
        ("cologne8", "libsumo", 480),
        ("ingolstadt7", "libsumo", 480),
        ("corridor", "libsumo", 240),
        ("cologne8", "traci", 80),
    ],
)
def test_nothing_differs_from_a_run_that_nothing_happened_in(name, backend, things):
    options = {"each": 20, "span_s": 120} if backend == "traci" else {}
    tally = proof(name, backend=backend, things=things, **options)
    assert tally.differing == []
    assert set(tally.endings) == set(ENDINGS)
    assert tally.realised.total() > 0.75 * tally.asked.total() >= 0.75 * things
    assert all(tally.realised[kind] for kind in tally.asked)
    assert all(tally.compared[what] for what in ("lanes", "types", "signals", "vehicles"))


@pytest.mark.parametrize("attribute", ["lane speed", "lane permissions", "type tau", "programme states"])
def test_the_proof_sees_a_value_that_is_not_given_back(monkeypatch, attribute):
    """Each attribute in turn is left as it is on release."""
    enforce = Ledger._enforce

    def forgetful(self, entry):
        if entry.claims or entry.attribute.name != attribute:
            enforce(self, entry)

    monkeypatch.setattr(Ledger, "_enforce", forgetful)
    what = {"lane speed": "lanes", "lane permissions": "lanes", "type tau": "types", "programme states": "signals"}
    differing = proof("cologne8", things=40, each=40, span_s=120).differing
    assert any(f": {what[attribute]} " in line for line in differing)


def test_the_script_says_what_it_compared(tmp_path):
    path = tmp_path / "undo.json"
    command = [str(ROOT / "scripts" / "check_undo"), "--networks", "corridor", "--things", "100", "--check"]
    done = subprocess.run([*command, "--json", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "all as if nothing had happened" in done.stdout, done.stderr
    (network,) = json.loads(path.read_text(encoding="utf-8"))["networks"]
    assert sum(network["asked"].values()) >= 100 and network["differing"] == []
