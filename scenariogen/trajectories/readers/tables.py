"""Text tables in blocks: rows that do not fit are counted, not fatal; words where numbers should be are counted too."""

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 1 << 24
CUT_OFF = "is a gzip file that was cut off or damaged: copy it again"
NO_ROW = "holds a header and no row"
NOTHING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-")
"""How tables write that a cell holds nothing."""
RAGGED = "rows with another number of cells than the header"
_RAGGED_ROW = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
_LED_BY_ZERO = r"^\s*[-+]?0,\d{3}\s*$"
_DECIMAL_COMMA = r"^\s*[-+]?\d+,\d+\s*$"
_THOUSANDS = r"^\s*[-+]?\d{1,3}(,\d{3})+(\.\d*)?\s*$"


def compute() -> Any:
    """``pyarrow.compute``, whose functions are made at run time and so unknown to type checkers."""
    import pyarrow.compute

    return pyarrow.compute


def text_blocks(
    head: FileHead, book: AccountBook, names: Sequence[str], *, rows: IO[bytes] | None = None
) -> Iterator["pa.Table"]:
    """Columns ``names`` of a text table as strings, null where a cell is empty, in blocks of about 16 MiB.

    ``rows``  read instead of the file: its rows alone, without a header, as the head says they are written

    Rows with another number of cells than the header are dropped and counted, the first ones with their line. Raises
    ``DataError`` where the file is cut off, holds no row, or where one of the names stands twice in the header.
    """
    import pyarrow as pa
    from pyarrow import csv

    header = head.header
    twice = sorted({name for name in names if header.count(name) > 1})
    if twice:
        raise DataError(f"{head.path}: the columns {', '.join(twice)} stand in the header more than once")

    before = book.rows

    def ragged(row: csv.InvalidRow) -> str:
        where = f"line {row.number}: {row.actual_columns} instead of {row.expected_columns}" if row.number else ""
        book.rows += 1
        book.drop(RAGGED, example=where)
        return "skip"

    try:
        with closing(rows or pa.input_stream(str(head.path), compression="gzip" if head.is_gzip else None)) as stream:
            reader = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(
                    use_threads=False,
                    block_size=BLOCK_BYTES,
                    column_names=list(header),
                    skip_rows=1 if rows is None else 0,
                    encoding=head.encoding if head.encoding != "utf-8" else "utf8",
                ),
                parse_options=csv.ParseOptions(
                    delimiter=head.delimiter, invalid_row_handler=ragged, newlines_in_values=_has_broken_lines(head)
                ),
                convert_options=csv.ConvertOptions(
                    include_columns=list(dict.fromkeys(names)),
                    column_types={name: pa.string() for name in names},
                    null_values=list(NOTHING),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
            for batch in reader:
                if batch.num_rows:
                    book.rows += batch.num_rows
                    yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError, EOFError, UnicodeError, zlib.error) as error:
        raise DataError(f"{head.path} {_why(error)}") from error
    if book.rows == before:
        raise DataError(f"{head.path} {NO_ROW}")


def _has_broken_lines(head: FileHead) -> bool:
    """Quoted cells may hold line breaks, which costs speed to allow; the head tells whether they occur."""
    return any(line.count('"') % 2 for line in head.lines)


def _why(error: Exception) -> str:
    text = str(error)
    if isinstance(error, zlib.error) or any(
        word in text.lower() for word in ("zlib", "truncated", "inflate", "end-of-stream", "gzip")
    ):
        return CUT_OFF
    if "Empty CSV" in text:
        return NO_ROW
    ragged = _RAGGED_ROW.search(text)  # what pyarrow says goes on with the row itself
    if ragged is not None:
        line, expected, got = ragged.groups()
        return f"cannot be read as a table: line {line} has {got} cells instead of {expected}, and is not text in UTF-8"
    return f"cannot be read as a table: {text.splitlines()[0] if text else type(error).__name__}"


