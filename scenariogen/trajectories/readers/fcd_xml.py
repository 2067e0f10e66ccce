"""SUMO's floating-car XML as columns: fast where a file looks as SUMO writes it, safe where it does not.

SUMO writes one element a line, always with the same attributes in the same order. Such a line, cut at its quotation
marks, is a row of a table: names and values in turn. Arrow's CSV reader cuts a million of them a second; every line is
then checked to have exactly the names of the first one. Blocks where that does not hold (entities, other quotation
marks, comments, vehicles with other attributes) go through a parser of XML from there on, which refuses entity
declarations and external references. Both ways give the same rows.
"""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from scenariogen.errors import DataError
from scenariogen.heads import FileHead, open_bytes
from scenariogen.trajectories.readers import tables

if TYPE_CHECKING:
    import pyarrow as pa

ROOT = "fcd-export"
TIME = "time"
BLOCK_BYTES = 1 << 24
LONGEST_PROLOGUE = 1 << 20
LONGEST_LINE = 1 << 26
USUAL_LINE = 1 << 16
"""Room behind a block for the rest of its last line; longer ones are copied."""
CHUNK_ROWS = 500_000
STEP_MARK = "\x01"
"""Stands for a time step among the rows of a block; no XML file may hold it."""
_ROOT_TAG = re.compile(rb"<fcd-export\b[^<>]*>")
_ROOT_END = re.compile(rb"</fcd-export\s*>\s*\Z")
_STEP = re.compile(rb'<timestep time="([^"<>]*)"[^<>]*>')
_FIRST = re.compile(rb"<vehicle ([^<>]*?)/>")
_ATTRIBUTE = re.compile(rb'([A-Za-z_:][\w:.-]*)="[^"]*"')
_OTHER_LINE = re.compile(r"\s*(</timestep\s*>|<(?:person|container) [^<>]*/?>|</(?:person|container)\s*>)?\s*")
_OTHER_ROW = re.compile(r"\s*<(?:person|container) id=")


class _UnlikeError(Exception):
    """A block does not look as SUMO writes it."""


def xml_rows(head: FileHead, names: tuple[str, ...]) -> Iterator["pa.Table"]:
    """Columns ``time`` and ``names`` (attributes of a vehicle, null where none has it) as strings, in blocks.

    Raises ``DataError`` where the file is not SUMO's, is cut off, declares entities or is no XML.
    """
    done = 0
    try:
        for table in _as_sumo_writes(head, names):
            yield table
            done += table.num_rows
    except _UnlikeError:
        yield from _as_xml(head, names, skip=done)


def _as_sumo_writes(head: FileHead, names: tuple[str, ...]) -> Iterator["pa.Table"]:
    with readable(head), open_bytes(head.path) as stream:
        rest = _after_root(stream)
        time: str | None = None
        for block in whole_lines(stream, rest):
            end = _ROOT_END.search(block, max(0, len(block) - 4096))
            body = block[: end.start()] if end else block
            table, time = _block(body, names, time)
            if table.num_rows:
                yield table
            if end:
                if stream.read(1):
                    raise _UnlikeError
                return
        raise DataError(f"{head.path} was cut off: it does not end with </{ROOT}>. Let the run end, or copy it again")


def _after_root(stream: IO[bytes]) -> bytes:
    """Reads up to the root's tag; what was read beyond it."""
    start = stream.read(LONGEST_PROLOGUE)
    tag = _ROOT_TAG.search(start)
    if tag is None or tag.group().endswith(b"/>"):
        raise _UnlikeError
    before = start[: tag.start()]
    declared = re.search(rb'encoding="([^"]*)"', before)
    if b"<!DOCTYPE" in before or (declared and declared.group(1).upper() not in (b"UTF-8", b"ASCII", b"US-ASCII")):
        raise _UnlikeError
    return start[tag.end() :]


