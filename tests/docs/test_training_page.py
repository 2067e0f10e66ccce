"""The page on training is run as it stands: a few hundred steps with Stable-Baselines3, then the agent in a batch."""

import re

import pytest

from scenariogen.evaluation.agents import read_agent
from tests.docs.test_pages import DOCS, blocks, run_python


@pytest.mark.sumo
@pytest.mark.slow
def test_the_training_page_runs(tmp_path):
    said = run_python("\n".join(blocks(DOCS / "training.md", "python")), tmp_path)
    assert re.search(r"\d episodes, the first with", said)
    assert re.search(r"fixed_time [\d.]+ vehicle-hours", said)
    assert re.search(r"agent [\d.]+ vehicle-hours", said)
    assert read_agent(tmp_path / "agent.safetensors").actions == 4
