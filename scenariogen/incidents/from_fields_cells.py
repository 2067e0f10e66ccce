"""Space-time cells of a road network with what traffic does in each: vehicles present and flow, day by day.

A cell is a whole edge where only fields per edge are known, or a stretch of an edge where vehicles were followed. The
values are those of Edie (1963), *Discussion of traffic stream measurements and definitions*. Where only a share of the
vehicles was seen, both are divided by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.errors import DataError
from scenariogen.incidents.from_fields_tables import checked_fields, whole_edges

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

LEAST_COVERAGE = 0.5
"""A time cell of which the recording spans less says too little."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Vehicles and flow in cells; ``D`` days, ``C`` cells, ``S`` time cells.

    ``edge``        (C,) number of the edge
    ``from_m, to_m``  (C,) stretch of the edge
    ``lanes``       (C,) lanes for cars
    ``limit_mps``   (C,) speed limit
    ``after, before``  for each cell the cells that traffic reaches next, and those it comes from; turning
                    back is left out
    ``leaving``     for the last cell of an edge the first cells of all edges that leave the junction at its end
    ``begin_s``     second at which time cell 0 begins
    ``vehicles``    (D, C, S) vehicles present on average, not a number where nothing was recorded
    ``flow_veh_h``  (D, C, S) vehicles an hour
    ``share``       share of vehicles that was seen
    """

    days: tuple[int, ...]
    edge: np.ndarray
    from_m: np.ndarray
    to_m: np.ndarray
    lanes: np.ndarray
    limit_mps: np.ndarray
    after: tuple[tuple[int, ...], ...] = field(repr=False)
    before: tuple[tuple[int, ...], ...] = field(repr=False)
    leaving: tuple[tuple[int, ...], ...] = field(repr=False)
    begin_s: float
    cell_s: float
    vehicles: np.ndarray = field(repr=False)
    flow_veh_h: np.ndarray = field(repr=False)
    share: float = 1.0

    @property
    def length_m(self) -> np.ndarray:
        return self.to_m - self.from_m


def cut_edges(network: "RoadNetwork", stretch_m: float) -> dict[str, np.ndarray]:
    """Stretches of about ``stretch_m`` that every edge is cut into; infinite: whole edges. Columns of :class:`Cells`,
    and ``first``, the number of each edge's first cell, with one entry more than edges."""
    counts = np.array([max(1, round(edge.length_m / stretch_m)) for edge in network.edges.values()], dtype=int)
    lengths = np.array([edge.length_m for edge in network.edges.values()])
    edge = np.repeat(np.arange(len(counts)), counts)
    first = np.r_[0, np.cumsum(counts)]
    within = np.arange(len(edge)) - first[edge]
    step_m = (lengths / counts)[edge]
    lanes = np.array([max(1, len(item.driving_lanes)) for item in network.edges.values()])[edge]
    limit = np.array([item.speed_mps for item in network.edges.values()])[edge]
    return {
        "edge": edge,
        "from_m": within * step_m,
        "to_m": (within + 1) * step_m,
        "lanes": lanes,
        "limit_mps": limit,
        "first": first,
    }


def _neighbours(network: "RoadNetwork", cut: dict[str, np.ndarray]) -> dict[str, tuple[tuple[int, ...], ...]]:
    first, count = cut["first"], len(cut["edge"])
    after: list[tuple[int, ...]] = []
    for cell in range(count):
        number = int(cut["edge"][cell])
        if cell + 1 < first[number + 1]:
            after.append((cell + 1,))
        else:
            here = network.edges[network.edge_ids[number]]
            nexts = [name for name in here.successors if name in network.edge_index and name != here.opposite]
            after.append(tuple(int(first[network.edge_index[name]]) for name in nexts))
    before: list[list[int]] = [[] for _ in range(count)]
    for cell, nexts in enumerate(after):
        for other in nexts:
            before[other].append(cell)
    starting: dict[str, list[int]] = {}
    for number, name in enumerate(network.edge_ids):
        starting.setdefault(network.edges[name].from_junction, []).append(int(first[number]))
    leaving: list[tuple[int, ...]] = [()] * count
    for number, name in enumerate(network.edge_ids):
        leaving[int(first[number + 1]) - 1] = tuple(starting.get(network.edges[name].to_junction, ()))
    return {"after": tuple(after), "before": tuple(tuple(part) for part in before), "leaving": tuple(leaving)}


def cells_of_measures(network: "RoadNetwork", cut: dict[str, np.ndarray], **values: Any) -> Cells:
    """Cells of a cut network with the values of some days."""
    near = _neighbours(network, cut)
    return Cells(
        edge=cut["edge"],
        from_m=cut["from_m"],
        to_m=cut["to_m"],
        lanes=cut["lanes"],
        limit_mps=cut["limit_mps"],
        after=near["after"],
        before=near["before"],
        leaving=near["leaving"],
        **values,
    )


