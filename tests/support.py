"""Where tests find real networks and open data, and why they skip without them."""

import importlib.util
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared_data(*parts: str) -> Path:
    """A path under ``../shared/data``; the test is skipped with a reason where that folder is absent."""
    path = ROOT.parent.joinpath("shared", "data", *parts)
    if not path.exists():
        pytest.skip("../shared/data is not here: real-data test skipped")
    return path


def resco(name: str) -> Path:
    """The ``.sumocfg`` of a RESCO network inside the installed ``sumo-rl`` package."""
    spec = importlib.util.find_spec("sumo_rl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("sumo-rl is not installed: RESCO network skipped")
    return Path(spec.submodule_search_locations[0]) / "nets" / "RESCO" / name / f"{name}.sumocfg"


def copy_project(sumocfg: Path, folder: Path) -> Path:
    """A writable copy of a project's folder; returns the copied ``.sumocfg``."""
    target = folder / sumocfg.parent.name
    shutil.copytree(sumocfg.parent, target)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target / sumocfg.name
