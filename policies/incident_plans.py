"""Coordinated incident plans: while an incident is known, the signals on its approach and on the way round it run plans
that were prepared for it.

U.S. Federal Highway Administration, *Integrated corridor management and traffic incident management: a primer*,
FHWA-HOP-16-035, 2016: agencies of a corridor agree beforehand on response plans, which change signal timing on the
parallel streets so that they take the traffic that leaves the motorway, and withdraw them afterwards. Holding traffic
back before it reaches the place: Papageorgiou, Diakaki, Dinopoulou, Kotsialos & Wang, *Review of road traffic control
strategies*, Proceedings of the IEEE 91, 2003 (gating).

A plan is the signal's own programme with the same cycle, so that signals stay coordinated, and with green moved:

- *way round*: the fastest way from ``REACH_M`` upstream of the incident to just past it without its edge and without
  turning round. A green phase that serves a movement along it gets ``MORE`` times its duration;
- *approach*: a green phase that leads on towards the incident gets ``LESS`` times its duration, unless it serves the
  way round as well;
- the other green phases (or, without any, those that gain) give or take the difference, none below ``SHORTEST_S``;
  yellow and red phases keep their durations. Where the cycle is too short for that, all green phases give alike.

A signal goes over when its own programme begins the plan's first green, so that cycles stay in step; one that does not
get there for ``LONGEST_WAIT_S`` goes through yellow and red, as all do on their way back, after which the own programme
goes on by its clock. A signal with fewer than two green phases, or that serves neither way, keeps its own programme.
Without an incident that is known nothing is touched.
"""

from scenariogen.simulation.contract import ControlRoom, Policy, RoadNetwork, Signal

REACH_M = 3_000.0
MORE = 1.5
LESS = 0.6
SHORTEST_S = 8.0
YELLOW_S = 4.0
CLEARANCE_S = 2.0
LONGEST_WAIT_S = 180.0
"""Longer than the cycles in use; signals that follow traffic may never show the plan's first green."""
GREEN, YELLOW = "Gg", "yY"

Phase = tuple[str, float]
Movement = tuple[str, str]


class IncidentPlans(Policy):
    """One plan for each signal and place of an incident, made when it is first needed."""

    name = "incident_plans"
    reads = ("incidents", "signals")

    def start(self, run: ControlRoom) -> None:
        """Nothing is switched yet."""
        self.plans: dict[tuple[str, ...], dict[str, tuple[Phase, ...]]] = {}
        self.running: dict[str, Running] = {}

    def step(self, run: ControlRoom, time_s: float) -> None:
        """Switch to the plans of the incidents that are known now, and back where none asks for one."""
        edges = tuple(dict.fromkeys(each.edge for each in run.known_incidents))
        if edges not in self.plans:
            self.plans[edges] = plans_for(run, edges)
        wanted = self.plans[edges]
        for name in [name for name in wanted if name not in self.running]:
            self.running[name] = Running(run.signals[name])
        for name, running in list(self.running.items()):
            running.run(wanted.get(name, ()), time_s)
            if running.is_over:
                del self.running[name]

    def finish(self, run: ControlRoom) -> None:
        """Every signal has its own programme again."""
        for running in self.running.values():
            running.signal.release()
        self.running = {}


class Running:
    """One signal that a plan is asked of: waits for the right moment, then shows the plan's phases in turn."""

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.phases: tuple[Phase, ...] = ()
        self.zero_s: float | None = None  # second at which the plan's cycle began; None: the own programme still shows
        self.asked_s: float | None = None
        self.before = ""
        self.change: list[tuple[float, str]] = []  # second from which a state shows, in order
        self.is_over = False

    def run(self, phases: tuple[Phase, ...], time_s: float) -> None:
        """Show what a plan asks for now; without one, give the signal back."""
        if phases != self.phases:
            self.phases = phases
            if self.zero_s is not None:
                self.change = leave(self.signal.state, time_s)
        if self.zero_s is None:
            self.take_over(time_s)
        while self.change and self.change[0][0] <= time_s + 1e-9:
            self.signal.set_state(self.change.pop(0)[1])
        if self.change or self.zero_s is None:
            return
        if not self.phases:
            self.signal.release()
            self.is_over = True
            return
        shows = phase_at(self.phases, time_s - self.zero_s)
        if shows != self.signal.state:
            self.signal.set_state(shows)

    def take_over(self, time_s: float) -> None:
        """Where the own programme just began the first green phase, the plan goes on from it; after a long wait the
        plan begins through yellow and red."""
        if not self.phases:
            self.is_over = True
            return
        self.asked_s = time_s if self.asked_s is None else self.asked_s
        first = next(number for number, (state, _) in enumerate(self.phases) if is_green(state))
        shows = self.signal.state
        if self.before not in ("", shows) and shows == self.phases[first][0]:
            self.zero_s = time_s - sum(duration_s for _, duration_s in self.phases[:first])
        elif time_s - self.asked_s > LONGEST_WAIT_S:
            self.zero_s = time_s
            self.change = leave(shows, time_s)
        self.before = shows


def leave(state: str, time_s: float) -> list[tuple[float, str]]:
    """Yellow where it is green, then red; each with the second from which it shows. The last one is when it is over."""
    yellow = "".join("y" if symbol in GREEN + YELLOW else symbol for symbol in state)
    red = "".join("r" if symbol in GREEN + YELLOW else symbol for symbol in state)
    if yellow == red:
        return []
    return [(time_s, yellow), (time_s + YELLOW_S, red), (time_s + YELLOW_S + CLEARANCE_S, red)]