def whole_lines(stream: IO[bytes], rest: bytes = b"") -> Iterator[bytes]:
    """``rest`` and what follows it in a file, in blocks that end where a line ends."""
    while more := stream.read(BLOCK_BYTES):
        yield rest + more + _end_of_line(stream)
        rest = b""
    if rest:
        yield rest


def line_views(stream: IO[bytes]) -> Iterator[memoryview]:
    """The same without copies: each block holds until the next one is asked for."""
    import numpy as np

    view = np.empty(BLOCK_BYTES + USUAL_LINE, dtype=np.uint8).data
    while count := stream.readinto(view[:BLOCK_BYTES]):  # type: ignore[attr-defined]
        rest = _end_of_line(stream)
        if len(rest) > USUAL_LINE:
            yield memoryview(bytes(view[:count]) + rest)
            continue
        view[count : count + len(rest)] = rest
        yield view[: count + len(rest)]


def _end_of_line(stream: IO[bytes]) -> bytes:
    """What is left of the line that a block was cut in; up to a whole line where it was cut between two."""
    rest = stream.readline(LONGEST_LINE + 1)
    if len(rest) > LONGEST_LINE:
        raise DataError(f"a line is longer than {LONGEST_LINE:,} characters: this is no file of SUMO's")
    return rest


def _block(data: bytes, names: tuple[str, ...], time: str | None) -> tuple["pa.Table", str | None]:
    """The vehicles of a block, and the time that the next one begins with."""
    import pyarrow as pa
    from pyarrow import csv

    if b"&" in data or b"<!" in data or b"<?" in data or not _is_utf8(data):
        raise _UnlikeError
    if b"<timestep" not in data and b"<vehicle" not in data:
        if not all(_OTHER_LINE.fullmatch(line.decode(errors="replace")) for line in data.splitlines()):
            raise _UnlikeError
        return pa.table({name: pa.array([], pa.string()) for name in (TIME, *names)}), time
    first = _FIRST.search(data)
    layout = [name.decode() for name in _ATTRIBUTE.findall(first.group(1))] if first else ["id"]
    cells = 2 * len(layout) + 1
    marked = _STEP.sub(STEP_MARK.encode() + rb'"\1' + b'"' * (cells - 2), data)
    strangers: list[str] = []

    def other_line(row: csv.InvalidRow) -> str:
        if not _OTHER_LINE.fullmatch(row.text):
            strangers.append(row.text)
        return "skip"

    between = [f"c{number}" for number in range(0, cells, 2)]
    wanted = {name: f"c{2 * layout.index(name) + 1}" for name in names if name in layout}
    word, repeated = pa.string(), pa.dictionary(pa.int32(), pa.string())
    try:
        table = csv.read_csv(
            pa.BufferReader(marked),
            read_options=csv.ReadOptions(column_names=[f"c{number}" for number in range(cells)], block_size=1 << 22),
            parse_options=csv.ParseOptions(delimiter='"', quote_char=False, invalid_row_handler=other_line),
            convert_options=csv.ConvertOptions(
                include_columns=list(dict.fromkeys([*between, "c1", *wanted.values()])),
                column_types={
                    **{f"c{number}": word for number in range(1, cells, 2)},
                    **dict.fromkeys(between, repeated),
                },
            ),
        )
    except pa.ArrowInvalid:
        raise _UnlikeError from None
    if strangers:
        raise _UnlikeError
    return _vehicles(table, layout, names, wanted, time)


