"""The tables beside the trajectories: what truly happened, and the rates behind it.

``truth.parquet``, one row per true incident: the fields of :class:`scenariogen.incidents.records.Incident` as asked
(``edge`` to ``clearance_s``), ``day``, ``number`` within the day, and what the simulation made of it: ``realised``,
``reason`` (empty where all went as asked), ``realised_start_s``, ``realised_end_s``, ``realised_lanes``,
``realised_position_m`` (null where nothing stood), ``rerouted`` drivers and the ``vehicles`` that stood, by their ids
in the trajectories.

``truth_rates.parquet``, one row per edge with traffic, time cell and kind: ``edge``, ``cell_begin_s``,
``cell_end_s``, ``kind``, ``vehicle_km`` and ``per_day``, the expected incidents of a day at intensity 1 and demand
scale 1.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.incidents.records import KINDS

if TYPE_CHECKING:
    import pyarrow as pa

    from scenariogen.injection.records import RealisedIncident
    from scenariogen.recording.truth import TrueProcess


def truth_schema() -> "pa.Schema":
    """The Arrow schema of ``truth.parquet``."""
    import pyarrow as pa

    number, lanes = pa.float64(), pa.list_(pa.int16())
    return pa.schema(
        [
            ("day", pa.int32()),
            ("number", pa.int32()),
            ("edge", pa.string()),
            ("start_s", number),
            ("position_m", number),
            ("kind", pa.string()),
            ("lanes", lanes),
            ("capacity_left", number),
            ("detection_s", number),
            ("response_s", number),
            ("clearance_s", number),
            ("realised", pa.bool_()),
            ("reason", pa.string()),
            ("realised_start_s", number),
            ("realised_end_s", number),
            ("realised_lanes", lanes),
            ("realised_position_m", number),
            ("rerouted", pa.int32()),
            ("vehicles", pa.list_(pa.string())),
        ]
    )


def truth_row(day: int, each: "RealisedIncident", recorded_as: Mapping[str, str]) -> dict[str, Any]:
    """One row of ``truth.parquet``; ``recorded_as`` gives the id of a vehicle in the trajectories."""
    asked = each.asked
    return {
        "day": day,
        "number": each.number,
        "edge": asked.edge,
        "start_s": asked.start_s,
        "position_m": asked.position_m,
        "kind": str(asked.kind),
        "lanes": list(asked.lanes),
        "capacity_left": asked.capacity_left,
        "detection_s": asked.detection_s,
        "response_s": asked.response_s,
        "clearance_s": asked.clearance_s,
        "realised": each.realised,
        "reason": each.reason,
        "realised_start_s": each.start_s,
        "realised_end_s": each.end_s,
        "realised_lanes": list(each.lanes),
        "realised_position_m": each.position_m,
        "rerouted": each.rerouted,
        "vehicles": [recorded_as[vehicle] for vehicle in each.vehicles if vehicle in recorded_as],
    }


def truth_table(rows: Sequence[Mapping[str, Any]]) -> "pa.Table":
    """``truth.parquet`` from its rows."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=truth_schema())


def rates_table(process: "TrueProcess") -> "pa.Table":
    """``truth_rates.parquet``; edges without traffic are left out."""
    import pyarrow as pa

    rates, borders = process.rates(), process.borders_s
    edge, cell, kind = np.nonzero(rates)
    return pa.table(
        {
            "edge": [process.network.edge_ids[number] for number in edge],
            "cell_begin_s": borders[cell],
            "cell_end_s": borders[cell + 1],
            "kind": [str(KINDS[number]) for number in kind],
            "vehicle_km": process.vehicle_km[edge, cell],
            "per_day": rates[edge, cell, kind],
        }
    )
