"""Actuated: every signal runs its own phases, and a green lasts while vehicles follow each other closely.

Gap-out control as in the *Traffic signal timing manual*, FHWA-HOP-08-024, 2008, chapter 5, run by SUMO's ``actuated``
logic with SUMO's own detectors and parameters: from the shortest duration on, a green ends at the first gap of 3 s on
all its lanes, at the latest after its longest duration. Ranges of durations are those of the programme, else 5 to 50 s
for greens. The first phase lasts as planned. Rail signals and dual-ring (NEMA) controllers keep their own programme.

The logic sees no further than its detector. Where maps cut the last metres before a signal into short lanes, or a lane
is blocked upstream of it, it finds gaps and ends greens early.
"""

from scenariogen.simulation.contract import ControlRoom, Policy, ProgrammeKind


class Actuated(Policy):
    """Puts the programmes in force at the start and leaves the rest to them."""

    name = "actuated"
    reads = ("signals",)

    def start(self, run: ControlRoom) -> None:
        """Hand each signal's own phases over."""
        for signal in run.signals.values():
            if ProgrammeKind.ACTUATED in signal.programme_kinds:
                signal.run_programme(ProgrammeKind.ACTUATED)

    def step(self, run: ControlRoom, time_s: float) -> None:
        """Nothing to do."""
