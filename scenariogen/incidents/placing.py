"""A file that a user brings is put on a network: trajectories on edges, incident records on edges and positions."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from scenariogen.accounts import FileAccount, Finding, account_beside
from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.incidents.event_files import read_events
from scenariogen.incidents.files import convert_file, holds_events
from scenariogen.incidents.locate import locate
from scenariogen.incidents.writers.geoparquet import write_geoparquet
from scenariogen.network import RoadNetwork
from scenariogen.trajectories.mapmatch import match
from scenariogen.trajectories.mapmatch_chain import attach
from scenariogen.trajectories.opening import is_ours


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """What a user may say about how a file lies on a network.

    ``noise_m``       standard deviation of a coordinate; estimated where it is not given
    ``origin``        network coordinates of the recording's plane point 0, 0
    ``chain``         edges in the order of travel, for a recording of one road; empty: coordinates are matched
    ``offset_m``      metre of the chain at which the road's metre 0 lies
    ``lanes``         lane as the source counts it to lane index of the network
    ``counted_from``  the side from which the source counts its lanes
    ``road``          which road of the file, where it holds several
    ``mileposts``     CSV with the columns road, direction, milepost, edge, position_m, for incident records
    """

    noise_m: float | None = None
    origin: tuple[float, float] | None = None
    chain: Sequence[str] = ()
    offset_m: float = 0.0
    lanes: Mapping[int, int] = field(default_factory=dict)
    counted_from: Literal["left", "right"] = "left"
    road: str = ""
    mileposts: Path | None = None


def place_file(
    file: Path,
    network: RoadNetwork,
    *,
    out: Path,
    options: PlaceOptions,
    format: str = "",
    mapping: Iterable[str] = (),
    time_zone: str = "",
) -> FileAccount:
    """Write a file with the edges of ``network`` filled in, and beside it the account of reading and placing it.

    Files of other formats than our own are converted first, into a temporary place. Raises ``DataError`` that lists
    every problem; then nothing is written.
    """
    texts = tuple(mapping)
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scenariogen-") as folder:
        head = read_head(file)
        source = file
        if format or texts or not (is_ours(head) or holds_events(head)):
            source = Path(folder) / f"{file.name.split('.')[0]}.parquet"
            read = convert_file(file, out=source, format=format, mapping=texts, time_zone=time_zone)
        else:
            read = account_beside(source)
        if holds_events(read_head(source)):
            account = _place_events(source, network, out, options)
        elif options.chain:
            account = attach(
                source,
                out,
                network,
                chain=options.chain,
                offset_m=options.offset_m,
                lanes=options.lanes or None,
                counted_from=options.counted_from,
                road=options.road,
            )
        else:
            _, account = match(source, out, network, noise_m=options.noise_m, origin=options.origin)
    account = _from_the_start(read, account)
    account.save_beside(out)
    return account


def _place_events(source: Path, network: RoadNetwork, out: Path, options: PlaceOptions) -> FileAccount:
    import pyarrow as pa

    table = read_events(source)
    posts = None
    if options.mileposts is not None:
        try:
            posts = pd.read_csv(options.mileposts)
        except (OSError, ValueError) as error:
            raise DataError(f"{options.mileposts} cannot be read as a table of mileposts: {error}") from error
    frame = table.to_pandas()
    placed, account = locate(frame, network, mileposts=posts, file=source.name)
    if placed.empty:
        reasons = ", ".join(f"{count:,} {why}" for why, count in account.dropped.items())
        raise DataError(f"{source.name}: no incident lies on {network.path.name}: {reasons}")
    kept = pa.Table.from_pandas(placed[list(table.column_names)], schema=table.schema, preserve_index=False)
    write_geoparquet(kept.to_reader(), out)
    return account


def _from_the_start(read: FileAccount | None, placed: FileAccount) -> FileAccount:
    """The account of reading a file and placing its rows; said where rows came or went in between."""
    if read is None:
        return placed
    if read.kept != placed.rows:
        other = f"the account beside the file tells of {read.kept:,} rows, and there are {placed.rows:,}"
        placed = replace(placed, findings=(*placed.findings, Finding(text=other)))
    return read.then(placed)
