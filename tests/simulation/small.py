"""Small projects, generated where they are used: a straight road, and a signalised crossing."""

import gzip
import hashlib
import subprocess
from functools import cache
from pathlib import Path

from scenariogen.simulation.launch import sumo_home
from scenariogen.simulation.project import SumoProject, open_project
from scenariogen.window import StudyWindow

LINE_NODES = """<nodes>
  <node id="a" x="0" y="0"/><node id="b" x="500" y="0"/><node id="c" x="1000" y="0"/><node id="d" x="1500" y="0"/>
  <node id="up" x="600" y="200"/><node id="down" x="900" y="200"/>
</nodes>"""
LINE_EDGES = """<edges>
  <edge id="ab" from="a" to="b" numLanes="1" speed="13.89"/>
  <edge id="bc" from="b" to="c" numLanes="1" speed="13.89"/>
  <edge id="cd" from="c" to="d" numLanes="1" speed="13.89"/>
  <edge id="bu" from="b" to="up" numLanes="1" speed="13.89"/>
  <edge id="ud" from="up" to="down" numLanes="1" speed="13.89"/>
  <edge id="dc" from="down" to="c" numLanes="1" speed="13.89"/>
</edges>"""
CROSS_NODES = """<nodes>
  <node id="w" x="-300" y="0"/><node id="e" x="300" y="0"/><node id="s" x="0" y="-300"/><node id="n" x="0" y="300"/>
  <node id="m" x="0" y="0" type="traffic_light"/><node id="x" x="330" y="0"/>
</nodes>"""
CROSS_EDGES = """<edges>
  <edge id="in[0]#1" from="w" to="m" numLanes="2" speed="13.89"/>
  <edge id="out" from="m" to="e" numLanes="2" speed="13.89"/>
  <edge id="short" from="e" to="x" numLanes="1" speed="13.89"/>
  <edge id="sm" from="s" to="m" numLanes="1" speed="13.89"/>
  <edge id="mn" from="m" to="n" numLanes="1" speed="13.89"/>
</edges>"""


@cache
def _network(nodes: str, edges: str) -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "n.nod.xml").write_text(nodes)
        (folder / "n.edg.xml").write_text(edges)
        binary = str(sumo_home() / "bin" / "netconvert")
        command = [binary, "-n", "n.nod.xml", "-e", "n.edg.xml", "-o", "n.net.xml", "--no-turnarounds", "true"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return (folder / "n.net.xml").read_text()


def line() -> str:
    """Three edges of 500 m in a row, and a detour around the middle one, as a network file's text."""
    return _network(LINE_NODES, LINE_EDGES)


def cross() -> str:
    """A signalised crossing of two one-way roads with odd edge ids and one edge of 30 m."""
    return _network(CROSS_NODES, CROSS_EDGES)


def write_project(
    folder: Path,
    routes: str,
    *,
    net: str | None = None,
    additional: str = "",
    options: str = "",
    zipped: bool = False,
) -> Path:
    """A project in ``folder``; ``routes`` and ``additional`` are what stands between the root's tags."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "road.net.xml").write_text(line() if net is None else net)
    suffix = ".gz" if zipped else ""
    _write(folder / f"demand.rou.xml{suffix}", f"<routes>{routes}</routes>")
    inputs = f'<net-file value="road.net.xml"/><route-files value="demand.rou.xml{suffix}"/>'
    if additional:
        _write(folder / f"more.add.xml{suffix}", f"<additional>{additional}</additional>")
        inputs += f'<additional-files value="more.add.xml{suffix}"/>'
    path = folder / "small.sumocfg"
    path.write_text(f"<configuration><input>{inputs}</input>{options}</configuration>")
    return path


def _write(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def small_project(folder: Path, routes: str, **others) -> SumoProject:
    """As :func:`write_project`, opened."""
    return open_project(write_project(folder, routes, **others))


def vehicle(name: str, depart_s: float, edges: str = "ab bc cd", inner: str = "", more: str = "") -> str:
    """One vehicle that drives exactly at the limit: no dawdling, no speed deviation."""
    return f'<vehicle id="{name}" type="plain" depart="{depart_s}" {more}><route edges="{edges}"/>{inner}</vehicle>'


PLAIN = '<vType id="plain" sigma="0" speedFactor="1" speedDev="0" length="5"/>'


def window(end_s: float, *, count_from_s: float = 0.0, copies: int = 1, period_s: float = 0.0) -> StudyWindow:
    """A window from second 0."""
    return StudyWindow(
        begin_s=0.0,
        count_from_s=count_from_s,
        incidents_until_s=(count_from_s + end_s) / 2,
        end_s=end_s,
        demand_end_s=end_s,
        demand_copies=copies,
        demand_period_s=period_s,
    )


def fingerprint(folder: Path) -> dict[str, str]:
    """Hash of every file in a folder, and of the names in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }
