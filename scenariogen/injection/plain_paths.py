"""A staged folder made portable: what stands in it by absolute paths is named from where it is read.

A folder of ours may then be moved together with the project. Paths of the project lead out of the folder (``../..``),
outputs stay inside it.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote
from xml.sax.saxutils import escape, unescape

from scenariogen.simulation.options import INPUT_FILES, canonical, is_output

_ATTRIBUTE = re.compile(r'="(/[^"]*)"')
_QUOTE = {'"': "&quot;"}
_UNQUOTE = {"&quot;": '"'}


def relative_options(options: dict[str, str], folder: Path, home: Path) -> dict[str, str]:
    """The options of a configuration in ``folder`` with paths as seen from ``home``, which it will be moved to."""

    def relative(text: str) -> str:
        path = Path(unquote(text))
        return _from(path, folder, home).replace("%", "%25") if path.is_absolute() else text

    return {
        name: ",".join(relative(part) for part in value.split(",")) if _names_files(name) else value
        for name, value in options.items()
    }


def _names_files(name: str) -> bool:
    return canonical(name) in INPUT_FILES or is_output(name)


def make_relative(folder: Path, home: Path) -> None:
    """Rewrite files and links below ``folder`` that name places by absolute paths, for its life at ``home``.

    Only values that are files, or lie within ``folder``, are paths; anything else that begins with a slash is left.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            target = path.readlink()
            path.unlink()
            path.symlink_to(_from(target, path.parent, home / path.parent.relative_to(folder)))
        elif path.suffix == ".xml" and path.is_file():
            _rewrite(path, folder, home)


def _rewrite(path: Path, folder: Path, home: Path) -> None:
    here = home / path.parent.relative_to(folder)

    def relative(match: re.Match[str]) -> str:
        named = Path(unescape(match[1], _UNQUOTE))
        if named.is_relative_to(folder):
            told = _from(home / named.relative_to(folder), here, here)
        elif named.is_file():
            told = _from(named, here, here)
        else:
            return match[0]
        return f'="{escape(told, _QUOTE)}"'

    before = path.read_text(encoding="utf-8")
    after = _ATTRIBUTE.sub(relative, before)
    if after != before:
        path.write_text(after, encoding="utf-8")


def _from(path: Path, folder: Path, home: Path) -> str:
    """A path as seen from ``home``, where what lies in ``folder`` now will lie then."""
    if path.is_relative_to(folder):
        path = home / path.relative_to(folder)
    return Path(os.path.relpath(path, home)).as_posix()
