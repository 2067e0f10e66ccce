"""The corridor's demand: a morning peak on the motorway, its ramps and the arterial beside it."""

from sumo_networks.building.demand import Demand, Stream

VEHICLE_TYPES = """
    <!-- Drivers of the extended intelligent driver model accelerate out of a queue at 1.1 m/s2 (lorries at 0.4) and so
         leave it at larger headways than they keep in free traffic: breakdown lowers the discharge. -->
    <vType id="car" carFollowModel="EIDM" accel="1.1" decel="2.0" tau="1.05" speedFactor="normc(1.00,0.10,0.70,1.30)"/>
    <vType id="truck" vClass="truck" carFollowModel="EIDM" accel="0.4" decel="2.0" tau="1.5" length="12" maxSpeed="25"
           lcSpeedGain="0.5" speedFactor="normc(1.00,0.05,0.85,1.15)"/>
"""

MOTORWAY = tuple(f"mw_{number:02d}" for number in range(1, 12))
_TO_OFF = "mw_01 mw_02 mw_03 off_1 off_2"
_ON_1 = f"on1_a on1_b {' '.join(MOTORWAY[5:])}"
_ON_2 = f"on2_a on2_b {' '.join(MOTORWAY[8:])}"


def _east(first: int, last: int) -> str:
    return " ".join(f"arterial_e{number}" for number in range(first, last + 1))


def _west(first: int, last: int) -> str:
    return " ".join(f"arterial_w{number}" for number in range(first, last - 1, -1))


def _street(name: str, edges: str, vehicles_per_hour: float) -> Stream:
    """A stream that begins on the arterial or in the town, where there are no lorries."""
    return Stream(name=name, edges=edges, vehicles_per_hour=vehicles_per_hour)


THROUGH = Stream(
    name="through", edges=" ".join(MOTORWAY), vehicles_per_hour=3900, truck_share=0.10, depart_speed="last"
)

DEMAND = Demand(
    begin_s=23_400,
    profile=(0.85, 0.90, 0.95, 1.0, 1.0, 0.95, 0.90, 0.85),
    vehicle_types=VEHICLE_TYPES,
    about="Written by scripts/build_networks. Two hours of a morning peak; departures are Poisson.",
    streams=(
        THROUGH,
        Stream(
            name="exit_east",
            edges=f"{_TO_OFF} {_east(2, 8)}",
            vehicles_per_hour=180,
            truck_share=0.05,
            depart_speed="last",
        ),
        Stream(name="exit_town2", edges=f"{_TO_OFF} town2_out", vehicles_per_hour=140, depart_speed="last"),
        Stream(name="exit_west", edges=f"{_TO_OFF} arterial_w1", vehicles_per_hour=100, depart_speed="last"),
        Stream(
            name="exit_town3", edges=f"{_TO_OFF} {_east(2, 3)} town3_out", vehicles_per_hour=80, depart_speed="last"
        ),
        _street("on1_from_west", f"{_east(1, 3)} {_ON_1}", 110),
        _street("on1_from_town2", f"town2_in {_east(2, 3)} {_ON_1}", 60),
        _street("on1_from_town3", f"town3_in {_ON_1}", 130),
        _street("on1_from_east", f"{_west(8, 4)} {_ON_1}", 80),
        _street("on2_from_west", f"{_east(1, 6)} {_ON_2}", 210),
        _street("on2_from_town4", f"town4_in {_ON_2}", 130),
        _street("on2_from_east", f"{_west(8, 7)} {_ON_2}", 260),
        _street("west_to_east", _east(1, 8), 160),
        _street("east_to_west", _west(8, 1), 200),
        _street("west_to_town2", f"{_east(1, 1)} town2_out", 40),
        _street("west_to_town3", f"{_east(1, 3)} town3_out", 50),
        _street("east_to_town4", f"{_west(8, 7)} town4_out", 60),
        _street("east_to_town3", f"{_west(8, 4)} town3_out", 40),
        _street("east_to_town2", f"{_west(8, 2)} town2_out", 40),
        _street("town2_to_east", f"town2_in {_east(2, 8)}", 40),
        _street("town3_to_west", f"town3_in {_west(3, 1)}", 50),
        _street("town3_to_east", f"town3_in {_east(4, 8)}", 50),
        _street("town4_to_west", f"town4_in {_west(6, 1)}", 40),
        _street("town4_to_east", f"town4_in {_east(7, 8)}", 50),
    ),
)

MERGED_VPH = sum(stream.vehicles_per_hour for stream in DEMAND.streams if stream.edges.endswith(MOTORWAY[-1]))
"""Vehicles per hour at the peak that pass downstream of the second merge."""
