"""The step listener, built from the connection's own module, and the clock that it keeps.

Traps it is built around: ``step`` is given the argument of ``simulationStep`` (0, or a target), not the time; a
``step`` that returns nothing is removed; only subclasses of the connection's own ``StepListener`` are accepted;
under libsumo a listener outlives ``close``; ``simulationStep(3600)`` calls a listener once.
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

from scenariogen.injection.connection import Link


class Clock:
    """Simulation time without asking for it, kept from the arguments of ``simulationStep``."""

    def __init__(self, now_s: float, step_s: float) -> None:
        self.now_s = now_s
        self.step_s = step_s

    def advance(self, target_s: float) -> None:
        """One call of ``simulationStep(target_s)`` was made: 0 is one step, otherwise steps up to the target."""
        if not target_s:
            self.now_s += self.step_s
        elif target_s > self.now_s:
            self.now_s += self.step_s * max(1, math.ceil((target_s - self.now_s) / self.step_s - 1e-6))


def add_listener(link: Link, on_step: Callable[[float], bool], on_removed: Callable[[], None]) -> int:
    """Register a listener and return its id. ``on_step`` returns False where it wants to be called no more."""
    base: Any = getattr(link.handle, "StepListener", None)
    if base is None:  # a connection object does not carry its module's class
        base = importlib.import_module("traci.step").StepListener

    class Listener(base):
        def step(self, t: float = 0) -> bool:
            return on_step(t)

        def cleanUp(self) -> None:  # noqa: N802 - the name that SUMO calls
            on_removed()

    return link.handle.addStepListener(Listener())


class Interception:
    """Replaces ``simulationStep``, ``close`` and ``load`` on a connection, ``loadState`` and ``saveState`` of its
    simulation, and puts them back.

    A long step is split where ``next_due`` says so, so that nothing due within it is lost; ``before_end`` is called
    before the simulation is closed or loaded anew, ``before_step`` before each step: what a policy wrote since the
    step before can be undone before anything moves. ``before_save`` is called before a state is saved, ``after_load``
    once one was loaded: what is in force is part of a state.
    """

    def __init__(
        self,
        link: Link,
        clock: Clock,
        *,
        next_due: Callable[[], float],
        before_end: Callable[[str], None],
        before_step: Callable[[], None] = lambda: None,
        before_save: Callable[[], None] = lambda: None,
        after_load: Callable[[], None] = lambda: None,
    ) -> None:
        self._replaced: list[tuple[Any, str, Any, Any]] = []  # object, name, what it had of its own (or None), ours
        step = link.handle.simulationStep

        def simulation_step(*args: Any, **kwargs: Any) -> Any:
            before_step()
            if args or kwargs:  # steps without a target, most of them, go straight through
                split(float(args[0] if args else next(iter(kwargs.values()))))
            return step(*args, **kwargs)

        def split(target_s: float) -> None:
            while self._replaced and target_s - clock.now_s > clock.step_s * (1 + 1e-9):
                due_s = max(next_due(), clock.now_s + clock.step_s)
                if due_s >= target_s - 1e-9:
                    return
                step(due_s)

        self._replace(link.handle, "simulationStep", simulation_step)
        self._surround(link.handle, "close", before=lambda: before_end("the simulation was closed"))
        self._surround(link.handle, "load", before=lambda: before_end("the simulation was loaded anew"))
        for domain in link.simulation_domains():
            self._surround(domain, "saveState", before=before_save)
            self._surround(domain, "loadState", after=after_load)

    def _surround(
        self,
        owner: Any,
        name: str,
        *,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self._replaced:
                before()
            answer = original(*args, **kwargs)
            if self._replaced:
                after()
            return answer

        self._replace(owner, name, wrapped)

    def _replace(self, owner: Any, name: str, wrapped: Callable[..., Any]) -> None:
        self._replaced.append((owner, name, vars(owner).get(name), wrapped))
        setattr(owner, name, wrapped)

    def undo(self) -> None:
        """Put everything back. Safe to call twice."""
        while self._replaced:
            owner, name, own, wrapped = self._replaced.pop()
            if vars(owner).get(name) is not wrapped:
                continue  # somebody wrapped ours meanwhile: theirs stays, and ours only passes calls on
            if own is not None:
                setattr(owner, name, own)
            else:  # a connection object finds its methods on its class again
                delattr(owner, name)