def cells_of_fields(fields: "pd.DataFrame", network: "RoadNetwork", *, share: float = 1.0) -> Cells:
    """Whole edges as cells, from a table that :func:`checked_fields` takes; its lanes are added up.

    Raises ``DataError`` that lists what is wrong with the table.
    """
    fields = whole_edges(checked_fields(fields, network, share=share))
    begins = np.unique(fields["cell_begin_s"].to_numpy(dtype=float))
    cell_s = float(np.diff(begins).min()) if len(begins) > 1 else 60.0
    slot = np.rint((fields["cell_begin_s"].to_numpy(dtype=float) - begins[0]) / cell_s).astype(int)
    cut = cut_edges(network, np.inf)
    days = tuple(sorted(int(day) for day in fields["day"].unique()))
    shape = (len(days), len(network.edges), int(slot.max()) + 1)
    day = np.searchsorted(days, fields["day"].to_numpy(dtype=int))
    edge = np.array([network.edge_index[str(name)] for name in fields["edge"]], dtype=int)
    length_m = (cut["to_m"] - cut["from_m"])[edge]
    # Whatever is not in the table was empty, as long as anything was recorded at that time.
    recorded = np.zeros((shape[0], shape[2]), dtype=bool)
    recorded[day, slot] = fields["coverage"].to_numpy(dtype=float) >= LEAST_COVERAGE
    vehicles, flow = np.zeros(shape), np.zeros(shape)
    vehicles[day, edge, slot] = fields["density_veh_km"].to_numpy(dtype=float) * length_m / 1000 / share
    flow[day, edge, slot] = fields["flow_veh_h"].to_numpy(dtype=float) / share
    unseen = np.broadcast_to(~recorded[:, None, :], shape)
    vehicles[unseen] = np.nan
    flow[unseen] = np.nan
    return cells_of_measures(
        network,
        cut,
        days=days,
        begin_s=float(begins[0]),
        cell_s=cell_s,
        vehicles=vehicles,
        flow_veh_h=flow,
        share=share,
    )


def cells_of_day(
    tracks: "Tracks", network: "RoadNetwork", *, stretch_m: float, cell_s: float, share: float = 1.0
) -> Cells:
    """Stretches of edges as cells, of one day. Each sample stands for one sampling period in the cell it lies in."""
    cut = cut_edges(network, stretch_m)
    begin_s = float(np.floor(tracks.begin_s / cell_s) * cell_s)
    slots = int(np.ceil((tracks.end_s - begin_s + 1e-6) / cell_s))
    count = len(cut["edge"])
    length_m = cut["to_m"] - cut["from_m"]
    inside = np.flatnonzero(tracks.edge >= 0)
    edge = tracks.edge[inside]
    first, after = cut["first"][edge], cut["first"][edge + 1]
    cell = np.clip(first + (tracks.position_m[inside] / length_m[first]).astype(int), first, after - 1)
    slot = np.minimum(((tracks.time_s[inside] - begin_s) / cell_s).astype(int), slots - 1)
    flat = cell * slots + slot
    speed = np.maximum(tracks.speed_mps[inside], 0.0).astype(float)
    present_s = np.bincount(flat, minlength=count * slots).reshape(count, slots) * tracks.period_s
    way_m = np.bincount(flat, weights=speed, minlength=count * slots).reshape(count, slots) * tracks.period_s
    starts = begin_s + np.arange(slots) * cell_s
    covered = np.clip(np.minimum(tracks.end_s, starts + cell_s) - np.maximum(tracks.begin_s, starts), 0.0, None)
    known = covered >= LEAST_COVERAGE * cell_s
    vehicles, flow = np.full((2, 1, count, slots), np.nan)
    vehicles[0][:, known] = present_s[:, known] / covered[known] / share
    flow[0][:, known] = way_m[:, known] / (length_m[:, None] * covered[known]) * 3600 / share
    return cells_of_measures(
        network,
        cut,
        days=(tracks.day,),
        begin_s=begin_s,
        cell_s=cell_s,
        vehicles=vehicles,
        flow_veh_h=flow,
        share=share,
    )


def stacked(parts: Sequence[Cells]) -> Cells:
    """Days of several records one after the other, aligned by their clock and numbered from 0.

    Raises ``DataError`` where they were not cut alike or were not seen at the same share.
    """
    first = parts[0]
    for part in parts[1:]:
        if len(part.edge) != len(first.edge) or part.cell_s != first.cell_s:
            raise DataError(
                f"days with {len(part.edge)} cells of {part.cell_s:g} s do not fit those with {len(first.edge)} of "
                f"{first.cell_s:g} s: cut all of them alike"
            )
    begin_s = min(part.begin_s for part in parts)
    shifts = [round((part.begin_s - begin_s) / first.cell_s) for part in parts]
    slots = max(shift + part.vehicles.shape[-1] for shift, part in zip(shifts, parts, strict=True))

    def joined(name: str) -> np.ndarray:
        rows = []
        for shift, part in zip(shifts, parts, strict=True):
            values = getattr(part, name)
            after = slots - shift - values.shape[-1]
            rows.append(np.pad(values, ((0, 0), (0, 0), (shift, after)), constant_values=np.nan))
        return np.concatenate(rows)

    return replace(
        first,
        days=tuple(range(sum(len(part.days) for part in parts))),
        begin_s=begin_s,
        vehicles=joined("vehicles"),
        flow_veh_h=joined("flow_veh_h"),
        share=min(part.share for part in parts),
    )
