"""The recording's folder: whole or not there, and nobody else's files are replaced."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scenariogen.errors import DataError
from scenariogen.recording.folder import FORMAT, check_out, draft_of

HOLD = """
import sys, time
from pathlib import Path
from scenariogen.recording.folder import draft_of
with draft_of(Path(sys.argv[1])) as draft:
    (draft / "trajectories.parquet").write_text("half")
    print(draft, flush=True)
    time.sleep(600)
"""


def finished(folder: Path, text: str = "first") -> None:
    with draft_of(folder) as draft:
        (draft / "history.json").write_text(json.dumps({"format": FORMAT, "text": text}))


def hold(out: Path) -> tuple[subprocess.Popen, Path]:
    """A process in the middle of a recording."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_appears_whole(tmp_path):
    out = tmp_path / "history"
    with draft_of(out) as draft:
        (draft / "history.json").write_text("{}")
        assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["history"]
    assert [path.name for path in out.iterdir()] == ["history.json"]
    assert out.stat().st_mode & 0o700 == 0o700


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), draft_of(tmp_path / "history") as draft:
        (draft / "trajectories.parquet").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_no_folder_and_the_next_recording_cleans_up(tmp_path):
    out = tmp_path / "history"
    process, draft = hold(out)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists() and draft.is_dir() and draft.parent == tmp_path
    finished(out)
    assert [path.name for path in tmp_path.iterdir()] == ["history"]


def test_the_draft_of_a_recording_at_work_is_left_alone(tmp_path):
    out = tmp_path / "history"
    process, draft = hold(out)
    try:
        finished(out)
        assert (draft / "trajectories.parquet").read_text() == "half"
    finally:
        process.kill()
        process.wait()
    for _ in range(100):  # the lock goes with the process
        finished(out)
        if not draft.exists():
            break
        time.sleep(0.05)
    assert not draft.exists()


def test_a_recording_of_ours_is_replaced_and_an_empty_folder_filled(tmp_path):
    out = tmp_path / "history"
    out.mkdir()
    finished(out, "first")
    finished(out, "second")
    assert json.loads((out / "history.json").read_text())["text"] == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["history"]


def test_what_is_not_a_recording_is_never_replaced(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in (check_out(foreign) or "")
    ours = tmp_path / "ours"
    finished(ours)
    (ours / "incidents.parquet").write_text("added by hand")
    assert "incidents.parquet" in (check_out(ours) or "")
    lookalike = tmp_path / "lookalike"
    lookalike.mkdir()
    (lookalike / "history.json").write_text("[1, 2]")
    assert "not a recording's" in (check_out(lookalike) or "")
    file = tmp_path / "file"
    file.write_text("x")
    assert "is a file" in (check_out(file) or "")
    assert "does not exist" in (check_out(tmp_path / "no" / "such") or "")


def test_files_that_appear_meanwhile_are_kept(tmp_path):
    out = tmp_path / "history"
    with pytest.raises(DataError, match=r"notes\.txt"), draft_of(out):
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    assert (out / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["history"]
