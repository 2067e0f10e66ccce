"""The recording's folder appears whole or not at all, and nothing that is not a recording is replaced."""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scenariogen.errors import DataError
from scenariogen.trajectories.columns import HEADER_FILE, TRAJECTORIES_FILE
from scenariogen.written import allow_as_usual

TRUTH_FILE = "truth.parquet"
RATES_FILE = "truth_rates.parquet"
FILES = frozenset({TRAJECTORIES_FILE, HEADER_FILE, TRUTH_FILE, RATES_FILE})
FORMAT = "scenariogen recording"
_LOCK = "lock"


def check_out(out: Path) -> str | None:
    """Why ``out`` cannot take a recording, or None. A recording of ours with nothing added may be replaced."""
    if not out.exists():
        if not out.parent.is_dir():
            return f"the folder {out.parent} does not exist: create it, or choose another place for {out.name}"
        return None
    if not out.is_dir():
        return f"{out} is a file, expected a folder that is new, empty, or a recording"
    inside = {entry.name for entry in out.iterdir()}
    if not inside:
        return None
    foreign = sorted(inside - FILES)
    if foreign:
        return (
            f"{out} holds {', '.join(foreign[:3])}{' and more' if len(foreign) > 3 else ''}, which no recording "
            "wrote: choose a new folder"
        )
    if not _is_recording(out):
        return f"{out} is not empty and its {HEADER_FILE} is not a recording's: choose a new folder"
    return None


def _is_recording(folder: Path) -> bool:
    return bool(_header(folder))


def what_is_replaced(out: Path) -> str:
    """Days, network and seed of the recording that a new one in ``out`` takes the place of; empty without one."""
    header = _header(out)
    if not header:
        return ""
    days = header.get("days", "?")
    return (
        f"{days} {'day' if days == 1 else 'days'} of {header.get('network_name', '?')} with seed "
        f"{header.get('seed', '?')}"
    )


def _header(folder: Path) -> dict[str, Any]:
    """What a recording says of itself; empty where ``folder`` is none."""
    try:
        header: Any = json.loads((folder / HEADER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return header if isinstance(header, dict) and header.get("format") == FORMAT else {}


@contextmanager
def draft_of(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` to write into. It takes the place of ``out`` in one move when the block ends well.

    Whatever a killed recording left behind beside ``out`` is removed first: a lock, which goes with its process,
    tells it from one that is still at work.
    """
    prefix = f".{out.name}.draft-"
    for left in out.parent.glob(f"{prefix}*"):
        if not _is_at_work(left):
            shutil.rmtree(left, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))
    lock = (draft / _LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield draft
        (draft / _LOCK).unlink()
        _put_in_place(draft, out)
    finally:
        lock.close()
        shutil.rmtree(draft, ignore_errors=True)


def _is_at_work(draft: Path) -> bool:
    try:
        with (draft / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _put_in_place(draft: Path, out: Path) -> None:
    allow_as_usual(draft)
    problem = check_out(out)
    if problem:  # somebody wrote there meanwhile
        raise DataError(problem)
    if out.exists() and any(out.iterdir()):
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}.draft-", dir=out.parent))
        try:
            out.rename(old)
            draft.rename(out)
        finally:
            shutil.rmtree(old, ignore_errors=True)
    else:
        draft.rename(out)
