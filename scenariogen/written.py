"""Files that are there whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scenariogen.errors import SimulationError

FULL_BYTES = 1 << 20
"""With less room than this a disk counts as full: what SUMO cannot write fills it nearly to the last block."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and is removed otherwise.

    It is this process's own, so that several may write the same file at once: the last one to end stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        allow_as_usual(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def cut_short(path: Path) -> OSError | SimulationError:
    """What to raise for a file that SUMO left unfinished: it says nothing of a disk that is full."""
    if shutil.disk_usage(path.parent).free < FULL_BYTES:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return SimulationError(f"SUMO left {path} unfinished: expected it whole, look for room on that disk")


def allow_as_usual(path: Path) -> None:
    """Let others read a file or folder as far as the user's umask says.

    Temporary ones, and what safetensors writes, are private, and would stay so under their final name.
    """
    mask = os.umask(0)
    os.umask(mask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
