"""More departures than the demand has: copies of what departs, in an account of their own.

Whoever departs on one of the entries is followed, in the next step, by as many copies as the factor asks for, on the
same route and of the same type; the fraction left over is drawn from the scenario's seed and the vehicle's id, so
that it is the same in every run and under every policy. Stops are not copied. Copies are named ``surge.…`` and never
counted as the project's vehicles.

At its end the surge only stops: its vehicles drive on to where they wanted to go. Ended early, by an exception or by
whoever undoes the injection, they are taken out again, those that still wait to enter included.
"""

from scenariogen.injection.connection import REMOVE_VAPORIZED
from scenariogen.injection.effects.contract import ActiveEffect
from scenariogen.injection.effects.weather import PRIVATE
from scenariogen.randomness import child_seed
from scenariogen.scenarios.effects import DemandSurge

PREFIX = "surge."


class ActiveDemandSurge(ActiveEffect):
    """Adds vehicles; writes nothing that was there before."""

    of = DemandSurge
    every_s = 0.0
    asked: DemandSurge

    def apply(self, now_s: float) -> str:
        self._entries = frozenset(self.asked.entries)
        self._added: list[str] = []
        self._refused = 0
        return ""

    def update(self, now_s: float) -> None:
        """Copy who departed in the step before."""
        link, own = self.scene.link, self.scene.own()
        for vehicle in link.simulation.getDepartedIDList():
            if vehicle in own or vehicle.startswith(PREFIX):
                continue
            route, refusal = link.attempt(link.vehicle.getRoute, vehicle)
            if refusal or (self._entries and route[0] not in self._entries):
                continue
            for copy in range(self._copies(vehicle)):
                self._add(vehicle, f"{PREFIX}{self.number}.{vehicle}.{copy}")

    def undo(self, *, early: bool) -> None:
        if early:
            there = set(self.scene.link.vehicle.getLoadedIDList())  # on the road, waiting to enter, or added just now
            for vehicle in self._added:
                if vehicle in there:
                    self.scene.link.attempt(self.scene.link.vehicle.remove, vehicle, REMOVE_VAPORIZED)
        super().undo(early=early)

    def vehicles(self) -> tuple[str, ...]:
        """Ids of all that it added."""
        return tuple(getattr(self, "_added", ()))

    def counts(self) -> dict[str, int]:
        return {"added": len(self._added), "refused": self._refused}

    def _copies(self, vehicle: str) -> int:
        extra = self.asked.factor - 1
        drawn = child_seed(self.scene.seed, "surge", self.number, vehicle) / 2.0**63
        return int(extra + drawn)

    def _add(self, vehicle: str, copy: str) -> None:
        ask = self.scene.link.vehicle
        kind = ask.getTypeID(vehicle).rpartition(PRIVATE)[0] or ask.getTypeID(vehicle)
        refusal = self.scene.link.attempt(
            ask.add, copy, ask.getRouteID(vehicle), kind, "now", "best", "base", "desired"
        )[1]
        if refusal:
            self._refused += 1
        else:
            self._added.append(copy)
