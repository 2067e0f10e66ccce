"""The beginning of a file: is it there, is it compressed, how is it encoded, what is it made of?

Readers recognise their format by this alone, so that nothing large is opened to find out what it is. Nothing here
trusts a file's name.
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import IO

from scenariogen.errors import DataError

HEAD_BYTES = 1 << 16
GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"
OTHER_MAGIC: dict[bytes, str] = {
    b"PK\x03\x04": "a ZIP archive; unpack it and give the file inside",
    b"BZh": "a bzip2 file; unpack it, or compress it with gzip",
    b"\xfd7zXZ": "an xz file; unpack it, or compress it with gzip",
    b"(\xb5/\xfd": "a Zstandard file; unpack it, or compress it with gzip",
    b"\x89HDF": "an HDF5 or MATLAB file; export it as CSV or Parquet",
    b"MATLAB": "a MATLAB file; export it as CSV or Parquet",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
}
DELIMITERS = (",", ";", "\t", "|")
EXCELS_SEPARATOR = re.compile(r'"?sep=.?"?', re.IGNORECASE)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WIDE_ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


class Made(StrEnum):
    """What a file is made of."""

    PARQUET = "parquet"
    XML = "xml"
    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, kw_only=True)
class FileHead:
    """The first 64 KiB of a file, decompressed.

    ``path``        the file
    ``is_gzip``     compressed with gzip
    ``made``        what it is made of
    ``bytes``       those first bytes
    ``is_whole``    the file ends within them
    ``encoding``    utf-8, utf-16, or latin-1 where it is neither
    """

    path: Path
    is_gzip: bool
    made: Made
    head: bytes = field(repr=False)
    is_whole: bool
    encoding: str

    @cached_property
    def text(self) -> str:
        return self.head.removeprefix(BYTE_ORDER_MARK).decode(self.encoding, errors="ignore")

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Complete lines only."""
        parts = self.text.splitlines()
        return tuple(parts if self.is_whole else parts[:-1] or parts)

    @cached_property
    def delimiter(self) -> str:
        """What parts the columns: of comma, semicolon, tab and bar the most frequent one outside quotes in line 1."""
        first = _outside_quotes(self.lines[0]) if self.lines else ""
        return max(DELIMITERS, key=first.count)

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The names in the first line, without blanks around them; empty for what is not text."""
        if self.made is not Made.TEXT or not self.lines:
            return ()
        row = next(csv.reader([self.lines[0]], delimiter=self.delimiter), [])
        return tuple(name.strip() for name in row)


def read_head(path: str | Path) -> FileHead:
    """The head of a file. Raises ``DataError`` for what is missing, a folder, empty, cut off or not data."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder, expected a file")
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not path.is_file():
        raise DataError(f"{path} is no ordinary file, expected one")
    try:
        with path.open("rb") as stream:
            is_gzip = stream.read(2) == GZIP_MAGIC
        with open_bytes(path) as stream:
            head = stream.read(HEAD_BYTES + 1)
    except EOFError:
        raise DataError(f"{path} is a gzip file that was cut off: copy it again") from None
    except (OSError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    is_whole = len(head) <= HEAD_BYTES
    head = head[:HEAD_BYTES]
    if not head.strip():
        raise DataError(f"{path} is empty")
    for magic, words in OTHER_MAGIC.items():
        if head.startswith(magic):
            raise DataError(f"{path} is {words}")
    encoding = _encoding(head, is_whole)
    made = _made(head, encoding, path)
    return FileHead(path=path, is_gzip=is_gzip, made=made, head=head, is_whole=is_whole, encoding=encoding)


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The decompressed bytes of a file, whether gzipped or not."""
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if not is_gzip:
            yield raw
            return
        with gzip.open(raw, "rb") as stream:
            yield stream  # type: ignore[misc]


@contextmanager
def open_text(head: FileHead) -> Iterator[IO[str]]:
    """The text of a file in its own encoding, without a byte order mark, line ends as they are (for ``csv``)."""
    encoding = "utf-8-sig" if head.encoding == "utf-8" else head.encoding
    with open_bytes(head.path) as stream, io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
        yield text


@contextmanager
def open_json(head: FileHead) -> Iterator["_Utf8"]:
    """The bytes of a JSON file as UTF-8 without a mark in front, whatever its own encoding."""
    with open_bytes(head.path) as stream:
        if head.encoding == "utf-8" and head.head.startswith(BYTE_ORDER_MARK):
            stream.read(len(BYTE_ORDER_MARK))
        yield _Utf8(stream, head.encoding)


class _Utf8:
    """A stream of bytes recoded to UTF-8. It has ``read`` alone: parsers reach past a wrapper that has more."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()

    def read(self, size: int = -1) -> bytes:
        while True:
            part = self._stream.read(size)
            if self._decoder is None:
                return part
            text = self._decoder.decode(part, final=not part)
            if text or not part:
                return text.encode("utf-8")


def _outside_quotes(line: str) -> str:
    return "".join(part for number, part in enumerate(line.split('"')) if number % 2 == 0)


def _encoding(head: bytes, is_whole: bool) -> str:
    for mark, name in WIDE_ENCODINGS.items():
        if head.startswith(mark):
            return name
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        cut_at_the_end = not is_whole and error.start >= len(head) - 3
        return "utf-8" if cut_at_the_end else "latin-1"
    return "utf-8"


def _made(head: bytes, encoding: str, path: Path) -> Made:
    if head.startswith(PARQUET_MAGIC):
        return Made.PARQUET
    text = head.removeprefix(BYTE_ORDER_MARK).decode(encoding, errors="ignore").lstrip()
    if text.startswith("<"):
        return Made.XML
    if text.startswith(("{", "[")):
        return Made.JSON
    first = text.partition("\n")[0].rstrip("\r")
    if EXCELS_SEPARATOR.fullmatch(first):
        raise DataError(f"{path} begins with the line {first!r}, which Excel alone understands: delete that line")
    if "\x00" in text[:4096]:
        raise DataError(f"{path} is binary and of no kind known here; expected Parquet, XML, JSON or a text table")
    return Made.TEXT
