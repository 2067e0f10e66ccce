"""Every threshold of incident detection, with the reason for its size."""

from dataclasses import dataclass, fields

from scenariogen.errors import DataError


@dataclass(frozen=True, kw_only=True)
class DetectSettings:
    """Thresholds of :func:`scenariogen.incidents.detect.detect_incidents`. Times in s, distances in m.

    ``standing_mps``       slower than this is standing
    ``least_standing_s``   a vehicle that stands so long in mid-block with a free road ahead is not waiting for anything
    ``least_standing_near_end_s``
                           the same within ``near_end_m`` of a signal, a crossing or a lane that ends: longer than
                           four cycles of 100 s, since drivers wait there for lights, for gaps and for other lanes
    ``least_standing_at_line_s``
                           the same at the line of a signal, while the lanes beside go on
    ``stop_line_m``        closer than this to a stop line, a closed lane is hardly told apart from waiting
    ``lane_end_m``         the same where lanes part without a stop line: drivers wait for another lane there
    ``clear_road_m``       a standing vehicle within this distance ahead (front to front) is a reason to stand; the
                           longest buses and lorries are 18 m
    ``same_start_s, same_place_m``
                           heads of standing queues that began so close together are one incident
    ``same_scene_m``       the same for vehicles that came in one moment and were taken away in one moment
    ``behind_m``           a second vehicle of a crash stands within this distance behind the first
    ``regular_stops``      so many other vehicles that stopped for ``stop_s`` or more at the same spot make it a stop
    ``slower_passing``     passing speed over usual speed below which a vehicle at the roadside is an incident
    ``squeezed_share``     share of capacity that the passing speed allows, below which a single lane that people
                           squeeze past on counts as obstructed (published shares for the shoulder begin at 0.81)
    ``jam_spacing_m, reaction_s``
                           Newell's (2002) simplified car-following: a vehicle at speed v claims
                           ``jam_spacing_m + reaction_s · v`` of its lane when it follows. The values give 1,770
                           vehicles an hour and lane at 50 km/h and 2,060 at 110, near the base saturation flow of
                           the Highway Capacity Manual and near SUMO's own discharge
    ``queued_share``       claimed share of the road upstream from which a queue is taken to stand there
    ``least_queue_s``      queues shorter than this in all say too little about capacity
    ``least_confidence``   what is less likely to be an incident is not reported
    ``unusual_share``      in fields: vehicles above usual, over those that fill the cell bumper to bumper, from which
                           the cell counts as congested. A lane at capacity and full speed holds a seventh of that
                           (Newell's values above), so no free flow reaches it
    ``unusual_errors``     the same in standard errors of the number of vehicles present
    ``slow_share``         and slower than this share of the limit: queues move at less than half the limit, and an
                           edge that is queued in part only shows a mean in between
    ``least_drop``         relative drop of the flow below usual at the head of an unusual queue: below it, more demand
                           or a spell of chance explains the queue as well
    ``least_drop_errors``  the same in standard errors of a Poisson count
    ``least_field_s``      a drop in fields that lasts less is not told from the chance of two or three signal cycles
    """

    standing_mps: float = 0.3
    least_standing_s: float = 150.0
    least_standing_near_end_s: float = 420.0
    near_end_m: float = 40.0
    least_standing_at_line_s: float = 500.0
    stop_line_m: float = 6.0
    lane_end_m: float = 2.0
    clear_road_m: float = 30.0
    same_start_s: float = 20.0
    same_place_m: float = 60.0
    same_scene_m: float = 100.0
    behind_m: float = 15.0
    regular_stops: int = 3
    stop_s: float = 15.0
    slower_passing: float = 0.85
    squeezed_share: float = 0.77
    jam_spacing_m: float = 7.5
    reaction_s: float = 1.5
    queued_share: float = 0.7
    least_queue_s: float = 120.0
    least_confidence: float = 0.5
    unusual_share: float = 0.15
    unusual_errors: float = 2.0
    slow_share: float = 0.6
    least_drop: float = 0.15
    least_drop_errors: float = 2.0
    least_field_s: float = 300.0

    def __post_init__(self) -> None:
        wrong = [
            f"{item.name} is {getattr(self, item.name)}" for item in fields(self) if not getattr(self, item.name) > 0
        ]
        if self.least_standing_near_end_s < self.least_standing_s:
            wrong.append("least_standing_near_end_s is below least_standing_s")
        if wrong:
            raise DataError(*(f"{text}, expected more" for text in wrong), title="detection settings")
