"""Variable speed limits upstream of a queue: traffic comes to its tail in steps, and less of it at a time.

After Allaby, Hellinga and Bullock, *Variable speed limits: safety and operational impacts of a candidate control
strategy for freeway applications*, IEEE Transactions on Intelligent Transportation Systems 8(4), 2007: loops tell
congested stretches from free ones by speed and occupancy, the signs before a congested stretch show a low limit, and
those further upstream lead down to it.

- A motorway edge is congested from the moment its loops read a mean speed below ``CONGESTED_MPS`` at an occupancy of at
  least ``CONGESTED_OCCUPANCY``, until they read more than ``FREE_MPS`` (hysteresis). Without data it stays what it was.
- Its own sign and those within ``REACHES_M`` upstream of it show the ``STEPS_MPS``, the lowest nearest to the queue.
- A sign changes by one step in each interval of the loops, down or up, so that nobody meets a sudden fall.
- A sign never shows more than the edge's usual limit; where it would, it is off.
"""

import math

from scenariogen.simulation.contract import ControlRoom, LoopSite, Policy

KMH = 1 / 3.6
CONGESTED_MPS, FREE_MPS = 50 * KMH, 70 * KMH
CONGESTED_OCCUPANCY = 0.15
STEPS_MPS = (60 * KMH, 80 * KMH, 100 * KMH)
REACHES_M = (600.0, 1400.0, 2200.0)
"""The first step reaches this far upstream of a congested edge, and so on."""


class SpeedLimits(Policy):
    """Stepwise limits before congested motorway edges."""

    name = "speed_limits"
    reads = ("detectors", "speed_signs")
    needs_loops = (LoopSite.MOTORWAY,)

    def start(self, run: ControlRoom) -> None:
        signs = run.speed_signs
        self.edges = [edge for edge in signs.edges.values() if edge.on_motorway]
        self.congested: set[str] = set()
        self.shown = {edge.edge: len(STEPS_MPS) for edge in self.edges}
        self.upstream = {edge.edge: edge.upstream for edge in self.edges}
        self.length_m = {edge.edge: edge.length_m for edge in self.edges}
        self.next_s = run.time_s + run.detectors.interval_s

    def step(self, run: ControlRoom, time_s: float) -> None:
        if time_s < self.next_s:
            return
        self.next_s += run.detectors.interval_s
        self.look(run)
        wanted = self.wanted_steps()
        for edge in self.edges:
            now, goal = self.shown[edge.edge], wanted.get(edge.edge, len(STEPS_MPS))
            if now == goal:
                continue
            now += 1 if goal > now else -1
            self.shown[edge.edge] = now
            if now < len(STEPS_MPS) and STEPS_MPS[now] < edge.usual_mps:
                run.speed_signs.show(edge.edge, STEPS_MPS[now])
            else:
                run.speed_signs.clear(edge.edge)

    def finish(self, run: ControlRoom) -> None:
        for edge in list(run.speed_signs.shown):
            run.speed_signs.clear(edge)

    def look(self, run: ControlRoom) -> None:
        """Which edges are congested now."""
        for edge in self.edges:
            speed_mps, occupancy = lane_means(run, edge.loops)
            if speed_mps < CONGESTED_MPS and occupancy >= CONGESTED_OCCUPANCY:
                self.congested.add(edge.edge)
            elif speed_mps > FREE_MPS:
                self.congested.discard(edge.edge)

    def wanted_steps(self) -> dict[str, int]:
        """For each edge that should have one: the number of its step, 0 the lowest limit."""
        wanted = dict.fromkeys(self.congested, 0)
        for tail in self.congested:
            front, seen = [(before, 0.0) for before in self.upstream[tail]], {tail}
            while front:
                edge, metres = front.pop()
                step = next((number for number, reach_m in enumerate(REACHES_M) if metres < reach_m), None)
                if step is None or edge in seen:
                    continue
                seen.add(edge)
                wanted[edge] = min(step, wanted.get(edge, step))
                front += [(before, metres + self.length_m[edge]) for before in self.upstream[edge]]
        return wanted


def lane_means(run: ControlRoom, lanes: tuple[str, ...]) -> tuple[float, float]:
    """Mean speed of the vehicles (by flow) and mean occupancy over the lanes that give data; nan without any."""
    readings = [run.detectors.reading(lane) for lane in lanes]
    moving = [each for each in readings if not math.isnan(each.speed_mps) and each.flow_veh_h > 0]
    flow_veh_h = sum(each.flow_veh_h for each in moving)
    speed_mps = sum(each.flow_veh_h * each.speed_mps for each in moving) / flow_veh_h if moving else math.nan
    standing = [each.occupancy for each in readings if not math.isnan(each.occupancy)]
    occupancy = sum(standing) / len(standing) if standing else math.nan
    if not moving and standing and occupancy > 0.5:  # a vehicle stands on every loop: nobody passes
        speed_mps = 0.0
    return speed_mps, occupancy
