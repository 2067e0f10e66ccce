"""What SUMO's options change about the values of its floating-car output, and the file does not say.

``--human-readable-time`` writes times as ``07:00:00`` or ``1:07:00:00``; ``--fcd-output.geo`` writes degrees as ``x``
and ``y``. Times are told by their colons; degrees by vehicles that move a hundred-thousandth of what their speeds say.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.errors import DataError
from scenariogen.trajectories import columns
from scenariogen.trajectories.motion import EARTH_RADIUS_M

if TYPE_CHECKING:
    import pyarrow as pa

SECONDS_OF_PARTS = (1.0, 60.0, 3600.0, 86400.0)
LEAST_STEPS = 10
"""Fewer moves of vehicles say too little about the unit of coordinates ..."""
MOST_HELD_ROWS = 1_000_000
"""... and nobody waits longer for more: coordinates are then metres, as SUMO writes them by default."""
AGREEING = 3.0
"""Distances in degrees agree with speeds within this factor; metres are off by a hundred thousand."""
LONGEST_STEP_S = 10.0
MOVING_MPS = 1.0
FASTEST_DEGREES_S = 0.01
"""Where no speed is known: vehicles of which nearly none moves faster than this move in degrees, or not at all."""
NEARLY_ALL = 0.95


def clock_seconds(text: str) -> float:
    """Seconds of ``07:00:00``, of ``1:07:00:00`` (days before hours) or of ``25200.00``. Raises ``ValueError``.

    >>> clock_seconds("1:07:00:00.50"), clock_seconds("25200.00")
    (111600.5, 25200.0)
    """
    parts = text.strip().split(":")
    if len(parts) > len(SECONDS_OF_PARTS):
        raise ValueError(f"got the time {text!r}, expected seconds or [days:]hours:minutes:seconds")
    return sum(float(part) * seconds for part, seconds in zip(reversed(parts), SECONDS_OF_PARTS, strict=False))


def is_number(kind: "pa.DataType") -> bool:
    """True for an Arrow type of numbers."""
    import pyarrow as pa

    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def seconds_of(times: "pa.ChunkedArray | pa.Array", source: object) -> "pa.Array":
    """Times as SUMO wrote them, in seconds. Raises ``DataError`` for text that is neither a number nor a clock time."""
    import pyarrow as pa

    if is_number(times.type):
        return times.cast(pa.float64())
    try:
        words = times.cast(pa.string())
    except pa.ArrowNotImplementedError:
        raise DataError(f"{source} cannot be read as SUMO's: its times are of the type {times.type}") from None
    coded = (words.combine_chunks() if isinstance(words, pa.ChunkedArray) else words).dictionary_encode()
    try:
        seconds = [None if text is None else clock_seconds(text) for text in coded.dictionary.to_pylist()]
    except ValueError as error:
        raise DataError(f"{source} cannot be read as SUMO's: {error}") from error
    return pa.array(seconds, pa.float64()).take(coded.indices)


def in_degrees(tables: Iterable["pa.Table"]) -> Iterator["pa.Table"]:
    """The same tables, with ``lon_deg`` and ``lat_deg`` for ``x_m`` and ``y_m`` where those are degrees."""
    import pyarrow as pa

    rest = iter(tables)
    held: list[pa.Table] = []
    told: bool | None = None
    for table in rest:
        held.append(table)
        told = are_degrees(pa.concat_tables(held))
        if told is not None or sum(len(each) for each in held) > MOST_HELD_ROWS:
            break
    renamed = {columns.X: columns.LON, columns.Y: columns.LAT} if told else {}
    for some in (held, rest):
        for table in some:
            yield table.rename_columns([renamed.get(name, name) for name in table.column_names])


def are_degrees(table: "pa.Table") -> bool | None:
    """True where ``x_m`` and ``y_m`` are longitude and latitude, None where too little moves to tell."""
    if not {columns.X, columns.Y} <= set(table.column_names):
        return False
    has_speed = columns.SPEED in table.column_names
    names = (columns.X, columns.Y, columns.TIME, *((columns.SPEED,) if has_speed else ()))
    x, y, time_s, *speeds = (np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=float) for name in names)
    if not len(table) or np.nanmax(np.abs(x), initial=0) > 180 or np.nanmax(np.abs(y), initial=0) > 90:
        return False
    vehicle = table[columns.VEHICLE].unify_dictionaries().combine_chunks().indices.to_numpy(zero_copy_only=False)
    order = np.lexsort((time_s, vehicle))
    x, y, time_s, vehicle = x[order], y[order], time_s[order], vehicle[order]
    step_s = np.diff(time_s)
    moved = np.hypot(np.diff(x) * np.cos(np.radians(y[1:])), np.diff(y))
    with np.errstate(invalid="ignore"):
        moves = (np.diff(vehicle) == 0) & (step_s > 0) & (step_s <= LONGEST_STEP_S) & (moved > 0)
    if has_speed:
        speed = speeds[0][order]
        way_m = (speed[1:] + speed[:-1]) / 2 * step_s
        with np.errstate(invalid="ignore"):
            moves &= way_m > MOVING_MPS * step_s
    if moves.sum() < LEAST_STEPS:
        return None
    if not has_speed:
        return bool(np.quantile(moved[moves] / step_s[moves], NEARLY_ALL) < FASTEST_DEGREES_S)
    ratio = np.radians(moved[moves].sum()) * EARTH_RADIUS_M / way_m[moves].sum()
    return bool(1 / AGREEING < ratio < AGREEING)


def is_wide(metadata: Any, name: str, most: float) -> bool:
    """True where the statistics of a Parquet column show values beyond ``most`` to either side."""
    return any(
        found.has_min_max and max(abs(found.min), abs(found.max)) > most for found, _ in _statistics(metadata, name)
    )


def is_empty(metadata: Any, name: str) -> bool:
    """True where the statistics of a Parquet column show rows and not a value."""
    groups = list(_statistics(metadata, name))
    return bool(groups) and all(found.has_null_count and found.null_count == rows for found, rows in groups)


def _statistics(metadata: Any, name: str) -> Iterator[tuple[Any, int]]:
    """Statistics of a Parquet column and the rows they hold for, of each row group that has some."""
    index = [metadata.schema.column(number).path for number in range(metadata.num_columns)].index(name)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        found = group.column(index).statistics
        if found is not None:
            yield found, group.num_rows
