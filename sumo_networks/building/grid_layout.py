"""The grid's plain XML: four by four signalised junctions, two main and two minor streets each way.

Columns A to D run north, rows 1 to 4 run east, 250 m apart. The inner two of each are main streets with three lanes,
the outer two minor ones with two. The leftmost lane before a signal is for turning left, and left turns have a phase
of their own: no movement ever waits for a gap in another, so nothing can lock at the junctions themselves.
"""

from dataclasses import dataclass
from pathlib import Path

COLUMNS, ROWS = "ABCD", "1234"
SPACING_M = 250
MAIN = frozenset("BC23")
SIDES = {"west": "W", "east": "E", "south": "S", "north": "N"}
YELLOW_S, ALL_RED_S, LEFT_S = 3, 2, 9
THROUGH_S = {"like": (26, 26), "main": (30, 22)}
"""Green for the two axes: between streets of one kind, and for a main street that crosses a minor one."""
BLOCK_S = 18
"""Offset from one junction to the next, east and north: a block at the speed limit."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """One lane-to-lane connection at a junction, ``turn`` being right, straight or left."""

    before: str
    after: str
    from_lane: int
    to_lane: int
    turn: str
    axis: str


def lanes(street: str) -> int:
    """Lanes per direction of a column or row."""
    return 3 if street in MAIN else 2


def neighbours(column: str, row: str) -> dict[str, str]:
    """The node beyond each side of a junction: another junction, or the end of the street."""
    i, j = COLUMNS.index(column), ROWS.index(row)
    return {
        "west": COLUMNS[i - 1] + row if i > 0 else "W" + row,
        "east": COLUMNS[i + 1] + row if i < 3 else "E" + row,
        "south": column + ROWS[j - 1] if j > 0 else "S" + column,
        "north": column + ROWS[j + 1] if j < 3 else "N" + column,
    }


def junction_links(column: str, row: str) -> list[Link]:
    """All connections of a junction, approach by approach in clockwise order from the north."""
    junction, beyond = column + row, neighbours(column, row)
    order = ["north", "east", "south", "west"]  # clockwise, so the next one is to the left of who arrives
    found = []
    for number, side in enumerate(order):
        axis = "north-south" if side in ("north", "south") else "east-west"
        own, cross = (column, row) if axis == "north-south" else (row, column)
        before = f"{beyond[side]}_{junction}"
        targets = {
            turn: f"{junction}_{beyond[order[(number + step) % 4]]}"
            for turn, step in (("left", 1), ("straight", 2), ("right", 3))
        }
        found.append((before, targets["right"], 0, 0, "right", axis))
        for lane in range(lanes(own) - 1):
            found.append((before, targets["straight"], lane, lane, "straight", axis))
        last = lanes(own) - 1
        found.append((before, targets["straight"], last - 1, last, "straight", axis))
        for lane in (lanes(cross) - 2, lanes(cross) - 1):
            found.append((before, targets["left"], last, lane, "left", axis))
    return [Link(before=b, after=a, from_lane=f, to_lane=t, turn=turn, axis=axis) for b, a, f, t, turn, axis in found]


def phases(column: str, row: str) -> list[tuple[int, str]]:
    """Durations (s) and states: each axis straight on and right, then left, with yellow and all-red between."""
    links = junction_links(column, row)
    own, cross = column in MAIN, row in MAIN
    north_s, east_s = THROUGH_S["like"] if own == cross else THROUGH_S["main"][:: 1 if own else -1]
    found = []
    for axis, through_s in (("north-south", north_s), ("east-west", east_s)):
        for lefts, green_s in ((False, through_s), (True, LEFT_S)):
            moving = [link.axis == axis and (link.turn == "left") is lefts for link in links]
            found += [
                (green_s, "".join("G" if moves else "r" for moves in moving)),
                (YELLOW_S, "".join("y" if moves else "r" for moves in moving)),
                (ALL_RED_S, "r" * len(links)),
            ]
    return found


def write_plain_xml(folder: Path) -> None:
    """Write ``grid.nod.xml``, ``.edg.xml``, ``.con.xml`` and ``.tll.xml``."""
    junctions = [(column, row) for row in ROWS for column in COLUMNS]
    about = "    <!-- Written by scripts/build_networks; see grid_layout.py. -->"
    _write(folder / "grid.nod.xml", "nodes", [about, *_nodes(junctions)])
    _write(folder / "grid.edg.xml", "edges", [about, *_edges(junctions)])
    links = {column + row: junction_links(column, row) for column, row in junctions}
    connections = [f"    <connection {_ends(link)}/>" for found in links.values() for link in found]
    _write(folder / "grid.con.xml", "connections", [about, *connections])
    programmes = [about]
    for column, row in junctions:
        offset_s = BLOCK_S * (COLUMNS.index(column) + ROWS.index(row)) % 90
        programmes.append(f'    <tlLogic id="{column + row}" type="static" programID="0" offset="{offset_s}">')
        programmes += [f'        <phase duration="{s}" state="{state}"/>' for s, state in phases(column, row)]
        programmes.append("    </tlLogic>")
        programmes += [
            f'    <connection {_ends(link)} tl="{column + row}" linkIndex="{index}"/>'
            for index, link in enumerate(links[column + row])
        ]
    _write(folder / "grid.tll.xml", "tlLogics", programmes)


def _nodes(junctions: list[tuple[str, str]]) -> list[str]:
    def node(name: str, i: int, j: int, kind: str = "") -> str:
        return f'    <node id="{name}" x="{i * SPACING_M}" y="{j * SPACING_M}"{kind}/>'

    inner = [node(c + r, COLUMNS.index(c), ROWS.index(r), ' type="traffic_light"') for c, r in junctions]
    ends = [node("W" + r, -1, j) for j, r in enumerate(ROWS)] + [node("E" + r, 4, j) for j, r in enumerate(ROWS)]
    ends += [node("S" + c, i, -1) for i, c in enumerate(COLUMNS)] + [node("N" + c, i, 4) for i, c in enumerate(COLUMNS)]
    return inner + ends


def _edges(junctions: list[tuple[str, str]]) -> list[str]:
    pairs: dict[tuple[str, str], str] = {}
    for column, row in junctions:
        for side, other in neighbours(column, row).items():
            street = row if side in ("west", "east") else column
            pairs[column + row, other] = pairs[other, column + row] = street
    return [
        f'    <edge id="{a}_{b}" from="{a}" to="{b}" type="highway.{"secondary" if street in MAIN else "tertiary"}"/>'
        for (a, b), street in pairs.items()
    ]


def _ends(link: Link) -> str:
    return f'from="{link.before}" to="{link.after}" fromLane="{link.from_lane}" toLane="{link.to_lane}"'


def _write(path: Path, root: str, lines: list[str]) -> None:
    path.write_text("\n".join([f"<{root}>", *lines, f"</{root}>", ""]), encoding="utf-8")
