"""NGSIM's first releases: the 18 columns of a motorway site without a header, parted by blanks or tabs.

The order of the columns is that of the data dictionaries that came with these files (US DOT, *Next Generation
Simulation (NGSIM) Vehicle Trajectories and Supporting Data*, 2016). Everything else is as in :mod:`.ngsim`.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_text
from scenariogen.trajectories.readers import tables
from scenariogen.trajectories.readers.contract import ReadOptions
from scenariogen.trajectories.readers.ngsim import NgsimReader

if TYPE_CHECKING:
    import pyarrow as pa

ORDER = (
    "Vehicle_ID", "Frame_ID", "Total_Frames", "Global_Time", "Local_X", "Local_Y", "Global_X", "Global_Y", "v_Length",
    "v_Width", "v_Class", "v_Vel", "v_Acc", "Lane_ID", "Preceding", "Following", "Space_Hdwy", "Time_Hdwy",
)  # fmt: skip
WHOLE = ("Vehicle_ID", "Frame_ID", "Total_Frames", "Global_Time", "v_Class", "Lane_ID")
LOOKED_AT = 20
"""So many lines tell the format."""
LEAST_GLOBAL_TIME = 1e11
"""Milliseconds since 1970 in every release; no other column of a table of movement is so large."""
ONE_BYTE_BLANKS = ("utf-8", "latin-1")
_BLANKS = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)")


class NgsimTextReader(NgsimReader):
    """NGSIM tables without a header."""

    name = "ngsim-text"
    title = "NGSIM vehicle trajectories, text without a header"

    def recognises(self, head: FileHead) -> bool:
        lines = [line.split() for line in head.lines[:LOOKED_AT] if line.strip()]
        return head.made is Made.TEXT and bool(lines) and all(_is_row(cells) for cells in lines)

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        lines = [line for line in head.lines if line.strip()]
        if not lines or not all(_BLANKS.search(line.strip()) for line in lines[:LOOKED_AT]):
            raise DataError(f"{head.path} is no table of {len(ORDER)} columns parted by blanks")
        if head.encoding not in ONE_BYTE_BLANKS:
            raise DataError(f"{head.path} is encoded as {head.encoding}, expected plain text")
        text = "\n".join([",".join(ORDER), *(_commas(line) for line in lines), ""])
        book.note("the columns' names are assumed: the file has no header, and NGSIM's order is taken")
        yield from super().tables(replace(head, head=text.encode(head.encoding), is_whole=True), book, options)

    def _blocks(self, head: FileHead, book: AccountBook, names: list[str]) -> Iterator["pa.Table"]:
        with open_text(head) as stream:
            rows = io.BufferedReader(_Rows(stream, head.encoding))
            yield from tables.text_blocks(head, book, names, rows=rows)


class _Rows(io.RawIOBase):
    """The lines of a text as bytes, with commas where blanks part the cells."""

    def __init__(self, stream: IO[str], encoding: str) -> None:
        self._stream, self._encoding, self._rest = stream, encoding, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer, /) -> int:
        whole = memoryview(buffer)
        if not self._rest:
            self._rest = self._more()
        count = min(len(whole), len(self._rest))
        whole[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _more(self) -> bytes:
        lines = self._stream.readlines(1 << 20)
        return "".join(_commas(line) + "\n" for line in lines).encode(self._encoding)


def _commas(line: str) -> str:
    return _BLANKS.sub(",", line.strip())


def _is_row(cells: list[str]) -> bool:
    if len(cells) != len(ORDER) or not all(_NUMBER.fullmatch(cell) for cell in cells):
        return False
    by_name = dict(zip(ORDER, cells, strict=True))
    return (
        all(float(by_name[name]).is_integer() for name in WHOLE) and float(by_name["Global_Time"]) > LEAST_GLOBAL_TIME
    )
