"""The grid's demand: an evening peak from all sixteen ends of its streets, straight on or with one turn."""

from itertools import pairwise

from sumo_networks.building.demand import Demand, Stream
from sumo_networks.building.grid_layout import COLUMNS, MAIN, ROWS

VEHICLE_TYPES = """
    <vType id="car" speedFactor="normc(1.00,0.10,0.70,1.30)"/>
    <vType id="truck" vClass="truck" length="10" speedFactor="normc(0.95,0.05,0.80,1.10)"/>
"""

ENTRY_VPH = {True: 800, False: 280}
"""Vehicles per hour at the peak into a main and into a minor street, at each end."""
TURN_SHARE = {True: 0.08, False: 0.03}
"""Share of an entry's vehicles that turns into each crossing main or minor street, left and right alike."""
TRUCK_SHARE = 0.04
"""Of those who go straight on through the grid."""


def _path(nodes: list[str]) -> str:
    return " ".join(f"{a}_{b}" for a, b in pairwise(nodes))


def _entry_streams(street: str, *, forward: bool) -> list[Stream]:
    """Streams that enter a row at its west end or a column at its south end, or at the other one."""
    is_row = street in ROWS
    crossing, along = (COLUMNS, ROWS) if is_row else (ROWS, COLUMNS)
    ends = ("W", "E") if is_row else ("S", "N")
    cross_ends = ("S", "N") if is_row else ("W", "E")
    start, finish = ends if forward else ends[::-1]

    def junction(cross: str, own: str) -> str:
        return cross + own if is_row else own + cross

    order = list(crossing if forward else crossing[::-1])
    vehicles_per_hour = ENTRY_VPH[street in MAIN]
    turning = 2 * sum(TURN_SHARE[cross in MAIN] for cross in crossing)
    streams = [
        Stream(
            name=f"{start}{street}_to_{finish}{street}",
            edges=_path([start + street, *(junction(cross, street) for cross in order), finish + street]),
            vehicles_per_hour=vehicles_per_hour * (1 - turning),
            truck_share=TRUCK_SHARE,
        )
    ]
    here = along.index(street)
    for number, cross in enumerate(order):
        reached = [start + street, *(junction(passed, street) for passed in order[: number + 1])]
        for end, rest in ((cross_ends[0], along[:here][::-1]), (cross_ends[1], along[here + 1 :])):
            streams.append(
                Stream(
                    name=f"{start}{street}_to_{end}{cross}",
                    edges=_path([*reached, *(junction(cross, other) for other in rest), end + cross]),
                    vehicles_per_hour=vehicles_per_hour * TURN_SHARE[cross in MAIN],
                )
            )
    return streams


DEMAND = Demand(
    begin_s=57_600,
    profile=(0.8, 0.85, 0.95, 1.0, 1.0, 0.95, 0.9, 0.8),
    vehicle_types=VEHICLE_TYPES,
    about="Written by scripts/build_networks. Two hours of an evening peak; departures are Poisson.",
    streams=tuple(
        stream
        for street in (*ROWS, *COLUMNS)
        for forward in (True, False)
        for stream in _entry_streams(street, forward=forward)
    ),
)
