"""SUMO's XML is read fast where it looks as SUMO writes it, and safely elsewhere: both ways give the same rows."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.trajectories.readers import fcd_xml

NAMES = ("id", "lane", "pos", "speed", "acceleration")
VEHICLE = '        <vehicle id="{id}" x="1.00" y="2.00" speed="{speed}" pos="{pos}" lane="{lane}" slope="0.00"/>'
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n\n<!-- made\n  by <configuration> -->\n\n<fcd-export version="1">\n'


def written(steps: list[tuple[str, list[dict]]], line: str = VEHICLE) -> str:
    """A file as SUMO writes it."""
    lines = []
    for time, vehicles in steps:
        lines += [f'    <timestep time="{time}">', *(line.format(**each) for each in vehicles), "    </timestep>"]
    return HEAD + "\n".join(lines) + "\n</fcd-export>\n"


def rows(tables) -> list[dict]:
    found = list(tables)
    return pa.concat_tables(found).to_pylist() if found else []


def both(path: Path) -> tuple[list[dict], list[dict]]:
    head = read_head(path)
    return rows(fcd_xml._as_sumo_writes(head, NAMES)), rows(fcd_xml._as_xml(head, NAMES, skip=0))


def some(count: int, *, first: int = 0) -> list[dict]:
    return [
        {"id": f"v {n} #ä", "speed": f"{n}.5", "pos": f"{n}.25", "lane": f":e_{n}_0"}
        for n in range(first, first + count)
    ]


text = st.text(
    st.characters(blacklist_categories=["Cc", "Cs"], blacklist_characters='<>&"\x85\u2028\u2029'), max_size=8
)
vehicle = st.fixed_dictionaries({"id": text, "speed": text, "pos": text, "lane": text})
step = st.tuples(st.floats(0, 1e5).map(lambda t: f"{t:.2f}"), st.lists(vehicle, max_size=4))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, max_size=6))
def test_both_ways_give_the_same_rows(tmp_path, steps):
    path = tmp_path / "fcd.xml"
    path.write_text(written(steps), encoding="utf-8")
    fast, safe = both(path)
    assert fast == safe
    assert len(fast) == sum(len(vehicles) for _, vehicles in steps)


def test_blocks_cut_anywhere_give_the_same_rows(tmp_path, monkeypatch):
    path = tmp_path / "fcd.xml"
    path.write_text(written([(f"{t}.00", some(5, first=t)) for t in range(40)]), encoding="utf-8")
    whole = rows(fcd_xml.xml_rows(read_head(path), NAMES))
    for size in (300, 333, 1000, 4096):
        monkeypatch.setattr(fcd_xml, "BLOCK_BYTES", size)
        monkeypatch.setattr(fcd_xml, "LONGEST_PROLOGUE", size)
        assert rows(fcd_xml._as_sumo_writes(read_head(path), NAMES)) == whole
    assert len(whole) == 200 and whole[-1]["time"] == "39.00" and whole[7]["id"] == "v 3 #ä"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("v 1 #ä", "a&amp;b"), "an entity"),
        (lambda text: text.replace('id="v 1 #ä"', "id='v 1'"), "other quotation marks"),
        (lambda text: text.replace('slope="0.00"/>', 'slope="0.00"></vehicle>', 1), "an end tag"),
        (lambda text: text.replace(' x="1.00" y="2.00"', ' y="2.00" x="1.00"', 1), "another order"),
        (lambda text: text.replace(' x="1.00"', "", 1), "an attribute less"),
        (lambda text: text.replace("    <timestep", "<!-- here -->    <timestep", 1), "a comment"),
        (lambda text: text.replace("\n        <vehicle", "<vehicle"), "several elements a line"),
        (lambda text: text.replace("\n        <vehicle", "\n<vehicle\n  "), "elements over several lines"),
        (lambda text: text.replace("    </timestep>", '<person id="p" speed="1"/></timestep>'), "persons"),
        (lambda text: text.replace("\n", "\r\n"), "line ends of Windows"),
        (lambda text: text.replace(' encoding="UTF-8"', ""), "no encoding"),
    ],
)
def test_what_sumo_does_not_write_is_read_all_the_same(tmp_path, change, said):
    path = tmp_path / "fcd.xml"
    path.write_bytes(change(written([("0.00", some(3)), ("1.00", some(3))])).encode())
    head = read_head(path)
    found = rows(fcd_xml.xml_rows(head, NAMES))
    assert found == rows(fcd_xml._as_xml(head, NAMES, skip=0))
    assert len(found) == 6


def test_a_file_that_turns_strange_in_the_middle_loses_and_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(fcd_xml, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(fcd_xml, "LONGEST_PROLOGUE", 1000)
    path = tmp_path / "fcd.xml"
    content = written([(f"{t}.00", some(5, first=5 * t)) for t in range(20)])
    path.write_text(content.replace("v 70 #ä", "v &lt;70"), encoding="utf-8")
    found = rows(fcd_xml.xml_rows(read_head(path), NAMES))
    assert [row["id"] for row in found] == [f"v {n} #ä" if n != 70 else "v <70" for n in range(100)]


def test_persons_in_rows_of_the_same_width_are_left_out(tmp_path):
    content = written([("0.00", some(2))]).replace(
        "    </timestep>",
        '        <person id="p" x="1.00" y="2.00" speed="1" pos="3" edge="e" slope="0.00"/>\n    </timestep>',
    )
    path = tmp_path / "fcd.xml"
    path.write_text(content, encoding="utf-8")
    fast, safe = both(path)
    assert fast == safe and len(fast) == 2


@pytest.mark.parametrize(
    "bomb",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]>\n',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">\n',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>\n',
    ],
)
def test_declared_entities_are_refused(tmp_path, bomb):
    path = tmp_path / "fcd.xml"
    content = written([("0.00", some(2))])
    path.write_text(content.replace("<fcd-export", bomb + "<fcd-export").replace("v 1 #ä", "&b;"), encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as SUMO's FCD XML"):
        rows(fcd_xml.xml_rows(read_head(path), NAMES))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_that_was_cut_off_is_an_error(tmp_path, share, zipped):
    content = written([(f"{t}.00", some(5)) for t in range(20)]).encode()
    content = gzip.compress(content) if zipped else content
    path = tmp_path / "fcd.xml"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"cut off|cannot be read as SUMO's FCD XML"):
        rows(fcd_xml.xml_rows(read_head(path), NAMES))


def test_a_vehicle_before_the_first_time_step_is_an_error(tmp_path):
    path = tmp_path / "fcd.xml"
    path.write_text(HEAD + VEHICLE.format(**some(1)[0]) + "\n</fcd-export>\n", encoding="utf-8")
    with pytest.raises(DataError, match="before the first <timestep>"):
        rows(fcd_xml.xml_rows(read_head(path), NAMES))
