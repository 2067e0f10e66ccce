"""One scenario under one policy: simulate, inject, control, measure. Whatever goes wrong ends in the result."""

import json
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenariogen.errors import PolicyError, ProjectError, ScenarioError, SimulationError
from scenariogen.evaluation.batch import Task
from scenariogen.evaluation.policy import describe_failure
from scenariogen.evaluation.records import RunResult
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import ControlRoom, EndReason, Policy, Run, RunRequest, Simulator
from scenariogen.window import StudyWindow


class PolicyFailedError(Exception):
    """A policy raised; ``__cause__`` is what it raised."""


class InjectionFailedError(Exception):
    """Injecting a scenario raised; ``__cause__`` says what."""


def run_scenario(task: Task, simulator: Simulator, network: RoadNetwork, *, window: StudyWindow) -> RunResult:
    """Make one run in ``task.folder``.

    A policy that raises, a simulator that dies and a scenario that cannot be injected give a result without delay,
    with the reason and the message. Raises ``ProjectError`` where the project itself cannot be run.
    """
    began = time.perf_counter()
    cpu_before_s = _cpu_s()
    try:
        measured = _simulate(task, simulator, network, window)
    except PolicyFailedError as failure:
        cause = failure.__cause__ or failure
        measured = _failed(EndReason.POLICY_RAISED, describe_failure(cause, task.policy))
    except PolicyError as error:  # its file changed or broke since it was resolved
        measured = _failed(EndReason.POLICY_RAISED, str(error))
    except (ScenarioError, InjectionFailedError) as error:
        measured = _failed(EndReason.INJECTION_FAILED, str(error))
    except SimulationError as error:
        measured = _failed(EndReason.SIMULATOR_DIED, str(error))
    finally:
        if not task.keep:
            shutil.rmtree(task.folder, ignore_errors=True)
    return RunResult(
        **task.identity(),
        **measured,
        cpu_s=round(_cpu_s() - cpu_before_s, 4),
        wall_s=round(time.perf_counter() - began, 4),
    )


def _failed(reason: EndReason, error: str) -> dict[str, Any]:
    return {"end_reason": reason, "error": error}


def _simulate(task: Task, simulator: Simulator, network: RoadNetwork, window: StudyWindow) -> dict[str, Any]:
    policy = task.policy.create()
    request = RunRequest(
        window=window,
        seed=task.seed,
        folder=task.folder,
        demand_scale=task.scenario.condition.demand_scale,
        detector_lanes=signal_lanes(network) if policy.needs_detectors else (),
    )
    with simulator.open(request) as run, _injected(run, task.scenario, network) as injection:
        return _drive(run, policy, injection)


def _drive(run: Run, policy: Policy, injection: Any) -> dict[str, Any]:
    """Step to the end of the window, a lock-up included, and read everything off before the run is closed."""
    from scenariogen.simulation.health import HealthWatch
    from scenariogen.simulation.measures import DelayMeter

    meter, watch, room = DelayMeter(run), HealthWatch(run), run.control_room
    end_s = run.request.window.end_s - run.step_length_s * 1e-3
    with _started(policy, room):
        while run.time_s < end_s:
            try:
                run.step()
            except (SimulationError, ProjectError):
                raise
            except Exception as error:  # raised by the injection's listener, inside the step
                raise InjectionFailedError(f"{type(error).__name__}: {error}") from error
            meter.update()
            watch.update()
            try:
                policy.step(room, run.time_s)
            except (Exception, SystemExit) as error:
                raise _fault_of_policy(error) from error
    report = injection.report()
    meter.exclude(*injection.own_vehicles)
    delay, health = meter.result(), watch.health()
    return {
        "end_reason": EndReason.LOCKED_UP if health.locked_up else EndReason.HORIZON,
        "system_delay_veh_h": delay.delay_veh_h,
        "time_veh_h": delay.time_veh_h,
        "free_flow_veh_h": delay.free_flow_veh_h,
        "due": delay.due,
        "arrived": delay.arrived,
        "discarded": delay.discarded,
        "running_at_end": delay.running_at_end,
        "waiting_at_end": delay.waiting_at_end,
        "locked_up": health.locked_up,
        "locked_up_at_s": health.locked_up_since_s,
        "teleports": health.teleports,
        "collisions": health.collisions,
        "incidents_due": sum(each.asked.start_s < run.time_s for each in report),
        "incidents_realised": sum(each.realised for each in report),
        "incidents": json.dumps([_as_json(each) for each in report], allow_nan=False),
        "rerouted": sum(each.rerouted for each in report),
    }


