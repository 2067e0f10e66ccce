"""The automatic rig that capacity is calibrated on: a straight saturated road, incidents on it, vehicles counted.

Discharge is counted behind the incident, in minutes, as a share of what the same road discharges without one. All
of a cross-section's speeds are measured in one run, each as an incident of its own that follows the one before, by
the injection itself: what is calibrated is what later runs do.
"""

import math
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenariogen.errors import SimulationError
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.injection.attach import Injection
from scenariogen.injection.vehicle_mix import DEFAULT_TRAFFIC, Traffic
from scenariogen.injection.warned import untold
from scenariogen.network import RoadClass, RoadNetwork, read_network
from scenariogen.scenarios.records import Drivers, Scenario

UPSTREAM_M, MIDDLE_M, DOWNSTREAM_M = 700.0, 500.0, 500.0
POSITION_M = 300.0
"""The blockage on the middle edge: the stretch before it lies on one edge."""
FLOW_PER_LANE_VEH_H = 2700.0
"""More than any lane takes: what cannot enter is discarded after 20 s."""
SATURATED_ENTRIES = ('departPos="last" departSpeed="avg" insertionChecks="collision leaderGap"',)
"""Fed so, a road without incident discharges what a dissolving queue does (3 lanes at 110 km/h: 2,260-2,280 veh/h
each). SUMO's full insertion checks ask models with weak brakes for gaps that they do not keep while driving: with EIDM
cars at 2 m/s² only 680 veh/h a lane would enter, against 1,980 so."""
SETTLE_S = 180.0
LEVEL_S = 660.0
BATCH_S = 60.0
SUMO_OPTIONS = (
    *("--no-step-log", "--no-warnings", "--time-to-teleport", "-1", "--collision.action", "warn"),
    *("--max-depart-delay", "20", "--xml-validation", "never"),
)
NOMINAL_LIMIT_MPS = {RoadClass.MOTORWAY: 110 / 3.6, RoadClass.RAMP: 80 / 3.6, RoadClass.STREET: 50 / 3.6}
"""The speed limit at which each road class is measured."""


@dataclass(frozen=True, kw_only=True)
class Discharge:
    """Vehicles an hour past the cross-section, over minutes of saturated traffic."""

    veh_h: float
    standard_error: float
    minutes: int


class Rig:
    """A straight road of ``lanes`` lanes at a limit with somebody's traffic, in a temporary folder. A context manager.

    All measurements take a SUMO seed; the same seed gives the same numbers.
    """

    def __init__(self, lanes: int, limit_mps: float, traffic: Traffic = DEFAULT_TRAFFIC) -> None:
        self.lanes = lanes
        self.limit_mps = limit_mps
        self.traffic = traffic

    def __enter__(self) -> "Rig":
        self._folder = tempfile.TemporaryDirectory(prefix="scenariogen-rig-")
        folder = Path(self._folder.name)
        try:
            self.network_file = build_road(folder, lanes=self.lanes, limit_mps=self.limit_mps)
            self.network: RoadNetwork = read_network(self.network_file)
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def free_discharge(self, *, seed: int) -> np.ndarray:
        """Vehicles in each minute without an incident."""
        return self._minutes([], seconds=LEVEL_S, seed=seed)[0]

    def discharge(self, blocked: Sequence[int], speeds_mps: Sequence[float], *, seed: int) -> list[np.ndarray]:
        """Vehicles in each minute at each stretch speed (infinite: no stretch), with lanes blocked, or none."""
        return self._minutes([(tuple(blocked), speed) for speed in speeds_mps], seconds=LEVEL_S, seed=seed)

    def delay_s(self, blocked: Sequence[int], speed_mps: float, flow_veh_h: float, *, seed: int) -> float:
        """Mean added seconds per vehicle at a flow that does not queue, against the same flow without incident."""
        with_incident = self._mean_travel_s([(tuple(blocked), speed_mps)], flow_veh_h, seed)
        return with_incident - self._mean_travel_s([], flow_veh_h, seed)

    def _minutes(self, levels: list[tuple[tuple[int, ...], float]], *, seconds: float, seed: int) -> list[np.ndarray]:
        import libsumo

        counts: list[np.ndarray] = []
        with self._running(FLOW_PER_LANE_VEH_H * self.lanes, levels, seconds, seed):
            for _ in range(max(1, len(levels))):
                arrived = []
                for _ in range(round(seconds / self.traffic.step_s)):
                    libsumo.simulationStep()
                    arrived.append(libsumo.simulation.getArrivedNumber())
                counts.append(in_batches(arrived, self.traffic.step_s))
        return counts

    def _mean_travel_s(self, levels: list[tuple[tuple[int, ...], float]], flow_veh_h: float, seed: int) -> float:
        import libsumo

        seconds, entered, spent = 1500.0, {}, []
        with self._running(flow_veh_h, levels, seconds, seed):
            for step in range(round(seconds / self.traffic.step_s)):
                libsumo.simulationStep()
                now_s = step * self.traffic.step_s
                entered |= dict.fromkeys(libsumo.simulation.getDepartedIDList(), now_s)
                for vehicle in libsumo.simulation.getArrivedIDList():
                    if vehicle in entered and now_s >= SETTLE_S:
                        spent.append(now_s - entered[vehicle])
        return float(np.mean(spent))

    def _running(self, flow_veh_h: float, levels: list, seconds: float, seed: int) -> "_Saturated":
        return _Saturated(self, flow_veh_h, levels, seconds, seed)


