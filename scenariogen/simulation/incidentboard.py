"""What a control room was told of incidents. An injection writes it; nothing stands there before it is detected."""

from scenariogen.simulation.contract import KnownIncident


class IncidentBoard:
    """Known incidents by number."""

    def __init__(self) -> None:
        self._known: dict[int, KnownIncident] = {}

    def show(self, known: KnownIncident) -> None:
        """From now on this is what is known of the incident of that number."""
        self._known[known.number] = known

    def withdraw(self, number: int) -> None:
        """The end of :meth:`show`. Safe to call twice."""
        self._known.pop(number, None)

    def clear(self) -> None:
        """Nothing is known any more."""
        self._known.clear()

    @property
    def known(self) -> tuple[KnownIncident, ...]:
        """In the order of their numbers."""
        return tuple(self._known[number] for number in sorted(self._known))
