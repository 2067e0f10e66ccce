"""One scenario under one policy: simulate, inject, control, measure. Whatever goes wrong ends in the result."""

import json
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenariogen.errors import PolicyError, ProjectError, ScenarioError, SimulationError
from scenariogen.evaluation.approaches import approach_lanes, detector_lanes
from scenariogen.evaluation.equipment import Equipment, reads_incidents
from scenariogen.evaluation.happened import effect_as_json, incident_as_json
from scenariogen.evaluation.injecting import InjectionFailedError, injected
from scenariogen.evaluation.kept import TRAJECTORIES, note_recording
from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.policy import describe_failure, resolve_policy
from scenariogen.evaluation.policy_room import PolicyRoom, loops_for
from scenariogen.evaluation.records import RunResult, replica_seed
from scenariogen.evaluation.run_warnings import warn_of_runs
from scenariogen.evaluation.store import full_disk, is_full
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.effects import Closure
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import ControlRoom, EndReason, Policy, Run, RunRequest, Simulator
from scenariogen.simulation.emissions import read_emissions
from scenariogen.window import StudyWindow
from scenariogen.written import cut_short

if TYPE_CHECKING:
    from scenariogen.evaluation.usual_traffic import UsualTraffic
    from scenariogen.simulation.project import SumoProject


class PolicyFailedError(Exception):
    """A policy raised; ``__cause__`` is what it raised."""


def run_scenario(
    project: "SumoProject",
    scenario: Scenario,
    policy: str | Path,
    *,
    window: StudyWindow,
    folder: Path,
    simulator: Simulator | str = "libsumo",
    replica: int = 0,
    keep: bool = True,
    usual: "UsualTraffic | None" = None,
) -> RunResult:
    """One run in this process, for instance with a window (``simulator="traci-gui"``).

    ``policy`` is a name or a path; ``folder`` the run's own, removed afterwards unless ``keep``; ``replica`` picks a
    further simulator seed. With ``usual`` (:func:`scenariogen.evaluation.usual_traffic.record_usual`) the policy knows
    of the incidents that our detector finds, without it of those that the scenario reports. Raises ``PolicyError``
    where the policy cannot be loaded; see :func:`run_task`.
    """
    from scenariogen.simulation.sumo import SumoSimulator

    task = Task(
        key="",
        scenario=scenario,
        policy=resolve_policy(policy),
        replica=replica,
        seed=replica_seed(scenario, replica),
        folder=folder,
        keep=keep,
    )
    chosen = SumoSimulator(project, backend=simulator) if isinstance(simulator, str) else simulator
    result = run_task(task, chosen, project.network(), window=window, usual=usual)
    warn_of_runs([result])
    return result


def run_task(
    task: Task,
    simulator: Simulator,
    network: RoadNetwork,
    *,
    window: StudyWindow,
    usual: "UsualTraffic | None" = None,
) -> RunResult:
    """Make one run in ``task.folder``. ``usual`` as in :func:`run_scenario`.

    A policy that raises, a simulator that dies and a scenario that cannot be injected give a result without delay,
    with the reason and the message. Raises ``ProjectError`` where the project itself cannot be run, ``ResultsError``
    where the disk is full.
    """
    began = time.perf_counter()
    cpu_before_s = _cpu_s()
    try:
        measured = _simulate(task, simulator, network, window, usual)
    except PolicyFailedError as failure:
        cause = failure.__cause__ or failure
        measured = _failed(EndReason.POLICY_RAISED, describe_failure(cause, task.policy))
    except PolicyError as error:  # its file changed or broke since it was resolved
        measured = _failed(EndReason.POLICY_RAISED, str(error))
    except (ScenarioError, InjectionFailedError) as error:
        measured = _failed(EndReason.INJECTION_FAILED, str(error))
    except SimulationError as error:
        measured = _failed(EndReason.SIMULATOR_DIED, str(error))
    except OSError as error:
        raise _full_or_same(error, task.folder) from error
    finally:
        if not task.keep:
            shutil.rmtree(task.folder, ignore_errors=True)
    return RunResult(
        **task.identity(),
        **measured,
        cpu_s=round(_cpu_s() - cpu_before_s, 4),
        wall_s=round(time.perf_counter() - began, 4),
    )


def _full_or_same(error: OSError, folder: Path) -> Exception:
    return full_disk(folder, error) if is_full(error) else error


