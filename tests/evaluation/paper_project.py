"""A project for the dummy simulator, a runner for it, and policies that do every kind of thing."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.run_one import run_task
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.network import Edge, Lane, RoadClass, RoadNetwork
from scenariogen.scenarios.records import Condition, Scenario, ScenarioBatch
from scenariogen.simulation.dummy import DummyEdge, DummyProject, DummySimulator
from scenariogen.window import StudyWindow

WINDOW = StudyWindow(begin_s=0, count_from_s=60, incidents_until_s=600, end_s=900, demand_end_s=900)


def paper_network(path=Path("paper.net.xml")):
    """Two edges, ``a`` with a signal at its end, ``b`` behind it."""

    def edge(name, after):
        lane = Lane(
            id=f"{name}_0", index=0, length_m=300.0, speed_mps=10.0, width_m=3.2, drives=True, shape=((0, 0), (1, 0))
        )
        return Edge(
            id=name, from_junction=f"{name}0", to_junction=f"{name}1", length_m=300.0, speed_mps=10.0,
            road_class=RoadClass.STREET, signalised=name == "a", lanes=(lane,), successors=after,
            predecessors=(), turn_angles=(0.0,) * len(after),
        )  # fmt: skip

    return RoadNetwork(
        path=path,
        sha256="n" * 64,
        edges={"a": edge("a", ("b",)), "b": edge("b", ())},
        lane_links={"a_0": ("b_0",), "b_0": ()},
        signals={"a": ("a_0",)},
    )


@dataclass(frozen=True)
class PaperProject:
    """What ``evaluate`` asks of a project."""

    hash: str = "p" * 64
    name: str = "paper"
    sumocfg: Path = Path("/nowhere/paper.sumocfg")
    step_length_s: float = 1.0
    options: Mapping[str, str] = field(default_factory=dict)
    additional_files: tuple[Path, ...] = ()
    route_files: tuple[Path, ...] = ()

    def network(self):
        return paper_network()


@dataclass(frozen=True)
class PaperRunner:
    """Runs of the dummy simulator; ``slow_s`` makes each take that much longer."""

    slow_s: float = 0.0

    def __call__(self, task: Task) -> RunResult:
        time.sleep(self.slow_s)
        edges = (DummyEdge(id="a", signal=True), DummyEdge(id="b"))
        simulator = DummySimulator(DummyProject(edges=edges, vehicles_per_hour=1000.0))
        return run_task(task, simulator, paper_network(), window=WINDOW)


def paper_incident(start_s=200.0, *, edge="b", duration_s=300.0, capacity_left=0.3):
    return Incident(
        edge=edge, start_s=start_s, position_m=100.0, kind=IncidentKind.CRASH, lanes=(0,), capacity_left=capacity_left,
        detection_s=duration_s / 3, response_s=duration_s / 3, clearance_s=duration_s / 3,
    )  # fmt: skip


def paper_batch(n, *, seed=0):
    """Hand-made scenarios, every third without incident."""
    generator = np.random.default_rng(seed)
    scenarios = tuple(
        Scenario(
            index=i,
            seed=100 + i,
            condition=Condition(demand_scale=math.exp(0.1 * generator.standard_normal())),
            incidents=()
            if i % 3 == 0
            else (
                paper_incident(float(generator.uniform(100, 500)), capacity_left=float(generator.uniform(0.1, 0.6))),
            ),
        )
        for i in range(n)
    )
    return ScenarioBatch(
        project_hash="p" * 64, network_hash="n" * 64, network_name="paper", window=WINDOW, scenarios=scenarios
    )


HEAD = (
    "import os, sys\nfrom scenariogen.simulation.contract import Policy\n\n\nclass Mine(Policy):\n    name = '{name}'\n"
)
STEP = "step(self, run, time_s)"
POLICIES = {
    "calm": {STEP: ["pass"]},
    "green": {"start(self, run)": ["run.signals['a'].set_state('G')"], STEP: ["pass"]},
    "raises": {STEP: ["if time_s > 300:", "    raise KeyError('no such ramp')"]},
    "exits": {STEP: ["if time_s > 300:", "    sys.exit(5)"]},
    "dies": {STEP: ["if time_s > 300:", "    os._exit(9)"]},
    "starts_badly": {"start(self, run)": ["raise OSError('no plan')"], STEP: ["pass"]},
    "ends_badly": {STEP: ["pass"], "finish(self, run)": ["raise OSError('not saved')"]},
    "twice_badly": {STEP: ["raise KeyError('first')"], "finish(self, run)": ["raise OSError('second')"]},
    "wrong_state": {STEP: ["run.signals['a'].set_state('GGGG')"]},
    "watches": {STEP: ["run.signals['a'].set_state('G' if run.detectors.count('a_0') > 2 else 'r')"]},
}


def write_policy(folder: Path, name: str) -> Path:
    path = folder / f"{name}.py"
    methods = POLICIES[name].items()
    bodies = "\n".join(f"    def {head}:\n" + "".join(f"        {line}\n" for line in lines) for head, lines in methods)
    needs = "    needs_detectors = True\n" if name == "watches" else ""
    path.write_text(HEAD.format(name=name) + needs + bodies)
    return path
