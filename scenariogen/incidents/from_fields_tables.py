"""A table of flow and speed or density, from loops, from a service or from trajectories, as detection takes it.

One row per edge, or per lane of an edge, and time cell. What a table may leave out: the day (then 0), the share of the
cell that was recorded (then all of it), and the density where the speed is there (flow over speed).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.errors import DataError, Problems
from scenariogen.heads import FileHead, Made, read_head

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork

NEEDED = ("edge", "cell_begin_s", "flow_veh_h")
DENSITY, SPEED = "density_veh_km", "speed_mps"
FIELD_COLUMNS = ("day", *NEEDED, DENSITY, "coverage")
MPS_TO_KM_H = 3.6


def holds_fields(head: FileHead) -> bool:
    """True for a Parquet or CSV file with an edge, a time cell and a flow in each row."""
    return set(NEEDED) <= set(_names(head))


def _names(head: FileHead) -> tuple[str, ...]:
    if head.made is Made.PARQUET:
        import pyarrow.parquet as pq

        return tuple(pq.read_schema(head.path).names)
    return head.header


def read_fields(path: Path) -> "pd.DataFrame":
    """The table of a Parquet or CSV file. Raises ``DataError`` where it cannot be read."""
    import pandas as pd

    head = read_head(path)
    try:
        if head.made is Made.PARQUET:
            return pd.read_parquet(path)
        return pd.read_csv(path, sep=head.delimiter, skipinitialspace=True, dtype={"edge": str})
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as traffic fields ({error}); expected Parquet or CSV") from error


def checked_fields(fields: "pd.DataFrame", network: "RoadNetwork", *, share: float = 1.0) -> "pd.DataFrame":
    """The table with :data:`FIELD_COLUMNS`, and ``lane`` where it has lanes.

    Raises ``DataError`` that lists everything that is wrong with it.
    """
    problems = Problems("traffic fields")
    missing = [name for name in NEEDED if name not in fields.columns]
    if missing:
        problems.add(f"columns {', '.join(missing)} are missing; expected {', '.join(NEEDED)}")
    if DENSITY not in fields.columns and SPEED not in fields.columns:
        problems.add(f"neither {DENSITY} nor {SPEED} is there; expected one of them")
    if not 0 < share <= 1:
        problems.add(f"share is {share:g}, expected the share of vehicles that was seen, above 0 and at most 1")
    if fields.empty:
        problems.add("it has no row; expected flow and density per edge and time cell")
    if missing or fields.empty:
        problems.raise_as(DataError)
    strangers = sorted(set(map(str, fields["edge"].unique())) - set(network.edges))
    if strangers:
        problems.add(f"{len(strangers)} edges are unknown, the first: {network.unknown_edge(strangers[0])}")
    table = fields.assign(edge=fields["edge"].astype(str))
    table = table.assign(**{name: 0 for name in ("day",) if name not in table.columns})
    table = table.assign(**{name: 1.0 for name in ("coverage",) if name not in table.columns})
    if DENSITY not in table.columns and SPEED in table.columns:
        table[DENSITY] = _density(table)
    for name in ("flow_veh_h", DENSITY, "cell_begin_s", "coverage", "day"):
        if name not in table.columns:
            continue
        values = _numbers(table, name)
        wrong = int((~np.isfinite(values) | ((values < 0) & (name not in ("cell_begin_s", "day")))).sum())
        if wrong:
            problems.add(f"{wrong} rows have no usable {name}, expected a number of at least 0")
        table[name] = values
    if "lane" in table.columns and not strangers:
        _check_lanes(table, network, problems)
    key = [name for name in ("day", "edge", "lane", "cell_begin_s") if name in table.columns]
    twice = int(table.duplicated(key).sum())
    if twice:
        problems.add(f"{twice} rows repeat another one's {', '.join(key)}")
    problems.raise_as(DataError)
    lane = [name for name in ("lane",) if name in table.columns]
    return table.loc[:, [*FIELD_COLUMNS, *lane]].astype({"day": int, **dict.fromkeys(lane, int)})


def _numbers(table: "pd.DataFrame", name: str) -> np.ndarray:
    import pandas as pd

    return np.asarray(pd.to_numeric(table[name], errors="coerce"), dtype=float)


def _density(table: "pd.DataFrame") -> np.ndarray:
    """Vehicles per km from flow and speed; none where nothing flows and the speed is not known."""
    flow, speed = _numbers(table, "flow_veh_h"), _numbers(table, SPEED)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = flow / (speed * MPS_TO_KM_H)
    return np.where((flow == 0) & ~(speed > 0), 0.0, density)


def _check_lanes(table: "pd.DataFrame", network: "RoadNetwork", problems: Problems) -> None:
    known = {(edge.id, lane.index) for edge in network.edges.values() for lane in edge.lanes}
    pairs = {(str(edge), float(lane)) for edge, lane in zip(table["edge"], _numbers(table, "lane"), strict=True)}
    strangers = sorted(pairs - {(edge, float(lane)) for edge, lane in known})
    if strangers:
        edge, lane = strangers[0]
        problems.add(
            f"{len(strangers)} lanes are unknown, the first: lane {lane:g} of edge {edge!r}, which has "
            f"{len(network.edges[edge].lanes)}, counted from 0 at the right"
        )


def whole_edges(fields: "pd.DataFrame") -> "pd.DataFrame":
    """Lanes of an edge added up: flow and density of lanes are parts of those of the edge."""
    if "lane" not in fields.columns:
        return fields
    keys = ["day", "edge", "cell_begin_s"]
    parts = fields.groupby(keys, as_index=False, sort=True, observed=True)
    return parts.agg({"flow_veh_h": "sum", DENSITY: "sum", "coverage": "max"})
