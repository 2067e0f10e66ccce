"""Delay-based: every signal runs its own phases, and a green lasts while vehicles that lost time approach it.

Oertel and Wagner, *Delay-time actuated traffic signal control for an isolated intersection*, 90th annual meeting of the
Transportation Research Board, 2011, run by SUMO's ``delay_based`` logic with SUMO's own detectors and parameters.
Ranges of durations are those of the programme, else 5 to 50 s for greens. The first phase lasts as planned. Rail
signals and dual-ring (NEMA) controllers keep their own programme. Where nobody approaches, greens are long.

A vehicle that waits at another blockage loses time too: within the detector's reach it keeps a green that serves
nobody, up to the longest duration.
"""

from scenariogen.simulation.contract import ControlRoom, Policy, ProgrammeKind


class DelayBased(Policy):
    """Puts the programmes in force at the start and leaves the rest to them."""

    name = "delay_based"
    reads = ("signals",)

    def start(self, run: ControlRoom) -> None:
        """Hand each signal's own phases over."""
        for signal in run.signals.values():
            if ProgrammeKind.DELAY_BASED in signal.programme_kinds:
                signal.run_programme(ProgrammeKind.DELAY_BASED)

    def step(self, run: ControlRoom, time_s: float) -> None:
        """Nothing to do."""
