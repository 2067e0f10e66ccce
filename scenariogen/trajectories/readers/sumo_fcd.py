"""SUMO's floating-car output (``--fcd-output``) as Parquet, XML, CSV, also gzipped, to our own columns.

SUMO's names: https://sumo.dlr.de/docs/Simulation/Output/FCDOutput.html. The edge is taken from the lane id
(``<edge>_<index>``), since SUMO writes ``vehicle_edge`` only when asked. Rows of persons and containers are
left out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.errors import DataError
from scenariogen.trajectories import columns

if TYPE_CHECKING:
    import pyarrow as pa

TIME = "timestep_time"
SOURCES = {"id": "vehicle_id", "lane": "vehicle_lane", "pos": "vehicle_pos", "speed": "vehicle_speed"}
"""XML attributes that are needed, and the names that SUMO's Parquet and CSV give to them."""
NEEDED: tuple[str, ...] = (TIME, *SOURCES.values())
COORDINATES: tuple[str, ...] = ("vehicle_x", "vehicle_y")
CHUNK_ROWS = 500_000


def normalise_fcd(source: Path, day: int) -> "pa.Table":
    """One day of SUMO's Parquet output as a table with the schema of :func:`columns.schema`.

    Append the tables of several days to one file with ``pyarrow.parquet.ParquetWriter``; no more than one day
    is then in memory. Raises ``DataError`` for a file that is truncated or lacks columns.
    """
    import pyarrow as pa

    chunks = list(parquet_chunks(source, day))
    return pa.concat_tables(chunks).unify_dictionaries() if chunks else columns.schema().empty_table()


