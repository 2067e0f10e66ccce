"""Several policies in one: each takes its step in the order given, and where two want the same thing, the later wins.

A signal shows what the last policy wants that wants anything; once that one releases it, what the one before wants,
and its own programme when nobody wants anything. Everything else of the control room (signs, meters, advice) takes
what was written last.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scenariogen.errors import PolicyError
from scenariogen.network import RoadNetwork
from scenariogen.simulation.contract import USUAL_DETECTORS, ControlRoom, Loop, Policy, ProgrammeKind, Signal

_OWN = frozenset({"signals", "_room", "_signals"})


class Combined(Policy):
    """Runs other policies side by side."""

    def __init__(self, parts: Sequence[Policy]) -> None:
        self.parts = tuple(parts)
        self.name = "+".join(part.name or type(part).__name__ for part in self.parts)
        self.reads = tuple(dict.fromkeys(read for part in self.parts for read in part.reads))
        self.needs_detectors = any(part.needs_detectors for part in self.parts)
        self.needs_loops = tuple(dict.fromkeys(site for part in self.parts for site in part.needs_loops))
        asked = [part.detector_options for part in self.parts if part.detector_options != USUAL_DETECTORS]
        self.detector_options = asked[-1] if asked else USUAL_DETECTORS

    def loops(self, network: RoadNetwork) -> tuple[Loop, ...]:
        """Those of every part."""
        return tuple(loop for part in self.parts for loop in part.loops(network))

    def start(self, run: ControlRoom) -> None:
        """Every part starts, with signals of which it sees what shows and sets what it wants."""
        shared = _Shared(run)
        self._rooms = [PartRoom(run, _PartSignals(shared, number)) for number in range(len(self.parts))]
        for part, room in zip(self.parts, self._rooms, strict=True):
            part.start(room)

    def step(self, run: ControlRoom, time_s: float) -> None:
        """Every part takes its step."""
        for part, room in zip(self.parts, self._rooms, strict=True):
            part.step(room, time_s)

    def finish(self, run: ControlRoom) -> None:
        """Every part finishes, also after another one's error; the first error is raised."""
        errors = []
        for part, room in zip(self.parts, getattr(self, "_rooms", [run] * len(self.parts)), strict=True):
            try:
                part.finish(room)
            except Exception as error:  # noqa: BLE001 - raised below, once the others have finished
                errors.append(error)
        if errors:
            raise errors[0]


class PartRoom(ControlRoom):
    """A control room of which everything but the signals is another one's."""

    def __init__(self, room: ControlRoom, signals: Mapping[str, Signal]) -> None:
        self._room, self._signals = room, signals

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN or name.startswith("__"):
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "_room"), name)

    @property
    def signals(self) -> Mapping[str, Signal]:  # type: ignore[override]
        return self._signals

    @property
    def time_s(self) -> float:
        return self._room.time_s


class _Shared:
    """What each part wants of each signal: by signal and by the part's number."""

    def __init__(self, run: ControlRoom) -> None:
        self.run = run
        self.wants: dict[str, dict[int, str | ProgrammeKind]] = {}

    def want(self, signal: Signal, part: int, state: str | ProgrammeKind | None) -> None:
        """A part wants a state, a programme or nothing any more; the signal is set where that changes what shows."""
        wants = self.wants.setdefault(signal.id, {})
        if state is None:
            if wants.pop(part, None) is None:
                return
        else:
            wants[part] = state
        last = max(wants, default=-1)
        if last < 0:
            signal.release()
        elif last == part or (state is None and last < part):
            _put(signal, wants[last])


def _put(signal: Signal, wanted: str | ProgrammeKind) -> None:
    if isinstance(wanted, ProgrammeKind):
        signal.run_programme(wanted)
    else:
        signal.set_state(wanted)


class _PartSignals(Mapping[str, Signal]):
    """The signals as one part sees them."""

    def __init__(self, shared: _Shared, part: int) -> None:
        self._shared, self._part = shared, part
        self._made: dict[str, Signal] = {}

    def __getitem__(self, key: str) -> Signal:
        if key not in self._made:
            self._made[key] = PartSignal(self._shared.run.signals[key], self._shared, self._part)
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shared.run.signals)

    def __len__(self) -> int:
        return len(self._shared.run.signals)


class PartSignal(Signal):
    """A signal that shows what a part wants where no later part wants anything else."""

    def __init__(self, signal: Signal, shared: _Shared, part: int) -> None:
        self.id, self.links, self.phases = signal.id, signal.links, signal.phases
        self._signal, self._shared, self._part = signal, shared, part

    @property
    def state(self) -> str:
        return self._signal.state

    def set_state(self, state: str) -> None:
        if len(state) != len(self.links):
            raise PolicyError(
                f"signal {self.id!r} was given the state {state!r} of {len(state)} characters, expected one for each "
                f"of its {len(self.links)} links"
            )
        self._shared.want(self._signal, self._part, state)

    @property
    def programme_kinds(self) -> tuple[ProgrammeKind, ...]:
        return self._signal.programme_kinds

    def run_programme(self, kind: ProgrammeKind) -> None:
        if kind not in self.programme_kinds:
            super().run_programme(kind)
        self._shared.want(self._signal, self._part, kind)

    def release(self) -> None:
        self._shared.want(self._signal, self._part, None)
