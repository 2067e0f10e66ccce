"""Files that appear whole: others may read them as far as the user's umask says, whatever wrote them."""

import os
import tempfile
from pathlib import Path

import pytest

from scenariogen.written import allow_as_usual, written_whole


@pytest.fixture(params=[0o022, 0o027])
def mask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_a_library_writes_privately_is_opened_as_far_as_the_umask_says(tmp_path, mask):
    """safetensors writes models as 0600: whoever shared a model's folder shared a file that nobody could read."""
    with written_whole(tmp_path / "model.bin") as partial:
        partial.touch(mode=0o600)
    assert mode(tmp_path / "model.bin") == 0o666 & ~mask
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    allow_as_usual(folder)
    assert mode(folder) == 0o777 & ~mask
    assert os.umask(mask) == mask
