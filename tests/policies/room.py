"""A control room on paper: lanes with counts, signals with a programme, and a queue that greens discharge."""

from collections.abc import Mapping

from scenariogen.simulation.contract import ControlRoom, DetectorBank, Signal


class PaperSignal(Signal):
    def __init__(self, signal_id, links, phases):
        self.id, self.links, self.phases = signal_id, links, phases
        self.shown = phases[0][0]
        self.history: list[tuple[float, str]] = []
        self.now_s = 0.0

    @property
    def state(self) -> str:
        return self.shown

    def set_state(self, state: str) -> None:
        if len(state) != len(self.links):
            raise ValueError(f"{state!r} has {len(state)} symbols, the signal {len(self.links)} links")
        self.shown = state
        self.history.append((self.now_s, state))


class PaperDetectors(DetectorBank):
    length_m, lag_s = 60.0, 0.0
    full = 8

    def __init__(self, queues: dict[str, float]):
        self.queues = queues
        self.lanes = tuple(queues)

    def count(self, lane: str) -> int:
        return min(int(self.queues[lane]), self.full)


class PaperRoom(ControlRoom):
    step_length_s = 1.0

    def __init__(self, signals: Mapping[str, Signal], queues: dict[str, float]):
        self.signals, self.queues = signals, queues
        self.detectors = PaperDetectors(queues)
        self.clock_s = 0.0

    @property
    def time_s(self) -> float:
        return self.clock_s


def crossing(phases=None, *, blocked=(), inflow_vps=None, unwatched=()):
    """A crossing of one lane each from north (N) and east (E), to lanes ``n`` and ``e``."""
    links = ((("N", "n"),), (("E", "e"),))
    phases = phases or (("Gr", 30.0), ("yr", 3.0), ("rr", 2.0), ("rG", 30.0), ("ry", 3.0), ("rr", 2.0))
    signal = PaperSignal("J", links, phases)
    queues = {lane: 0.0 for lane in ("N", "E", "n", "e") if lane not in unwatched}
    room = PaperRoom({"J": signal}, queues)
    room.blocked, room.inflow_vps = set(blocked), {"N": 0.1, "E": 0.1} if inflow_vps is None else inflow_vps
    return room, signal


def drive(room, signal, policy, seconds, *, saturation_vps=0.5):
    """Run a policy for some steps; returns steps of green, vehicles served and mean queue per incoming lane."""
    lanes = [link[0][0] for link in signal.links]
    green, served = dict.fromkeys(lanes, 0), dict.fromkeys(lanes, 0.0)
    waited = dict.fromkeys(lanes, 0.0)
    policy.start(room)
    for _ in range(seconds):
        for lane in lanes:
            if lane in room.queues:
                room.queues[lane] += room.inflow_vps.get(lane, 0.0)
            waited[lane] += room.queues.get(lane, 0.0)
        for lane, symbol in zip(lanes, signal.state, strict=True):
            if symbol in "Gg":
                green[lane] += 1
                moved = min(room.queues.get(lane, 0.0), saturation_vps) * (lane not in room.blocked)
                served[lane] += moved
                if lane in room.queues:
                    room.queues[lane] -= moved
        room.clock_s += room.step_length_s
        signal.now_s = room.clock_s
        policy.step(room, room.clock_s)
    policy.finish(room)
    return green, served, {lane: total / seconds for lane, total in waited.items()}