def _is_utf8(data: bytes) -> bool:
    """Arrow prints an error of its own where a line that it hands back is no text."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _vehicles(
    table: "pa.Table", layout: list[str], names: tuple[str, ...], wanted: dict[str, str], time: str | None
) -> tuple["pa.Table", str | None]:
    import pyarrow as pa

    pc = tables.compute()
    begins = _spread(table["c0"], lambda text: text.strip() == STEP_MARK)
    others = _spread(table["c0"], lambda text: bool(_OTHER_ROW.match(text)))
    is_vehicle = _spread(table["c0"], lambda text: text.strip() == f"<vehicle {layout[0]}=")
    steps, vehicles = (pc.sum(mask).as_py() or 0 for mask in (begins, is_vehicle))
    if steps + vehicles + (pc.sum(others).as_py() or 0) != len(table):
        raise _UnlikeError
    times = pc.if_else(begins, table["c1"], pa.scalar(None, pa.string()))
    times = pc.fill_null(pc.fill_null_forward(times), time) if time is not None else pc.fill_null_forward(times)
    last = times[-1].as_py() if len(times) else time
    rows = table.filter(is_vehicle)
    for number in range(1, len(layout)):
        _check_between(rows[f"c{2 * number}"], f" {layout[number]}=")
    _check_between(rows[f"c{2 * len(layout)}"].cast(pa.string()), "/>", strip=True)
    found: dict[str, pa.Array | pa.ChunkedArray] = {TIME: times.filter(is_vehicle)}
    if found[TIME].null_count:
        raise _UnlikeError  # a vehicle before the first time step
    for name in names:
        found[name] = rows[wanted[name]] if name in wanted else pa.nulls(len(rows), pa.string())
    return pa.table(found), last


def _spread(column: "pa.ChunkedArray", test) -> "pa.ChunkedArray":
    """A test of the few different values, spread over all rows."""
    import pyarrow as pa

    return pa.chunked_array(
        [pa.array([test(text) for text in chunk.dictionary.to_pylist()], pa.bool_()).take(chunk.indices)
         for chunk in column.chunks],
        pa.bool_(),
    )  # fmt: skip


def _check_between(column: "pa.ChunkedArray", expected: str, *, strip: bool = False) -> None:
    pc = tables.compute()
    for text in pc.unique(column).to_pylist():
        if (text.strip() if strip else text) != expected:
            raise _UnlikeError


@contextmanager
def readable(head: FileHead) -> Iterator[None]:
    """Turns what can go wrong with the bytes into a ``DataError``."""
    try:
        yield
    except EOFError:
        raise DataError(f"{head.path} is a gzip file that was cut off: copy it again") from None
    except (OSError, zlib.error) as error:
        raise DataError(f"{head.path} cannot be read: {error}") from error


def _as_xml(head: FileHead, names: tuple[str, ...], *, skip: int) -> Iterator["pa.Table"]:
    """The same with a parser of XML, without the first ``skip`` vehicles."""
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    rows: list[tuple[str | None, ...]] = []
    try:
        with readable(head), open_bytes(head.path) as stream:
            time, root, seen = None, None, 0
            for event, element in iterparse(stream, events=("start", "end"), forbid_dtd=True):
                if root is None:
                    root = element
                    if root.tag != ROOT:
                        raise DataError(f"{head.path} begins with <{root.tag}>, expected SUMO's <{ROOT}>")
                elif event == "start" and element.tag == "timestep":
                    time = element.get("time")
                    if time is None:
                        raise DataError(f"{head.path}: a <timestep> has no time")
                elif event == "end" and element.tag == "vehicle":
                    seen += 1
                    if time is None:
                        raise DataError(f"{head.path}: a <vehicle> stands before the first <timestep>")
                    if seen > skip:
                        rows.append((time, *(element.get(name) for name in names)))
                elif event == "end" and element.tag == "timestep":
                    root.clear()
                    if len(rows) >= CHUNK_ROWS:
                        yield _rows_table(rows, names)
                        rows = []
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise DataError(f"{head.path} cannot be read as SUMO's FCD XML: {error or type(error).__name__}") from error
    if rows:
        yield _rows_table(rows, names)


def _rows_table(rows: list[tuple[str | None, ...]], names: tuple[str, ...]) -> "pa.Table":
    import pyarrow as pa

    values = zip(*rows, strict=True)
    return pa.table({name: pa.array(each, pa.string()) for name, each in zip((TIME, *names), values, strict=True)})
