"""Fixed time: every signal runs its own phases in its own order and for their nominal durations, whatever the traffic.

The control that Webster, *Traffic signal settings*, Road Research Technical Paper 39, 1958, calculates plans for. No
plan is calculated here: it is the designer's own, so that a comparison with other policies is one of the control and
not of the phases. A programme that is fixed already is left alone, offsets included; an actuated or delay-based one is
frozen to its phases' nominal durations from the second at which the run begins, and has no offset to its neighbours.
Rail signals and dual-ring (NEMA) controllers keep their own programme.
"""

from scenariogen.simulation.contract import ControlRoom, Policy, ProgrammeKind


class FixedTime(Policy):
    """Puts the programmes in force at the start and leaves the rest to them."""

    name = "fixed_time"
    reads = ("signals",)

    def start(self, run: ControlRoom) -> None:
        """Hand each signal's own phases over."""
        for signal in run.signals.values():
            if ProgrammeKind.STATIC in signal.programme_kinds:
                signal.run_programme(ProgrammeKind.STATIC)

    def step(self, run: ControlRoom, time_s: float) -> None:
        """Nothing to do."""
