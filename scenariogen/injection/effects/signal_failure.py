"""A traffic signal that shows nothing, or flashes, and obeys nobody until it is repaired.

SUMO's state letters: ``O`` has the right of way, ``o`` yields, ``s`` and ``w`` stop; none is red. A dark signal
leaves the junction to its signs, which netconvert wrote into the network beside each connection (95 of 96 signals of
eight networks then show what SUMO's own programme ``off`` does; that one stays in a signal's list of programmes for
good, and is not used). Flashing is ``o`` everywhere.

A fixed-time programme has its phases' states rewritten while its clock runs on: after the repair the signal is in the
phase of an undisturbed clock, with the right remaining duration (only SUMO's count of seconds already spent in that
phase begins anew). The same is done to ``online``, the programme under which SUMO shows the states that a policy sets.
Signals under another kind of programme (actuated, NEMA, delay-based) are set directly. After the repair they are
restarted into the programme that was in force, at the point that its own logic has reached meanwhile, or get the state
that the policy wrote last; where nobody had set one before, an unused programme ``online`` remains in their list.
SUMO's ``WAUT`` passes over a signal that is set directly: what it would have put in force meanwhile is then restarted.

What a policy writes meanwhile is noticed before the next step and does not show; it is what comes back afterwards.
"""

from scenariogen.errors import ProjectError
from scenariogen.injection.attributes import ONLINE, PROGRAMME_STATES, SIGNAL_DISPLAY, STATIC, WITHOUT_SIGNAL, programme
from scenariogen.injection.effects.contract import ActiveEffect
from scenariogen.injection.started_files import started_files
from scenariogen.injection.timetables import Timetable, read_timetable
from scenariogen.injection.values import Attribute, Overwritten
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.effects import FailureMode, SignalFailure
from scenariogen.simulation.xmlfiles import children
from scenariogen.units import clock_text

_RAIL = (1, 2)
"""Types of rail signals and rail crossings, which follow trains and nothing else."""


class ActiveSignalFailure(ActiveEffect):
    """Claims what a signal shows, whatever programme somebody puts in force."""

    of = SignalFailure
    every_s = 1.0
    asked: SignalFailure

    def apply(self, now_s: float) -> str:
        link, signal = self.scene.link, self.asked.signal
        if any(logic.type in _RAIL for logic in link.traffic_light.getAllProgramLogics(signal)):
            return f"signal {signal!r} is a rail signal or crossing, which cannot be switched"
        links = len(link.traffic_light.getRedYellowGreenState(signal))
        self._state = failed_state(self.scene.network, links, signal, FailureMode(self.asked.mode))
        self._claimed: dict[tuple[str, object], Attribute] = {}
        self._timetable: Timetable | None = None
        self._base_since_s = now_s
        self._take_over()
        return ""

    def update(self, now_s: float) -> None:
        """For owners who kept SUMO's own ``simulationStep``, so that nobody looks before their steps."""
        self.before_step()

    def before_step(self) -> None:
        """Undo what somebody wrote since the step before, before anybody drives by it."""
        light, signal = self.scene.link.traffic_light, self.asked.signal
        if light.getRedYellowGreenState(signal) == self._shown and light.getProgram(signal) == self._programme:
            return
        for (_, thing), attribute in list(self._claimed.items()):
            for found in self.scene.ledger.check(attribute, [thing]):
                self.overwritten(found)
        if light.getProgram(signal) != self._programme:
            self.overwrites += not self._is_claimed(SIGNAL_DISPLAY, signal)
        self._take_over()

    def undo(self, *, early: bool) -> None:
        """Repair it, into the programme that is due now where a timetable would have switched meanwhile."""
        self._follow_timetable()
        super().undo(early=early)

    def overwritten(self, found: Overwritten) -> None:
        super().overwritten(found)
        if found.attribute == SIGNAL_DISPLAY.name:
            self._base_since_s = self.scene.link.time_s()

    def _follow_timetable(self) -> None:
        ledger, signal = self.scene.ledger, self.asked.signal
        if self._timetable is None or ledger.base(SIGNAL_DISPLAY, signal)[0] == ONLINE:
            return  # SUMO follows it by itself, or passes over a signal that a policy sets
        switched = self._timetable.switched(self._base_since_s, self.scene.link.time_s())
        if switched is not None:
            at_s, name = switched
            ledger.rebase(SIGNAL_DISPLAY, signal, (name, None))
            self.notes.append(f"its timetable put programme {name!r} in force at {clock_text(at_s)}, as it is since")

    def _read_timetable(self) -> None:
        try:
            files = started_files(self.scene.link, "net-file", "additional-files")
            self._timetable = read_timetable(files, self.asked.signal)
        except ProjectError as error:
            self.notes.append(f"whether a timetable (WAUT) switches it meanwhile is not known: {error}")

    def _take_over(self) -> None:
        """Claim whatever is in force."""
        link, signal = self.scene.link, self.asked.signal
        name = link.traffic_light.getProgram(signal)
        set_by_us = name == ONLINE and self.scene.ledger.in_force(SIGNAL_DISPLAY, signal) is not None
        if programme(link, signal, name).type == STATIC and not set_by_us:
            self._claim(PROGRAMME_STATES, (signal, name))
        else:
            self._claim(SIGNAL_DISPLAY, signal)
        self._programme = link.traffic_light.getProgram(signal)
        self._shown = link.traffic_light.getRedYellowGreenState(signal)

    def _claim(self, attribute: Attribute, thing: str | tuple[str, str]) -> None:
        if not self._is_claimed(attribute, thing):
            if attribute is SIGNAL_DISPLAY:
                self._base_since_s = self.scene.link.time_s()
                self._read_timetable()
            self._claimed[attribute.name, thing] = attribute
            self.scene.ledger.claim(self.owner, attribute, thing, self._state)

    def _is_claimed(self, attribute: Attribute, thing: object) -> bool:
        return (attribute.name, thing) in self._claimed


def failed_state(network: RoadNetwork, links: int, signal: str, mode: FailureMode) -> str:
    """What a failed signal of so many links shows, one letter each."""
    letters = ["o"] * links
    if mode is FailureMode.OFF:
        for index, letter in right_of_way(network, signal).items():
            letters[index] = letter
    return "".join(letters)


def right_of_way(network: RoadNetwork, signal: str) -> dict[int, str]:
    """The letter of each link, as netconvert wrote it beside the connection: what holds without the signal."""
    return {
        int(connection.get("linkIndex", 0)): connection.get("state", "o")
        for _, connection in children(network.path)
        if connection.tag == "connection"
        and connection.get("tl") == signal
        and connection.get("state", "") in tuple(WITHOUT_SIGNAL)
    }
