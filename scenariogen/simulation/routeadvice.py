"""Advice to drivers to take another way, as signs and radio give it; what they make of it is the simulator's part."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scenariogen.errors import PolicyError

UPSTREAM_M = 5_000.0
DELAY_S = 900.0
"""Announced where a policy says nothing else: a quarter of an hour, our assumption."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Advice that is in force.

    ``edges``    to be avoided
    ``share``    share of the drivers who follow it where a way round costs less than what is announced
    ``delay_s``  seconds that are announced to be lost on each of ``edges``
    ``points``   edges on which drivers are told
    ``since_s``  simulation second from which it holds
    """

    edges: tuple[str, ...]
    share: float
    delay_s: float
    points: frozenset[str]
    since_s: float


class RouteAdvice(ABC):
    """What a control room tells drivers about their way."""

    @property
    @abstractmethod
    def in_force(self) -> Mapping[int, Advice]:
        """Advice by number."""

    @abstractmethod
    def avoid(
        self,
        edges: str | Iterable[str],
        share: float,
        *,
        delay_s: float = DELAY_S,
        upstream_m: float = UPSTREAM_M,
        at: Iterable[str] = (),
    ) -> int:
        """Advise against edges until :meth:`withdraw` is called with the number that this gives.

        ``share``       of the drivers who follow it, 0 to 1, drawn by vehicle and edges from the run's seed
        ``delay_s``     announced for each of the edges: whoever follows takes another way if it costs less
        ``upstream_m``  drivers are told on all edges that lead to one of ``edges`` within so many metres
        ``at``          edges on which drivers are told instead

        Raises ``PolicyError`` that lists what is wrong.
        """

    @abstractmethod
    def withdraw(self, number: int) -> None:
        """Nobody else is told; who turned away stays on the new way. Safe to call twice."""


class NoAdvice(RouteAdvice):
    """Where drivers cannot be told anything."""

    @property
    def in_force(self) -> Mapping[int, Advice]:
        return {}

    def avoid(
        self,
        edges: str | Iterable[str],
        share: float,
        *,
        delay_s: float = DELAY_S,
        upstream_m: float = UPSTREAM_M,
        at: Iterable[str] = (),
    ) -> int:
        raise PolicyError("drivers cannot be advised here: expected a run of SUMO made by evaluate or run_scenario")

    def withdraw(self, number: int) -> None:
        """There is none."""
