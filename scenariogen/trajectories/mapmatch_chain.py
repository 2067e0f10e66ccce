"""A recording of one road is put on a chain of edges by name: no coordinates, only metres along the road.

Metre ``offset_m`` of the chain is metre 0 of the road. Between two edges of the chain lies the junction, as long as the
straight line between their ends; rows there get a colon and the junction's id as edge.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scenariogen.accounts import AccountBook, FileAccount
from scenariogen.database import connected, quoted
from scenariogen.errors import DataError, Problems
from scenariogen.network import RoadNetwork
from scenariogen.trajectories import columns
from scenariogen.written import written_whole

if TYPE_CHECKING:
    import duckdb

SLACK_M = 1.0
"""Rows may lie so far beyond an end of the chain: lengths are rounded. They are put on the end."""
_NEEDED = (*columns.ALWAYS, columns.ROAD, columns.ROAD_POSITION)
_ADDED = (columns.EDGE, columns.LANE, columns.POSITION)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of the chain: an edge, or a junction between two. Metres along the chain, ``high_m`` left out."""

    edge: str
    low_m: float
    high_m: float
    is_junction: bool = False


def chain_pieces(network: RoadNetwork, chain: Sequence[str]) -> tuple[Piece, ...]:
    """The edges of a chain and the junctions between them. Raises ``DataError`` that lists unknown edges and every
    pair that is not connected."""
    problems = Problems(f"the chain {','.join(chain)}")
    problems.extend(network.unknown_edge(name) for name in chain if name not in network.edges)
    problems.extend(f"edge {name} has no lane for cars" for name in chain
                    if name in network.edges and not network.edges[name].driving_lanes)  # fmt: skip
    if not chain:
        problems.add("names no edge, expected at least one")
    for before, after in pairwise(chain):
        edge = network.edges.get(before)
        if edge is not None and after in network.edges and after not in edge.successors:
            leads = ", ".join(edge.successors) or "nowhere"
            problems.add(f"{before} does not lead to {after}; it leads to {leads}")
    problems.raise_as(DataError)
    pieces: list[Piece] = []
    at_m = 0.0
    for number, name in enumerate(chain):
        edge = network.edges[name]
        if number:
            before = network.edges[chain[number - 1]]
            gap_m = math.dist(before.shape[-1], edge.shape[0])
            pieces.append(Piece(edge=f":{before.to_junction}", low_m=at_m, high_m=at_m + gap_m, is_junction=True))
            at_m += gap_m
        pieces.append(Piece(edge=name, low_m=at_m, high_m=at_m + edge.length_m))
        at_m += edge.length_m
    return tuple(pieces)


def attach(
    source: Path,
    target: Path,
    network: RoadNetwork,
    *,
    chain: Sequence[str],
    offset_m: float = 0.0,
    lanes: Mapping[int, int] | None = None,
    counted_from: Literal["left", "right"] = "left",
    road: str = "",
) -> FileAccount:
    """Put the rows of one road (Parquet with road, road_m, road_lane) on a chain of edges.

    ``chain``         edges in the order of travel
    ``offset_m``      metre of the chain at which the road's metre 0 lies; may be negative
    ``lanes``         lane as the source counts it to lane index of the network, the same on every edge; rows on other
                      lanes are left out and counted. Without it lanes are counted over those that cars may use
    ``counted_from``  the side from which the source counts its lanes; the lowest number on the road is the first lane
    ``road``          which road of the table, where it holds several; the others are left out and counted

    Raises ``DataError`` that lists every problem. ``target`` is written only where there is none.
    """
    import pyarrow.parquet as pq

    names = pq.read_schema(source).names
    missing = [name for name in (*_NEEDED, columns.ROAD_LANE) if name not in names]
    if missing:
        raise DataError(f"{source} lacks {', '.join(missing)}; expected a recording of a road with metres and lanes")
    pieces = chain_pieces(network, chain)
    book = AccountBook(
        file=source.name, format="chain", title=f"attached to {len(chain)} edges of {network.path.name}",
        subject="vehicles",
    )  # fmt: skip
    with connected() as db:
        db.execute(f"CREATE VIEW source AS SELECT * FROM read_parquet({quoted(source)})")
        rows = _leave_out(db, book, road=road, lanes=lanes)
        _check_span(db, book, pieces, offset_m)
        _lane_table(db, book, network, chain, lanes, counted_from)
        book.raise_problems(str(source))
        _write_pieces(db, pieces)
        kept = [name for name in columns.ALL if name in names or name in _ADDED]
        with written_whole(target) as partial:
            db.execute(
                f"COPY (SELECT {', '.join(kept)} FROM ({_placed(names, pieces, offset_m)}) "
                f"ORDER BY day, time_s, vehicle) TO {quoted(partial)} (FORMAT parquet, COMPRESSION zstd)"
            )
            account = _close(db, partial, book, rows, pieces, offset_m)
    return account


