"""The walls of the house: which stage may import which, and what importing the package must not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

PACKAGE = ROOT / "scenariogen"
LEAVES = (
    "errors",
    "units",
    "shapes",
    "randomness",
    "processes",
    "network",
    "mapgeometry",
    "window",
    "accounts",
    "written",
    "heads",
    "mapping",
    "suggested_mapping",
    "recognise",
    "database",
)
STAGES = (
    "trajectories",
    "incidents",
    "sampling",
    "model",
    "scenarios",
    "simulation",
    "injection",
    "recording",
    "evaluation",
    "report",
    "pipeline",
    "cli",
)
IMPORT_LIMIT_S = 0.5


def imported_modules(source: str, module: str) -> set[str]:
    """Absolute names of what a module imports anywhere: at its top, in functions, and for type checkers alone."""
    found: set[str] = set()
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def part_of(name: str) -> str | None:
    """The stage or leaf that a dotted name belongs to; None outside the package, '' for its table of contents."""
    parts = name.split(".")
    if parts[0] != "scenariogen":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in (*LEAVES, *STAGES) else ""


def forbidden(part: str, imported: str) -> str | None:
    """Why a module of ``part`` must not import ``imported``; None where it may."""
    other = part_of(imported)
    if other is None or other == part:
        return None
    if imported in ("scenariogen.__version__",):
        return None
    if other == "":
        return "imports the table of contents; name the module itself"
    if part in LEAVES:
        return None if other in LEAVES else f"a leaf imports the stage {other}"
    if other in LEAVES:
        return None
    if part == "sampling":
        return f"sampling imports {other}; it may import leaves only"
    return None if STAGES.index(other) < STAGES.index(part) else f"{part} imports the later stage {other}"


def package_files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_module_belongs_to_a_stage_or_a_leaf():
    strangers = {
        path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in package_files() if "_share" not in path.parts
    } - {*LEAVES, *STAGES}
    assert not strangers


@pytest.mark.parametrize("path", package_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_stage_imports_only_earlier_stages_and_leaves(path: Path):
    relative = path.relative_to(ROOT).with_suffix("")
    part = relative.parts[1]
    names = imported_modules(path.read_text(encoding="utf-8"), ".".join(relative.parts))
    assert [f"{name}: {why}" for name in sorted(names) if (why := forbidden(part, name))] == []


@pytest.mark.parametrize("path", sorted((ROOT / "policies").glob("*.py")), ids=lambda path: path.name)
def test_policies_import_only_the_contract(path: Path):
    names = imported_modules(path.read_text(encoding="utf-8"), path.stem)
    ours = {name for name in names if name.split(".")[0] == "scenariogen"}
    assert {name for name in ours if not name.startswith("scenariogen.simulation.contract")} == set()


@pytest.mark.parametrize(
    ("part", "source", "fault"),
    [
        ("incidents", "from scenariogen.evaluation import evaluate", "later stage"),
        ("incidents", "def f():\n    import scenariogen.cli.app", "later stage"),
        ("sampling", "from scenariogen.trajectories.records import Trajectories", "leaves only"),
        ("errors", "from scenariogen.incidents import records", "a leaf imports"),
        ("model", "from ..simulation import sumo", "later stage"),
        ("model", "import scenariogen", "table of contents"),
    ],
)
def test_the_rule_sees_a_wrong_import(part: str, source: str, fault: str):
    found = [forbidden(part, name) for name in imported_modules(source, f"scenariogen.{part}.module")]
    assert any(fault in (why or "") for why in found)


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("evaluation", "from scenariogen.scenarios.records import Scenario"),
        ("sampling", "from scenariogen.errors import ScenariogenError"),
        ("model", "from scenariogen.model.rates import RateShape"),
        ("cli", "import numpy as np"),
    ],
)
def test_the_rule_lets_a_right_import_pass(part: str, source: str):
    assert all(forbidden(part, name) is None for name in imported_modules(source, f"scenariogen.{part}.module"))


def _loaded_by(code: str) -> tuple[set[str], float]:
    script = (
        "import sys, time\nbegan = time.process_time()\n"
        f"{code}\n"
        "print(time.process_time() - began, *sorted(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/").stdout
    seconds, *modules = said.split("\n")[-2].split()
    return set(modules), float(seconds)


@pytest.mark.parametrize("code", ["import scenariogen", "import scenariogen.cli.app"])
def test_importing_is_light(code: str):
    modules, seconds = _loaded_by(code)
    assert not modules & {"torch", "libsumo", "traci", "pandas", "duckdb", "sumo_rl"}
    assert seconds < IMPORT_LIMIT_S


def test_the_table_of_contents_holds_what_it_names():
    import scenariogen

    assert len(scenariogen.__all__) <= 40
    assert set(scenariogen.__all__) == set(scenariogen._HOME)
    for name in scenariogen.__all__:
        assert getattr(scenariogen, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = scenariogen.nothing
