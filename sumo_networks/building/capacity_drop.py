"""Does breakdown lower the discharge of the corridor's second merge, and by how much?

Demand rises slowly until a queue forms upstream of the merge and is then held. As the Highway Capacity Manual
(6th edition, chapter 10) defines it, breakdown is a fall of speed to 25 % below free flow that lasts 15 minutes, the
pre-breakdown flow is the mean over the 15 minutes before it, and the queue discharge is the mean while the queue
stands. The drop is the share of the pre-breakdown flow that is lost. Field studies report 3 to 18 % (Chung,
Rudjanakanoknad and Cassidy, Relation between traffic density and capacity drop at three freeway bottlenecks, 2007).
"""

import statistics
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sumo_networks.building import corridor_demand
from sumo_networks.building.toolchain import BuildError, call

WANTED_DROP = (0.05, 0.15)

LEAD_MIN, RISE_MIN, HOLD_MIN, STEP_MIN = 5, 65, 35, 5
MINUTES = LEAD_MIN + RISE_MIN + HOLD_MIN
DEMAND_VPH = {"through": (4100, 5100), "ramp": (850, 1100)}
"""Flows at the start and at the end of the rise. Departures are evenly spaced, so that flow rises smoothly."""
ROUTES = {"through": corridor_demand.MOTORWAY[4:], "ramp": ("on2_a", "on2_b", *corridor_demand.MOTORWAY[8:])}
TRUCK_SHARES = {"through": corridor_demand.THROUGH.truck_share, "ramp": 0.0}
DETECTORS = {"queue": ("mw_08", 850), "discharge": ("mw_10", 600)}
"""Where speed is watched, 50 m upstream of the merge, and where vehicles are counted, 600 m downstream of it."""

BREAKDOWN_SPEED = 0.75
SUSTAINED_MIN = 15
SETTLING_MIN = 5
"""Minutes after breakdown before discharge is counted: the last free vehicles pass while the queue forms."""


@dataclass(frozen=True, kw_only=True)
class Drop:
    """One breakdown: flows past the detector downstream, mean speed in the queue."""

    breakdown_min: int
    before_vph: float
    discharge_vph: float
    discharge_min: int
    queue_speed_mps: float

    @property
    def share(self) -> float:
        """Share of the pre-breakdown flow that is lost."""
        return 1 - self.discharge_vph / self.before_vph


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Mean drop over seeds with its 95 % interval; ``holds`` where all broke down and the interval is as wanted."""

    mean: float
    low: float
    high: float
    broke_down: int
    runs: int

    @property
    def holds(self) -> bool:
        return self.broke_down == self.runs and WANTED_DROP[0] <= self.low and self.high <= WANTED_DROP[1]


def measure(flows_vph: Sequence[float], speeds_mps: Sequence[float]) -> Drop | None:
    """The drop in minute-by-minute downstream flow and upstream speed, None where nothing breaks down.

    Free-flow speed is the median over the first 15 minutes after the lead.
    """
    first = LEAD_MIN + SUSTAINED_MIN
    limit_mps = BREAKDOWN_SPEED * statistics.median(speeds_mps[LEAD_MIN:first])
    for minute in range(first, len(speeds_mps) - SUSTAINED_MIN + 1):
        lasting = statistics.fmean(speeds_mps[minute : minute + SUSTAINED_MIN])
        if speeds_mps[minute] < limit_mps and lasting < limit_mps:
            break
    else:
        return None
    queued = slice(minute + SETTLING_MIN, None)
    return Drop(
        breakdown_min=minute,
        before_vph=statistics.fmean(flows_vph[minute - SUSTAINED_MIN : minute]),
        discharge_vph=statistics.fmean(flows_vph[queued]),
        discharge_min=len(flows_vph[queued]),
        queue_speed_mps=statistics.fmean(speeds_mps[queued]),
    )


def judge(drops: Sequence[Drop | None]) -> Verdict:
    """Mean and Student's 95 % interval of the drop over runs with different seeds, at least two of them."""
    from scipy.stats import t

    shares = [drop.share for drop in drops if drop is not None]
    if len(shares) < 2:
        nan = float("nan")
        return Verdict(mean=nan, low=nan, high=nan, broke_down=len(shares), runs=len(drops))
    mean = statistics.fmean(shares)
    half = float(t.ppf(0.975, len(shares) - 1)) * statistics.stdev(shares) / len(shares) ** 0.5
    return Verdict(mean=mean, low=mean - half, high=mean + half, broke_down=len(shares), runs=len(drops))


def simulate(net: Path, seed: int) -> Drop | None:
    """Simulate one rise of demand over the second merge of the corridor's network."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "demand.rou.xml").write_text(_demand(), encoding="utf-8")
        (folder / "detectors.add.xml").write_text(_detectors(), encoding="utf-8")
        call(
            "sumo",
            *("-n", str(net.resolve()), "-r", "demand.rou.xml", "-a", "detectors.add.xml"),
            *("--end", str(MINUTES * 60), "--step-length", "0.5"),
            *("--time-to-teleport", "-1", "--seed", str(seed), "--no-step-log", "--duration-log.disable"),
            folder=folder,
        )
        return measure(*_read(folder / "detected.xml"))


def _demand() -> str:
    lines = ["<routes>", corridor_demand.VEHICLE_TYPES]
    lines += [f'<route id="{name}" edges="{" ".join(edges)}"/>' for name, edges in ROUTES.items()]
    for minute in range(0, MINUTES, STEP_MIN):
        risen = min(max(minute - LEAD_MIN, 0) / RISE_MIN, 1)
        for route, (low, high) in DEMAND_VPH.items():
            for kind, share in (("car", 1 - TRUCK_SHARES[route]), ("truck", TRUCK_SHARES[route])):
                if not share:
                    continue
                lines.append(
                    f'<flow id="{route}_{kind}_{minute}" type="{kind}" route="{route}" begin="{minute * 60}" '
                    f'end="{(minute + STEP_MIN) * 60}" vehsPerHour="{share * (low + risen * (high - low)):.1f}" '
                    f'departLane="best" departSpeed="last"/>'
                )
    return "\n".join([*lines, "</routes>"])


def _detectors() -> str:
    loops = [
        f'<inductionLoop id="{name}_{lane}" lane="{edge}_{lane}" pos="{position_m}" period="60" file="detected.xml"/>'
        for name, (edge, position_m) in DETECTORS.items()
        for lane in range(3)
    ]
    return "\n".join(["<additional>", *loops, "</additional>"])


def _read(path: Path) -> tuple[list[float], list[float]]:
    """Downstream flow (veh/h) and upstream mean speed (m/s) by minute; an empty minute has the speed before it."""
    counts, metres = {name: [0] * MINUTES for name in DETECTORS}, [0.0] * MINUTES
    intervals = ET.parse(path).getroot()
    if len(intervals) < 3 * len(DETECTORS) * MINUTES:  # SUMO that is asked to terminate ends early, without an error
        raise BuildError(f"sumo was stopped before its end: {len(intervals)} detector readings in {path.name}")
    for interval in intervals:
        name, minute = interval.attrib["id"].rsplit("_", 1)[0], round(float(interval.attrib["begin"]) / 60)
        number = int(interval.attrib["nVehContrib"])
        counts[name][minute] += number
        if name == "queue" and number:
            metres[minute] += number * float(interval.attrib["speed"])
    speeds: list[float] = []
    for number, total in zip(counts["queue"], metres, strict=True):
        speeds.append(total / number if number else (speeds[-1] if speeds else 0.0))
    return [60.0 * number for number in counts["discharge"]], speeds