def parquet_chunks(source: Path, day: int) -> Iterator["pa.Table"]:
    """A Parquet file, row group by row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            names = file.schema_arrow.names
            _check_names(source, names)
            wanted = [name for name in (*NEEDED, *COORDINATES) if name in names]
            for group in range(file.num_row_groups):
                yield _normalise(file.read_row_group(group, columns=wanted), day, source)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{source} cannot be read as Parquet ({error}); SUMO writes the file's end when it closes, so let the "
            "run end, or record again"
        ) from error


def csv_chunks(source: Path, day: int) -> Iterator["pa.Table"]:
    """A CSV file as SUMO writes it (``;`` between columns), also gzipped, in blocks."""
    import pyarrow as pa
    from pyarrow import csv

    try:
        reader = csv.open_csv(
            source,
            read_options=csv.ReadOptions(block_size=1 << 24),
            parse_options=csv.ParseOptions(delimiter=";"),
            convert_options=csv.ConvertOptions(
                column_types={
                    TIME: pa.float64(),
                    "vehicle_id": pa.string(),
                    "vehicle_lane": pa.string(),
                    "vehicle_pos": pa.float32(),
                    "vehicle_speed": pa.float32(),
                },
                strings_can_be_null=True,
            ),
        )
        _check_names(source, reader.schema.names)
        for batch in reader:
            if batch.num_rows:
                yield _normalise(pa.Table.from_batches([batch]), day, source)
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise DataError(f"{source} cannot be read as SUMO's CSV: {error}") from error


def xml_chunks(source: Path, day: int) -> Iterator["pa.Table"]:
    """An XML file, also gzipped, in blocks of :data:`CHUNK_ROWS` rows."""
    import gzip
    from xml.etree.ElementTree import ParseError

    import pyarrow as pa
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    opener = gzip.open if _is_gzip(source) else open
    rows = _rows()
    try:
        with opener(source, "rb") as stream:
            time_s, root = 0.0, None
            for event, element in iterparse(stream, events=("start", "end")):
                if root is None:
                    root = element
                    if root.tag != "fcd-export":
                        raise DataError(f"{source} begins with <{root.tag}>, expected SUMO's <fcd-export>")
                elif event == "start" and element.tag == "timestep":
                    time_s = float(element.attrib["time"])
                elif event == "end" and element.tag == "vehicle":
                    rows[TIME].append(time_s)
                    for name, column in SOURCES.items():
                        rows[column].append(element.attrib[name])
                    for name in COORDINATES:
                        rows[name].append(element.attrib.get(name[-1]))
                elif event == "end" and element.tag == "timestep":
                    root.clear()
                    if len(rows[TIME]) >= CHUNK_ROWS:
                        yield _normalise(_typed(rows), day, source)
                        rows = _rows()
        if rows[TIME]:
            yield _normalise(_typed(rows), day, source)
    except KeyError as error:
        raise DataError(
            f"{source}: a <timestep> or <vehicle> lacks {error}, expected time, {', '.join(SOURCES)}"
        ) from None
    except (ParseError, DefusedXmlException, OSError, EOFError, ValueError, pa.ArrowInvalid) as error:
        raise DataError(f"{source} cannot be read as SUMO's FCD XML: {error or type(error).__name__}") from error


def _rows() -> dict[str, list]:
    return {name: [] for name in (*NEEDED, *COORDINATES)}


def _typed(rows: dict[str, list]) -> "pa.Table":
    """The attributes of a block of XML, numbers parsed by Arrow."""
    import pyarrow as pa

    words = ("vehicle_id", "vehicle_lane")
    arrays = {name: pa.array(values, pa.float64() if name == TIME else pa.string()) for name, values in rows.items()}
    numbers = {name: a.cast(pa.float32()) for name, a in arrays.items() if name != TIME and name not in words}
    return pa.table({**arrays, **numbers})


def _check_names(source: Path, names: list[str]) -> None:
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise DataError(
            f"{source} lacks {', '.join(missing)}; it has {', '.join(names[:12])}. Expected SUMO's --fcd-output"
        )


def _normalise(table: "pa.Table", day: int, source: Path) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    vehicles = table["vehicle_id"]
    if vehicles.null_count:
        table = table.filter(vehicles.is_valid())
    lanes = table["vehicle_lane"].combine_chunks().dictionary_encode()
    names, numbers = _split_lanes(lanes.dictionary.to_pylist(), source)
    edges, codes = _unique(names)
    indices = lanes.indices
    size = table.num_rows
    columns_of = {
        columns.DAY: pa.array(np.full(size, day, dtype=np.int32)),
        columns.TIME: table[TIME].cast(pa.float64()),
        columns.VEHICLE: table["vehicle_id"].combine_chunks().dictionary_encode(),
        columns.EDGE: pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()).take(indices), edges),
        columns.LANE: pa.array(numbers, pa.int16()).take(indices),
        columns.POSITION: table["vehicle_pos"].cast(pa.float32()),
        columns.SPEED: table["vehicle_speed"].cast(pa.float32()),
    }
    for ours, theirs in zip((columns.X, columns.Y), COORDINATES, strict=True):
        columns_of[ours] = (
            table[theirs].cast(pa.float32(), safe=False)
            if theirs in table.column_names
            else pa.nulls(size, pa.float32())
        )
    return pa.table(columns_of, schema=columns.schema())


def _split_lanes(lanes: list[str | None], source: Path) -> tuple[list[str], list[int]]:
    names, numbers, wrong = [], [], []
    for lane in lanes:
        edge, _, number = (lane or "").rpartition("_")
        if not edge or not number.isdigit():
            wrong.append(lane)
            edge, number = "", "0"
        names.append(edge)
        numbers.append(int(number))
    if wrong:
        raise DataError(f"{source}: {len(wrong)} lane ids are not <edge>_<index>, the first is {wrong[0]!r}")
    return names, numbers


def _unique(names: list[str]) -> tuple[list[str], list[int]]:
    order: dict[str, int] = {}
    codes = [order.setdefault(name, len(order)) for name in names]
    return list(order), codes


def _is_gzip(source: Path) -> bool:
    with source.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"
