"""What every trajectory reader owes, over all that are registered: a new one is covered the day it is added."""

import gzip
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.mapping import parse_mapping
from scenariogen.trajectories import columns
from scenariogen.trajectories.convert import convert
from scenariogen.trajectories.formats import find_reader, readers
from scenariogen.trajectories.readers.contract import CHUNK_ROWS, ReadOptions
from scenariogen.trajectories.readers.mapped import DIMENSIONS
from tests.trajectories import (
    test_readers_commonroad,
    test_readers_highd,
    test_readers_i24,
    test_readers_mapped,
    test_readers_ngsim,
    test_readers_pneuma,
)

SUMO = """<?xml version="1.0" encoding="UTF-8"?>
<fcd-export xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
    <timestep time="0.00">
        <vehicle id="a" x="1.00" y="2.00" angle="90.00" type="car" speed="10.00" pos="5.00" lane="e_0" slope="0.00"/>
    </timestep>
    <timestep time="1.00">
        <vehicle id="a" x="11.00" y="2.00" angle="90.00" type="car" speed="10.00" pos="15.00" lane="e_0" slope="0.00"/>
    </timestep>
</fcd-export>
"""


def sumo_sample(folder: Path) -> Path:
    path = folder / "fcd.xml"
    path.write_text(SUMO, encoding="utf-8")
    return path


SAMPLES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "fcd": ("sumo-fcd", sumo_sample),
    "ngsim": ("ngsim", test_readers_ngsim.sample),
    "ngsim-text": ("ngsim-text", test_readers_ngsim.text_sample),
    "highd": ("highd", test_readers_highd.sample),
    "ind": ("highd", test_readers_highd.ind_sample),
    "pneuma": ("pneuma", test_readers_pneuma.sample),
    "i24": ("i24", test_readers_i24.sample),
    "commonroad": ("commonroad", test_readers_commonroad.sample),
    "csv": ("csv", test_readers_mapped.sample),
}
"""Name of a sample to the reader's name and what writes it."""


def options(name: str) -> ReadOptions:
    texts = test_readers_mapped.MAPPING if name == "csv" else ()
    return ReadOptions(mapping=parse_mapping(texts, DIMENSIONS))


def reader_of(sample: str):
    name = SAMPLES[sample][0]
    return readers()[name]


def tables_of(sample: str, path: Path, book: AccountBook) -> list[pa.Table]:
    return list(reader_of(sample).tables(read_head(path), book, options(sample)))


def new_book() -> AccountBook:
    return AccountBook(file="x", format="x", title="x", subject="vehicles")


def test_every_registered_reader_has_a_sample():
    assert {reader for reader, _ in SAMPLES.values()} == set(readers())


