"""Planned work and closures as a work zone feed (WZDx 4.2). Its schema knows no crash, so nothing else is written.

After *Work Zone Data Exchange Specification*, version 4.2 (U.S. Department of Transportation, 2023). A number of
closed lanes is written as ``lanes`` where it is certain and their total and side are known, since the format lists
lanes one by one; otherwise only ``vehicle_impact`` says that some or all are closed. Locations, the kind ``closure``
and probabilities have no place in the format.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenariogen.incidents.events import EndIs, EventKind
from scenariogen.incidents.lane_words import ALTERNATING, known_count
from scenariogen.incidents.readers.geometry import from_wkb
from scenariogen.incidents.writers.rows import Refusals, Written, is_printable, rows_of
from scenariogen.units import MPS_PER_KMH
from scenariogen.written import written_whole

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = "4.2"
LICENCE = "https://creativecommons.org/publicdomain/zero/1.0/"
SOURCE_ID = "1"
WRITTEN_KINDS = (EventKind.PLANNED_WORK, EventKind.CLOSURE)
_DIRECTIONS = {"N": "northbound", "E": "eastbound", "S": "southbound", "W": "westbound"}
_MERGE = {"left": "-merge-right", "right": "-merge-left"}
_STATUSES = {"planned": "planned", "active": "active", "ended": "completed"}


def write_wzdx(table: "pa.Table", target: Path, *, publisher: str, updated: datetime) -> Written:
    """Write planned work and closures; what was left out and why.

    ``publisher``  organisation named in the header
    ``updated``    when the feed was made, with a time zone
    Raises ``DataError`` where no row can be written; ``target`` is replaced only when everything is written.
    """
    refusals, rows = Refusals(), 0
    with written_whole(target) as partial:
        with partial.open("w", encoding="utf-8") as stream:
            header = json.dumps(_header(publisher, updated))
            stream.write(f'{{"feed_info": {header}, "type": "FeatureCollection", "features": [')
            for row in rows_of(table):
                why = _refusal(row)
                if why:
                    refusals.counts[why] += 1
                    continue
                stream.write((",\n" if rows else "\n") + json.dumps(_feature(row), allow_nan=False))
                rows += 1
            stream.write("\n]}\n")
        return refusals.close(rows, target, "a WZDx work zone")


def _header(publisher: str, updated: datetime) -> dict[str, Any]:
    return {
        "publisher": publisher,
        "version": VERSION,
        "license": LICENCE,
        "update_date": _time(updated),
        "data_sources": [{"data_source_id": SOURCE_ID, "organization_name": publisher}],
    }


def _refusal(row: Mapping[str, Any]) -> str:
    """Why a row cannot be written; empty where it can."""
    if row["kind"] not in WRITTEN_KINDS:
        return f"{row['kind']}: the format knows planned work and closures only"
    if row["geometry"] is None:
        return "no coordinates, which the format demands"
    if row["end"] is None or row["end_is"] == EndIs.LAST_UPDATE:
        return "no end, which the format demands"
    if not row["road"]:
        return "no name of a road, which the format demands"
    if not is_printable(row["record_id"], row["road"]):
        return "control characters in the id or the road"
    return ""


def _feature(row: Mapping[str, Any]) -> dict[str, Any]:
    points = [list(point) for point in from_wkb(row["geometry"])]
    properties: dict[str, Any] = {
        "core_details": {
            "event_type": "work-zone",
            "data_source_id": SOURCE_ID,
            "road_names": [row["road"]],
            "direction": _DIRECTIONS.get(row["direction"], "unknown"),
        },
        "start_date": _time(row["start"]),
        "end_date": _time(row["end"]),
        "is_start_date_verified": False,
        "is_end_date_verified": row["end_is"] == EndIs.OBSERVED,
        "is_start_position_verified": False,
        "is_end_position_verified": False,
        "location_method": "unknown",
        "vehicle_impact": _impact(row),
    }
    if row["status"] in _STATUSES:
        properties["event_status"] = _STATUSES[row["status"]]
    for column, name in (("milepost", "beginning_milepost"), ("milepost_end", "ending_milepost")):
        if row[column] is not None and row[column] >= 0:
            properties[name] = row[column]
    if row["speed_limit_mps"] is not None:
        properties["reduced_speed_limit_kph"] = row["speed_limit_mps"] / MPS_PER_KMH
    lanes = _lanes(row)
    if lanes:
        properties["lanes"] = lanes
    kind = "LineString" if len(points) > 1 else "MultiPoint"
    return {
        "id": row["record_id"],
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": kind, "coordinates": points},
    }


def _impact(row: Mapping[str, Any]) -> str:
    closed = row["lanes_closed"]
    if row["full_closure"]:
        return "all-lanes-closed"
    if known_count(closed) == 0:
        return "all-lanes-open"
    if not closed:
        return "unknown"
    if tuple(closed) == ALTERNATING:
        return "alternating-one-way"
    return f"some-lanes-closed{_MERGE.get(row['lanes_side'], '')}" if closed[0] == 0 else "unknown"


def _lanes(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lanes from the left, where number, total and side leave no doubt which are closed."""
    count, total, side = known_count(row["lanes_closed"]), row["lanes_total"], row["lanes_side"]
    if total is None or count is None or not 0 <= count <= total or (0 < count < total and side not in _MERGE):
        return []
    closed = range(count) if side == "left" else range(total - count, total)
    lanes = [{"type": "general", "status": "closed" if lane in closed else "open"} for lane in range(total)]
    if row["shoulder_only"]:
        lanes.append({"type": "shoulder", "status": "closed"})
    return [{"order": order, **lane} for order, lane in enumerate(lanes, start=1)]


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
