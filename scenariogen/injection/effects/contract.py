"""What an effect is to an injection.

A new effect is one record in ``scenarios/effects.py`` and one file here with a subclass of :class:`ActiveEffect`,
named in ``registry.py``; ``tests/injection/test_effects_contract.py`` then holds it to what all promise.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from scenariogen.incidents.records import Incident
from scenariogen.injection.connection import Link
from scenariogen.injection.lanes import LaneMap
from scenariogen.injection.stretch import SlowStretches
from scenariogen.injection.values import Ledger, Overwritten
from scenariogen.network import Edge, RoadNetwork
from scenariogen.scenarios.effects import Effect
from scenariogen.simulation.outages import FallibleDetectors


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What effects need to know of the simulation they happen in.

    ``seed``       the scenario's
    ``stretches``  the injection's own: a speed factor has one owner
    ``passing_speed_mps``  speed past a place at which a share of capacity is left
    ``own``        ids of all vehicles that the injection put into the simulation so far
    ``detectors``  what policies read; None where nobody gave the injection any
    """

    link: Link
    network: RoadNetwork
    lanes: LaneMap
    ledger: Ledger
    stretches: SlowStretches
    passing_speed_mps: Callable[[Incident, Edge], float]
    seed: int
    own: Callable[[], frozenset[str]]
    detectors: FallibleDetectors | None = None


class ActiveEffect(ABC):
    """One effect of a scenario in a running simulation.

    Whatever it changes in SUMO's objects goes through the ledger under its name ``owner``, so that effects may overlap
    and end in any order. ``asked`` is the scenario's record, ``notes`` what the report should say.
    """

    of: ClassVar[type[Effect]]
    """The record that it makes happen."""
    every_s: ClassVar[float] = float("inf")
    """How often :meth:`update` is wanted while it stands; 0: after each step."""

    def __init__(self, number: int, asked: Any, scene: Scene) -> None:
        self.owner = f"effect {number}"
        self.number = number
        self.asked = asked
        self.scene = scene
        self.notes: list[str] = []
        self.overwrites = 0

    @abstractmethod
    def apply(self, now_s: float) -> str:
        """Make it hold. Returns an empty text, or why it cannot, with nothing left behind."""

    def update(self, now_s: float) -> None:  # noqa: B027 - most effects only stand
        """Look after it, every ``every_s`` seconds."""

    def before_step(self) -> None:  # noqa: B027 - most effects need not look before each step
        """Called before each step of the simulation's owner, after policies have written."""

    def undo(self, *, early: bool) -> None:
        """Take back all that it changed. ``early``: before its own end. Called once."""
        self.scene.ledger.release(self.owner)

    def overwritten(self, found: Overwritten) -> None:
        """Somebody else wrote a value that this effect claims; the claim is on top of it already."""
        self.overwrites += 1

    def vehicles(self) -> tuple[str, ...]:
        """Ids of the vehicles that it added so far."""
        return ()

    def counts(self) -> dict[str, int]:
        """What it did, in numbers, by name."""
        return {}