def _failed(reason: EndReason, error: str) -> dict[str, Any]:
    return {"end_reason": reason, "error": error}


def _simulate(
    task: Task, simulator: Simulator, network: RoadNetwork, window: StudyWindow, usual: "UsualTraffic | None"
) -> dict[str, Any]:
    policy = task.policy.create()
    usual = usual if reads_incidents(policy) else None
    approaches = approach_lanes(network) if policy.needs_detectors else {}
    request = RunRequest(
        window=window,
        seed=task.seed,
        folder=task.folder,
        demand_scale=task.scenario.condition.demand_scale,
        entry_scales=dict(task.scenario.condition.entry_scales),
        outputs={"fcd-output": TRAJECTORIES} if task.record else {},
        detector_lanes=detector_lanes(network, approaches),
        loops=loops_for(policy, network),
        detector_options=policy.detector_options,
        emissions=task.emissions,
        stations=() if usual is None else usual.where.stations,
        options={"ignore-route-errors": "true"} if any(isinstance(e, Closure) for e in task.scenario.effects) else {},
        keep=task.keep,
    )
    told = usual is None
    is_whole = True
    try:
        with simulator.open(request) as run, injected(run, task.scenario, network, tells_room=told) as injection:
            equipment = Equipment(run, network, injection, usual=usual)
            room = PolicyRoom(run.control_room, policy.reads, approaches)
            measured = _drive(run, policy, room, injection, equipment)
    finally:
        if task.record:
            is_whole = note_recording(task.folder, task.key)
    if not is_whole:
        raise cut_short(task.folder / TRAJECTORIES)
    return measured | (asdict(read_emissions(task.folder)) if task.emissions else {})


def _drive(run: Run, policy: Policy, room: ControlRoom, injection: Any, equipment: Equipment) -> dict[str, Any]:
    """Step to the end of the window, a lock-up included, and read everything off before the run is closed."""
    from scenariogen.simulation.health import HealthWatch
    from scenariogen.simulation.measures import DelayMeter

    meter = DelayMeter(run)
    watch = HealthWatch(run, meter=meter, own=lambda: (injection.own_vehicles, injection.own_present))
    end_s = run.request.window.end_s - run.step_length_s * 1e-3
    with run.control_room, _started(policy, room):
        while run.time_s < end_s:
            try:
                run.step()
                equipment.update()
            except (SimulationError, ProjectError):
                raise
            except Exception as error:  # raised by the injection's listener, inside the step
                if is_full(error):
                    raise
                raise InjectionFailedError(f"{type(error).__name__}: {error}") from error
            meter.update()
            watch.update()
            try:
                policy.step(room, run.time_s)
            except (Exception, SystemExit) as error:
                raise _fault_of_policy(error) from error
    report, effects = injection.report(), injection.effects_report()
    meter.exclude(*injection.own_vehicles)
    delay, health = meter.result(), watch.health()
    return equipment.results() | {
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
        "emergency_stops": health.emergency_stops,
        "backlog_most": health.backlog_most,
        "stuck_share_most": health.stuck_share_most,
        "balance_checks": health.balance_checks,
        "balance_broken": health.balance_broken,
        "incidents_due": sum(each.asked.start_s < run.time_s for each in report),
        "incidents_realised": sum(each.realised for each in report),
        "incidents": json.dumps([incident_as_json(each) for each in report], allow_nan=False),
        "effects_due": sum(each.asked.start_s < run.time_s for each in effects),
        "effects_realised": sum(each.realised for each in effects),
        "effects": json.dumps([effect_as_json(each) for each in effects], allow_nan=False),
        "warnings": json.dumps(injection.warnings),
        "delay_by_class": json.dumps({name: round(value, 6) for name, value in delay.delay_by_class.items()}),
        "rerouted": sum(each.rerouted for each in report),
    }


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
    """What to raise for an error out of a policy: a simulator that was gone, and a full disk, are no faults of its."""
    if isinstance(error, OSError) and is_full(error):
        return error
    if isinstance(error, SimulationError) or type(error).__name__ == "FatalTraCIError":
        return SimulationError(f"SUMO died while the policy spoke to it: {error}")
    return PolicyFailedError(str(error))


def _cpu_s() -> float:
    """CPU time of this process and of the simulators that it started and that ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
