"""The page of policies has a row for each file, with what its class declares."""

import re

from scenariogen.evaluation.policy import load_policy, policy_folder
from scenariogen.simulation.contract import PARTS, LoopSite
from tests.support import ROOT


def rows() -> dict[str, list[str]]:
    lines = [line for line in (ROOT / "docs" / "policies.md").read_text().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_policy_has_a_row_with_what_it_reads():
    names = {path.stem for path in policy_folder().glob("*.py") if not path.stem.startswith("_")}
    assert set(rows()) == names
    for name, (uses, *_) in rows().items():
        assert set(re.findall(r"`(\w+)`", uses)) == set(load_policy(name).reads), name


def test_every_part_and_every_kind_of_loop_is_explained():
    page = (ROOT / "docs" / "writing-a-policy.md").read_text()
    assert all(f"| `{part}` |" in page for part in PARTS)
    assert all(f"LoopSite.{site.name}" in page for site in LoopSite)
