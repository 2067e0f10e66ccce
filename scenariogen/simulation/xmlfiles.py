"""Reading SUMO's XML: plain or gzipped, streamed, with ``<include>``, and guarded against hostile entities."""

import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element, ParseError

from scenariogen.errors import ProjectError

MAX_INCLUDE_DEPTH = 10
_CHUNK = 1 << 22
_OVERLAP = 200
"""Bytes of a chunk that are looked at again with the next one: longer than any sign."""


def is_gzipped(path: Path) -> bool:
    """True where the content, whatever the name says, is gzip."""
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where it is gzipped. Faults of the file become a ``ProjectError``."""
    from xml.sax import SAXParseException

    from defusedxml import DefusedXmlException

    try:
        with gzip.open(path, "rb") if is_gzipped(path) else path.open("rb") as stream:
            yield stream  # type: ignore[misc]
    except (ParseError, SAXParseException) as error:
        raise ProjectError(f"{path} is not well-formed XML: {error}") from error
    except DefusedXmlException as error:
        raise ProjectError(f"{path} defines XML entities, which are refused: {error}") from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise ProjectError(f"{path} is a damaged gzip file: {error}") from error
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path} is not text in the encoding it declares: {error}") from error
    except OSError as error:
        raise ProjectError(f"{path} cannot be read: {error.strerror or error}") from error


def has_sign(path: Path, sign: re.Pattern[bytes]) -> bool:
    """Whether the raw content matches somewhere; a quick look that spares parsing large files."""
    with opened(path) as stream:
        before = b""
        while chunk := stream.read(_CHUNK):
            if sign.search(before + chunk):
                return True
            before = chunk[-_OVERLAP:]
    return False


def root_tag(path: Path) -> str:
    """Name of the root element."""
    from defusedxml.ElementTree import iterparse

    with opened(path) as stream:
        for _, element in iterparse(stream, ("start",)):
            return element.tag
    raise ProjectError(f"{path} is not well-formed XML: no element found")


def elements(path: Path, events: tuple[str, ...] = ("start", "end")) -> Iterator[tuple[str, Element]]:
    """``iterparse`` over the file; the caller clears what it has read."""
    from defusedxml.ElementTree import iterparse

    with opened(path) as stream:
        yield from iterparse(stream, events)


def children(path: Path, depth: int = 0) -> Iterator[tuple[Path, Element]]:
    """Each complete child of the root with the file it stands in, included files and flows within an interval in
    their place.

    Elements are cleared once the caller asks for the next one, so memory stays flat.
    """
    if depth > MAX_INCLUDE_DEPTH:
        raise ProjectError(f"{path} is included by files that include each other")
    root: Element | None = None
    level = 0
    for event, element in elements(path):
        if event == "start":
            level += 1
            root = element if root is None else root
            continue
        level -= 1
        if level != 1 or root is None:
            continue
        if element.tag == "include" and element.get("href"):
            yield path, element
            yield from children(relative_to(path, element.get("href", "")), depth + 1)
        elif element.tag == "interval" and element.find("flow") is not None:
            yield from ((path, flow) for flow in _flows_within(element))
        else:
            yield path, element
        root.clear()


def _flows_within(interval: Element) -> Iterator[Element]:
    """Flows that have the begin and end of the interval that they stand in, where they have none of their own."""
    for flow in interval.iter("flow"):
        for name in ("begin", "end"):
            if flow.get(name) is None and interval.get(name) is not None:
                flow.set(name, interval.get(name, ""))
        yield flow


def relative_to(file: Path, reference: str) -> Path:
    """A reference made inside ``file``, absolute: SUMO resolves it against the folder of that file."""
    path = Path(reference)
    return path if path.is_absolute() else file.parent / path
