"""Rerouting advice: drivers who head for a known incident are advised to take another way, and some follow.

Erke, Sagberg & Hagman, *Effects of route guidance variable message signs (VMS) on driver behaviour*, Transportation
Research Part F 10, 2007: about every fifth vehicle changed its route at signs on a motorway that told of a closed road;
what others found is seldom above 40 %. Hence ``SHARE``.

Drivers within ``UPSTREAM_M`` of the incident are told. Whoever follows takes another way if it costs less than the
delay that is announced: what the incident is expected to last from now, times the share of the lanes that is blocked
(a queue's last vehicle waits so long while as much comes as the road carries; our assumption). The announcement is
renewed every ``RENEW_S``, since the end comes nearer, and withdrawn when the incident is no longer known. An incident
that blocks no lane, or whose announced delay is below ``LEAST_DELAY_S``, is not worth a message.

False alarms send drivers round for nothing; no advice comes before an incident is found.
"""

from scenariogen.simulation.contract import ControlRoom, KnownIncident, Policy

SHARE = 0.2
UPSTREAM_M = 5_000.0
RENEW_S = 300.0
LEAST_DELAY_S = 120.0
UNKNOWN_SHARE = 0.5
"""Of the lanes, where it is not known which are blocked: a detector sees a queue, not lanes."""


class ReroutingAdvice(Policy):
    """One advice for each known incident."""

    name = "rerouting_advice"
    reads = ("incidents", "advice")
    share = SHARE

    def start(self, run: ControlRoom) -> None:
        """Nothing is advised yet."""
        self.given: dict[int, tuple[str, int, float]] = {}  # incident -> its edge, number of the advice, when to renew

    def step(self, run: ControlRoom, time_s: float) -> None:
        """Advise on what is known, and on nothing else."""
        known = {each.number: each for each in run.known_incidents}
        for number in [number for number in self.given if number not in known]:
            self.withdraw(run, number)
        for number, incident in known.items():
            edge, _, renew_s = self.given.get(number, ("", 0, time_s))
            if number not in self.given or edge != incident.edge or time_s >= renew_s - 1e-9:
                self.renew(run, incident, time_s)

    def renew(self, run: ControlRoom, incident: KnownIncident, time_s: float) -> None:
        """Advise anew with the delay that is expected now."""
        self.withdraw(run, incident.number)
        delay_s = expected_delay_s(run, incident, time_s)
        if delay_s >= LEAST_DELAY_S:
            advice = run.advice.avoid(incident.edge, self.share, delay_s=delay_s, upstream_m=UPSTREAM_M)
            self.given[incident.number] = incident.edge, advice, time_s + RENEW_S

    def withdraw(self, run: ControlRoom, number: int) -> None:
        """The end of the advice on an incident, if there is any."""
        _, advice, _ = self.given.pop(number, ("", 0, 0.0))
        if advice:
            run.advice.withdraw(advice)


def expected_delay_s(run: ControlRoom, incident: KnownIncident, time_s: float) -> float:
    """Seconds to announce: what is expected to remain, times the share of the lanes that is blocked."""
    remaining_s = max(0.0, incident.expected_end_s - time_s)
    if not incident.lanes:
        return 0.0 if incident.lanes_known else UNKNOWN_SHARE * remaining_s
    if run.network is None:
        return remaining_s
    return remaining_s * min(1.0, len(incident.lanes) / max(1, len(run.network.edges[incident.edge].driving_lanes)))
