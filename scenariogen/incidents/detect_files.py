"""Incidents in whatever file a user has: all trajectories, a share of them, or fields of flow and speed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.errors import DataError, Problems
from scenariogen.heads import read_head
from scenariogen.incidents.detect import detect_incidents
from scenariogen.incidents.from_fields import detect_in_fields
from scenariogen.incidents.from_fields_tables import checked_fields, holds_fields, read_fields
from scenariogen.incidents.sparse import detect_sparse
from scenariogen.trajectories.records import Trajectories, open_trajectories

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork

SHARE = "share"
"""In a recording's header: the share of all vehicles that it holds."""


def detect_file(
    path: Path,
    network: "RoadNetwork",
    *,
    share: float | None = None,
    traffic_only: bool = False,
    history: Sequence[Path] = (),
    progress: Callable[[int, int], None] | None = None,
) -> "pd.DataFrame":
    """Incidents in a file, as a table that can be written: ``OBSERVED_COLUMNS`` and what is told beside them.

    ``share``         share of all vehicles that the file holds; by default what a recording says of itself, else all
    ``traffic_only``  the vehicles that block the road are not in it
    ``history``       other files of the same sort, by which is told what is usual

    Fields are recognised by their columns. Where all vehicles are there, those that stand are looked for; else what
    traffic does. Raises ``DataError`` that lists every problem.
    """
    tell = progress or (lambda done, total: None)
    if path.is_file() and holds_fields(read_head(path)):
        tell(0, 1)
        found = _in_fields(path, network, 1.0 if share is None else share, history)
        tell(1, 1)
        return storable(found)
    opened = open_trajectories(path, network)
    if share is None and SHARE in opened.header:
        share = float(opened.header[SHARE])
    if share is not None and not 0 < share <= 1:
        raise DataError(f"share is {share:g}, expected the share of vehicles that was recorded, above 0 and at most 1")
    if traffic_only or (share is not None and share < 1):
        tell(0, 1)
        earlier = [open_trajectories(each, network) for each in history]
        found = detect_sparse(opened, network, share=1.0 if share is None else share, history=earlier)
        tell(1, 1)
        return storable(found)
    if history:
        raise DataError(
            "--history shows what is usual where vehicles are missing; with all of them what stands in the road is "
            "seen: leave it out, or say --share or --traffic-only"
        )
    return storable(_standing(opened, network, tell))


def _standing(opened: Trajectories, network: "RoadNetwork", tell: Callable[[int, int], None]) -> "pd.DataFrame":
    seen, total = 0, len(opened.days)

    def done(_: int) -> None:
        nonlocal seen
        seen += 1
        tell(seen, total)

    tell(0, total)
    return detect_incidents(opened, network, progress=done)


def _in_fields(path: Path, network: "RoadNetwork", share: float, history: Sequence[Path]) -> "pd.DataFrame":
    """Days of other files are put behind those of the first, by which alone incidents are looked for."""
    import pandas as pd

    problems = Problems("traffic fields")
    tables = []
    for file in (path, *history):
        try:
            tables.append(checked_fields(read_fields(file), network, share=share))
        except DataError as error:
            problems.extend(f"{file}: {line}" for line in error.problems)
    problems.raise_as(DataError)
    own = tuple(sorted(int(day) for day in tables[0]["day"].unique()))
    if len({("lane" in table.columns) for table in tables}) > 1:
        raise DataError("some of the tables are by lane and some are not; expected all of them alike")
    after = max(own) + 1
    for number, table in enumerate(tables[1:], start=1):
        tables[number] = table.assign(day=table["day"] - table["day"].min() + after)
        after = int(tables[number]["day"].max()) + 1
    return detect_in_fields(pd.concat(tables, ignore_index=True), network, share=share, days=own)


def storable(found: "pd.DataFrame") -> "pd.DataFrame":
    """The same with probabilities of 0, 1, 2 ... blocked lanes as a list, which files can hold."""
    if "lanes_blocked" not in found.columns:
        return found
    lists = [
        [float(chances.get(count, 0.0)) for count in range(max(chances, default=0) + 1)]
        for chances in found["lanes_blocked"]
    ]
    return found.assign(lanes_blocked=lists)
