"""Where a control room's measuring stations stand, and what they say as cells that detection takes.

One station in the middle of each stretch of about 500 m (the usual spacing of loops on motorways), on all edges of main
roads that are at least 100 m long: motorways, ramps, and streets of two lanes and more or with a limit of 50 km/h and
more. What lies between, nobody sees.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.incidents.from_fields_cells import Cells, cells_of_measures, cut_edges
from scenariogen.network import Edge, RoadClass
from scenariogen.simulation.stations import INTERVAL_S, Measures, Station

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

STRETCH_M = 500.0
LEAST_EDGE_M = 100.0
MAIN_MPS = 50 / 3.6
MAIN_LANES = 2
USUAL_VEHICLE_M = 5.0
"""Length of a vehicle where too few passed to tell; SUMO's passenger car."""
LEAST_PASSED = 50
LIKELY_VEHICLE_M = (3.0, 15.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stationing:
    """Stations and the cells (stretches of edges) that they speak for.

    ``cells``  (station,) number of each station's cell
    ``count``  number of cells of the network
    """

    stations: tuple[Station, ...]
    cells: np.ndarray = field(repr=False)
    count: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Traffic:
    """What stations measured in days: (day, station, interval), not a number where nothing was measured.

    ``flow_veh_h``     vehicles an hour, all lanes
    ``density_veh_m``  vehicles per metre of road, all lanes
    """

    flow_veh_h: np.ndarray
    density_veh_m: np.ndarray


def main_road(edge: Edge) -> bool:
    """Whether a control room would watch it."""
    if edge.length_m < LEAST_EDGE_M or not edge.driving_lanes:
        return False
    if edge.road_class is not RoadClass.STREET:
        return True
    return len(edge.driving_lanes) >= MAIN_LANES or edge.speed_mps >= MAIN_MPS - 0.01


def stationing(network: "RoadNetwork") -> Stationing:
    """The stations of a network; none where it has no main road."""
    cut = cut_edges(network, STRETCH_M)
    edges = [network.edges[name] for name in network.edge_ids]
    stations, cells = [], []
    for cell, number in enumerate(cut["edge"]):
        edge = edges[number]
        if main_road(edge):
            lanes = tuple(lane.id for lane in edge.lanes if lane.drives)
            middle_m = float(cut["from_m"][cell] + cut["to_m"][cell]) / 2
            stations.append(Station(lanes=lanes, position_m=round(middle_m, 2)))
            cells.append(cell)
    return Stationing(stations=tuple(stations), cells=np.array(cells, dtype=int), count=len(cut["edge"]))


def vehicle_length_m(days: list[list[Measures]]) -> float:
    """Mean length of the vehicles that passed loops: share of time covered, times speed, over the count."""
    covered_m = passed = 0.0
    for day in days:
        for each in day:
            moving = np.nan_to_num(each.passing_mps) > MAIN_MPS / 2  # in a queue speed changes while a loop is covered
            covered_m += float((each.covered * each.passing_mps)[moving].sum()) * INTERVAL_S
            passed += float(each.vehicles[moving].sum())
    return float(np.clip(covered_m / passed, *LIKELY_VEHICLE_M)) if passed >= LEAST_PASSED else USUAL_VEHICLE_M


def traffic_of(days: list[list[Measures]], vehicle_m: float) -> Traffic:
    """Flow and density of days with the same number of intervals."""
    vehicles = np.array([[each.vehicles for each in day] for day in days]).transpose(0, 2, 1)
    covered = np.array([[each.covered for each in day] for day in days]).transpose(0, 2, 1)
    return Traffic(flow_veh_h=vehicles * 3600 / INTERVAL_S, density_veh_m=covered / vehicle_m)


def empty_cells(network: "RoadNetwork", *, days: int, intervals: int, begin_s: float) -> Cells:
    """Cells of the whole network in which nothing is known yet; ``begin_s``: second at which interval 0 begins."""
    cut = cut_edges(network, STRETCH_M)
    vehicles, flow = np.full((2, days, len(cut["edge"]), intervals), np.nan)
    return cells_of_measures(
        network, cut, days=tuple(range(days)), begin_s=begin_s, cell_s=INTERVAL_S, vehicles=vehicles, flow_veh_h=flow
    )


def fill(cells: Cells, where: Stationing, traffic: Traffic, *, day: int = 0, interval: int = 0) -> None:
    """Write what stations measured into cells, from a day and an interval on. Intervals past the last are left out."""
    days, _, intervals = traffic.flow_veh_h.shape
    intervals = min(intervals, cells.vehicles.shape[2] - interval)
    length_m = cells.length_m[where.cells][:, None]
    place = np.ix_(np.arange(day, day + days), np.asarray(where.cells), np.arange(interval, interval + intervals))
    cells.vehicles[place] = traffic.density_veh_m[..., :intervals] * length_m
    cells.flow_veh_h[place] = traffic.flow_veh_h[..., :intervals]
