"""What SUMO reads of an incident without us: a stopped vehicle on each blocked lane, and speed signs past it.

A vehicle whose ``arrivalPos`` is where it stops arrives in the moment its stop ends, so it stands exactly as long as
asked and drives nowhere afterwards. ``insertionChecks="none"`` puts it on the road in its second whatever traffic is
there. Signs hold for whole lanes and the value −1 restores what the network says; each lane gets one sign that carries
the strictest limit of all incidents at any moment, since two signs on a lane would overwrite each other.

A sign whose second lies between two steps is never undone (SUMO 1.28), so all times are moved to the next step.

Lane closures are not used: a ``closingLaneReroute`` ends plain SUMO where that lane alone carries a connection.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from scenariogen.incidents.records import Incident
from scenariogen.injection.attach import default_blocker_id
from scenariogen.injection.blockers import NO_EMISSIONS
from scenariogen.injection.occurrence import passing_speed_mps
from scenariogen.injection.stretch import DOWNSTREAM_M, SpeedProfile
from scenariogen.network import Edge, RoadNetwork

BLOCKER_TYPE = "scenariogen.blocker"
SIGN_PREFIX = "scenariogen.sign."
BLOCKER_LENGTH_M = 5.0
_REAR_CLEAR_M = 0.1
_STOP_M = 1.0
_WORTH_A_SIGN_MPS = 0.05
"""A passing speed this close to the limit needs no sign."""


@dataclass(frozen=True, kw_only=True)
class PlainIncident:
    """An incident as plain SUMO can have it.

    ``start_s``, ``end_s``  first steps at or after those of the incident
    ``lanes``       indices of lanes on which a vehicle stands
    ``position_m``  its front, metres from the start of the edge
    ``parked``      it stands beside the carriageway, and traffic passes it
    ``speed_mps``   limit on all lanes for cars of the edge; None where the vehicles alone do
    ``stretch_m``   length of the stretch that the live injection would slow instead
    """

    number: int
    incident: Incident
    edge: Edge
    start_s: float
    end_s: float
    lanes: tuple[int, ...]
    position_m: float
    parked: bool
    speed_mps: float | None
    stretch_m: float

    def vehicle(self, place: int) -> str:
        """Id of the vehicle on the ``place``-th of ``lanes``."""
        return default_blocker_id(self.number, place)


@dataclass(frozen=True, kw_only=True)
class SpeedSign:
    """The limits of one lane: (second, m/s or None for what the network says), ascending."""

    lane: str
    steps: tuple[tuple[float, float | None], ...]


def plain_incidents(
    incidents: Sequence[Incident], network: RoadNetwork, *, begin_s: float, step_s: float
) -> list[PlainIncident]:
    """Every incident of a scenario, in order. They must fit the network (``Incident.problems``)."""
    return [_plain(number, incident, network, begin_s, step_s) for number, incident in enumerate(incidents)]


def next_step_s(time_s: float, begin_s: float, step_s: float) -> float:
    """The first step at or after a second.

    >>> next_step_s(100.2, 0.0, 0.5), next_step_s(100.0, 0.0, 1.0)
    (100.5, 100.0)
    """
    return begin_s + math.ceil((time_s - begin_s) / step_s - 1e-6) * step_s


def _plain(number: int, incident: Incident, network: RoadNetwork, begin_s: float, step_s: float) -> PlainIncident:
    edge = network.edges[incident.edge]
    driving = edge.driving_lanes
    parked = not incident.lanes or (set(driving) <= set(incident.lanes) and incident.capacity_left > 0)
    lanes = incident.lanes or driving[:1]  # at the side: beside the lane next to the kerb
    shortest = min(edge.lanes[lane].length_m for lane in lanes)
    position = min(max(incident.position_m, BLOCKER_LENGTH_M + _REAR_CLEAR_M), shortest)
    speed = slowed_speed_mps(incident, edge)
    stretch = 0.0 if speed is None else SpeedProfile(speed_mps=speed).reach_m(_limit_mps(edge)) + DOWNSTREAM_M
    return PlainIncident(
        number=number,
        incident=incident,
        edge=edge,
        start_s=next_step_s(incident.start_s, begin_s, step_s),
        end_s=next_step_s(incident.end_s, begin_s, step_s),
        lanes=lanes,
        position_m=position,
        parked=parked,
        speed_mps=speed,
        stretch_m=stretch,
    )


def slowed_speed_mps(incident: Incident, edge: Edge) -> float | None:
    """Speed past an incident, from the measured table; None where the vehicles alone do."""
    if incident.capacity_left <= 0:
        return None
    speed = passing_speed_mps(incident, edge)
    return None if speed >= _limit_mps(edge) - _WORTH_A_SIGN_MPS else speed


def _limit_mps(edge: Edge) -> float:
    return max(lane.speed_mps for lane in edge.lanes if lane.drives)


def blocker_type(scale: float, step_s: float) -> str:
    """The vehicles' type; its own ``scale`` undoes that of the configuration, which would multiply them."""
    return (
        f'<vType id="{BLOCKER_TYPE}" vClass="passenger" length="{BLOCKER_LENGTH_M:g}" minGap="0" color="200,30,30" '
        f'emissionClass="{NO_EMISSIONS}" '
        f'actionStepLength="{step_s:g}" scale="{1 / scale!r}"/>'
    )


