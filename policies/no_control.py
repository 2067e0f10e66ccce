"""No control: every signal runs the project's own programme, actuated or fixed, as it would without us."""

from scenariogen.simulation.contract import ControlRoom, Policy


class NoControl(Policy):
    """Touches nothing. The baseline that the other policies are compared with."""

    name = "no_control"
    reads = ()

    def step(self, run: ControlRoom, time_s: float) -> None:
        """Nothing to do."""