class _Saturated:
    """A libsumo run of the rig with one incident after the other, ended whatever happens."""

    def __init__(self, rig: Rig, flow_veh_h: float, levels: list, seconds: float, seed: int) -> None:
        self._rig, self._flow_veh_h, self._levels = rig, flow_veh_h, levels
        self._seconds, self._seed = seconds, seed

    def __enter__(self) -> None:
        import libsumo

        saturated = self._flow_veh_h >= FLOW_PER_LANE_VEH_H * self._rig.lanes
        routes = self._rig.network_file.with_name("demand.rou.xml")
        demand = _demand(self._rig.lanes, self._flow_veh_h, saturated, self._rig.traffic)
        routes.write_text(demand, encoding="utf-8")
        files = ["-n", str(self._rig.network_file), "-r", str(routes)]
        libsumo.start(["sumo", *files, "--seed", str(self._seed), *SUMO_OPTIONS, *traffic_options(self._rig.traffic)])
        try:
            speeds = {number: speed for number, (_, speed) in enumerate(self._levels)}
            incidents = tuple(self._incident(n, lanes) for n, (lanes, _) in enumerate(self._levels))
            starts = {incident.start_s: number for number, incident in enumerate(incidents)}
            self._injection = Injection(
                libsumo,
                Scenario(index=0, seed=self._seed, incidents=incidents, drivers=Drivers(reroute_share=0.0)),
                network=self._rig.network,
                passing_speed=lambda incident, edge: min(speeds[starts[incident.start_s]], self._rig.limit_mps),
            )
            with untold("max-depart-delay"):
                self._injection.__enter__()
        except BaseException:
            libsumo.close()
            raise

    def __exit__(self, *_: object) -> None:
        import libsumo

        try:
            self._injection.finish()
            failed = [str(report) for report in self._injection.report() if not report.realised]
            if failed:
                raise SimulationError(*failed, title="the rig's incidents did not stand")
        finally:
            libsumo.close()

    def _incident(self, number: int, lanes: tuple[int, ...]) -> Incident:
        closed = len(lanes) == self._rig.lanes >= 2
        return Incident(
            edge="middle",
            start_s=number * self._seconds,
            position_m=POSITION_M,
            kind=IncidentKind.OBSTRUCTION,
            lanes=lanes,
            capacity_left=0.0 if closed else 0.5,  # not looked at: the speed is given
            detection_s=0.0,
            response_s=0.0,
            clearance_s=self._seconds,
        )