def signal_lanes(network: RoadNetwork) -> tuple[str, ...]:
    """Lanes that lead to a signal and lanes that they lead to: where a controlled network has its detectors."""
    incoming = [lane for lanes in network.signals.values() for lane in lanes]
    outgoing = [after for lane in incoming for after in network.lane_links.get(lane, ())]
    known = {lane.id for edge in network.edges.values() for lane in edge.lanes}
    return tuple(lane for lane in dict.fromkeys([*incoming, *outgoing]) if lane in known)


class _NoInjection:
    """Stands for the injection of a run without incidents in a simulator that has no connection."""

    own_vehicles: frozenset[str] = frozenset()

    def report(self) -> tuple:
        return ()


@contextmanager
def _injected(run: Run, scenario: Scenario, network: RoadNetwork) -> Iterator[Any]:
    if run.connection is None and not scenario.incidents:
        yield _NoInjection()
        return
    from scenariogen.injection import inject

    with ExitStack() as stack:
        try:
            injection = stack.enter_context(inject(run.connection, scenario, network=network))
        except (ScenarioError, SimulationError):
            raise
        except Exception as error:
            raise InjectionFailedError(f"{type(error).__name__}: {error}") from error
        yield injection


@contextmanager
def _started(policy: Policy, room: ControlRoom) -> Iterator[None]:
    """``start`` at the beginning and ``finish`` once at the end, also after an error, which it does not hide."""
    try:
        try:
            policy.start(room)
        except (Exception, SystemExit) as error:
            raise _fault_of_policy(error) from error
        yield
    except BaseException as first:
        try:
            policy.finish(room)
        except Exception as second:  # noqa: BLE001 - the first error is the one to tell
            first.add_note(f"finish raised as well: {type(second).__name__}: {second}")
        raise
    try:
        policy.finish(room)
    except (Exception, SystemExit) as error:
        raise _fault_of_policy(error) from error


def _fault_of_policy(error: BaseException) -> Exception:
    """What to raise for an error that came out of a policy: it may have met a simulator that was gone."""
    if isinstance(error, SimulationError) or type(error).__name__ == "FatalTraCIError":
        return SimulationError(f"SUMO died while the policy spoke to it: {error}")
    return PolicyFailedError(str(error))


def _as_json(each: Any) -> dict[str, Any]:
    asked = each.asked
    return {
        "number": each.number,
        "kind": str(asked.kind),
        "edge": asked.edge,
        "realised": each.realised,
        "reason": each.reason,
        "asked": {
            "start_s": asked.start_s,
            "end_s": asked.end_s,
            "lanes": list(asked.lanes),
            "position_m": asked.position_m,
        },
        "happened": {
            "start_s": each.start_s,
            "end_s": each.end_s,
            "lanes": list(each.lanes),
            "position_m": each.position_m,
        },
        "rerouted": each.rerouted,
    }


def _cpu_s() -> float:
    """CPU time of this process and of the simulators that it started and that ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@dataclass(frozen=True, kw_only=True)
class ProjectRunner:
    """Makes runs of a SUMO project in a worker process, which reads the project once.

    ``simulator``    ``libsumo`` or ``traci``
    ``work_folder``  where demand that is prepared once is kept for all runs
    """

    sumocfg: Path
    project_hash: str
    window: StudyWindow
    simulator: str
    work_folder: Path

    def __call__(self, task: Task) -> RunResult:
        simulator, network = self._opened()
        return run_scenario(task, simulator, network, window=self.window)

    def _opened(self) -> tuple[Simulator, RoadNetwork]:
        if self not in _OPENED:
            from scenariogen.simulation.project import open_project
            from scenariogen.simulation.sumo import SumoSimulator

            project = open_project(self.sumocfg)
            if project.hash != self.project_hash:
                raise ProjectError(
                    f"{self.sumocfg} changed while it was evaluated: leave the project alone, then run the same "
                    "command again with a new folder"
                )
            _OPENED.clear()  # one project per worker is enough
            _OPENED[self] = (
                SumoSimulator(project, backend=self.simulator, work_folder=self.work_folder, project_outputs=False),
                project.network(),
            )
        return _OPENED[self]


_OPENED: dict[ProjectRunner, tuple[Simulator, RoadNetwork]] = {}
"""What this worker process has read. StudyWindow and paths are hashable, so the runner is its own key."""
