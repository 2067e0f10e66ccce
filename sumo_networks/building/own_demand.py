"""Does a network carry its own demand? Busy, but without collisions, without locking up, with queues that dissolve."""

import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from sumo_networks.building.demand import Demand
from sumo_networks.building.toolchain import call

MOST_WAITING = 0.01
"""Largest share of the vehicles that may at any time be due but not on the road."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """One run of a network's own demand, teleporting off."""

    vehicles: int
    left_over: int
    most_running: int
    most_waiting: int
    before_end: int
    collisions: int
    teleports: int
    delay_s: float

    @property
    def faults(self) -> list[str]:
        """What is wrong with the run, empty where nothing is."""
        found = []
        if self.left_over:
            found.append(f"{self.left_over} vehicles had not arrived at the end")
        if self.most_waiting > MOST_WAITING * self.vehicles:
            found.append(f"up to {self.most_waiting} vehicles waited to enter")
        if self.before_end > 0.95 * self.most_running:
            found.append(f"{self.before_end} vehicles on the road or waiting as demand ended, as many as ever")
        if self.collisions or self.teleports:
            found.append(f"{self.collisions} collisions, {self.teleports} teleports")
        return found


def simulate(sumocfg: Path, demand: Demand, *, seed: int, scale: float) -> Load:
    """Run a project to its end. ``delay_s`` is SUMO's mean time loss and departure delay per vehicle."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call(
            "sumo",
            *("-c", str(sumocfg.resolve()), "--seed", str(seed), "--scale", str(scale)),
            *("--time-to-teleport", "-1", "--no-step-log", "--duration-log.statistics"),
            *("--summary-output", str(folder / "summary.xml"), "--statistic-output", str(folder / "statistic.xml")),
            folder=folder,
        )
        steps = [
            (float(step.attrib["time"]), int(step.attrib["running"]), int(step.attrib["waiting"]))
            for _, step in ET.iterparse(folder / "summary.xml")
            if step.tag == "step"
        ]
        found = {element.tag: element.attrib for element in ET.parse(folder / "statistic.xml").getroot()}
    trips = found["vehicleTripStatistics"]
    return Load(
        vehicles=int(found["vehicles"]["loaded"]),
        left_over=sum(steps[-1][1:]),
        most_running=max(running for _, running, _ in steps),
        most_waiting=max(waiting for *_, waiting in steps),
        before_end=next(running + waiting for time_s, running, waiting in steps if time_s >= demand.end_s - 1),
        collisions=int(found["safety"]["collisions"]),
        teleports=int(found["teleports"]["total"]),
        delay_s=float(trips["timeLoss"]) + float(trips["departDelay"]),
    )