def vehicles(found: Sequence[PlainIncident]) -> Iterator[str]:
    """The standing vehicles, ascending in their departures, as SUMO wants them."""
    for each in sorted(found, key=lambda each: each.start_s):
        at = f"{each.position_m:.2f}"
        for place, lane in enumerate(each.lanes):
            yield (
                f'<vehicle id={quoteattr(each.vehicle(place))} type="{BLOCKER_TYPE}" depart="{each.start_s:.3f}" '
                f'departLane="{lane}" departPos="{at}" departSpeed="0" arrivalPos="{at}" insertionChecks="none">'
            )
            yield f"    <route edges={quoteattr(each.edge.id)}/>"
            yield (
                f'    <stop lane={quoteattr(each.edge.lanes[lane].id)} startPos="{each.position_m - _STOP_M:.2f}" '
                f'endPos="{at}" friendlyPos="true" until="{each.end_s:.3f}"{_PARKING if each.parked else ""}/>'
            )
            yield "</vehicle>"


_PARKING = ' parking="true"'


def speed_signs(
    found: Sequence[PlainIncident], others: Mapping[str, Sequence[tuple[float, float, float]]] | None = None
) -> list[SpeedSign]:
    """One sign for each slowed lane, the strictest limit in force at every moment.

    ``others``  (from, until, limit) by lane that hold besides those of incidents
    """
    claims = {lane: list(spans) for lane, spans in (others or {}).items()}
    for each in found:
        if each.speed_mps is None:
            continue
        for lane in (lane for lane in each.edge.lanes if lane.drives and lane.speed_mps > each.speed_mps):
            claims.setdefault(lane.id, []).append((each.start_s, each.end_s, each.speed_mps))
    return [SpeedSign(lane=lane, steps=strictest(spans)) for lane, spans in sorted(claims.items())]


def strictest(claims: Sequence[tuple[float, float, float]]) -> tuple[tuple[float, float | None], ...]:
    """The least value of (from, until, value) claims as steps of (second, value or None where none holds).

    >>> strictest([(10, 30, 8.0), (20, 40, 5.0)])
    ((10, 8.0), (20, 5.0), (40, None))
    """
    steps: list[tuple[float, float | None]] = []
    for second in sorted({time for start, end, _ in claims for time in (start, end)}):
        value = min((value for start, end, value in claims if start <= second < end), default=None)
        if not steps or steps[-1][1] != value:
            steps.append((second, value))
    return tuple(steps)


def sign_elements(signs: Sequence[SpeedSign]) -> Iterator[str]:
    """The signs in SUMO's words."""
    for sign in signs:
        yield f"<variableSpeedSign id={quoteattr(SIGN_PREFIX + sign.lane)} lanes={quoteattr(sign.lane)}>"
        for second, value in sign.steps:
            yield f'    <step time="{second:.3f}" speed="{-1 if value is None else value:.4g}"/>'
        yield "</variableSpeedSign>"