@pytest.mark.parametrize("name", list(readers()))
def test_a_reader_is_called_something(name: str):
    reader = readers()[name]
    assert reader.name == name
    assert name == name.lower()
    assert " " not in name
    assert len(reader.title) > 5


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_a_sample_is_recognised_by_its_own_reader_alone_whatever_its_name(sample: str, tmp_path: Path):
    name, write = SAMPLES[sample]
    path = write(tmp_path)
    head = read_head(path.rename(path.with_name("no-name")))
    recognised = {each.name for each in readers().values() if each.recognises(head)}
    assert recognised == (set() if name == "csv" else {name})
    if name != "csv":
        assert find_reader(head).name == name
    assert find_reader(head, format=name).name == name


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_tables_have_the_columns_and_types_of_the_contract(sample: str, tmp_path: Path):
    book = new_book()
    found = tables_of(sample, SAMPLES[sample][1](tmp_path), book)
    assert found
    names = found[0].column_names
    assert {columns.TIME, columns.VEHICLE} <= set(names)
    assert columns.places(names)
    assert set(names) <= {*columns.ALL, columns.RECORDING}
    for table in found:
        assert table.column_names == names
        assert 0 < len(table) <= 2 * CHUNK_ROWS
        table.validate(full=True)
        for name in names:
            expected = columns.arrow_type(name)
            if name in (columns.X, columns.Y):
                assert table.schema.field(name).type in (pa.float32(), pa.float64())
            else:
                assert table.schema.field(name).type == expected, name
    assert sum(map(len, found)) + sum(book.dropped.values()) == (book.rows or sum(map(len, found)))


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_every_column_says_where_it_comes_from(sample: str, tmp_path: Path):
    book = new_book()
    found = tables_of(sample, SAMPLES[sample][1](tmp_path), book)
    assert set(found[0].column_names) - {columns.DAY} <= set(book.units)


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_a_gzipped_sample_reads_the_same(sample: str, tmp_path: Path):
    path = SAMPLES[sample][1](tmp_path)
    plain = pa.concat_tables(tables_of(sample, path, new_book())).to_pydict()
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert pa.concat_tables(tables_of(sample, packed, new_book())).to_pydict() == plain


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_a_sample_converts(sample: str, tmp_path: Path):
    path = SAMPLES[sample][1](tmp_path)
    account = convert(read_head(path), reader_of(sample), tmp_path / "out.parquet", options=options(sample))
    assert account.kept > 0
    assert account.kept + sum(account.dropped.values()) == account.rows
    assert account.problems == ()


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_what_is_no_file_of_data_is_one_error(sample: str, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for path in (empty, tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError):
            tables_of(sample, path, new_book())


def test_the_format_of_a_stranger_is_named_with_a_way_out(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text("alpha,beta\n1,2\n")
    with pytest.raises(DataError, match="its columns are alpha, beta") as caught:
        find_reader(read_head(path))
    assert "--map time=" in str(caught.value)
    with pytest.raises(DataError, match="--format x: unknown, expected one of"):
        find_reader(read_head(path), format="x")


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def flip_bytes(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def other_delimiters(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    number = chance.randrange(len(lines))
    return b"\n".join(line.replace(b",", b";") if index >= number else line for index, line in enumerate(lines))


def repeat_rows(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    number = chance.randrange(len(lines))
    return b"\n".join([*lines[: number + 1], *lines[number : number + 3], *lines[number + 1 :]])


def swap_columns(data: bytes, chance: random.Random) -> bytes:
    """Two columns change places below the header, or the header's names do."""
    delimiter = b";" if b";" in data.split(b"\n", 1)[0] else b","
    rows = [line.split(delimiter) for line in data.split(b"\n")]
    first, second = (chance.randrange(len(rows[0])) for _ in range(2))
    for row in rows[1:] if chance.random() < 0.5 else rows[:1]:
        if len(row) > max(first, second):
            row[first], row[second] = row[second], row[first]
    return b"\n".join(delimiter.join(row) for row in rows)


def strange_numbers(data: bytes, chance: random.Random) -> bytes:
    """Some digits become what numbers should not be."""
    strange = [b"nan", b"inf", b"-1e308", b"", b"1e400", b"9" * 40, b"0x1F", b"\xd9\xa3", b'"', b"null", b"true"]
    places = [index for index, byte in enumerate(data) if 48 <= byte <= 57]
    for index in sorted(chance.sample(places, min(len(places), chance.randint(1, 5))), reverse=True):
        data = data[:index] + chance.choice(strange) + data[index + 1 :]
    return data


MANGLERS = (cut, flip_bytes, other_delimiters, repeat_rows, swap_columns, strange_numbers)


@pytest.mark.parametrize("mangle", MANGLERS, ids=lambda mangle: mangle.__name__)
@pytest.mark.parametrize("sample", list(SAMPLES))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_a_mangled_sample_is_one_error_or_counted_rows(sample: str, mangle, seed: int):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = SAMPLES[sample][1](Path(folder))
        path.write_bytes(mangle(path.read_bytes(), chance))
        book = new_book()
        try:
            found = tables_of(sample, path, book)
        except DataError as error:
            assert str(error)
            return
        for table in found:
            assert table.schema.names == found[0].schema.names
            assert all(table.schema.field(name).type == found[0].schema.field(name).type for name in table.schema.names)
        rows = sum(map(len, found))
        assert rows + sum(book.dropped.values()) == (book.rows or rows)


@pytest.mark.parametrize("sample", [name for name in SAMPLES if name != "fcd"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_a_mangled_sample_converts_or_leaves_nothing(sample: str, seed: int):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = SAMPLES[sample][1](Path(folder))
        path.write_bytes(chance.choice(MANGLERS)(path.read_bytes(), chance))
        target = Path(folder) / "out" / "result.parquet"
        try:
            account = convert(read_head(path), reader_of(sample), target, options=options(sample))
        except DataError:
            assert not target.exists()
            return
        assert account.kept + sum(account.dropped.values()) == account.rows


@pytest.mark.parametrize("sample", list(SAMPLES))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(share=st.floats(0.2, 0.98))
def test_a_cut_gzip_file_is_an_error(sample: str, share: float):
    with tempfile.TemporaryDirectory() as folder:
        path = SAMPLES[sample][1](Path(folder))
        packed = gzip.compress(path.read_bytes())
        path.write_bytes(packed[: int(share * len(packed))])
        with pytest.raises(DataError):
            tables_of(sample, path, new_book())


def test_positions_that_no_speed_could_join_are_marked(tmp_path: Path):
    """A place 1e42 m away: the derived speed has no value in single precision."""
    path = tmp_path / "far.csv"
    path.write_text("t,car,x,y\n" + "".join(f"{n / 10},1,{1e42 if n == 5 else 2 * n},0\n" for n in range(12)))
    mapping = parse_mapping(("time=t:s", "vehicle=car", "x=x:m", "y=y:m"), DIMENSIONS)
    out = tmp_path / "out.parquet"
    convert(read_head(path), readers()["csv"], out, options=ReadOptions(mapping=mapping))
    rows = pq.read_table(out, columns=[columns.SPEED, columns.MOTION]).to_pydict()
    assert all(flags for flags in rows[columns.MOTION][4:7])
    assert rows[columns.SPEED][4] is None and rows[columns.SPEED][1] == pytest.approx(20.0)
