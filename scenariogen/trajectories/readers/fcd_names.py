"""What SUMO calls the columns of its floating-car output, which of them a file needs, and how it names lanes."""

from collections.abc import Sequence
from pathlib import Path

from scenariogen.errors import DataError
from scenariogen.trajectories import columns

TIME = "timestep_time"
ID, LANE, POSITION, SPEED = "vehicle_id", "vehicle_lane", "vehicle_pos", "vehicle_speed"
EDGE = "vehicle_edge"
"""Where those are who are on no lane: persons, and vehicles of mesoscopic simulations."""
SOURCES = {"id": ID, "lane": LANE, "pos": POSITION, "speed": SPEED}
"""XML attributes of what a recording holds, and the names that SUMO's Parquet and CSV give to them."""
NEEDED: tuple[str, ...] = (TIME, *SOURCES.values())
OPTIONAL: dict[str, tuple[str, str]] = {
    columns.X: ("vehicle_x", "x"),
    columns.Y: ("vehicle_y", "y"),
    columns.ACCELERATION: ("vehicle_acceleration", "acceleration"),
    columns.CLASS: ("vehicle_type", "type"),
}
"""Our columns that SUMO may have, and what Parquet and CSV, and XML, call them."""
RECORDED: tuple[str, ...] = (columns.X, columns.Y)
"""Of those, what a recording keeps."""
MOST_DIGITS = 4
"""Of a lane's index; more is no lane."""


def check_names(source: Path, names: Sequence[str]) -> None:
    """Raise ``DataError`` that names the columns of SUMO's output that are not there.

    A time, a vehicle and a place are needed: a position along a lane, or else coordinates.
    """
    has_place = {LANE, POSITION} <= set(names) or {OPTIONAL[columns.X][0], OPTIONAL[columns.Y][0]} <= set(names)
    missing = [name for name in (TIME, ID, *(() if has_place else (LANE, POSITION))) if name not in names]
    if missing:
        raise DataError(
            f"{source} lacks {', '.join(missing)}; it has {', '.join(names[:12])}. Expected SUMO's --fcd-output with "
            "lane and pos, or x and y, of each vehicle"
        )


def split_lanes(lanes: list[str | None], source: Path) -> tuple[list[str], list[int]]:
    """Edges and indices of lane ids. Raises ``DataError`` for what is no lane id."""
    names, numbers, wrong = [], [], []
    for lane in lanes:
        edge, _, number = (lane or "").rpartition("_")
        if not edge or not number.isdecimal() or len(number) > MOST_DIGITS:
            wrong.append(lane)
            edge, number = "", "0"
        names.append(edge)
        numbers.append(int(number))
    if wrong:
        raise DataError(f"{source}: {len(wrong)} lane ids are not <edge>_<index>, the first is {wrong[0]!r}")
    return names, numbers


def unique_words(names: list[str]) -> tuple[list[str], list[int]]:
    """Each word once, and which of them stands where."""
    order: dict[str, int] = {}
    codes = [order.setdefault(name, len(order)) for name in names]
    return list(order), codes
