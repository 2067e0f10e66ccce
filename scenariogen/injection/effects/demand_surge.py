"""More departures than the demand has: copies of what departs, in an account of their own.

Whoever departs on one of the entries is followed, in the next step, by as many copies as the factor asks for, on the
same route and of the same type; the fraction left over is drawn from the scenario's seed and the vehicle's id, so
that it is the same in every run and under every policy. Stops are not copied. Copies are named ``surge.…`` and kept in
an account of their own, ``Injection.surge_vehicles``: they are travellers, whose delay counts, but not the project's.

At its end the surge only stops: its vehicles drive on to where they wanted to go. Ended early, by an exception or by
whoever undoes the injection, they are taken out again, those that still wait to enter included. What remains is one
entry in SUMO's list of routes for each edge on which copies began.
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
            if refusal or (self._entries and route[0] not in self._entries) or link.vehicle.getLine(vehicle):
                continue  # a line runs as often as its timetable says
            kind = link.vehicle.getTypeID(vehicle).removesuffix(f"{PRIVATE}{vehicle}")
            for copy in range(self._copies(vehicle)):
                self._add(route, kind, f"{PREFIX}{self.number}.{vehicle}.{copy}")

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

    def _add(self, route: tuple[str, ...], kind: str, copy: str) -> None:
        link, ask = self.scene.link, self.scene.link.vehicle
        refusal = (
            self._first_edge(route[0])
            or (link.attempt(ask.add, copy, f"{PREFIX}{route[0]}", kind, "now", "best", "base", "desired")[1])
        )
        if refusal:
            self._refused += 1
            return
        if link.attempt(ask.setRoute, copy, list(route))[1]:
            link.attempt(ask.remove, copy, REMOVE_VAPORIZED)
            self._refused += 1
            return
        self._added.append(copy)

    def _first_edge(self, edge: str) -> str:
        """A route of one edge to begin with; why there is none, or an empty text.

        The route that a vehicle came with is not given to another: libsumo crashes once the first has arrived, where
        the route was part of the vehicle or flow.
        """
        name = f"{PREFIX}{edge}"
        if name in self.scene.link.route.getIDList():
            return ""
        return self.scene.link.attempt(self.scene.link.route.add, name, [edge])[1]
