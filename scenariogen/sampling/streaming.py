"""Draws to a Parquet file, as many as the disk holds: memory does not grow with their number.

Draws are made and written in groups of :data:`GROUP` rows, one row group of the file each. A group is a function of the
seed and of its own rows' numbers, and one thread makes it, so that the file is the same to the last byte whatever the
number of processes. It is written beside its place and moved there at the end: a file that is there is whole.

A file has one column per number of a draw, named by the caller, then ``log_density`` (null where the density has none)
and ``is_exact`` (whether that is the log-density itself). Seed, measure and versions stand in the file's metadata.
"""

import json
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from scenariogen import __version__
from scenariogen.errors import DataError, DensityError, Problems
from scenariogen.processes import worker_pool
from scenariogen.randomness import uniform
from scenariogen.sampling.contract import BLOCK, ConditionalDensity, Draws, Noise, check_given, draw

GROUP = 32 * BLOCK
"""Rows of a row group, and of a worker's task: a whole number of blocks."""
LOG_DENSITY, IS_EXACT = "log_density", "is_exact"
FORMAT = "scenariogen draws"
_KEY = b"scenariogen_draws"
_AHEAD = 2  # groups under way or waiting to be written, per process


@dataclass(frozen=True)
class _Task:
    """What a worker needs for every group; the group's own rows and context come with the call."""

    density: ConditionalDensity
    seed: int
    device: torch.device | str | None
    dtype: torch.dtype | None
    noise: Noise


