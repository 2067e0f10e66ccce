"""Rows of text tables and of JSON, one mapping at a time, with what does not fit counted."""

import csv
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, open_json, open_text

MOST_OF_AN_ERROR = 80


@contextmanager
def readable(head: FileHead) -> Iterator[None]:
    """Errors of decompression, decoding and parsing inside the block become a ``DataError`` with words."""
    import ijson

    try:
        yield
    except (EOFError, zlib.error) as error:
        raise DataError(f"{head.path} is a gzip file that was cut off: copy it again") from error
    except UnicodeError as error:
        raise DataError(f"{head.path} is not in {head.encoding} all the way through; save it as UTF-8") from error
    except ijson.JSONError as error:
        said = " ".join(str(error).split())[:MOST_OF_AN_ERROR] or type(error).__name__
        raise DataError(f"{head.path} is JSON that was cut off or broken ({said}): copy it again") from error
    except csv.Error as error:
        raise DataError(f"{head.path} cannot be read as a table: {error}") from error
    except OSError as error:
        raise DataError(f"{head.path} cannot be read: {error}") from error


def table_rows(head: FileHead, book: AccountBook) -> Iterator[dict[str, str]]:
    """Rows of a text table by the names in its header, in small letters; quoted cells may hold line breaks.

    Rows with another number of cells than the header are dropped and counted. Raises ``DataError`` where the file is
    cut off or a name stands twice in the header.
    """
    with readable(head), open_text(head) as text:
        rows = csv.reader(text, delimiter=head.delimiter, strict=True)
        header = [name.strip().casefold() for name in next(rows, [])]
        twice = sorted({name for name in header if name and header.count(name) > 1})
        if twice:
            raise DataError(f"{head.path}: the columns {', '.join(twice[:12])} stand in the header more than once")
        for cells in rows:
            if not cells:
                continue
            book.rows += 1
            if len(cells) != len(header):
                book.drop(
                    f"{len(cells)} cells where the header has {len(header)}", example=f"up to line {rows.line_num}"
                )
                continue
            yield dict(zip(header, cells, strict=True))


def json_items(head: FileHead, prefix: str) -> Iterator[Any]:
    """Values at a place in a JSON file (``features.item``), one at a time; numbers as floats."""
    import ijson

    with readable(head), open_json(head) as stream:
        yield from ijson.items(stream, prefix, use_float=True)


def small_letters(row: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with its names in small letters, first come first."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        found.setdefault(str(name).strip().casefold(), value)
    return found
