"""What scripts/benchmark_injection measures: an hour of a city district, stepped with and without us."""

import contextlib
import importlib.util
import io
import os
import resource
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

BEGIN_S, END_S = 25_200, 28_800
INCIDENTS = 10
STANDING_S = 3_300.0
"""Incidents stand from the second minute to the end, so that they are active nearly all of the time."""
BATCH_RUNS = 60
BATCH_S = 300
TUD_SUMO = "tud_sumo"


def run(job: str, *arguments: Any) -> dict[str, float]:
    """Figures of one job in this process, which does nothing else."""
    warnings.simplefilter("ignore")
    return JOBS[job](*arguments)


def cpu_s() -> float:
    """CPU seconds of this process and of the simulators that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def resco(name: str) -> Path:
    """Folder of a network of the RESCO set, which comes with sumo-rl."""
    found = importlib.util.find_spec("sumo_rl")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("sumo_rl")
    return Path(found.submodule_search_locations[0]) / "nets" / "RESCO" / name


def command(binary: str, name: str, *more: str) -> list[str]:
    options = ("--no-step-log", "--no-warnings", "--time-to-teleport", "-1", "--collision.action", "warn")
    return [binary, "-c", str(resco(name) / f"{name}.sumocfg"), *options, *more]


def started(backend: str, name: str, *more: str) -> Any:
    """A running simulation: the libsumo module, or a TraCI connection."""
    import sumo

    os.environ.setdefault("SUMO_HOME", str(sumo.SUMO_HOME))
    if backend == "libsumo":
        import libsumo

        libsumo.start(command("sumo", name, *more))
        return libsumo
    import traci

    with contextlib.redirect_stdout(io.StringIO()):  # it says that it tries again until SUMO listens
        traci.start(command(str(Path(sumo.SUMO_HOME) / "bin" / "sumo"), name, *more), label="benchmark")
    return traci.getConnection("benchmark")


def scenario_of(network: Any, count: int, *, begin_s: float, duration_s: float) -> Any:
    """Incidents that block a lane, one on each edge: those with two lanes or more first, and the longest first."""
    from scenariogen.incidents.records import Incident, IncidentKind
    from scenariogen.injection.validation import capacity_problem
    from scenariogen.scenarios.records import Drivers, Scenario

    drivable = (edge for edge in network.edges.values() if edge.driving_lanes)
    edges = sorted(drivable, key=lambda edge: (len(edge.driving_lanes) < 2, -edge.length_m))
    incidents = []
    for edge in edges:
        incident = Incident(
            edge=edge.id,
            start_s=begin_s,
            position_m=edge.length_m / 2,
            kind=IncidentKind.BREAKDOWN,
            lanes=(edge.driving_lanes[0],),
            capacity_left=0.4,
            detection_s=duration_s / 3,
            response_s=duration_s / 3,
            clearance_s=duration_s / 3,
        )
        if len(incidents) < count and capacity_problem(incident, network) is None:
            incidents.append(incident)
    if len(incidents) < count:
        raise RuntimeError(f"only {len(incidents)} of {count} incidents have a place")
    return Scenario(index=0, seed=1, incidents=tuple(incidents), drivers=Drivers(reroute_share=0.0))


def hour(backend: str, setup: str, scale: float = 1.0, *, count: bool = False) -> dict[str, float]:
    """An hour of cologne8. ``setup``: bare, empty (attached, with counters, no incident) or incidents.

    ``count``: also the vehicles in the network, added up over all seconds; counting costs, so not where time is taken.
    """
    from scenariogen.injection import inject
    from scenariogen.network import read_network
    from scenariogen.scenarios.records import Scenario

    network = read_network(resco("cologne8") / "cologne8.net.xml")
    if setup == "incidents":
        scenario = scenario_of(network, INCIDENTS, begin_s=BEGIN_S + 60, duration_s=STANDING_S)
    else:
        scenario = Scenario(index=0, seed=1)
    began_s, vehicle_s = cpu_s(), 0
    connection = started(backend, "cologne8", "--scale", str(scale))
    attached = nullcontext() if setup == "bare" else inject(connection, scenario, network=network)
    with attached as injection:
        step = connection.simulationStep
        for _ in range(END_S - BEGIN_S):
            step()
            if count:
                vehicle_s += connection.vehicle.getIDCount()
        realised = sum(each.realised for each in injection.report()) if setup == "incidents" else 0
    connection.close()
    return {"cpu_s": cpu_s() - began_s, "vehicle_s": vehicle_s, "realised": realised}


def plain_traci_incidents() -> dict[str, float]:
    """What a user would write: vehicles that are told to stop on a lane, by TraCI alone."""
    from scenariogen.network import read_network

    network = read_network(resco("cologne8") / "cologne8.net.xml")
    asked = scenario_of(network, INCIDENTS, begin_s=BEGIN_S + 60, duration_s=STANDING_S)
    began_s = cpu_s()
    connection = started("traci", "cologne8")
    stopped = 0
    for second in range(END_S - BEGIN_S):
        if second == 60:
            for number, incident in enumerate(asked.incidents):
                name = f"blocker{number}"
                connection.route.add(name, [incident.edge])
                connection.vehicle.add(name, name, departLane=str(incident.lanes[0]), departPos="base")
                connection.vehicle.setStop(
                    name, incident.edge, incident.position_m, incident.lanes[0], incident.duration_s
                )
        connection.simulationStep()
        if second == 62:
            ids = set(connection.vehicle.getIDList())
            stopped = sum(
                f"blocker{n}" in ids and connection.vehicle.isStopped(f"blocker{n}") for n in range(INCIDENTS)
            )
    connection.close()
    return {"cpu_s": cpu_s() - began_s, "vehicle_s": 0, "realised": stopped}


def tud_sumo_incidents() -> dict[str, float]:
    """The incidents of TUD-SUMO on the same network: it stops vehicles that happen to be there."""
    import sumo

    os.environ["SUMO_HOME"] = str(sumo.SUMO_HOME)
    os.environ["PATH"] = f"{Path(sumo.SUMO_HOME) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    from tud_sumo.simulation import Simulation  # type: ignore[import-not-found]

    began_s = cpu_s()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        simulation = Simulation(scenario_name="benchmark")
        simulation.start(str(resco("cologne8") / "cologne8.sumocfg"), seed=1, gui=False, suppress_warnings=True)
        simulation.step_through(n_steps=60, pbar=False)
        caused = simulation.cause_incident(duration=STANDING_S, n_vehicles=INCIDENTS)
        simulation.step_through(n_steps=END_S - BEGIN_S - 60, pbar=False)
        simulation.end()
    return {"cpu_s": cpu_s() - began_s, "vehicle_s": 0, "realised": INCIDENTS if caused else 0}


def batch() -> dict[str, float]:
    """Sixty scenarios one after the other in one process: resident memory (MiB) after the tenth and after the last."""
    from scenariogen.injection import inject
    from scenariogen.network import read_network

    network = read_network(resco("cologne1") / "cologne1.net.xml")
    scenario = scenario_of(network, 1, begin_s=BEGIN_S + 60, duration_s=BATCH_S / 2)
    after = []
    for _ in range(BATCH_RUNS):
        connection = started("libsumo", "cologne1")
        with inject(connection, scenario, network=network):
            for _ in range(BATCH_S):
                connection.simulationStep()
        connection.close()
        after.append(resident_mib())
    return {"tenth_mib": after[9], "last_mib": after[-1]}


def bare_batch() -> dict[str, float]:
    """The same without us: what libsumo itself keeps."""
    after = []
    for _ in range(BATCH_RUNS):
        connection = started("libsumo", "cologne1")
        for _ in range(BATCH_S):
            connection.simulationStep()
        connection.close()
        after.append(resident_mib())
    return {"tenth_mib": after[9], "last_mib": after[-1]}


def resident_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def silence() -> dict[str, float]:
    """Messages that cross the socket in a minute without a due event, beyond one for each step."""
    from scenariogen.injection import inject
    from scenariogen.network import read_network

    network = read_network(resco("cologne8") / "cologne8.net.xml")
    scenario = scenario_of(network, 1, begin_s=END_S - 600, duration_s=300)
    connection = started("traci", "cologne8")
    with inject(connection, scenario, network=network):
        connection.simulationStep()
        sent, original = [], connection._sendExact

        def counted(*arguments: Any, **options: Any) -> Any:
            sent.append(time.monotonic())
            return original(*arguments, **options)

        connection._sendExact = counted
        for _ in range(50):
            connection.simulationStep()
        del connection._sendExact
    connection.close()
    return {"messages": len(sent) - 50}


JOBS: dict[str, Callable[..., dict[str, float]]] = {
    "hour": hour,
    "plain": plain_traci_incidents,
    "tud": tud_sumo_incidents,
    "batch": batch,
    "bare_batch": bare_batch,
    "silence": silence,
}