def _leave_out(
    db: "duckdb.DuckDBPyConnection", book: AccountBook, *, road: str, lanes: Mapping[int, int] | None
) -> int:
    """View ``rows``: the rows of one road with a metre and a lane that is asked for; the number of rows read."""
    roads = db.execute("SELECT DISTINCT road FROM source WHERE road IS NOT NULL ORDER BY 1").fetchall()
    found = [str(name) for (name,) in roads]
    if road and road not in found:
        book.problem(f"road {road!r} is not in the table; it has {', '.join(found) or 'none'}")
    elif not road and len(found) > 1:
        book.problem(f"the table has the roads {', '.join(found)}; say which one (--road) lies on the chain")
    tests = {"without a metre along the road": "road_m IS NULL OR NOT isfinite(road_m)"}
    if road:
        tests["on another road"] = f"road IS DISTINCT FROM {quoted(road)}"
    tests["without a lane"] = "road_lane IS NULL"
    if lanes:
        tests["on a lane that --lanes leaves out"] = f"road_lane NOT IN ({', '.join(map(str, lanes))})"
    left = "TRUE"
    for why, test in tests.items():
        count = db.execute(f"SELECT count(*) FROM source WHERE {left} AND ({test})").fetchone() or (0,)
        book.drop(why, int(count[0]))
        left += f" AND NOT coalesce({test}, FALSE)"
    db.execute(f"CREATE VIEW rows AS SELECT * FROM source WHERE {left}")
    total = db.execute("SELECT (SELECT count(*) FROM source), (SELECT count(*) FROM rows)").fetchone() or (0, 0)
    if not total[1]:
        book.problem("no row is left to attach")
    return int(total[0])


def _check_span(db: "duckdb.DuckDBPyConnection", book: AccountBook, pieces: Sequence[Piece], offset_m: float) -> None:
    low, high = db.execute("SELECT min(road_m), max(road_m) FROM rows").fetchone() or (None, None)
    if low is None or high is None:
        return
    low, high, end = low + offset_m, high + offset_m, pieces[-1].high_m
    if low < -SLACK_M or high > end + SLACK_M:
        fits = f"; --offset between {offset_m - low:.1f} and {offset_m + end - high:.1f} would fit" if (
            high - low <= end + 2 * SLACK_M
        ) else f"; the chain must be longer by {high - low - end:.1f} m"  # fmt: skip
        book.problem(f"the rows reach from metre {low:.1f} to {high:.1f} of the chain, which is {end:.1f} m long{fits}")


