"""What scripts/benchmark_readers measures: the same file read by us and by what a user would take instead."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ATTRIBUTES = ("id", "x", "y", "speed", "pos", "lane")
NUMBERS = ("x", "y", "speed", "pos")


def run(job: str, *arguments) -> tuple[int, float, float]:
    """Rows, seconds and peak memory (MiB) of one job in this process."""
    work = JOBS[job]
    work_imports()
    began = time.perf_counter()
    rows = work(*arguments)
    seconds = time.perf_counter() - began
    # Not getrusage, which goes on counting from the process that this one was started by.
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return rows, seconds, peak


def work_imports() -> None:
    """Imports are not what is measured."""
    import duckdb  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.compute
    import pyarrow.csv  # noqa: F401
    import sumolib  # noqa: F401

    from scenariogen.trajectories.readers import sumo_fcd  # noqa: F401


def _columns(rows: list[tuple]) -> int:
    """Rows of text as columns, numbers as numbers."""
    import numpy as np

    columns = dict(zip(("time", *ATTRIBUTES), zip(*rows, strict=True), strict=True))
    for name in ("time", *NUMBERS):
        columns[name] = np.array(columns[name], dtype=float)  # type: ignore[assignment]
    return len(columns["time"])


def sumolib_parse(path: Path) -> int:
    import sumolib

    rows = []
    for step in sumolib.xml.parse(str(path), "timestep"):
        for vehicle in step.vehicle or ():
            rows.append((step.time, *(getattr(vehicle, name) for name in ATTRIBUTES)))
    return _columns(rows)


def sumolib_nested(path: Path) -> int:
    import sumolib

    rows = [
        (step.time, *(getattr(vehicle, name) for name in ATTRIBUTES))
        for step, vehicle in sumolib.xml.parse_fast_nested(str(path), "timestep", ["time"], "vehicle", list(ATTRIBUTES))
    ]
    return _columns(rows)


def _ours(path: Path) -> int:
    import pyarrow as pa

    from scenariogen.accounts import AccountBook
    from scenariogen.heads import read_head
    from scenariogen.trajectories.readers.contract import ReadOptions
    from scenariogen.trajectories.readers.sumo_fcd import SumoFcdReader

    book = AccountBook(file=path.name, format="", title="", subject="vehicles")
    tables = list(SumoFcdReader().tables(read_head(path), book, ReadOptions()))
    return len(pa.concat_tables(tables))


def pandas_csv(path: Path) -> int:
    import pandas as pd

    return len(pd.read_csv(path, sep=";"))


def open_record(path: Path) -> int:
    from scenariogen.trajectories.records import open_trajectories

    return open_trajectories(path).rows


def convert(path: Path, mapping: tuple[str, ...]) -> int:
    from scenariogen.incidents.files import convert_file

    with tempfile.TemporaryDirectory(prefix="scenariogen-") as folder:
        return convert_file(path, out=Path(folder) / "rows.parquet", mapping=mapping).kept


def fields(path: Path, net: Path) -> int:
    from scenariogen.network import read_network
    from scenariogen.trajectories.fields import edie_fields
    from scenariogen.trajectories.records import open_trajectories

    opened = open_trajectories(path)
    assert len(edie_fields(opened, read_network(net))) > 0
    return opened.rows


JOBS: dict[str, Callable[..., int]] = {
    "sumolib_parse": sumolib_parse,
    "sumolib_nested": sumolib_nested,
    "fcd_xml": _ours,
    "fcd_csv": _ours,
    "pandas_csv": pandas_csv,
    "open": open_record,
    "convert": convert,
    "fields": fields,
}
