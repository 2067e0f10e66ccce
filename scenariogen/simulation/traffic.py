"""Traffic by edge and time, measured by SUMO itself while a run goes on."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scenariogen.network import Edge, RoadNetwork
from scenariogen.simulation.contract import RunRequest, Signal
from scenariogen.simulation.isolation import in_own_process
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.staging import EDGE_DATA, EDGE_DATA_COUNTS
from scenariogen.simulation.sumo import SumoSimulator
from scenariogen.simulation.xmlfiles import children
from scenariogen.window import StudyWindow

CELL_S = 300.0


def cells(window: StudyWindow, cell_s: float = CELL_S) -> int:
    """Time cells from the first simulated second to the end; the last may be shorter."""
    return math.ceil((window.end_s - window.begin_s) / cell_s - 1e-9)


def read_vehicle_km(
    folder: Path, network: RoadNetwork, window: StudyWindow, *, cell_s: float = CELL_S
) -> dict[str, np.ndarray]:
    """Vehicle-kilometres by edge id, shape ``(cell,)``, of a closed run that wrote its edge data.

    The edge's length times the mean of vehicles in and vehicles out: SUMO's own distance also counts the metres
    that a vehicle's tail spends on the edge behind, much on short edges.
    """
    found: dict[str, np.ndarray] = {}
    for _, interval in children(folder / EDGE_DATA):
        cell = round((float(interval.get("begin", 0)) - window.begin_s) / cell_s)
        for counted in interval.findall("edge"):
            edge = network.edges.get(counted.get("id", ""))
            if edge is None or not 0 <= cell < cells(window, cell_s):
                continue
            passages = sum(float(counted.get(name, 0)) for name in EDGE_DATA_COUNTS) / 2
            row = found.setdefault(edge.id, np.zeros(cells(window, cell_s)))
            row[cell] += passages * edge.length_m / 1000
    return {edge: row for edge, row in found.items() if row.any()}


def edge_vehicle_km(
    project: SumoProject,
    window: StudyWindow,
    *,
    seed: int,
    folder: Path,
    demand_scale: float = 1.0,
    work_folder: Path | None = None,
    cell_s: float = CELL_S,
) -> dict[str, np.ndarray]:
    """Vehicle-kilometres by edge id and time cell, shape ``(cell,)``, of one run without incidents.

    Cells are counted from ``window.begin_s``, warm-up included; edges without traffic are missing. ``folder``
    is the run's own; prepared demand is kept in ``work_folder``. The run is made in a process of its own.
    """
    simulator = SumoSimulator(project, work_folder=work_folder, project_outputs=False)
    request = RunRequest(window=window, seed=seed, folder=folder, demand_scale=demand_scale, edge_data_period_s=cell_s)
    in_own_process(_run_to_the_end, simulator, request)
    return read_vehicle_km(folder, project.network(), window, cell_s=cell_s)


def _run_to_the_end(simulator: SumoSimulator, request: RunRequest) -> None:
    with simulator.open(request) as run:
        while run.time_s < request.window.end_s:
            run.step()


def green_shares(signals: Mapping[str, Signal]) -> dict[str, float]:
    """Share of its cycle that each lane before a signal has green, for its best movement.

    Taken from the programmes' own phase durations; signals that follow traffic may give more or less.
    """
    shares: dict[str, float] = {}
    for light in signals.values():
        cycle_s = sum(duration for _, duration in light.phases)
        if cycle_s <= 0:
            continue
        for position, pairs in enumerate(light.links):
            green_s = sum(d for state, d in light.phases if position < len(state) and state[position] in "Gg")
            for lane, _ in pairs:
                shares[lane] = max(shares.get(lane, 0.0), green_s / cycle_s)
    return shares


def edge_green_share(edge: Edge, lanes: Mapping[str, float]) -> float:
    """Mean green share of an edge's driving lanes; 1 for lanes that no signal holds back."""
    driving = [lane for lane in edge.lanes if lane.drives]
    return float(np.mean([lanes.get(lane.id, 1.0) for lane in driving])) if driving else 0.0


def peak_flow_veh_h(
    network: RoadNetwork, vehicle_km: Mapping[str, np.ndarray], *, cell_s: float = CELL_S, skip: int = 0
) -> dict[str, float]:
    """Highest flow of any time cell by edge id, vehicles an hour; the first ``skip`` cells are left out."""
    flows = {}
    for edge_id, kilometres in vehicle_km.items():
        edge = network.edges.get(edge_id)
        if edge is not None and len(kilometres) > skip and edge.length_m > 0:
            flows[edge_id] = float(kilometres[skip:].max()) * 1000 / edge.length_m * 3600 / cell_s
    return flows