def phase_at(phases: tuple[Phase, ...], since_s: float) -> str:
    """The state that a plan shows so many seconds after its cycle began."""
    left_s = since_s % sum(duration_s for _, duration_s in phases)
    for state, duration_s in phases:
        if left_s < duration_s - 1e-9:
            return state
        left_s -= duration_s
    return phases[-1][0]


def plans_for(run: ControlRoom, incidents: tuple[str, ...]) -> dict[str, tuple[Phase, ...]]:
    """The plan of each signal that incidents on those edges concern."""
    if run.network is None or not incidents:
        return {}
    around: set[Movement] = set()
    towards: set[Movement] = set()
    for edge in incidents:
        around |= set(way_round(run.network, edge, avoid=incidents))
        towards |= set(approach(run.network, edge))
    plans = {name: retimed(signal, around, towards - around) for name, signal in run.signals.items()}
    return {name: plan for name, plan in plans.items() if plan}


def approach(network: RoadNetwork, edge: str) -> list[Movement]:
    """Movements from edge to edge that lead to the incident within reach."""
    before = [name for name, _ in network.upstream(edge, REACH_M)]
    near = {edge, *before}
    return [(here, after) for here in before for after in network.edges[here].successors if after in near]


def way_round(network: RoadNetwork, edge: str, *, avoid: tuple[str, ...]) -> list[Movement]:
    """Movements of the fastest way from upstream of an edge to just past it that does not use it; none without one."""
    goals = set(network.edges[edge].successors) - {*avoid, network.edges[edge].opposite}  # who turns round is not past
    for start in main_way_back(network, edge):  # the nearest place from which there is one
        if start in goals:
            continue
        way = fastest(network, start, goals, avoid={edge, *avoid})
        if way:
            return [(way[place], way[place + 1]) for place in range(len(way) - 1)]
    return []


def fastest(network: RoadNetwork, start: str, goals: set[str], *, avoid: set[str]) -> list[str]:
    """Edges of the fastest way at the limits (Dijkstra's); empty without one."""
    front, came, done = {start: 0.0}, {start: ""}, set()
    while front:
        here = min(front, key=lambda edge: front[edge])
        so_far_s = front.pop(here)
        done.add(here)
        if here in goals:
            way = [here]
            while came[way[-1]]:
                way.append(came[way[-1]])
            return way[::-1]
        for after in network.edges[here].successors:
            if after == network.edges[here].opposite:
                continue
            time_s = so_far_s + network.edges[after].length_m / network.edges[after].speed_mps
            if after not in done and after not in avoid and time_s < front.get(after, float("inf")):
                front[after], came[after] = time_s, here
    return []


def main_way_back(network: RoadNetwork, edge: str) -> list[str]:
    """The edges before an edge, the widest and fastest each time, up to the reach."""
    edges, way, left_m = network.edges, [edge], REACH_M
    while left_m > 0:
        before = [each for each in edges[way[-1]].predecessors if each not in way and each != edges[way[-1]].opposite]
        if not before:
            break
        way.append(max(before, key=lambda each: (edges[each].speed_mps * len(edges[each].driving_lanes), each)))
        left_m -= edges[way[-1]].length_m
    return way[1:]


def retimed(signal: Signal, around: set[Movement], towards: set[Movement]) -> tuple[Phase, ...]:
    """A signal's own programme with green moved to the way round; empty where that changes nothing."""
    own = {number: duration_s for number, (state, duration_s) in enumerate(signal.phases) if is_green(state)}
    factor = {}
    for number in own:
        served = movements(signal, signal.phases[number][0])
        factor[number] = MORE if served & around else LESS if served & towards else 1.0
    if len(set(factor.values())) < 2:
        return ()
    least = {number: min(SHORTEST_S, duration_s) for number, duration_s in own.items()}
    asked = {number: max(least[number], duration_s * factor[number]) for number, duration_s in own.items()}
    # What some gain or lose is the others' to give or take: those of factor 1, else those that gain most.
    most = max(factor.values())
    free = [number for number in own if factor[number] == 1.0] or [n for n in own if factor[n] == most]
    left_s = sum(own.values()) - sum(asked[number] for number in own if number not in free)
    floor_s = sum(least[number] for number in free)
    over_s = sum(asked[number] - least[number] for number in free)
    if left_s > floor_s and over_s > 0:
        for number in free:
            asked[number] = least[number] + (left_s - floor_s) * (asked[number] - least[number]) / over_s
    shrink = sum(own.values()) / sum(asked.values())
    return tuple(
        (state, asked[number] * shrink if number in asked else duration_s)
        for number, (state, duration_s) in enumerate(signal.phases)
    )


def movements(signal: Signal, state: str) -> set[Movement]:
    """Movements from edge to edge that a state gives green to."""
    return {
        (before.rpartition("_")[0], after.rpartition("_")[0])
        for symbol, link in zip(state, signal.links, strict=False)
        if symbol in GREEN
        for before, after in link
    }


def is_green(state: str) -> bool:
    """Whether a state may be held: some green, no yellow."""
    return any(symbol in GREEN for symbol in state) and not any(symbol in YELLOW for symbol in state)
