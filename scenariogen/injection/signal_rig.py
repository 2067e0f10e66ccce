"""A signalised approach that capacity at the stop line is measured on: a lane blocked some way before the signal.

A signal serves a queue in bursts. Between a blockage and the stop line vehicles spread over all lanes again, so that
what a blockage costs depends on how many of them fit in there and on the green time, and is less than on a road
without signals; right at the line it is the lost lane. What is left is counted behind the junction over whole cycles,
as a share of the same approach without incident.
"""

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from scenariogen.errors import SimulationError
from scenariogen.incidents.capacity_tables import CapacityTable, shipped_table
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.injection.attach import Injection
from scenariogen.injection.rig import (
    FLOW_PER_LANE_VEH_H,
    NOMINAL_LIMIT_MPS,
    SATURATED_ENTRIES,
    SUMO_OPTIONS,
    build_network,
    flows_xml,
    traffic_options,
)
from scenariogen.injection.vehicle_mix import DEFAULT_TRAFFIC, Traffic
from scenariogen.injection.warned import untold
from scenariogen.network import RoadClass, read_network
from scenariogen.scenarios.records import Drivers, Scenario

CYCLE_S, GREEN_S, YELLOW_S = 90, 42, 3
APPROACH_M, EXIT_M = 600.0, 200.0
SETTLE_CYCLES, COUNTED_CYCLES = 3, 20
DISTANCES_M = (16.0, 66.0, 166.0)


@dataclass(frozen=True, kw_only=True)
class StopLineLoss:
    """What is left at a stop line with lanes blocked ``before_m`` metres upstream of it.

    ``asked``     share asked of the cross-section at the blockage; None: the blocking vehicles alone, nobody slowed
    ``measured``  share of the approach's own discharge, with ``standard_error`` between cycles
    """

    lanes: int
    blocked: int
    before_m: float
    asked: float | None
    measured: float
    standard_error: float


class SignalRig:
    """An approach of ``lanes`` lanes to a signal with half of the cycle green, always queued. A context manager."""

    def __init__(self, lanes: int, traffic: Traffic = DEFAULT_TRAFFIC) -> None:
        self.lanes = lanes
        self.traffic = traffic
        self.limit_mps = NOMINAL_LIMIT_MPS[RoadClass.STREET]

    def __enter__(self) -> "SignalRig":
        self._folder = tempfile.TemporaryDirectory(prefix="scenariogen-signal-")
        folder = Path(self._folder.name)
        try:
            network_file = _build(folder, self.lanes, self.limit_mps)
            self._programme = folder / "signal.add.xml"
            self._programme.write_text(_programme(network_file), encoding="utf-8")
            self._routes = folder / "demand.rou.xml"
            self._routes.write_text(
                flows_xml("approach exit", self.lanes, FLOW_PER_LANE_VEH_H, SATURATED_ENTRIES, self.traffic),
                encoding="utf-8",
            )
            self.network = read_network(network_file)
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def length_m(self) -> float:
        """Of the approach, up to the stop line."""
        return self.network.edges["approach"].length_m

    def per_cycle(
        self, blocked: Sequence[int], before_m: float, speed_mps: float = float("inf"), *, seed: int
    ) -> np.ndarray:
        """Vehicles past the signal in each cycle; nothing stands in the way where ``blocked`` is empty."""
        import libsumo

        files = ["-n", str(self.network.path), "-r", str(self._routes), "-a", str(self._programme)]
        libsumo.start(["sumo", *files, "--seed", str(seed), *SUMO_OPTIONS, *traffic_options(self.traffic)])
        try:
            scenario = Scenario(
                index=0,
                seed=seed,
                incidents=(self._incident(tuple(blocked), before_m),) if blocked else (),
                drivers=Drivers(reroute_share=0.0),
            )
            speed = min(speed_mps, self.limit_mps)
            arrived = []
            asked = Injection(libsumo, scenario, network=self.network, passing_speed=lambda incident, edge: speed)
            with ExitStack() as stack:
                with untold("max-depart-delay"):
                    injection = stack.enter_context(asked)
                for _ in range(round((SETTLE_CYCLES + COUNTED_CYCLES) * CYCLE_S / self.traffic.step_s)):
                    libsumo.simulationStep()
                    arrived.append(sum(v.startswith("entry") for v in libsumo.simulation.getArrivedIDList()))
                if failed := [str(report) for report in injection.report() if not report.realised]:
                    raise SimulationError(*failed, title="the signal rig's incident did not stand")
        finally:
            libsumo.close()
        steps = round(CYCLE_S / self.traffic.step_s)
        return np.array(arrived).reshape(-1, steps).sum(axis=1)[SETTLE_CYCLES:]

    def _incident(self, lanes: tuple[int, ...], before_m: float) -> Incident:
        return Incident(
            edge="approach",
            start_s=1.0,
            position_m=self.length_m - before_m,
            kind=IncidentKind.OBSTRUCTION,
            lanes=lanes,
            capacity_left=0.5,  # not looked at: the speed is given
            detection_s=0.0,
            response_s=0.0,
            clearance_s=float((SETTLE_CYCLES + COUNTED_CYCLES) * CYCLE_S),
        )