def _lane_table(
    db: "duckdb.DuckDBPyConnection",
    book: AccountBook,
    network: RoadNetwork,
    chain: Sequence[str],
    lanes: Mapping[int, int] | None,
    counted_from: str,
) -> None:
    """Table ``lane_of`` (edge, road_lane, lane), with a problem for each lane that an edge does not have."""
    if counted_from not in ("left", "right"):
        book.problem(f"lanes are counted from {counted_from!r}, expected left or right")
        return
    seen = [int(lane) for (lane,) in db.execute("SELECT DISTINCT road_lane FROM rows ORDER BY 1").fetchall()]
    first = min(seen, default=0)
    from_kerb = (counted_from == "left") == network.left_hand
    made: list[tuple[str, int, int]] = []
    for name in dict.fromkeys(chain):
        edge = network.edges[name]
        driving = edge.driving_lanes if from_kerb else edge.driving_lanes[::-1]
        for lane in seen:
            if lanes is not None:
                index = lanes[lane]
                exists = 0 <= index < len(edge.lanes)
            else:
                exists = lane - first < len(driving)
                index = driving[lane - first] if exists else -1
            if not exists:
                asked = f"lane {index}" if lanes is not None else f"lane {lane - first + 1} from the {counted_from}"
                book.problem(
                    f"source lane {lane} is {asked} on edge {name}, which has {len(edge.lanes)} lanes, "
                    f"{len(driving)} of them for cars; say which is which (--lanes {lane}=0,...)"
                )
            made.append((name, lane, index))
    db.execute("CREATE TABLE lane_of (edge VARCHAR, road_lane INTEGER, lane SMALLINT)")
    if made:
        db.executemany("INSERT INTO lane_of VALUES (?, ?, ?)", made)
    how = "as given" if lanes is not None else f"counted from the {counted_from}, {first} is the first"
    book.derived[columns.LANE] = f"source lanes {', '.join(map(str, seen))} {how}"


def _write_pieces(db: "duckdb.DuckDBPyConnection", pieces: Sequence[Piece]) -> None:
    db.execute("CREATE TABLE piece (edge VARCHAR, low_m DOUBLE, high_m DOUBLE, is_junction BOOLEAN)")
    rows = [
        (piece.edge, piece.low_m, piece.high_m, piece.is_junction) for piece in pieces if piece.high_m > piece.low_m
    ]
    db.executemany("INSERT INTO piece VALUES (?, ?, ?, ?)", rows)


def _placed(names: Sequence[str], pieces: Sequence[Piece], offset_m: float) -> str:
    """SQL of the rows with edge, lane and position."""
    old = [name for name in _ADDED if name in names]
    rest = f"rows.* EXCLUDE ({', '.join(old)})" if old else "rows.*"
    last = math.nextafter(pieces[-1].high_m, 0.0)
    return (
        f"SELECT moved.* EXCLUDE (chain_m), piece.edge AS edge, coalesce(lane_of.lane, 0)::SMALLINT AS lane, "
        "CASE WHEN piece.is_junction THEN 0 ELSE chain_m - piece.low_m END::FLOAT AS position_m "
        f"FROM (SELECT {rest}, greatest(0, least({last!r}, road_m + {float(offset_m)!r})) AS chain_m FROM rows) moved "
        "JOIN piece ON chain_m >= piece.low_m AND chain_m < piece.high_m "
        "LEFT JOIN lane_of ON lane_of.edge = piece.edge AND lane_of.road_lane = moved.road_lane"
    )


def _close(
    db: "duckdb.DuckDBPyConnection",
    result: Path,
    book: AccountBook,
    rows: int,
    pieces: Sequence[Piece],
    offset_m: float,
) -> FileAccount:
    kept, vehicles, begin_s, end_s, inside = db.execute(
        "SELECT count(*), count(DISTINCT (day, vehicle)), min(time_s), max(time_s), "
        f"count(*) FILTER (WHERE edge LIKE ':%') FROM read_parquet({quoted(result)})"
    ).fetchone() or (0, 0, 0.0, 0.0, 0)
    book.facts["chain"] = f"{sum(not piece.is_junction for piece in pieces)} edges, {pieces[-1].high_m:.1f} m"
    book.facts["offset"] = f"metre 0 of the road is metre {offset_m:g} of the chain"
    book.facts["junctions"] = f"{inside:,} rows inside junctions"
    book.derived[columns.POSITION] = "metres along the road less those to the start of the edge"
    return book.close(kept=kept, subjects=vehicles, span=(f"{begin_s:.2f} s", f"{end_s:.2f} s"), rows=rows)
