"""The columns of a trajectory table: names, types and units, in this one place.

A recording holds one row per vehicle and sampled second, sorted by day and time:

============  =======================  ==============================================================
``day``       int32                    recorded day, counted from 0
``time_s``    float64                  SUMO simulation second of that day
``vehicle``   string (dictionary)      vehicle id, unique within a day
``edge``      string (dictionary)      edge id; the inside of a junction starts with ``:``
``lane``      int16                    lane index, 0 is the rightmost
``position_m``  float32                front of the vehicle, metres from the start of the lane
``speed_mps``   float32                speed
``x_m, y_m``    float32                front of the vehicle, network coordinates
============  =======================  ==============================================================
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

DAY = "day"
TIME = "time_s"
VEHICLE = "vehicle"
EDGE = "edge"
LANE = "lane"
POSITION = "position_m"
SPEED = "speed_mps"
X = "x_m"
Y = "y_m"

COLUMNS: tuple[str, ...] = (DAY, TIME, VEHICLE, EDGE, LANE, POSITION, SPEED, X, Y)
REQUIRED: tuple[str, ...] = (DAY, TIME, VEHICLE, EDGE, LANE, POSITION, SPEED)
"""What the stages after this one need. Coordinates are welcome, and null where a source has none."""

TRAJECTORIES_FILE = "trajectories.parquet"
HEADER_FILE = "history.json"


def schema() -> "pa.Schema":
    """The Arrow schema of a trajectory table."""
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            (DAY, pa.int32()),
            (TIME, pa.float64()),
            (VEHICLE, word),
            (EDGE, word),
            (LANE, pa.int16()),
            (POSITION, pa.float32()),
            (SPEED, pa.float32()),
            (X, pa.float32()),
            (Y, pa.float32()),
        ]
    )
