"""The study window of a project: when the network is warm, when incidents may start, when counting ends."""

from dataclasses import dataclass

from scenariogen.units import clock_text, duration_text


@dataclass(frozen=True, kw_only=True)
class StudyWindow:
    """Times in SUMO's simulation seconds. Delay is counted over ``[count_from_s, end_s]``.

    ``begin_s``              first simulated second
    ``count_from_s``         end of the warm-up: counting begins and incidents may start
    ``incidents_until_s``    last second at which an incident may start, so that it can still play out
    ``end_s``                counting and simulation end
    ``demand_end_s``         last departure in the project's own demand
    ``demand_copies``        times the project's demand is played, one after the other (1: as it is)
    ``demand_period_s``      shift between two copies
    ``remarks``              what was replaced or repeated, in words for the user
    """

    begin_s: float
    count_from_s: float
    incidents_until_s: float
    end_s: float
    demand_end_s: float
    demand_copies: int = 1
    demand_period_s: float = 0.0
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.begin_s <= self.count_from_s < self.incidents_until_s <= self.end_s:
            raise ValueError(
                "a study window needs begin_s <= count_from_s < incidents_until_s <= end_s, got "
                f"{self.begin_s}, {self.count_from_s}, {self.incidents_until_s}, {self.end_s}"
            )

    @property
    def horizon_s(self) -> float:
        """Length of the counting window in seconds."""
        return self.end_s - self.count_from_s

    @property
    def start_span_s(self) -> float:
        """Length of the span in which incidents may start, in seconds."""
        return self.incidents_until_s - self.count_from_s

    def __str__(self) -> str:
        return (
            f"simulated {clock_text(self.begin_s)}-{clock_text(self.end_s)}, warm-up "
            f"{duration_text(self.count_from_s - self.begin_s)}, incidents start until "
            f"{clock_text(self.incidents_until_s)}"
        )