def stop_line_losses(
    *,
    seeds: Iterable[int],
    lanes: Sequence[int] = (2, 3),
    distances_m: Sequence[float] = DISTANCES_M,
    table: CapacityTable | None = None,
    traffic: Traffic = DEFAULT_TRAFFIC,
) -> list[StopLineLoss]:
    """One lane blocked at some distances before the line: by vehicles alone, and with the middle of the range asked.

    Streets of so many lanes as the table does not hold are left out.
    """
    seeds, table, found = tuple(seeds), table or shipped_table(), []
    for count in lanes:
        if not table.holds(RoadClass.STREET, count, 1):
            continue
        low, high = table.reachable(RoadClass.STREET, count, 1)
        asked = round((low + high) / 2, 4)
        speed = table.stretch_speed_mps(RoadClass.STREET, count, 1, asked, NOMINAL_LIMIT_MPS[RoadClass.STREET])
        with SignalRig(count, traffic) as rig:
            free = np.concatenate([rig.per_cycle((), 0.0, seed=seed) for seed in seeds])
            for before_m in distances_m:
                for share, speed_mps in ((None, float("inf")), (asked, speed)):
                    left = np.concatenate([rig.per_cycle((0,), before_m, speed_mps, seed=seed) for seed in seeds])
                    found.append(
                        StopLineLoss(
                            lanes=count,
                            blocked=1,
                            before_m=before_m,
                            asked=share,
                            measured=float(left.mean() / free.mean()),
                            standard_error=_error(left, free),
                        )
                    )
    return found


def record_of(found: Iterable[StopLineLoss]) -> list[dict]:
    """As the table's file keeps them, under ``stop_line``."""
    return [
        asdict(each) | {"measured": round(each.measured, 4), "standard_error": round(each.standard_error, 4)}
        for each in found
    ]


def _error(left: np.ndarray, free: np.ndarray) -> float:
    """Standard error of the ratio of two means, to first order."""
    share = left.mean() / free.mean()
    relative = [each.std(ddof=1) / np.sqrt(each.size) / max(each.mean(), 1e-9) for each in (left, free)]
    return float(share * np.hypot(*relative))


def _build(folder: Path, lanes: int, limit_mps: float) -> Path:
    """The approach, its exit, and a street that crosses them."""
    ends = {"west": (-APPROACH_M, 0), "east": (EXIT_M, 0), "south": (0, -200), "north": (0, 200)}
    nodes = '<node id="middle" x="0" y="0" type="traffic_light"/>' + "".join(
        f'<node id="{name}" x="{x}" y="{y}"/>' for name, (x, y) in ends.items()
    )
    edges = "".join(
        f'<edge id="{name}" from="{start}" to="{end}" numLanes="{count}" speed="{limit_mps:.4f}"/>'
        for name, start, end, count in (
            ("approach", "west", "middle", lanes),
            ("exit", "middle", "east", lanes),
            ("cross", "south", "middle", 1),
            ("away", "middle", "north", 1),
        )
    )
    return build_network(folder, nodes, edges)


def _programme(network_file: Path) -> str:
    """Fixed times: the approach green for a little less than half of the cycle, then the other street."""
    import sumolib

    net = sumolib.net.readNet(str(network_file), withPrograms=True)
    (light,) = net.getTrafficLights()
    links = {index: start.getEdge().getID() for start, _, index in light.getConnections()}
    size = max(links) + 1
    rest_s = CYCLE_S - GREEN_S - 2 * YELLOW_S

    def state(edge: str, mark: str) -> str:
        return "".join(mark if links.get(index) == edge else "r" for index in range(size))

    phases = "".join(
        f'<phase duration="{seconds}" state="{text}"/>'
        for seconds, text in (
            (GREEN_S, state("approach", "G")),
            (YELLOW_S, state("approach", "y")),
            (rest_s, state("cross", "G")),
            (YELLOW_S, state("cross", "y")),
        )
    )
    head = f'<tlLogic id="{light.getID()}" type="static" programID="rig" offset="0">'
    return f"<additional>{head}{phases}</tlLogic></additional>"
