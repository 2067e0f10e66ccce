"""A scenario in any simulator: injected into SUMO, or put into the dummy as a loss of capacity."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from scenariogen.errors import ScenarioError, SimulationError
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import Run

if TYPE_CHECKING:
    from scenariogen.injection.records import RealisedIncident
    from scenariogen.simulation.dummy import DummyRun


class InjectionFailedError(Exception):
    """Injecting a scenario raised; ``__cause__`` says what."""


@contextmanager
def injected(run: Run, scenario: Scenario, network: RoadNetwork, *, tells_room: bool = True) -> Iterator[Any]:
    """A context in which a scenario happens in a run; it yields what has ``report()``, ``own_vehicles``, ``warnings``.

    Warnings are not given as such: runs of one evaluation have the same, by the hundred.

    ``tells_room``  the control room is told of each incident once its detection is over; otherwise it is not told
    """
    from scenariogen.simulation.dummy import DummyRun

    if isinstance(run, DummyRun):
        yield PaperInjection(run, scenario)
        return
    from scenariogen.injection import Injection
    from scenariogen.injection.warned import untold
    from scenariogen.simulation.controlroom import SumoControlRoom
    from scenariogen.simulation.outages import FallibleDetectors
    from scenariogen.simulation.sumo import SumoRun

    room = run.control_room
    bank = room.detectors
    with ExitStack() as stack:
        try:
            asked = Injection(
                run.connection,
                scenario,
                network=network,
                detectors=bank if isinstance(bank, FallibleDetectors) else None,
                board=room.incident_board if tells_room and isinstance(room, SumoControlRoom) else None,
                counts=False,  # a run of ours keeps a closer account itself
                sumocfg=str(run.project.sumocfg) if isinstance(run, SumoRun) else "",
            )
            with untold():
                injection = stack.enter_context(asked)
        except (ScenarioError, SimulationError):
            raise
        except Exception as error:
            raise InjectionFailedError(f"{type(error).__name__}: {error}") from error
        if isinstance(room, SumoControlRoom):
            room.speed_signs.through(injection.lane_speeds)
            stack.callback(room.speed_signs.through, None)
        yield injection


class PaperInjection:
    """Injects into the dummy simulator, which takes a share of an edge's capacity instead of standing vehicles."""

    own_vehicles: frozenset[str] = frozenset()
    own_present: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    def __init__(self, run: "DummyRun", scenario: Scenario) -> None:
        self._run, self._scenario = run, scenario
        if scenario.effects:
            kinds = ", ".join(sorted({effect.kind for effect in scenario.effects}))
            raise ScenarioError(f"the dummy simulator knows incidents only, and the scenario has effects: {kinds}")
        for incident in scenario.incidents:
            try:
                run.block(
                    incident.edge,
                    start_s=incident.start_s,
                    end_s=incident.end_s,
                    capacity_left=incident.capacity_left,
                )
            except SimulationError as error:
                raise ScenarioError(str(error)) from error

    def effects_report(self) -> tuple[()]:
        """There are none."""
        return ()

    def report(self) -> tuple["RealisedIncident", ...]:
        """Every incident as asked, as far as the run went."""
        from scenariogen.injection.records import RealisedIncident

        now_s = self._run.time_s
        return tuple(
            RealisedIncident(
                number=number,
                asked=incident,
                realised=incident.start_s < now_s,
                reason="" if incident.start_s < now_s else "the simulation was left before its start",
                start_s=incident.start_s,
                end_s=min(incident.end_s, now_s),
                lanes=incident.lanes,
                position_m=incident.position_m,
                detected_s=_if_past(incident.start_s + incident.detection_s, now_s),
                responded_s=_if_past(incident.start_s + incident.detection_s + incident.response_s, now_s),
            )
            for number, incident in enumerate(self._scenario.incidents)
        )


def _if_past(time_s: float, now_s: float) -> float | None:
    return time_s if time_s <= now_s else None
