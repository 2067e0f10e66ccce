"""Scripts written in Python run in a fresh clone: they go into their environment before they import what it holds."""

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

SCRIPTS = ROOT / "scripts"
ENTRY = "in_venv"


def python_scripts() -> list[Path]:
    found = (path for path in sorted(SCRIPTS.iterdir()) if path.is_file() and not path.suffix)
    return [path for path in found if path.read_text(encoding="utf-8").splitlines()[0].endswith("python3")]


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when a file is loaded, in order: also what stands under conditions."""
    for node in body:
        if isinstance(node, ast.If):
            yield from statements([*node.body, *node.orelse])
        else:
            yield node


def strangers_before_entry(path: Path) -> list[str] | None:
    """Modules outside the standard library that a file imports before the entry, through its neighbours too; None where
    the entry is never reached."""
    strangers: list[str] = []
    for node in statements(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in (full.partition(".")[0] for full in names):
            if name == ENTRY:
                return strangers
            beside = SCRIPTS / f"{name}.py"
            if beside.is_file():
                inner = strangers_before_entry(beside)
                if inner is not None:
                    return strangers + inner
                strangers += all_strangers(beside)
            elif name not in sys.stdlib_module_names:
                strangers.append(name)
    return None


def all_strangers(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    roots = {name.partition(".")[0] for name in names}
    return sorted(
        name for name in roots if name not in sys.stdlib_module_names and not (SCRIPTS / f"{name}.py").is_file()
    )


def test_there_are_such_scripts():
    assert len(python_scripts()) >= 8


@pytest.mark.parametrize("path", python_scripts(), ids=lambda path: path.name)
def test_a_script_enters_its_environment_before_it_needs_it(path: Path):
    assert os.access(path, os.X_OK)
    assert strangers_before_entry(path) == []
