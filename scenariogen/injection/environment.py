"""A scenario in a reinforcement-learning environment, which starts a new simulation with every ``reset``.

::

    with scenariogen.inject(env, scenario):
        env.reset()
        env.step(action)

The environment itself stays as it is. Its innermost ``reset`` is replaced for as long as the block lasts: when a reset
has started a simulation, the scenario is injected into it, before the first action. ``sumo_rl.SumoEnvironment`` keeps
its connection in ``sumo``; for others, ``connection_of`` says where it is.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from scenariogen.errors import SimulationError
from scenariogen.injection.attach import Injection
from scenariogen.injection.records import RealisedEffect, RealisedIncident
from scenariogen.scenarios.records import Scenario

Episodes = Callable[[int], "Scenario | str | Path"]
"""Gives the scenario of an episode, counted from 0."""


class Environmental(Protocol):
    """What can be reset and stepped, as Gymnasium's and PettingZoo's environments can."""

    def reset(self, *args: Any, **kwargs: Any) -> Any: ...

    def step(self, *args: Any, **kwargs: Any) -> Any: ...


DEPTH = 20
"""Wrappers around an environment that are looked through."""


def is_environment(thing: Any) -> bool:
    """True for what can be reset and stepped, as Gymnasium's and PettingZoo's environments can."""
    return callable(getattr(thing, "reset", None)) and callable(getattr(thing, "step", None))


def innermost(environment: Any, connection_of: Callable[[Any], Any]) -> Any:
    """The wrapped environment that holds the connection. Raises ``SimulationError`` where none does."""
    here = environment
    for _ in range(DEPTH):
        try:
            connection_of(here)
        except AttributeError:
            inner = getattr(here, "env", None) or getattr(here, "unwrapped", None)
            if inner is None or inner is here:
                break
            here = inner
        else:
            return here
    raise SimulationError(
        f"{type(environment).__name__} holds no SUMO connection in 'sumo': say where it is, "
        "inject(env, scenario, connection_of=lambda env: env.my_connection)"
    )


def sumo_of(environment: Any) -> Any:
    """Where ``sumo_rl`` keeps its connection; None before the first reset."""
    return environment.sumo


class EnvironmentInjection:
    """Injects a scenario into every simulation that an environment starts. Made by :func:`scenariogen.inject`.

    ``scenario``       one for all episodes, or a function from the episode's number, from 0, to a scenario
    ``connection_of``  gives the connection of the environment
    ``options``        what else :class:`Injection` takes

    ``reports`` holds one entry per episode: its incidents as asked and as they happened; ``effects_reports`` likewise.
    Leaving it twice is as good as once, and it may be entered again: episodes go on in their numbers.
    """

    def __init__(
        self,
        environment: Any,
        scenario: "Scenario | str | Path | Episodes",
        *,
        connection_of: Callable[[Any], Any] = sumo_of,
        **options: Any,
    ) -> None:
        self._environment = innermost(environment, connection_of)
        self._connection_of = connection_of
        self._scenario = scenario
        self._options = options
        self._reset: Callable[..., Any] | None = None
        self._had_own_reset = False
        self._current: Injection | None = None
        self._reports: list[tuple[RealisedIncident, ...]] = []
        self._effects_reports: list[tuple[RealisedEffect, ...]] = []

    def __enter__(self) -> "EnvironmentInjection":
        if self.is_on:
            raise SimulationError("this injection is on already: leave its block before it is entered again")
        environment = self._environment
        own, self._had_own_reset = environment.reset, "reset" in vars(environment)
        self._reset = own

        def reset(*args: Any, **kwargs: Any) -> Any:
            self._end("the environment was reset before its end")
            answer = own(*args, **kwargs)
            self._begin()
            return answer

        environment.reset = reset
        try:
            if self._is_running():
                self._begin()
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end("the environment was left before its end")
        finally:
            self._give_back()

    @property
    def is_on(self) -> bool:
        """True between entering and leaving: resets of the environment start episodes with scenarios."""
        return self._reset is not None

    @property
    def current(self) -> Injection | None:
        """The injection of the running episode."""
        return self._current

    @property
    def reports(self) -> tuple[tuple[RealisedIncident, ...], ...]:
        """One entry per episode so far, the running one included."""
        running = (self._current.report(),) if self._current is not None else ()
        return (*self._reports, *running)

    @property
    def effects_reports(self) -> tuple[tuple[RealisedEffect, ...], ...]:
        """The same for the effects of the scenario."""
        running = (self._current.effects_report(),) if self._current is not None else ()
        return (*self._effects_reports, *running)

    def _is_running(self) -> bool:
        connection = self._connection_of(self._environment)
        if connection is None:
            return False
        if callable(getattr(connection, "isLoaded", None)):
            return bool(connection.isLoaded())
        return getattr(connection, "_socket", None) is not None

    def _begin(self) -> None:
        number = len(self._reports)
        scenario = self._scenario(number) if callable(self._scenario) else self._scenario
        injection = Injection(self._connection_of(self._environment), scenario, **self._options)
        injection.__enter__()
        self._current = injection

    def _end(self, reason: str) -> None:
        if self._current is not None:
            injection, self._current = self._current, None
            injection.finish(reason)
            self._reports.append(injection.report())
            self._effects_reports.append(injection.effects_report())

    def _give_back(self) -> None:
        reset, self._reset = self._reset, None
        if reset is None:
            return
        if self._had_own_reset:
            self._environment.reset = reset
        else:
            del self._environment.reset
