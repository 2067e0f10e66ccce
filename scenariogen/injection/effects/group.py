"""All effects of one scenario in one simulation, with the ledger of what they write."""

from functools import partial

from scenariogen.injection.effects.contract import Scene
from scenariogen.injection.effects.lifecycle import EffectOccurrence
from scenariogen.injection.effects.registry import active_effect
from scenariogen.injection.effects.rerouters import RerouterClosures
from scenariogen.injection.occurrence import Phase
from scenariogen.injection.records import RealisedEffect
from scenariogen.scenarios.effects import Closure
from scenariogen.scenarios.records import Scenario

COMPARE_S = 5.0
"""What effects wrote is compared with what SUMO holds this often."""


class Effects:
    """Applies each effect at its time, looks after them, and undoes them."""

    def __init__(self, scenario: Scenario, scene: Scene) -> None:
        self._link, self._ledger = scene.link, scene.ledger
        self._all = tuple(
            EffectOccurrence(active_effect(number, effect, scene), step_s=scene.link.step_s)
            for number, effect in enumerate(scenario.effects)
        )
        self._rerouters = RerouterClosures((e for e in scenario.effects if isinstance(e, Closure)), scene)
        self._compared_s = float("-inf")

    def __bool__(self) -> bool:
        """True where the scenario has any."""
        return bool(self._all)

    @property
    def due_s(self) -> float:
        """When :meth:`update` has something to do next."""
        due_s = min((*(each.due_s for each in self._all), self._rerouters.due_s))
        return min(due_s, self._compared_s + COMPARE_S) if len(self._ledger) else due_s

    @property
    def added(self) -> frozenset[str]:
        """Ids of the vehicles that effects added to the demand."""
        return frozenset(vehicle for each in self._all for vehicle in each.effect.vehicles())

    def report(self) -> tuple[RealisedEffect, ...]:
        """Each effect as asked and as it happened, so far."""
        return tuple(each.report() for each in self._all)

    def before_step(self) -> None:
        """Called before each step of the simulation's owner."""
        for each in self._all:
            if each.phase is Phase.STANDING:
                each.effect.before_step()

    def update(self, now_s: float) -> None:
        """Do what is due, and now and then look what somebody else wrote."""
        self._rerouters.update(now_s)
        for each in self._all:
            each.update(now_s)
        if len(self._ledger) and now_s >= self._compared_s + COMPARE_S - 1e-6:
            self._compared_s = now_s
            by_owner = {each.effect.owner: each.effect for each in self._all}
            for found in self._ledger.refresh():
                for owner in found.owners:
                    if str(owner) in by_owner:  # rerouters are no effect
                        by_owner[str(owner)].overwritten(found)

    def end(self, now_s: float, reason: str) -> None:
        """End all that has not ended. ``reason`` says "before its end", and is turned for what never began.

        One that SUMO refuses to undo does not keep the others from it; the first refusal is raised at the end.
        """
        self._rerouters.end(now_s)
        ends = (partial(each.end, now_s, _turned(reason, each)) for each in self._all)
        self._link.all_in_turn((*ends, self._ledger.release_all))

    def forget(self, now_s: float, reason: str) -> None:
        """The same where the simulation is gone."""
        self._ledger.forget()
        for each in self._all:
            each.end(now_s, _turned(reason, each), simulation_is_gone=True)


def _turned(reason: str, each: EffectOccurrence) -> str:
    return reason if each.phase is Phase.STANDING else reason.replace("before its end", "before its start")
