"""Run folders that stay: what a run recorded there, and which run that was.

SUMO says nothing when the disk is full, and a run that is killed leaves half a file: a recording counts as such only
with a note beside it, written after the run, when the file was found whole.
"""

from pathlib import Path

from scenariogen.evaluation.store import write_atomically

TRAJECTORIES = "trajectories.parquet"
"""What a run that is recorded leaves in its folder: position and speed of every vehicle in every step."""
NOTE = "recorded.txt"


def note_recording(folder: Path, key: str) -> bool:
    """Note that the trajectories in a folder are those of the run with this key; False where they are not whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / NOTE).unlink(missing_ok=True)
    try:
        pq.read_metadata(folder / TRAJECTORIES)  # at the end of the file, and names all that comes before
    except (OSError, pa.ArrowException):
        return False
    write_atomically(folder / NOTE, key + "\n")
    return True


def is_recorded(folder: Path, key: str) -> bool:
    """Whether a folder holds the trajectories of the run with this key, whole."""
    note = folder / NOTE
    return note.is_file() and note.read_text(encoding="utf-8").strip() == key and (folder / TRAJECTORIES).is_file()
