"""What a reader of incident records is: one file in this folder, one class, listed in ``incidents.event_formats``."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from scenariogen.accounts import AccountBook
from scenariogen.heads import FileHead
from scenariogen.incidents.events import Event
from scenariogen.mapping import Source


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Degrees between which a source's places must lie; outside them something is wrong with a place."""

    west: float = -180.0
    south: float = -90.0
    east: float = 180.0
    north: float = 90.0

    def hold(self, lon: float, lat: float) -> bool:
        return self.west <= lon <= self.east and self.south <= lat <= self.north


WORLD = Bounds()


@dataclass(frozen=True, kw_only=True)
class EventOptions:
    """What a user may say about a file.

    ``mapping``    field to column and unit, for tables of unknown columns
    ``time_zone``  name of the zone (``Europe/London``) of times that carry none; empty: what the format assumes
    """

    mapping: Mapping[str, Source] = field(default_factory=dict)
    time_zone: str = ""


class EventReader(ABC):
    """Reads one format.

    ``name``       what ``--format`` takes
    ``title``      what that is, for people
    ``bounds``     where its places can lie
    ``time_zone``  the one zone of its times and places; empty where there are several
    """

    name: ClassVar[str]
    title: ClassVar[str]
    bounds: ClassVar[Bounds] = WORLD
    time_zone: ClassVar[str] = ""

    @abstractmethod
    def recognises(self, head: FileHead) -> bool:
        """True where the beginning of a file is this format. Must not open the file again."""

    @abstractmethod
    def events(self, head: FileHead, book: AccountBook, options: EventOptions) -> Iterator[Event]:
        """The records in SI units, in any order, as the source has them.

        A reader drops what is no incident (detours, tests, cancelled records) with the reason. What holds for every
        source is not its task: conversion drops records without start, with a negative duration, a year that stands
        for none, or a place outside :attr:`bounds`, and of two records with one id keeps the one touched last.

        ``book.rows`` counts what was read. What cannot be read at all raises ``DataError``; faults that stand in the
        way are collected as ``book.problem`` and raised by whoever called, after the last record.
        """
