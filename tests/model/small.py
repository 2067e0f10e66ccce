"""A two-edge network made by hand, and a model on it, for tests that know the truth."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from scenariogen.incidents.exposure import Exposure
from scenariogen.incidents.records import OBSERVED_COLUMNS
from scenariogen.model.fit import FitSettings, fit_model
from scenariogen.model.scenario_model import ScenarioModel
from scenariogen.network import Edge, Lane, RoadClass, RoadNetwork
from scenariogen.window import StudyWindow

WINDOW = StudyWindow(begin_s=0.0, count_from_s=600.0, incidents_until_s=3300.0, end_s=6000.0, demand_end_s=6000.0)
QUICK = FitSettings(rate_steps=20, rate_check_every=10, folds=2, mark_steps=30, prior_draws=200)


def edge(name: str, lanes: int, length_m: float, road_class: RoadClass, **neighbours) -> Edge:
    shape = ((0.0, 0.0), (length_m, 0.0))
    return Edge(
        id=name,
        from_junction=f"{name}_from",
        to_junction=f"{name}_to",
        length_m=length_m,
        speed_mps=30.0 if road_class is RoadClass.MOTORWAY else 13.9,
        road_class=road_class,
        signalised=False,
        lanes=tuple(
            Lane(
                id=f"{name}_{index}",
                index=index,
                length_m=length_m,
                speed_mps=30.0,
                width_m=3.2,
                drives=True,
                shape=shape,
            )
            for index in range(lanes)
        ),
        successors=neighbours.get("successors", ()),
        predecessors=neighbours.get("predecessors", ()),
        turn_angles=tuple(0.1 for _ in neighbours.get("successors", ())),
    )


def two_edges() -> RoadNetwork:
    first = edge("first", 3, 800.0, RoadClass.MOTORWAY, successors=("second",))
    second = edge("second", 1, 300.0, RoadClass.STREET, predecessors=("first",))
    return RoadNetwork(
        path=Path("two_edges.net.xml"),
        sha256="0" * 64,
        edges={"first": first, "second": second},
        lane_links={},
        signals={},
    )


def no_incidents() -> pd.DataFrame:
    return pd.DataFrame({name: [] for name in OBSERVED_COLUMNS})


def exposure_of(network: RoadNetwork, *, kilometres: float = 4e4, cells: int = 3) -> Exposure:
    per_cell = np.outer(np.arange(1, len(network.edges) + 1), np.linspace(1.0, 2.0, cells)) * kilometres
    return Exposure(
        edge_ids=network.edge_ids,
        cell_edges_s=np.linspace(WINDOW.count_from_s, WINDOW.incidents_until_s, cells + 1),
        vehicle_km=per_cell,
        standard_error=np.zeros_like(per_cell),
        days=(0,),
        day_totals_km=np.array([per_cell.sum()]),
    )


@cache
def small_model() -> ScenarioModel:
    """About three incidents a run, from the priors alone."""
    network = two_edges()
    return fit_model(no_incidents(), exposure_of(network), network, WINDOW, days=1, seed=1, settings=QUICK)
