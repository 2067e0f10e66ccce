"""Files that SUMO's XML files name inside themselves: those to read, and those to write.

A detector in an additional file says ``file="e1_output.xml"`` and SUMO writes beside the additional file, so a
project's folder changes although no option asks for it. Such files are copied with the destination replaced;
files that name none are read where they lie.
"""

import re
from collections.abc import Callable, Iterator
from io import TextIOBase
from pathlib import Path
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from scenariogen.simulation.xmlfiles import elements, has_sign, opened, relative_to

READ_BY_SUMO = frozenset({("variableSpeedSign", "file"), ("rerouter", "file"), ("calibrator", "file")})
"""Element and attribute of definitions kept in a file of their own; ``<include href>`` comes on top."""

_PICTURES = frozenset({"imgFile", "osgFile"})
_WRITTEN = frozenset({"file", "dest", "output"})
_NO_FILE = frozenset({"", "NUL", "NULL", "/dev/null"})
_SIGN_OF_WRITING = re.compile(rb"""\s(?:file|dest|output)\s*=|key\s*=\s*["'][^"']*(?:file|output)["']""", re.IGNORECASE)
_SIGN_OF_READING = re.compile(rb"""\s(?:file|href)\s*=""")


def input_references(path: Path) -> Iterator[Path]:
    """Files that ``path`` has SUMO read, those that they name in turn included; each once."""
    seen: set[Path] = set()
    front = [path]
    while front:
        here = front.pop()
        if not has_sign(here, _SIGN_OF_READING):
            continue
        for _, element in elements(here, ("end",)):
            reference = _reference(element.tag, element.attrib)
            if reference:
                target = relative_to(here, reference)
                if target not in seen:
                    seen.add(target)
                    yield target
                    if target.is_file():
                        front.append(target)


def _reference(tag: str, attributes) -> str:
    if tag == "include":
        return attributes.get("href", "")
    return next((attributes.get(name, "") for kind, name in READ_BY_SUMO if kind == tag), "")


def writes_files(path: Path) -> bool:
    """True where the file, or one that it includes, may name a file to write."""
    return any(has_sign(each, _SIGN_OF_WRITING) for each in (path, *input_references(path)))


def write_redirected(
    path: Path, target: TextIOBase, *, output: Callable[[Path, str], str], include: Callable[[Path], str]
) -> None:
    """Copy ``path`` to ``target`` with every destination replaced and every reference made absolute.

    ``output(path, destination)`` gives the new destination; ``include(file)`` the place of an included file's
    own copy.
    """
    from defusedxml.sax import parse

    copier = _Copier(path, target, output, include)
    with opened(path) as stream:
        parse(stream, copier)  # type: ignore[arg-type]


class _Copier(XMLGenerator):
    def __init__(self, path: Path, target: TextIOBase, output, include) -> None:
        super().__init__(target, "utf-8", short_empty_elements=True)
        self.path, self.output, self.include = path, output, include

    def startElement(self, name: str, attrs) -> None:  # noqa: N802 - the SAX interface's name
        changed = {key: self._value(name, key, attrs[key]) for key in attrs.getNames()}
        key = changed.get("key", "")
        if name == "param" and re.search(r"(?:file|output)$", key, re.IGNORECASE) and "value" in changed:
            changed["value"] = self._destination(changed["value"])
        super().startElement(name, AttributesImpl(changed))

    def _value(self, element: str, attribute: str, value: str) -> str:
        if element == "include" and attribute == "href":
            return self.include(relative_to(self.path, value))
        if (element, attribute) in READ_BY_SUMO or attribute in _PICTURES:
            return str(relative_to(self.path, value)) if value else value
        return self._destination(value) if attribute in _WRITTEN else value

    def _destination(self, value: str) -> str:
        return value if value in _NO_FILE else self.output(self.path, value)
