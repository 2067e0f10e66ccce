"""What stands in SUMO's output besides vehicles on lanes: persons, containers, and vehicles of mesoscopic simulations.

Where SUMO writes a table, persons and containers stand in the columns of vehicles: they have an edge and no lane,
vehicles a lane and no edge. A vehicle that was put off the road (``moveToXY``) has a lane without a name. Those of a
mesoscopic simulation have an edge and no lane as well. They jump from segment to segment of an edge and are said to be
where a segment begins, so that neither their coordinates nor their positions tell how they move: such a file is
refused.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.trajectories.readers import tables
from scenariogen.trajectories.readers.fcd_names import EDGE, LANE

if TYPE_CHECKING:
    import pyarrow as pa

NO_LANE = "on no lane (persons, containers, vehicles off the road)"


def vehicles_only(table: "pa.Table", book: AccountBook | None) -> "pa.Table":
    """The rows of vehicles on lanes; the others are counted in ``book``."""
    pc = tables.compute()
    kept = table
    if LANE in table.column_names:
        kept = table.filter(pc.not_equal(table[LANE], ""))
    elif EDGE in table.column_names:
        kept = table.filter(pc.equal(pc.fill_null(table[EDGE], ""), ""))
    if book is not None:
        book.rows += len(table)
        book.drop(NO_LANE, len(table) - len(kept))
    return kept


def refuse_mesoscopic(source: Path, *, only_persons: bool = False) -> None:
    """Raises ``DataError``; ``only_persons``: that there are nothing but persons would explain the file as well."""
    raise DataError(
        f"{source}: vehicles have edges and no lanes, as in a mesoscopic simulation (--mesosim)"
        f"{', or there are only persons' if only_persons else ''}. Its vehicles are said to be where the segment of an "
        "edge begins, which tells nothing of how they move: simulate without --mesosim"
    )
