"""What a scenario as XML leaves out, in words, each with the place it is about."""

from collections.abc import Iterator, Sequence

from scenariogen.incidents.records import IncidentKind
from scenariogen.injection.plain_elements import PlainIncident, SpeedSign
from scenariogen.scenarios.records import LanesReopen, Scenario
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.xmlfiles import children


def limits(scenario: Scenario, found: Sequence[PlainIncident], signs_of_others: Sequence[str]) -> Iterator[str]:
    """Lines for the file's head and for whoever exports."""
    yield from _of_incidents(scenario, found)
    for lane in signs_of_others:
        yield f"lane {lane} has a variable speed sign of the project too: the one that spoke last holds"


def _of_incidents(scenario: Scenario, found: Sequence[PlainIncident]) -> Iterator[str]:
    if not found:
        return
    yield (
        "the exact spot: vehicles appear where they were asked for, whatever is there; a real one that overlaps or "
        "cannot stop in time counts as a collision, is caught and stands with them until the end"
    )
    drivers = scenario.drivers
    if drivers.reroute_share > 0:
        yield (
            f"rerouting: {drivers.reroute_share:.0%} of the drivers who stand for {drivers.reroute_after_s:g} s would "
            "look for another way; here everybody stays on their route"
        )
    if drivers.are_told:
        yield "signs, radio and navigation: nobody is told of an incident"
    several = [each for each in found if len(each.lanes) > 1]
    if several and scenario.lanes_reopen is LanesReopen.ONE_BY_ONE:
        yield "lanes that reopen one by one: all lanes of an incident open at its end"
    for each in found:
        where = f"incident {each.number} on {each.edge.id}"
        if each.speed_mps is not None:
            yield (
                f"{where}: {each.speed_mps:.1f} m/s holds on all {each.edge.length_m:.0f} m of its edge and only "
                f"there, not for vehicles one by one along {each.stretch_m:.0f} m; traffic that does not queue loses "
                "more, and the capacity left is not measured"
            )
        if abs(each.position_m - each.incident.position_m) > 0.01:
            yield f"{where}: it stands at {each.position_m:.1f} m, where the whole vehicle has room on the edge"
        if each.incident.kind is IncidentKind.CRASH and len(each.lanes) == 1 and not each.parked:
            yield f"{where}: a crash on one lane is one vehicle, not two one behind the other"
        late_s = max(each.start_s - each.incident.start_s, each.end_s - each.incident.end_s)
        if late_s > 1e-3:
            yield f"{where}: it begins and ends with a step, at most {late_s:.2g} s later than asked"


def project_signs(project: SumoProject, signs: Sequence[SpeedSign]) -> list[str]:
    """Lanes of our signs on which the project has a variable speed sign of its own."""
    ours = {sign.lane for sign in signs}
    theirs: set[str] = set()
    for path in project.additional_files if ours else ():
        for _, element in children(path):
            if element.tag == "variableSpeedSign":
                theirs |= set((element.get("lanes") or "").split())
    return sorted(ours & theirs)
