"""What every reader stands on: the head of a file, the mapping of columns, the account."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenariogen.accounts import AccountBook, FileAccount, account_path
from scenariogen.errors import DataError
from scenariogen.heads import HEAD_BYTES, Made, open_text, read_head
from scenariogen.mapping import UNITS, missing_columns, parse_mapping, unit_factor

DIMENSIONS = {"time": "time", "speed": "speed", "vehicle": None, "lat": "angle"}


def saved(tmp_path, content: bytes, name: str = "file"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "made"),
    [
        (b"a,b\n1,2\n", Made.TEXT),
        (b"\xef\xbb\xbf  <?xml version='1.0'?><a/>", Made.XML),
        (b'\n [{"a": 1}]', Made.JSON),
        (b"PAR1....", Made.PARQUET),
        ("a;b\n1;2\n".encode("utf-16"), Made.TEXT),
        ("straße;b\n1;2\n".encode("latin-1"), Made.TEXT),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_what_a_file_is_made_of_is_seen_whatever_it_is_called(tmp_path, content, made, zipped):
    head = read_head(saved(tmp_path, gzip.compress(content) if zipped else content, "data.pdf"))
    assert (head.made, head.is_gzip, head.is_whole) == (made, zipped, True)


@pytest.mark.parametrize(
    ("line", "delimiter", "header"),
    [
        ("a,b,c", ",", ("a", "b", "c")),
        (" a ; b;c", ";", ("a", "b", "c")),
        ("a\tb", "\t", ("a", "b")),
        ('"a,1";"b,2,3,4,5";c', ";", ("a,1", "b,2,3,4,5", "c")),
        ("alone", ",", ("alone",)),
    ],
)
def test_the_delimiter_is_that_of_the_first_line_outside_quotes(tmp_path, line, delimiter, header):
    head = read_head(saved(tmp_path, line.encode() + b"\n1\n"))
    assert (head.delimiter, head.header) == (delimiter, header)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\t ", "is empty"),
        (b"PK\x03\x04zip", "a ZIP archive; unpack it"),
        (b"\x89HDF\r\n", "an HDF5 or MATLAB file"),
        (gzip.compress(b"a,b\n" * 1000, mtime=0)[:30], "was cut off"),
        (b"\x1f\x8bnonsense", "cannot be read|was cut off"),
        (b"sep=;\r\na;b\r\n1;2\r\n", "begins with the line 'sep=;', which Excel alone understands: delete that line"),
        (b'\xef\xbb\xbf"sep=\t"\na\tb\n', "which Excel alone understands"),
        (gzip.compress(b"a,b\n" * 1000, mtime=0)[:12] + b"\xff" * 40, "cannot be read|was cut off"),
        (b"abc\x00\x01\x02def", "is binary"),
    ],
)
def test_what_is_no_data_is_told_apart(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        read_head(saved(tmp_path, content))


def test_a_folder_and_nothing_at_all_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="is a folder, expected a file"):
        read_head(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_head(tmp_path / "nowhere.csv")


def test_only_the_head_is_read_and_lines_are_whole(tmp_path):
    content = b"header,b\n" + b"x" * 50 + b",1\n" * 40_000
    head = read_head(saved(tmp_path, content))
    assert not head.is_whole and len(head.head) == HEAD_BYTES
    assert head.lines[0] == "header,b" and all(line.endswith(",1") or line == "header,b" for line in head.lines[:-1])


def test_a_character_cut_in_two_at_the_end_of_the_head_is_no_other_encoding(tmp_path):
    """The head ends after a number of bytes, not of characters."""
    for shift in range(3):
        content = b"a" * shift + "€".encode() * HEAD_BYTES
        assert read_head(saved(tmp_path, content)).encoding == "utf-8"


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: text.strip()))
def test_text_is_read_as_it_was_written(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("text")
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = saved(folder, ("a" + text).encode(encoding))
        with open_text(read_head(path)) as stream:
            assert stream.read() == "a" + text


@pytest.mark.parametrize(
    ("unit", "dimension", "factor"),
    [
        ("ft/s", "speed", 0.3048),
        ("km/h", "speed", 1 / 3.6),
        ("kph", "speed", 1 / 3.6),
        ("MPH", "speed", 0.44704),
        ("1/25s", "time", 0.04),
        ("1/10s", "time", 0.1),
        ("ms", "time", 0.001),
        ("ft", "length", 0.3048),
        ("mi", "length", 1609.344),
    ],
)
def test_units_have_the_factors_of_their_definitions(unit, dimension, factor):
    assert unit_factor(unit, dimension) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize(("unit", "dimension"), [("ft", "speed"), ("1/0s", "time"), ("parsec", "length"), ("", "time")])
def test_other_units_are_refused_with_those_that_are_known(unit, dimension):
    with pytest.raises(ValueError, match=f"expected one of {next(iter(UNITS[dimension]))}"):
        unit_factor(unit, dimension)


def test_a_mapping_keeps_colons_in_the_names_of_columns_without_a_unit():
    found = parse_mapping(["vehicle=a:b", "time=t=0:ms", "speed=v"], DIMENSIONS)
    assert (found["vehicle"].column, found["time"].column, found["time"].factor) == ("a:b", "t=0", 0.001)
    assert (found["speed"].unit, found["speed"].factor) == ("", 1.0)


def test_every_mistake_of_a_mapping_is_told():
    with pytest.raises(DataError) as caught:
        parse_mapping(["time", "sped=v:m/s", "time=t:h", "time=u:s", "speed=v:kg"], DIMENSIONS)
    assert len(caught.value.problems) == 4
    assert "did you mean speed?" in caught.value.problems[1]


def test_missing_columns_are_named_with_their_neighbours():
    lines = missing_columns(parse_mapping(["vehicle=VehicleID", "time=nothing"], DIMENSIONS), ["Vehicle_ID", "t"])
    assert "near it: Vehicle_ID" in lines[0]
    assert "it has Vehicle_ID, t" in lines[1]


def test_an_account_survives_its_file(tmp_path):
    book = AccountBook(file="x.csv", format="csv", title="a table", subject="vehicles")
    book.drop("without a time", 2, example="line 7")
    for line in range(9):
        book.note("odd", rows=1, example=f"line {line}")
    book.problem("wrong", rows=3)
    account = book.close(kept=5, subjects=2, span=("0 s", "9 s"))
    assert account.rows == 7 and account.findings[0].text == "wrong"
    assert account.findings[-1].rows == 9 and len(account.findings[-1].examples) == 3
    path = account.save_beside(tmp_path / "x.parquet")
    assert path == account_path(tmp_path / "x.parquet")
    assert FileAccount.from_json(json.loads(path.read_text())) == account
    with pytest.raises(DataError, match="3 rows wrong"):
        book.raise_problems("x.csv")


def test_accounts_of_two_steps_are_one():
    """What the second step drops, derives and notices comes on top; a column that it makes anew has its words."""
    first = AccountBook(file="x.csv", format="csv", title="a table", subject="vehicles")
    first.drop("without a time", 2)
    first.drop("too far away", 1)
    first.units |= {"edge": "road", "time_s": "t in ms"}
    first.note("odd")
    second = AccountBook(file="x.parquet", format="match", title="matched", subject="vehicles")
    second.drop("too far away", 3)
    second.derived["edge"] = "by a model"
    second.problem("wrong")
    both = first.close(kept=7, subjects=3, span=("0", "9")).then(second.close(kept=4, subjects=2, span=("1", "8")))
    assert (both.file, both.format, both.rows, both.kept, both.subjects) == ("x.csv", "match", 10, 4, 2)
    assert both.dropped == {"without a time": 2, "too far away": 4} and both.span == ("1", "8")
    assert both.facts == {"read as": "a table (csv)"}
    assert both.units == {"time_s": "t in ms"} and both.derived == {"edge": "by a model"}
    assert [each.text for each in both.findings] == ["wrong", "odd"]


def test_what_is_no_account_is_refused():
    for value in ({}, [], {"file": "x", "format": "y", "colour": "red"}):
        with pytest.raises(DataError, match="not an account"):
            FileAccount.from_json(value)  # type: ignore[arg-type]
