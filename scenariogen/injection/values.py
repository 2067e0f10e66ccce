"""The values in force: what effects write into a simulation, over what was there, and how it comes back.

Each attribute of each object (the speed of a lane, the headway of a vehicle type, ...) that an effect writes has a
*base*, the value somebody else gave it last, and the *claims* of the effects that are active. In force is the
strictest of all of them. Where SUMO holds something else than what was written here last, somebody else wrote, a
policy or a script: that becomes the base, and the claims stay on top of it. When the last claim goes, the base is
written back, the very value that was read.

What cannot be told apart: somebody else writing exactly the value that is in force already.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from scenariogen.injection.connection import Link

_COMPARED_AT_ONCE = 20_000
_COMPARED_AT_ONCE_BY_SOCKET = 200
"""Values compared with SUMO's at each look. With more of them, each look goes on where the one before ended."""


class Attribute(ABC):
    """One kind of value: how it is read and written, and which of several is the strictest."""

    name: str
    may_vanish = False
    """True where the objects may go while a claim stands, as a private vehicle type goes with its vehicle."""

    @abstractmethod
    def read(self, link: Link, thing: Any) -> Any:
        """The value that SUMO holds now."""

    @abstractmethod
    def write(self, link: Link, thing: Any, value: Any) -> None:
        """Make SUMO hold ``value``, so that reading it afterwards gives it back."""

    @abstractmethod
    def strictest(self, base: Any, claims: Collection[Any]) -> Any:
        """The value in force: the base itself where no claim is stricter."""


@dataclass(frozen=True, kw_only=True)
class Overwritten:
    """Somebody else wrote a value while claims stood on it."""

    attribute: str
    thing: Hashable
    theirs: Any
    owners: tuple[Hashable, ...]


@dataclass
class _Entry:
    """One attribute of one object: somebody else's value, what was written here last, and who claims what."""

    attribute: Attribute
    thing: Hashable
    base: Any
    ours: Any
    written: set[Any] = field(default_factory=set)
    claims: dict[Hashable, Any] = field(default_factory=dict)


