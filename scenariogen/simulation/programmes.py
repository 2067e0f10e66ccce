"""A signal's own phases under another logic of SUMO's: fixed times, actuated by gaps, or by delay.

SUMO builds a programme at run time through ``setProgramLogic``, its detectors included. Tried with 1.28 on both
backends: from the second phase on an actuated or delay-based programme so made decides as one that was loaded from a
file; the phase in force when it is made lasts as long as it was planned.

Where a phase has no range of durations of its own, greens get netconvert's defaults (``tls.min-dur``, ``tls.max-dur``).
"""

from typing import Any

from scenariogen.errors import PolicyError
from scenariogen.simulation.signalling import GREEN, SHORTEST_GREEN_S, YELLOW, ProgrammeKind

SHORTEST_S, LONGEST_S = 5.0, 50.0
TYPES = {ProgrammeKind.STATIC: 0, ProgrammeKind.ACTUATED: 3, ProgrammeKind.DELAY_BASED: 5}
"""SUMO's ``TRAFFICLIGHT_TYPE_*``."""
ONLINE = "online"
"""Programme that SUMO is in while a state is set from outside."""
PREFIX = "scenariogen-"


def kinds_of(logic: Any) -> tuple[ProgrammeKind, ...]:
    """Logics that can run the phases of a programme: all, if it is one of them itself and has a choice of phases."""
    return tuple(TYPES) if logic is not None and logic.type in TYPES.values() and len(logic.getPhases()) > 1 else ()


def run_programme(lights: Any, signal: str, own: Any, kind: ProgrammeKind) -> None:
    """Run the phases of ``own``, a programme of ``signal``, under ``kind``, from the phase that shows.

    ``lights`` is the ``trafficlight`` domain. A programme that is of this kind itself, and in force, is left alone.
    From all red, where that is no phase, one that was in force before goes on by its clock, and a new one begins with
    its first green.
    """
    running = lights.getProgram(signal)
    name = f"{PREFIX}{kind}-{own.programID}"  # SUMO keeps the detectors of an id that it knows, whatever the phases
    if running == name or (running == own.programID and own.type == TYPES[kind]):
        return
    phases = own.getPhases()
    index = _phase_showing(lights, signal, phases)
    if index is None:
        before = own.programID if own.type == TYPES[kind] else name
        if before in {logic.programID for logic in lights.getAllProgramLogics(signal)}:
            lights.setProgram(signal, before)
            return
        index = next(number for number, phase in enumerate(phases) if set(phase.state) & set(GREEN))
    spent_s = 0.0 if running == ONLINE else lights.getSpentDuration(signal)
    made = [_phase(lights, phase, kind) for phase in phases]
    lights.setProgramLogic(signal, lights.Logic(name, TYPES[kind], index, made))
    lights.setProgram(signal, name)
    if kind is ProgrammeKind.STATIC:
        lights.setPhaseDuration(signal, max(float(phases[index].duration) - spent_s, 1.0))


def _phase_showing(lights: Any, signal: str, phases: Any) -> int | None:
    """The phase that shows; None where all is red and no phase is. Raises ``PolicyError`` for any other state."""
    shown, counted = lights.getRedYellowGreenState(signal), lights.getPhase(signal)
    if 0 <= counted < len(phases) and phases[counted].state == shown:
        return counted
    matching = [number for number, phase in enumerate(phases) if phase.state == shown]
    if not matching and set(shown) <= set("rs") and any(set(phase.state) & set(GREEN) for phase in phases):
        return None
    if not matching:
        raise PolicyError(
            f"signal {signal!r} shows {shown}, which is no phase of its programme: bring it to one before its "
            "programme is to run"
        )
    return matching[0]


def _phase(lights: Any, phase: Any, kind: ProgrammeKind) -> Any:
    shortest_s = longest_s = duration_s = float(phase.duration)
    is_green = set(phase.state) & set(GREEN) and not set(phase.state) & set(YELLOW + "u")
    if kind is not ProgrammeKind.STATIC and is_green:
        if 0 < phase.minDur < phase.maxDur:
            shortest_s, longest_s = float(phase.minDur), float(phase.maxDur)
        elif duration_s >= SHORTEST_GREEN_S:
            shortest_s, longest_s = min(SHORTEST_S, duration_s), max(LONGEST_S, duration_s)
    return lights.Phase(duration_s, phase.state, shortest_s, longest_s, phase.next, phase.name)
