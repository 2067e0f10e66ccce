"""What a reader of a trajectory format is: one file in this folder, one class, listed in ``trajectories.formats``."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from scenariogen.accounts import AccountBook
from scenariogen.heads import FileHead
from scenariogen.mapping import Source

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 500_000
"""About so many rows stand in one table, so that memory does not grow with the file."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What a user may say about a file.

    ``mapping``    field to column and unit, for tables of unknown columns
    ``time_zone``  name of the zone by which times with a date are split into days; empty: what they say, else UTC
    """

    mapping: Mapping[str, Source] = field(default_factory=dict)
    time_zone: str = ""


class TrajectoryReader(ABC):
    """Reads one format.

    ``name``   what ``--format`` takes
    ``title``  what that is, for people
    """

    name: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def recognises(self, head: FileHead) -> bool:
        """True where the beginning of a file is this format. Must not open the file again."""

    @abstractmethod
    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        """The rows in SI units, in tables of about :data:`CHUNK_ROWS`, in any order.

        The columns are those of :mod:`scenariogen.trajectories.columns`, as far as the source has them, with their
        types: ``time_s``, ``vehicle`` and one place always; ``speed_mps``, ``accel_mps2`` where they are known, null
        where not, and left out where the source never has them, so that they are derived. ``day`` or ``recording``
        (a name) tells recordings apart that use the same vehicle ids. Every table has the same columns.

        What is left out or odd is written into ``book``, with units (``book.units``) and whether they are stated
        by the file or assumed. What cannot be read raises ``DataError``; several faults are collected as
        ``book.problem`` and raised by whoever called, after the last table.
        """
