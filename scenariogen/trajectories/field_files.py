"""Fields and fundamental diagrams as files: Parquet that says how long its cells are and of whose network."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.errors import DataError
from scenariogen.trajectories.fields import edie_fields
from scenariogen.trajectories.fundamental import BLOCK_S, LEAST_BLOCKS, LEAST_CELLS, fundamental_diagrams
from scenariogen.trajectories.records import Trajectories
from scenariogen.written import written_whole

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork

METADATA_KEY = b"scenariogen"
LONGEST_CELL_S = 86_400.0
SHOWN_PARTS = 6


@dataclass(frozen=True, kw_only=True)
class FieldSummary:
    """What a recording comes to.

    ``rows``             of the table: (day, edge[, lane], cell) that a vehicle entered
    ``edges``            with such a row, of ``of_edges`` edges of the network
    ``days``, ``cell_s``  recorded days, and seconds of a cell
    ``vehicle_km``, ``vehicle_h``  driven and spent, all days together
    ``coverage``         mean share of the rows' cells that the recording spans
    ``part_edges``       edges of which only a part was recorded, with the metres seen on the day that shows least
    """

    rows: int
    edges: int
    of_edges: int
    days: int
    cell_s: float
    by_lane: bool
    vehicle_km: float
    vehicle_h: float
    coverage: float
    part_edges: dict[str, float]

    def lines(self) -> list[str]:
        """For people."""
        parts = [f"{edge} ({seen_m:.0f} m)" for edge, seen_m in self.part_edges.items()]
        noun = "edge was" if len(parts) == 1 else "edges were"
        words = f"{len(parts):,} {noun} seen in part, where flow and density are those of that part: "
        part_line = [words + ", ".join(parts[:SHOWN_PARTS]) + (", ..." if len(parts) > SHOWN_PARTS else "")]
        return [
            f"{self.rows:,} cells of {self.cell_s:g} s{' by lane' if self.by_lane else ''} on {self.edges:,} of "
            f"{self.of_edges:,} edges, {self.days} {'day' if self.days == 1 else 'days'}, "
            f"{self.coverage:.0%} of each cell recorded on average",
            f"{self.vehicle_km:,.1f} vehicle-kilometres in {self.vehicle_h:,.1f} vehicle-hours, "
            f"{self.vehicle_km / self.vehicle_h:.1f} km/h" if self.vehicle_h else "no vehicle was seen on an edge",
            *(part_line if parts else []),
        ]  # fmt: skip


def write_fields(
    trajectories: Trajectories,
    network: "RoadNetwork",
    out: Path,
    *,
    cell_s: float = 60.0,
    by_lane: bool = False,
    diagrams: Path | None = None,
) -> "tuple[FieldSummary, pd.DataFrame | None]":
    """Write :func:`~scenariogen.trajectories.fields.edie_fields` to ``out`` (Parquet), and to ``diagrams`` (Parquet or
    CSV) the :func:`~scenariogen.trajectories.fundamental.fundamental_diagrams` fitted to them; what they come to, and
    the diagrams.

    Raises ``DataError`` for a cell length out of range, where no vehicle was on an edge of the network, and where no
    edge has cells enough for a diagram; nothing is written then.
    """
    if not 1 <= cell_s <= LONGEST_CELL_S:
        raise DataError(f"a cell of {cell_s:g} s, expected 1 s to a day")
    table = edie_fields(trajectories, network, cell_s=cell_s, by_lane=by_lane)
    if table.empty:
        raise DataError(f"{trajectories.path}: no vehicle was seen on an edge of {network.path.name}")
    fitted = None
    if diagrams is not None:
        whole = edie_fields(trajectories, network, cell_s=cell_s) if by_lane else table
        fitted = fundamental_diagrams(whole, network)
        if fitted.empty:
            raise DataError(
                f"{trajectories.path}: no edge has {LEAST_CELLS} cells of {cell_s:g} s for a fundamental diagram, "
                f"before a signal over {LEAST_BLOCKS * BLOCK_S / 60:g} minutes; take shorter cells, or record longer"
            )
        _write(fitted, diagrams, {"cell_s": cell_s, "network": network.path.name})
    note = {"cell_s": cell_s, "by_lane": by_lane, "period_s": trajectories.period_s, "network": network.path.name}
    _write(table, out, note)
    columns = {name: table[name].to_numpy() for name in ("day", "edge", "distance_m", "time_spent_s", "coverage")}
    summary = FieldSummary(
        rows=len(table),
        edges=len(set(columns["edge"])),
        of_edges=len(network.edges),
        days=len(set(columns["day"])),
        cell_s=cell_s,
        by_lane=by_lane,
        vehicle_km=float(columns["distance_m"].sum()) / 1000,
        vehicle_h=float(columns["time_spent_s"].sum()) / 3600,
        coverage=float(columns["coverage"].mean()),
        part_edges=_part_edges(table, network),
    )
    return summary, fitted


def _part_edges(table: "pd.DataFrame", network: "RoadNetwork") -> dict[str, float]:
    parts: dict[str, float] = {}
    for edge, seen_m in table[["edge", "seen_m"]].drop_duplicates().itertuples(index=False):
        if seen_m < network.edges[edge].length_m:
            parts[edge] = min(float(seen_m), parts.get(edge, float("inf")))
    return parts


def _write(table: "pd.DataFrame", out: Path, note: Mapping[str, object]) -> None:
    """Write a table whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with written_whole(out) as partial:
        if out.suffix == ".csv":
            table.to_csv(partial, index=False)
        else:
            arrow = pa.Table.from_pandas(table, preserve_index=False)
            metadata = {**(arrow.schema.metadata or {}), METADATA_KEY: json.dumps(note).encode()}
            pq.write_table(arrow.replace_schema_metadata(metadata), partial, compression="zstd")