def one_array(column: "pa.ChunkedArray | pa.Array") -> "pa.Array":
    """A column in one piece."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        whole = column.combine_chunks()
        return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
    return column


def numbers(block: "pa.Table", name: str, book: AccountBook, *, factor: float = 1.0) -> "pa.Array":
    """A column as float64 times ``factor``; what is no finite number becomes null and is counted.

    Thousands separated by commas (``1,163,018.6``) are read as what they mean. Raises ``DataError`` for decimal commas.
    """
    import pyarrow as pa

    pc = compute()
    column = one_array(block[name])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    before = column.null_count
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        values = _plain_numbers(column, name)
    else:
        try:
            values = column.cast(pa.float64())
        except pa.ArrowInvalid:
            _refuse_decimal_commas(column, name)
            grouped = pc.match_substring_regex(column, _THOUSANDS)
            column = pc.if_else(grouped, pc.replace_substring(column, ",", ""), column)
            fits = pc.match_substring_regex(column, _NUMBER)
            values = pc.if_else(fits, pc.utf8_trim_whitespace(column), pa.scalar(None, column.type)).cast(pa.float64())
    values = finite(values)
    if values.null_count > before:
        book.note(f"hold something else than a number in {name}: taken as empty", rows=values.null_count - before)
    return values if factor == 1.0 else finite(pc.multiply(values, factor))


def _refuse_decimal_commas(column: "pa.Array", name: str) -> None:
    """``0,040`` is no number of thousands; nor are most cells ``12,5``."""
    pc = compute()
    led_by_zero = pc.match_substring_regex(column, _LED_BY_ZERO)
    decimal = pc.and_(
        pc.match_substring_regex(column, _DECIMAL_COMMA), pc.invert(pc.match_substring_regex(column, _THOUSANDS))
    )
    cells = len(column) - column.null_count
    for found, least in ((led_by_zero, 1), (decimal, cells / 2)):
        if (pc.sum(found).as_py() or 0) >= max(least, 1):
            example = column.filter(found)[0].as_py().strip()
            raise DataError(f"the column {name} has decimal commas, as in {example}: save the numbers with points")


def _plain_numbers(column: "pa.Array", name: str) -> "pa.Array":
    import pyarrow as pa

    try:
        return column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"the column {name} is of the type {column.type}, expected numbers") from None


def finite(values: "pa.Array") -> "pa.Array":
    """Floating point numbers with null for infinity and for what is not a number."""
    import pyarrow as pa

    pc = compute()
    are = pc.is_finite(values)
    return values if pc.all(are).as_py() is not False else pc.if_else(are, values, pa.scalar(None, values.type))


def single(values: Any) -> "pa.Array":
    """Numbers (an Arrow array, a NumPy array or a sequence) as float32, null where they are not finite."""
    import pyarrow as pa

    array = values if isinstance(values, pa.Array) else pa.array(values, pa.float64(), from_pandas=True)
    return finite(array.cast(pa.float32(), safe=False))


def double(values: Any) -> "pa.Array":
    """The same as float64."""
    import pyarrow as pa

    return finite(pa.array(values, pa.float64(), from_pandas=True))


def words(column: "pa.ChunkedArray | pa.Array") -> "pa.DictionaryArray":
    """Text, or whole numbers, as a dictionary array with the types of the trajectory table; null where empty."""
    import pyarrow as pa

    pc = compute()
    array = one_array(column)
    if pa.types.is_floating(array.type):
        return whole_numbers_as_words(array)
    text = pc.utf8_trim_whitespace(array.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text).dictionary_encode()


def same_word(word: str, count: int) -> "pa.DictionaryArray":
    """One word for every row."""
    import numpy as np
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, dtype=np.int32)), pa.array([word]))


def words_by_number(values: "pa.Array", names: Mapping[int, str]) -> "pa.DictionaryArray":
    """Words for numbers; null where a number has none."""
    import pyarrow as pa

    index = compute().index_in(values, value_set=pa.array([float(number) for number in names]))
    return pa.DictionaryArray.from_arrays(index, pa.array(list(names.values())))


def whole_numbers_as_words(values: "pa.Array") -> "pa.DictionaryArray":
    """Ids that a table writes as ``121.0``, as ``121``. What is not whole keeps its digits."""
    import pyarrow as pa

    encoded = finite(values.cast(pa.float64())).dictionary_encode()
    names = [str(int(v)) if v == int(v) else repr(float(v)) for v in encoded.dictionary.to_pylist()]
    indices = encoded.indices.cast(pa.int32())
    if len(set(names)) < len(names):  # 0.0 and -0.0
        return pa.array(names, pa.string()).take(indices).dictionary_encode()
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))


def small_integers(values: "pa.Array") -> "pa.Array":
    """Lane numbers as int16; what is not whole or out of range becomes null."""
    import pyarrow as pa

    pc = compute()
    rounded = pc.round(values)
    fits = pc.and_(pc.equal(rounded, values), pc.less(pc.abs(values), 32_000.0))
    return pc.if_else(fits, rounded, pa.scalar(None, pa.float64())).cast(pa.int16())


def columns_by_name(header: Sequence[str]) -> Mapping[str, str]:
    """Names in small letters to the names as written, first come first."""
    found: dict[str, str] = {}
    for name in header:
        found.setdefault(name.casefold(), name)
    return found
