"""Incidents as GeoParquet 1.1: a Parquet file whose metadata say where the geometry is.

After *GeoParquet Specification 1.1.0* (Open Geospatial Consortium, 2024): geometry as well-known binary, the key
``geo`` with its encoding, types and bounding box. No reference system is named, which the standard defines as WGS 84
with longitude first (OGC:CRS84).
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.incidents.events import schema
from scenariogen.incidents.readers.geometry import from_wkb
from scenariogen.written import written_whole

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = "1.1.0"
GEOMETRY = "geometry"


@dataclass
class _Extent:
    """What the metadata say about the geometries written so far."""

    west: float = math.inf
    south: float = math.inf
    east: float = -math.inf
    north: float = -math.inf
    types: set[str] = field(default_factory=set)

    def add(self, data: bytes) -> None:
        points = from_wkb(data)
        self.types.add("Point" if len(points) == 1 else "LineString")
        for lon, lat in points:
            self.west, self.east = min(self.west, lon), max(self.east, lon)
            self.south, self.north = min(self.south, lat), max(self.north, lat)

    def metadata(self) -> str:
        column: dict[str, object] = {"encoding": "WKB", "geometry_types": sorted(self.types)}
        if self.types:
            column["bbox"] = [self.west, self.south, self.east, self.north]
        return json.dumps({"version": VERSION, "primary_column": GEOMETRY, "columns": {GEOMETRY: column}})


def write_geoparquet(batches: "Iterable[pa.RecordBatch]", target: Path) -> int:
    """Write batches with the columns of the incident table, in that order; the number of rows.

    ``target`` is replaced only when everything is written. Raises ``ValueError`` where a geometry is no well-known
    binary of a Point or a LineString.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    extent, rows = _Extent(), 0
    with written_whole(target) as partial, pq.ParquetWriter(partial, schema(), compression="zstd") as writer:
        for batch in batches:
            table = pa.Table.from_batches([batch]).select(schema().names).cast(schema())
            for data in table[GEOMETRY].to_pylist():
                if data is not None:
                    extent.add(data)
            writer.write_table(table)
            rows += table.num_rows
        writer.add_key_value_metadata({"geo": extent.metadata()})
    return rows
