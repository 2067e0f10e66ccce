"""SUMO's programs: where they are, how a network is built from plain XML, when two networks are the same."""

import importlib.util
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

NETCONVERT_OPTIONS = ("--no-turnarounds", "--offset.disable-normalization", "--junctions.corner-detail", "5")
"""The same for every network: no U-turns, coordinates as written in the node file."""


class BuildError(Exception):
    """A program that is missing or that failed, in its own words."""


def sumo_home() -> Path | None:
    """The folder of the installed ``sumo`` package, None where SUMO is installed by other means."""
    spec = importlib.util.find_spec("sumo")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def program(name: str) -> str:
    """Path of ``sumo`` or ``netconvert``: out of the installed package, else from PATH."""
    home = sumo_home()
    if home is not None and (home / "bin" / name).is_file():
        return str(home / "bin" / name)
    found = shutil.which(name)
    if found is None:
        raise BuildError(f"{name} is neither in an eclipse-sumo package nor on PATH; pip install eclipse-sumo")
    return found


def call(name: str, *arguments: str, folder: Path) -> str:
    """Run a program in a folder; what it wrote to stderr, or ``BuildError`` where it failed."""
    environment = dict(os.environ)
    if (home := sumo_home()) is not None:
        environment["SUMO_HOME"] = str(home)
    done = subprocess.run(
        [program(name), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(f"{name} failed in {folder.name} with code {done.returncode}:\n{done.stderr.strip()}")
    return done.stderr


def build_net(source: Path, target: Path) -> list[str]:
    """Build ``<name>.net.xml`` in ``target`` from the plain XML in ``source``, a folder called ``<name>``.

    The comment in which netconvert records date and paths is taken out. Returns netconvert's warnings.
    """
    stem, parts = source.name, {"nod": "-n", "edg": "-e", "con": "-x", "typ": "-t", "tll": "-i"}
    inputs = [
        word
        for part, option in parts.items()
        if (path := source / f"{stem}.{part}.xml").is_file()
        for word in (option, str(path.resolve()))
    ]
    output = target.resolve() / f"{stem}.net.xml"
    said = call("netconvert", *inputs, "-o", str(output), *NETCONVERT_OPTIONS, folder=source)
    text = output.read_text(encoding="utf-8")
    output.write_text(re.sub(r"<!-- generated on .*?-->\s*", "", text, count=1, flags=re.DOTALL), encoding="utf-8")
    return [line for line in said.splitlines() if line.startswith("Warning")]


def same_substance(one: Path, other: Path) -> bool:
    """Whether two XML files hold the same elements and attributes; comments and white space do not count."""
    return _canonical(one) == _canonical(other)


def _canonical(path: Path) -> str:
    return ET.canonicalize(from_file=str(path), with_comments=False, strip_text=True)