class Ledger:
    """All values that the effects of one injection write."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._entries: dict[tuple[str, Hashable], _Entry] = {}
        self._owned: dict[Hashable, dict[tuple[str, Hashable], None]] = {}
        self._waiting: list[tuple[str, Hashable]] = []
        self._ended: dict[tuple[str, Hashable], _Entry] = {}
        self._most = _COMPARED_AT_ONCE if link.direct else _COMPARED_AT_ONCE_BY_SOCKET

    def __len__(self) -> int:
        """Values under at least one claim."""
        return len(self._entries)

    def base(self, attribute: Attribute, thing: Hashable) -> Any:
        """The value without our claims: the base where there are some, otherwise what SUMO holds."""
        entry = self._entries.get((attribute.name, thing))
        return attribute.read(self._link, thing) if entry is None else entry.base

    def in_force(self, attribute: Attribute, thing: Hashable) -> Any:
        """What was written here last; None where nothing is claimed."""
        entry = self._entries.get((attribute.name, thing))
        return None if entry is None else entry.ours

    def rebase(self, attribute: Attribute, thing: Hashable, base: Any) -> None:
        """Somebody else's value, told to us instead of written into SUMO: the claims are on top of it at once."""
        entry = self._entries.get((attribute.name, thing))
        if entry is None:
            attribute.write(self._link, thing, base)
        else:
            entry.base = base
            self._enforce(entry)

    def claim(
        self, owner: Hashable, attribute: Attribute, thing: Hashable, value: Any, *, base: Any = None
    ) -> Overwritten | None:
        """Ask for a value on behalf of ``owner``, in place of what it asked for before.

        ``base`` is given where what SUMO holds is known to be a copy of what we wrote elsewhere. Returns what somebody
        else wrote since the last look, where that is so.
        """
        key = attribute.name, thing
        entry = self._entries.get(key)
        found = None
        if entry is None:
            held = self._read(attribute, thing)
            if held is _GONE:
                return None
            entry = self._entries[key] = _Entry(attribute, thing, held if base is None else base, held)
        else:
            found = self._compare(entry)
            if key not in self._entries:
                return None
        entry.claims[owner] = value
        self._owned.setdefault(owner, {})[key] = None
        self._enforce(entry)
        return found

    def release(self, owner: Hashable) -> None:
        """Take back all that ``owner`` asked for; where nobody else asks, the base is written back.

        What SUMO refuses to take back does not keep the rest from it; the first refusal is raised at the end.
        """
        keys = self._owned.pop(owner, {})
        self._link.all_in_turn(
            partial(self._release, self._entries[key], owner) for key in keys if key in self._entries
        )

    def _release(self, entry: _Entry, owner: Hashable) -> None:
        key = entry.attribute.name, entry.thing
        try:
            self._compare(entry)
        finally:
            entry.claims.pop(owner, None)
            is_there = key in self._entries
            if is_there and not entry.claims:
                self._ended[key] = self._entries.pop(key)
        if is_there:
            self._enforce(entry)

    def refresh(self) -> list[Overwritten]:
        """Look which values somebody else wrote, and put the claims on top again."""
        if not self._waiting:
            self._waiting = list(self._entries)
        looked, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        return self._compared(looked)

    def check(self, attribute: Attribute, things: Iterable[Hashable]) -> list[Overwritten]:
        """The same for some values of one attribute, now."""
        return self._compared((attribute.name, thing) for thing in things)

    def _compared(self, keys: Iterable[tuple[str, Hashable]]) -> list[Overwritten]:
        there = (self._entries[key] for key in keys if key in self._entries)
        return [found for entry in there if (found := self._compare(entry)) is not None]

    def release_all(self) -> None:
        """Every claim ends. What cannot be written back does not keep the rest from it; it is raised at the end."""
        self._link.all_in_turn(partial(self.release, owner) for owner in list(self._owned))

    def take_back_loaded(self, rounding: float) -> None:
        """A saved state was loaded: values in it may be ours, rounded, also where the last claim has gone since.

        They are not taken for somebody else's; each base comes back.
        """
        for entry in (*self._ended.values(), *self._entries.values()):
            held = self._read(entry.attribute, entry.thing)
            if any(_is_same(value, held, rounding) for value in entry.written):
                entry.ours = held
                if not entry.claims and not _is_same(entry.base, held, rounding):
                    self._link.attempt(entry.attribute.write, self._link, entry.thing, entry.base)

    def forget(self) -> None:
        """The simulation is gone."""
        self._entries.clear()
        self._owned.clear()
        self._waiting.clear()

    def _compare(self, entry: _Entry) -> Overwritten | None:
        """Take over what somebody else wrote since we did, with the claims on top of it."""
        held = self._read(entry.attribute, entry.thing)
        if held is _GONE:
            self._drop(entry)
            return None
        if held == entry.ours:
            return None
        entry.base = entry.ours = held
        self._enforce(entry)
        return Overwritten(
            attribute=entry.attribute.name, thing=entry.thing, theirs=held, owners=tuple(sorted(entry.claims, key=str))
        )

    def _enforce(self, entry: _Entry) -> None:
        wanted = entry.attribute.strictest(entry.base, entry.claims.values()) if entry.claims else entry.base
        if wanted == entry.ours:
            return
        if entry.attribute.may_vanish:
            if self._link.attempt(entry.attribute.write, self._link, entry.thing, wanted)[1]:
                self._drop(entry)
                return
        else:
            entry.attribute.write(self._link, entry.thing, wanted)
        entry.ours = self._read(entry.attribute, entry.thing)
        if entry.claims:
            entry.written.add(entry.ours)

    def _read(self, attribute: Attribute, thing: Hashable) -> Any:
        if not attribute.may_vanish:
            return attribute.read(self._link, thing)
        held, refusal = self._link.attempt(attribute.read, self._link, thing)
        return _GONE if refusal else held

    def _drop(self, entry: _Entry) -> None:
        """The object is gone, and with it all that was claimed."""
        key = entry.attribute.name, entry.thing
        self._entries.pop(key, None)
        for owner in entry.claims:
            self._owned.get(owner, {}).pop(key, None)


def _is_same(value: Any, held: Any, rounding: float) -> bool:
    if isinstance(value, float) and isinstance(held, float):
        return abs(value - held) <= rounding
    return bool(value == held)


class _Gone:
    """What is read of an object that is no more."""


_GONE = _Gone()
