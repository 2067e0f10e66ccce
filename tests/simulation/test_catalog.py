"""Networks by name."""

import subprocess
import sys

import pytest

from scenariogen.errors import ProjectError
from scenariogen.simulation import catalog
from scenariogen.simulation.catalog import find_network, list_networks

NAMES = ["cologne1", "cologne3", "cologne8", "ingolstadt1", "ingolstadt7", "ingolstadt21", "a10kw", "corridor", "grid"]


def test_every_name_has_a_description_and_an_origin():
    networks = list_networks()
    assert [network.name for network in networks] == NAMES
    assert all(network.description and network.origin for network in networks)
    for network in networks:
        assert network.available == network.sumocfg.is_file()
        assert bool(network.why_not) != network.available


def test_real_networks_are_read_inside_their_packages():
    for name, part in (("cologne8", "sumo_rl/nets/RESCO/cologne8"), ("a10kw", "sumo/tools/game")):
        path = find_network(name)
        assert path.is_file()
        assert part in path.as_posix()


def test_a_name_that_is_not_there_is_answered_with_all_names():
    with pytest.raises(ProjectError) as caught:
        find_network("colonge8")
    assert "did you mean cologne8?" in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)
    assert "--sumocfg FILE" in str(caught.value)


def test_a_package_that_is_not_installed_is_said_by_its_name_for_pip(monkeypatch):
    monkeypatch.setattr(catalog, "find_spec", lambda name: None)
    networks = {network.name: network for network in list_networks()}
    assert networks["cologne1"].why_not == "the package sumo-rl is not installed: pip install it"
    with pytest.raises(ProjectError, match=r"cologne1 is not available: the package sumo-rl is not installed"):
        find_network("cologne1")


def test_the_catalogue_of_an_installed_package_comes_first(tmp_path, monkeypatch):
    shared = tmp_path / "scenariogen" / "_share" / "sumo_networks"
    shared.mkdir(parents=True)
    (shared / "catalog.toml").write_text('[own]\nsumocfg = "own/own.sumocfg"\ndescription = "d"\norigin = "o"\n')
    monkeypatch.setattr(catalog, "_PACKAGE", tmp_path / "scenariogen")
    (network,) = list_networks()
    assert network.sumocfg == shared / "own" / "own.sumocfg"
    assert "run scripts/build_networks" in network.why_not
    (shared / "catalog.toml").unlink()
    with pytest.raises(ProjectError, match=r"catalog\.toml is missing"):
        list_networks()


def test_looking_imports_neither_sumo_nor_torch():
    modules = ("catalog", "project", "study", "inspect", "sumo", "measures", "health", "dummy")
    imports = "; ".join(f"import scenariogen.simulation.{name}" for name in modules)
    code = (
        f"import sys, os; os.environ.pop('SUMO_HOME', None); {imports}; "
        "from scenariogen.simulation.catalog import list_networks; list_networks(); "
        "print([m for m in ('libsumo', 'traci', 'torch', 'sumo_rl', 'sumolib', 'scipy') if m in sys.modules], "
        "'SUMO_HOME' in os.environ)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[] False"