def draw_to_parquet(
    path: str | Path,
    density: ConditionalDensity,
    context: Tensor | None = None,
    *,
    columns: Sequence[str],
    measure: str,
    seed: int,
    n: int | None = None,
    first: int = 0,
    jobs: int = 1,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    noise: Noise = uniform,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write draws number ``first``, ``first + 1``, … of a seed to ``path``; returns the path.

    ``context``  (batch, context), one row per draw; a row for all is ``row.expand(n, -1)``, which takes no memory.
                 Without one, ``n`` draws
    ``columns``  a name for each number of a draw, for sets of points one point after the other
    ``measure``  what the density is with respect to, in words, with units: "Lebesgue on metres and seconds"
    ``jobs``     processes that draw; the file does not depend on it

    A draw has the bits that :func:`.contract.draw` gives it. ``DensityError`` lists what cannot be used, and names the
    first draw that is not finite or whose log-density is nan or +∞; ``path`` is then as it was before.
    """
    path = Path(path)
    total = _check_request(path, density, context, columns=columns, measure=measure, n=n, first=first, jobs=jobs)
    task = _Task(density, seed, device, dtype, noise)
    given = (
        (first + start, min(GROUP, total - start), None if context is None else context[start : start + GROUP].clone())
        for start in range(0, total, GROUP)
    )
    header = {
        "format": FORMAT,
        "format_version": 1,
        "seed": seed,
        "first": first,
        "n": total,
        "measure": measure,
        "density": type(density).__name__,
        "noise": getattr(noise, "__name__", type(noise).__name__),
        "versions": {"scenariogen": __version__, "torch": str(torch.__version__), "pyarrow": pa.__version__},
    }
    with _draft_of(path) as draft:
        writer, done = None, 0
        try:
            for part in _in_order(task, given, jobs=min(jobs, -(-total // GROUP))):
                if writer is None:
                    writer = pq.ParquetWriter(
                        draft, _schema(part, columns, header), compression="zstd", use_dictionary=False
                    )
                writer.write_table(_table(part, first + done, writer.schema), row_group_size=GROUP)
                done += len(part)
                if progress:
                    progress(done, total)
        finally:
            if writer is not None:
                writer.close()
    return path


@dataclass(frozen=True, eq=False)
class StoredDraws:
    """What :func:`read_draws` found: the draws, their columns' names, and the file's header (seed, measure, …)."""

    draws: Draws
    columns: tuple[str, ...]
    header: dict[str, Any]

    def __repr__(self) -> str:
        return f"StoredDraws({self.draws!r}, seed {self.header['seed']}, {self.header['measure']!r})"


def read_draws(path: str | Path) -> StoredDraws:
    """The whole of a file that :func:`draw_to_parquet` wrote, x of shape (batch, columns).

    ``DataError`` for a file that it did not write.
    """
    with _opened(Path(path)) as (file, header):
        columns = tuple(file.schema_arrow.names[:-2])
        return StoredDraws(_draws(file.read()), columns, header)


def read_draw_blocks(path: str | Path) -> Iterator[Draws]:
    """As :func:`read_draws`, one row group of :data:`GROUP` draws at a time."""
    with _opened(Path(path)) as (file, _):
        for number in range(file.num_row_groups):
            yield _draws(file.read_row_group(number))


def _check_request(path: Path, density, context, *, columns, measure: str, n, first: int, jobs: int) -> int:
    """The number of draws; ``DensityError`` with everything that cannot be used."""
    problems = Problems("draws that cannot be written")
    if not path.parent.is_dir():
        problems.add(f"the folder {path.parent} does not exist: create it, or choose another place for {path.name}")
    if path.is_dir():
        problems.add(f"{path} is a folder, expected a file's name")
    names = list(columns)
    if not names or len(set(names)) < len(names) or {LOG_DENSITY, IS_EXACT} & set(names):
        problems.add(
            f"columns are {names}, expected a name for each number of a draw, all different, none of them "
            f"{LOG_DENSITY!r} or {IS_EXACT!r}"
        )
    if not measure.strip():
        problems.add("measure is empty, expected what the density is with respect to, in words")
    for name, value, least in (("first", first, 0), ("jobs", jobs, 1)):
        if value < least:
            problems.add(f"{name} is {value}, expected at least {least}")
    total = n if context is None else len(context)
    if total is None or (n is not None and n != total):
        problems.add(f"got n = {n} and {'no' if context is None else len(context)} rows of context: give one")
    elif total < 1:
        problems.add(f"got a request for {total} draws, expected at least 1")
    try:
        # An expanded row is looked at once: a test of every copy would take memory for all.
        looked_at = context[:1] if context is not None and context.stride(0) == 0 else context
        check_given(looked_at, density.context_width)
    except DensityError as error:
        problems.extend(error.problems)
    problems.raise_as(DensityError)
    return int(total or 0)


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write under; it takes the place of ``path`` where the block ends well."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.draft")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _in_order(task: _Task, given: Iterator[tuple[int, int, Tensor | None]], *, jobs: int) -> Iterator[Draws]:
    """Groups of draws in the order of their rows, made by ``jobs`` processes; only a few wait at any moment."""
    if jobs == 1:
        for each in given:
            yield _draw_group(task, *each)
        return
    from joblib.externals.loky import BrokenProcessPool

    pool = worker_pool(jobs, first=_remember, given=(task,))
    try:
        waiting = deque(pool.submit(_draw_served, *each) for each in islice(given, _AHEAD * jobs))
        while waiting:
            part = waiting.popleft().result()
            waiting.extend(pool.submit(_draw_served, *each) for each in islice(given, 1))
            yield Draws(torch.from_numpy(part[0]), None if part[1] is None else torch.from_numpy(part[1]), part[2])
    except BrokenProcessPool as error:
        raise DensityError(
            f"one of the {jobs} processes that drew has died, perhaps for want of memory: ask for fewer jobs"
        ) from error
    finally:
        pool.shutdown(wait=True, kill_workers=True)


_served: _Task | None = None  # in a worker: what it was started for


def _remember(task: _Task) -> None:
    global _served
    _served = task


def _draw_served(first: int, n: int, context: Tensor | None) -> tuple[Any, Any, bool]:
    """In a worker: one group as arrays, which cross to the parent without shared memory."""
    if _served is None:
        raise DensityError("a worker was asked for draws before it was told of which density")
    part = _draw_group(_served, first, n, context)
    return part.x.numpy(), None if part.log_prob is None else part.log_prob.numpy(), part.log_prob_is_exact


def _draw_group(task: _Task, first: int, n: int, context: Tensor | None) -> Draws:
    """One group on one thread: with more, sums may be taken in another order and round differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        part = draw(
            task.density,
            context,
            seed=task.seed,
            n=n,
            first=first,
            device=task.device,
            dtype=task.dtype,
            noise=task.noise,
        )
    finally:
        torch.set_num_threads(threads)
    log_prob = None if part.log_prob is None else part.log_prob.cpu()
    return Draws(part.x.flatten(1).cpu(), log_prob, part.log_prob_is_exact)


def _schema(part: Draws, columns: Sequence[str], header: dict[str, Any]) -> pa.Schema:
    if part.x.shape[1] != len(columns):
        raise DensityError(f"a draw has {part.x.shape[1]} numbers and {len(columns)} names were given: {list(columns)}")
    number = pa.from_numpy_dtype(part.x.numpy().dtype)
    logs = number if part.log_prob is None else pa.from_numpy_dtype(part.log_prob.numpy().dtype)
    fields = [*((name, number) for name in columns), (LOG_DENSITY, logs), (IS_EXACT, pa.bool_())]
    return pa.schema(fields, metadata={_KEY: json.dumps(header).encode()})


def _table(part: Draws, first: int, schema: pa.Schema) -> pa.Table:
    wrong = ~torch.isfinite(part.x).all(dim=1)
    if part.log_prob is not None:
        wrong |= torch.isnan(part.log_prob) | torch.isposinf(part.log_prob)
    if wrong.any():
        row = int(torch.nonzero(wrong)[0])
        log_prob = "none" if part.log_prob is None else float(part.log_prob[row])
        raise DensityError(
            f"draw number {first + row} is {part.x[row].tolist()} with log-density {log_prob}, expected finite "
            "numbers: nothing was written"
        )
    arrays = [pa.array(column.numpy()) for column in part.x.T.contiguous()]
    if part.log_prob is None:
        logs = pa.nulls(len(part), schema.field(LOG_DENSITY).type)
    else:
        logs = pa.array(part.log_prob.numpy())
    exact = pa.repeat(pa.scalar(part.log_prob_is_exact), len(part))
    return pa.Table.from_arrays([*arrays, logs, exact], schema=schema)


def _draws(table: pa.Table) -> Draws:
    x = torch.stack([torch.from_numpy(column.to_numpy().copy()) for column in table.columns[:-2]], dim=1)
    logs = table.column(LOG_DENSITY)
    log_prob = None if logs.null_count else torch.from_numpy(logs.to_numpy().copy())
    return Draws(x, log_prob, bool(table.column(IS_EXACT).to_numpy().all()))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[pq.ParquetFile, dict[str, Any]]]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read as a Parquet file of draws: {error}") from error
    with file:
        header = json.loads((file.schema_arrow.metadata or {}).get(_KEY, b"{}"))
        if header.get("format") != FORMAT or file.schema_arrow.names[-2:] != [LOG_DENSITY, IS_EXACT]:
            raise DataError(f"{path} is not a file of draws: expected one that draw_to_parquet wrote")
        yield file, header