def build_road(folder: Path, *, lanes: int, limit_mps: float) -> Path:
    """A straight road of three edges: before, middle, after."""
    at = [0.0, UPSTREAM_M, UPSTREAM_M + MIDDLE_M, UPSTREAM_M + MIDDLE_M + DOWNSTREAM_M]
    nodes = "".join(f'<node id="n{i}" x="{x}" y="0"/>' for i, x in enumerate(at))
    edges = "".join(
        f'<edge id="{name}" from="n{i}" to="n{i + 1}" numLanes="{lanes}" speed="{limit_mps:.4f}"/>'
        for i, name in enumerate(("before", "middle", "after"))
    )
    return build_network(folder, nodes, edges)


def build_network(folder: Path, nodes: str, edges: str, *options: str) -> Path:
    """A network from the XML elements of its nodes and edges, by SUMO's own netconvert with these options."""
    from sumo import SUMO_HOME

    (folder / "road.nod.xml").write_text(f"<nodes>{nodes}</nodes>", encoding="utf-8")
    (folder / "road.edg.xml").write_text(f"<edges>{edges}</edges>", encoding="utf-8")
    network = folder / "road.net.xml"
    command = [str(Path(SUMO_HOME) / "bin" / "netconvert"), "-n", "road.nod.xml", "-e", "road.edg.xml"]
    done = subprocess.run(
        [*command, "-o", network.name, "--no-warnings", "--xml-validation", "never", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not network.is_file():
        raise SimulationError(f"netconvert could not build the rig's road: {done.stderr.strip()}")
    return network


def _demand(lanes: int, flow_veh_h: float, saturated: bool, traffic: Traffic) -> str:
    entries = SATURATED_ENTRIES if saturated else ('departPos="base" departSpeed="desired"',)
    return flows_xml("before middle after", lanes, flow_veh_h / lanes, entries, traffic)


def flows_xml(edges: str, lanes: int, per_lane_veh_h: float, entries: Sequence[str], traffic: Traffic) -> str:
    """A route file with one route and one flow a lane and entry; ``entries`` are attributes of how vehicles enter."""
    types, kind = mix_xml(traffic)
    flows = "".join(
        f'<flow id="entry{n}.{lane}" route="all" begin="0" end="1000000" vehsPerHour="{per_lane_veh_h}" '
        f'departLane="{lane}" {kind}{entry}/>'
        for n, entry in enumerate(entries)
        for lane in range(lanes)
    )
    return f'<routes>{types}<route id="all" edges="{edges}"/>{flows}</routes>'


def mix_xml(traffic: Traffic) -> tuple[str, str]:
    """The definition of a traffic's vehicle types, and the attribute by which a flow takes them; empty for default."""
    if traffic.types == DEFAULT_TRAFFIC.types:
        return "", ""
    return traffic.xml("mix"), 'type="mix" '


def traffic_options(traffic: Traffic) -> list[str]:
    """SUMO options of a traffic: step length and what else changes how vehicles drive."""
    options = {"step-length": f"{traffic.step_s:g}"} | dict(traffic.options)
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def in_batches(arrived: Sequence[int], step_s: float) -> np.ndarray:
    """Vehicles per step to vehicles per minute, without the time in which the queue settles."""
    settled = np.array(arrived[round(SETTLE_S / step_s) :])
    steps = round(BATCH_S / step_s)
    return settled[: len(settled) // steps * steps].reshape(-1, steps).sum(axis=1)


def summarise(minutes: Sequence[np.ndarray]) -> Discharge:
    """Mean discharge over the minutes of several runs, with its standard error between minutes."""
    counts = np.concatenate(minutes)
    per_hour = 3600.0 / BATCH_S
    error = float(counts.std(ddof=1)) / math.sqrt(counts.size)
    return Discharge(veh_h=float(counts.mean()) * per_hour, standard_error=error * per_hour, minutes=int(counts.size))
