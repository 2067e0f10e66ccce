"""The columns of a trajectory table: names, types and units, in this one place.

One row per vehicle and sampled time, sorted by day and time. A table holds the columns that its source has:

====================  ===================  ==========================================================================
``day``               int32                recorded day or recording, counted from 0
``time_s``            float64              seconds of that day's clock (in SUMO the simulation second)
``vehicle``           string (dictionary)  vehicle id, unique within a day
``speed_mps``         float32              speed
``accel_mps2``        float32              acceleration along the way
``edge``              string (dictionary)  edge id; the inside of a junction starts with ``:``
``lane``              int16                lane index, 0 is the rightmost
``position_m``        float32              front of the vehicle, metres from the start of the lane
``road``              string (dictionary)  name of a road or carriageway that is no edge of a network
``road_m``            float64              metres along that road, growing in the direction of travel
``road_lane``         int16                lane as the source counts it
``x_m, y_m``          float32 or float64   plane coordinates
``lon_deg, lat_deg``  float64              WGS 84
``length_m``          float32              of the vehicle
``width_m``           float32              of the vehicle
``vehicle_class``     string (dictionary)  as the source calls it
``speed_is_derived``  bool                 computed from positions, since the source has no speed there
``accel_is_derived``  bool                 computed from speeds
``motion_flags``      uint8                what is impossible about the motion, see :class:`Motion`
====================  ===================  ==========================================================================

``day``, ``time_s``, ``vehicle`` and ``speed_mps`` are always there, and the columns of at least one :class:`Place`.
"""

from collections.abc import Collection
from enum import IntFlag, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

DAY = "day"
TIME = "time_s"
VEHICLE = "vehicle"
SPEED = "speed_mps"
ACCELERATION = "accel_mps2"
EDGE = "edge"
LANE = "lane"
POSITION = "position_m"
ROAD = "road"
ROAD_POSITION = "road_m"
ROAD_LANE = "road_lane"
X = "x_m"
Y = "y_m"
LON = "lon_deg"
LAT = "lat_deg"
LENGTH = "length_m"
WIDTH = "width_m"
CLASS = "vehicle_class"
SPEED_IS_DERIVED = "speed_is_derived"
ACCELERATION_IS_DERIVED = "accel_is_derived"
MOTION = "motion_flags"
RECORDING = "recording"
"""A reader may name the recordings that its rows belong to; conversion numbers them as days."""

COLUMNS: tuple[str, ...] = (DAY, TIME, VEHICLE, EDGE, LANE, POSITION, SPEED, X, Y)
"""What ``record`` writes."""
ALWAYS: tuple[str, ...] = (DAY, TIME, VEHICLE, SPEED)
REQUIRED: tuple[str, ...] = (DAY, TIME, VEHICLE, EDGE, LANE, POSITION, SPEED)
"""What fields, exposure and detection need."""


class Place(StrEnum):
    """How a table says where a vehicle is."""

    EDGE = "edge"
    ROAD = "road"
    PLANE = "plane"
    WGS84 = "wgs84"


PLACES: dict[Place, tuple[str, ...]] = {
    Place.EDGE: (EDGE, LANE, POSITION),
    Place.ROAD: (ROAD, ROAD_POSITION),
    Place.PLANE: (X, Y),
    Place.WGS84: (LON, LAT),
}


def places(names: Collection[str]) -> tuple[Place, ...]:
    """The ways of saying where a vehicle is that a table with these columns has."""
    return tuple(place for place, wanted in PLACES.items() if set(wanted) <= set(names))


class Motion(IntFlag):
    """What cannot be true of a row's motion. Rows are marked, never changed."""

    TOO_FAST = 1
    """Faster than any road vehicle, or a negative speed."""
    TOO_HARSH = 2
    """Accelerates or brakes beyond what tyres hold."""
    JUMP = 4
    """Moved farther since the sample before than its speeds allow."""
    BACKWARD = 8
    """Moved back along its road."""


TRAJECTORIES_FILE = "trajectories.parquet"
HEADER_FILE = "history.json"

_WORDS = (VEHICLE, EDGE, ROAD, CLASS, RECORDING)
_TYPES: dict[str, str] = {
    DAY: "int32", TIME: "float64", SPEED: "float32", ACCELERATION: "float32", LANE: "int16", POSITION: "float32",
    ROAD_POSITION: "float64", ROAD_LANE: "int16", X: "float64", Y: "float64", LON: "float64", LAT: "float64",
    LENGTH: "float32", WIDTH: "float32", SPEED_IS_DERIVED: "bool", ACCELERATION_IS_DERIVED: "bool", MOTION: "uint8",
}  # fmt: skip
ALL: tuple[str, ...] = (
    DAY, TIME, VEHICLE, EDGE, LANE, POSITION, ROAD, ROAD_POSITION, ROAD_LANE, SPEED, ACCELERATION, X, Y, LON, LAT,
    LENGTH, WIDTH, CLASS, SPEED_IS_DERIVED, ACCELERATION_IS_DERIVED, MOTION,
)  # fmt: skip
"""Every column, in the order in which tables hold them."""


def arrow_type(name: str) -> "pa.DataType":
    """The Arrow type of a column."""
    import pyarrow as pa

    if name in _WORDS:
        return pa.dictionary(pa.int32(), pa.string())
    return pa.bool_() if _TYPES[name] == "bool" else pa.type_for_alias(_TYPES[name])


def schema() -> "pa.Schema":
    """The Arrow schema of a recording: :data:`COLUMNS`, coordinates in single precision."""
    import pyarrow as pa

    single = {X: pa.float32(), Y: pa.float32()}
    return pa.schema([(name, single.get(name) or arrow_type(name)) for name in COLUMNS])
