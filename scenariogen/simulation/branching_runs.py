"""Runs that save a state, go on from it, or go through; and what follows after its second.

Each is a process of ``sumo``. Through libsumo, in a process that has simulated before and in its forks, a state brings
other random numbers back than were saved (measured with SUMO 1.28; a state holds how many were drawn, and that count
seems to go on from simulation to simulation).
"""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scenariogen.errors import SimulationError
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.launch import SUMO_ERRORS, close_traci, start_traci
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.staging import Staging, messages
from scenariogen.window import StudyWindow

EDGES_EVERY_S = 60.0
STATE_PRECISION = "16"
"""Decimals in a state: with SUMO's default of 2 the very next second differs."""


@dataclass(frozen=True)
class Followed:
    """What followed after the state's second: vehicle-hours, arrivals, mean vehicles by edge."""

    veh_h: float
    arrivals: int
    edges: np.ndarray


def follow_one_seed(
    project: SumoProject, window: StudyWindow, at_s: float, folder: Path, seed: int, other: int
) -> tuple[Followed, Followed | str, Followed | str]:
    """Through, branched with the random numbers, branched under another seed.

    A state that SUMO does not take gives its words instead.
    """
    own = folder / str(seed)
    with_rng, without = own / "with.xml.gz", own / "without.xml.gz"
    run = partial(_run, project, window, at_s)
    through = run(own / "through", seed, saving(at_s, with_rng, rng=True), window.end_s)
    run(own / "saving", seed, saving(at_s, without, rng=False), at_s + 2 * project.step_length_s)
    branches: list[Followed | str] = []
    for name, number, state in (("kept", seed, with_rng), ("other", other, without)):
        try:
            branches.append(run(own / name, number, loading(at_s, state), window.end_s))
        except SimulationError as error:
            branches.append(" ".join(error.text().split()))
    shutil.rmtree(own, ignore_errors=True)
    return through, branches[0], branches[1]


def saving(at_s: float, state: Path, *, rng: bool) -> dict[str, str]:
    """SUMO's options to save a state at a second, all that it can save."""
    return {
        "save-state.times": f"{at_s:.3f}",
        "save-state.files": str(state),
        "save-state.precision": STATE_PRECISION,
        "save-state.rng": "true" if rng else "false",
    }


def loading(at_s: float, state: Path) -> dict[str, str]:
    """SUMO's options to go on from a state."""
    return {"load-state": str(state), "begin": f"{at_s:.3f}"}


def _run(
    project: SumoProject,
    window: StudyWindow,
    at_s: float,
    folder: Path,
    seed: int,
    options: dict[str, str],
    until_s: float,
) -> Followed:
    staging = Staging(project, folder.parent, project_outputs=False)
    request = RunRequest(window=window, seed=seed, folder=folder, options=options)
    sumo, process = start_traci(staging.write(request), False)
    try:
        return _followed(sumo, project, at_s, until_s)
    except Exception as error:
        if type(error).__name__ not in SUMO_ERRORS:
            raise
        raise SimulationError(*(messages(folder) or [str(error)]), title="SUMO died") from error
    finally:
        close_traci(sumo, process)


def _followed(sumo: Any, project: SumoProject, at_s: float, until_s: float) -> Followed:
    """Step to the end, measuring after the state's second."""
    edges = project.network().edge_ids
    step_s = project.step_length_s
    every = max(round(EDGES_EVERY_S / step_s), 1)
    present = arrivals = looks = 0
    counts = np.zeros(len(edges))
    now_s = sumo.simulation.getTime()
    if now_s < at_s - step_s * 1e-3:
        sumo.simulationStep(at_s)
        now_s = at_s
    for steps in range(1, round((until_s - now_s) / step_s) + 1):
        sumo.simulationStep()
        present += sumo.vehicle.getIDCount() + len(sumo.simulation.getPendingVehicles())
        arrivals += sumo.simulation.getArrivedNumber()
        if steps % every == 0:
            looks += 1
            counts += [sumo.edge.getLastStepVehicleNumber(edge) for edge in edges]
    return Followed(veh_h=present * step_s / 3600, arrivals=arrivals, edges=counts / max(looks, 1))
