"""A motorway on paper: loops that read what a test says, meters that obey, signs that are remembered."""

from scenariogen.simulation.contract import (
    ControlRoom,
    DetectorBank,
    LoopReading,
    RampMeter,
    SignedEdge,
    SpeedSigns,
)


class PaperMeter(RampMeter):
    """``arriving_veh_h`` come onto the ramp; as many pass as the rate allows."""

    def __init__(self, edge, *, upstream=(), storage=60, arriving_veh_h=600.0):
        self.edge, self.upstream, self.storage = edge, upstream, storage
        self.merge_lanes = (f"{edge}_merge",)
        self.arriving_veh_h = arriving_veh_h
        self.waiting, self.gone = 0.0, 0.0
        self.rate: float | None = None
        self.history: list[float | None] = []

    @property
    def rate_veh_h(self):
        return self.rate

    def set_rate(self, rate_veh_h):
        self.rate = rate_veh_h

    def clear(self):
        self.rate = None

    @property
    def queue(self):
        return int(self.waiting)

    @property
    def passed(self):
        return int(self.gone)

    def second(self):
        self.waiting += self.arriving_veh_h / 3600
        moved = min(self.waiting, (self.rate or 1800.0) / 3600)
        self.waiting -= moved
        self.gone += moved
        self.history.append(self.rate)


class PaperLoops(DetectorBank):
    lanes, length_m, lag_s, interval_s = (), 60.0, 0.0, 30.0

    def __init__(self, readings):
        self.readings = readings
        self.loops = tuple(readings)

    def count(self, lane):
        raise AssertionError("no policy for motorways counts lanes")

    def reading(self, lane):
        return self.readings[lane]


class PaperSigns(SpeedSigns):
    def __init__(self, edges):
        self.edges = {edge.edge: edge for edge in edges}
        self.on: dict[str, float] = {}
        self.history: list[tuple[str, float | None]] = []

    @property
    def shown(self):
        return self.on

    def show(self, edge, limit_mps):
        self.on[edge] = limit_mps
        self.history.append((edge, limit_mps))

    def clear(self, edge):
        self.on.pop(edge, None)
        self.history.append((edge, None))

    def limit_mps(self, edge):
        return min(self.on.get(edge, 99.0), self.edges[edge].usual_mps)


class MotorwayRoom(ControlRoom):
    step_length_s = 1.0

    def __init__(self, *, meters=(), edges=()):
        self.signals = {}
        self.meters = {meter.edge: meter for meter in meters}
        self.speed_signs = PaperSigns(edges)
        lanes = [lane for meter in meters for lane in meter.merge_lanes] + [lane for e in edges for lane in e.loops]
        self.detectors = PaperLoops(dict.fromkeys(lanes, LoopReading()))
        self.clock_s = 0.0

    @property
    def time_s(self):
        return self.clock_s

    def read(self, lane, *, occupancy, speed_mps=25.0, flow_veh_h=1500.0):
        self.detectors.readings[lane] = LoopReading(flow_veh_h, occupancy, speed_mps, self.clock_s)

    def drive(self, policy, seconds, each=lambda: None):
        """Steps of a second; ``each`` is called before the policy."""
        for _ in range(seconds):
            self.clock_s += 1.0
            for meter in self.meters.values():
                meter.second()
            each()
            policy.step(self, self.clock_s)


def chain(n, *, length_m=500.0, usual_mps=33.3):
    """Motorway edges ``e0`` to ``e{n-1}`` one after the other, and a street that no policy may touch."""
    edges = [
        SignedEdge(
            edge=f"e{i}", length_m=length_m, usual_mps=usual_mps, on_motorway=True, loops=(f"e{i}_0", f"e{i}_1"),
            upstream=(f"e{i - 1}",) if i else (),
        )
        for i in range(n)
    ]  # fmt: skip
    street = SignedEdge(
        edge="street", length_m=500.0, usual_mps=13.9, on_motorway=False, loops=("street_0",), upstream=()
    )
    return [*edges, street]
