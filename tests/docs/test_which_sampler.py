"""The page on choosing a sampler: its examples are run, its pictures are there, and every module is on it."""

import importlib.machinery
import importlib.util
import pkgutil
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import scenariogen.sampling
from tests.docs.test_pages import DOCS, blocks
from tests.support import ROOT

PAGE = DOCS / "which-sampler.md"
PICTURES = DOCS / "pictures"
LARGEST_PICTURE = 80_000
BEGINNING, *EXAMPLES = blocks(PAGE, "python")


def sections() -> dict[str, str]:
    """The page's sections by their heading."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


WITH_PICTURES = [name for name in sections() if not name.startswith(("Streaming", "What is not"))]


@cache
def script() -> ModuleType:
    """scripts/sampler_pictures as a module, without what sets the environment up."""
    sys.modules.setdefault("in_venv", ModuleType("in_venv"))
    sys.path.append(str(ROOT / "scripts"))  # where it finds its panels
    path = str(ROOT / "scripts" / "sampler_pictures")
    loader = importlib.machinery.SourceFileLoader("sampler_pictures", path)
    spec = importlib.util.spec_from_loader("sampler_pictures", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [name for name, text in sections().items() if "```python" in text])
def test_the_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A section's blocks one after the other, after the page's first lines, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in (BEGINNING, *(each for each in EXAMPLES if each in sections()[name])):
        exec(compile(code, name, "exec"), names)


@pytest.mark.parametrize("name", WITH_PICTURES)
def test_every_section_has_an_example_and_a_picture(name: str):
    text = sections()[name]
    assert "```python" in text
    assert len(re.findall(r"^!\[.+\]\(pictures/sampler-\w+\.svg\)$", text, flags=re.MULTILINE)) == 1


def test_the_pictures_are_those_that_the_script_draws_and_small():
    shown = re.findall(r"pictures/sampler-(\w+)\.svg", PAGE.read_text(encoding="utf-8"))
    stored = {path.stem.removeprefix("sampler-"): path.stat().st_size for path in PICTURES.glob("sampler-*")}
    assert sorted(shown) == sorted(stored) == sorted(script().PICTURES)
    assert max(stored.values()) < LARGEST_PICTURE


def test_the_script_draws_what_is_stored(tmp_path: Path):
    """One picture without training, so that it is the same everywhere."""
    script().write(["quasi"], tmp_path)
    name = "sampler-quasi.svg"
    assert (tmp_path / name).read_text(encoding="utf-8") == (PICTURES / name).read_text(encoding="utf-8")


def test_every_module_is_on_the_page():
    named = set(re.findall(r"[\w.]+", " ".join(re.findall(r"`([^`\n]+)`", PAGE.read_text(encoding="utf-8")))))
    named |= {word.split(".")[0] for word in named}
    named |= set(re.findall(r"scenariogen\.sampling\.(\w+)", PAGE.read_text(encoding="utf-8")))
    modules = {each.name for each in pkgutil.iter_modules(scenariogen.sampling.__path__)}
    assert modules - named == set()


def test_links_inside_the_page_lead_to_its_headings():
    headings = {re.sub(r"[^\w -]", "", name).strip().lower().replace(" ", "-") for name in sections()}
    targets = re.findall(r"\]\(#([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert targets and set(targets) - headings == set()


def test_every_name_in_code_of_the_page_exists():
    """``module.Name`` of the tables and the text."""
    text = re.sub(r"```.*?```", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    pairs = re.findall(r"`(?!scenariogen)([a-z_]+)\.(\w+)`", text)
    assert len(pairs) > 10
    for module, name in pairs:
        assert hasattr(importlib.import_module(f"scenariogen.sampling.{module}"), name), f"{module}.{name}"
