"""What a recording holds, in one record."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RecordingSummary:
    """Result of :func:`scenariogen.recording.record`.

    ``days``          days asked for, counted from 0
    ``failed``        days left out since their simulation died, each with SUMO's words
    ``locked_up``     days on which the network locked up
    ``intensity``     multiplier on the true base rates
    ``expected``      incidents expected in a day at intensity 1
    ``expected_lane_blocking``  of these, those that block a lane
    ``incidents``     true incidents of all recorded days, shoulder ones included
    ``lane_blocking`` of these, how many were to block a lane
    ``realised``      of ``incidents``, how many stood in time
    ``vehicle_rows``  rows of the trajectory table
    ``size_bytes``    size of the trajectory file
    ``wall_s``        seconds that the recording took
    """

    folder: Path
    days: int
    failed: tuple[tuple[int, str], ...]
    locked_up: tuple[int, ...]
    intensity: float
    expected: float
    expected_lane_blocking: float
    incidents: int
    lane_blocking: int
    realised: int
    vehicle_rows: int
    size_bytes: int
    wall_s: float

    def __str__(self) -> str:
        lines = [
            f"{self.days - len(self.failed)} days in {self.folder}: {self.vehicle_rows:,} rows, "
            f"{self.size_bytes / 1e6:.1f} MB, {self.wall_s:.0f} s",
            f"{self.incidents} incidents, {self.lane_blocking} of them on a lane, {self.realised} realised; intensity "
            f"{self.intensity:.4g}, at which {self.expected_lane_blocking * self.intensity:.2f} a day block a lane",
        ]
        if self.locked_up:
            lines.append(f"the network locked up on {len(self.locked_up)} days: {_listed(self.locked_up)}")
        lines += [f"day {day} is missing: {why}" for day, why in self.failed]
        return "\n".join(lines)


def _listed(days: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, days[:10]))
    return shown + (", ..." if len(days) > 10 else "")
