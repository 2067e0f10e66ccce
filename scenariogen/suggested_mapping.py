"""A column mapping to start from, for a table that no reader knows: columns whose names say what they hold.

Names say nothing sure about units, so a suggestion is printed and never applied.
"""

import re
import shlex
from collections.abc import Mapping, Sequence

MOVEMENT_WORDS: dict[str, tuple[str, ...]] = {
    "recording": ("recording", "recordingid", "scene", "sceneid", "sceneno"),
    "time": ("t", "time", "times", "timestamp", "datetime", "gpstime"),
    "vehicle": ("vehicle", "vehicleid", "vehid", "veh", "trackid", "track", "tripid", "agentid", "objectid", "id"),
    "x": ("x", "xm", "posx", "xpos", "xcenter", "xcentre", "utmx", "easting", "globalx"),
    "y": ("y", "ym", "posy", "ypos", "ycenter", "ycentre", "utmy", "northing", "globaly"),
    "lon": ("lon", "lng", "long", "longitude"),
    "lat": ("lat", "latitude"),
    "speed": ("speed", "v", "velocity", "spd", "speedmps"),
    "accel": ("acceleration", "accel", "acc"),
    "length": ("length", "vehiclelength", "len"),
    "width": ("width", "vehiclewidth"),
    "class": ("vehicleclass", "vehicletype", "agenttype", "class", "type"),
}
INCIDENT_WORDS: dict[str, tuple[str, ...]] = {
    "record_id": ("id", "recordid", "incidentid", "eventid", "reference", "objectid"),
    "kind": ("kind", "type", "incidenttype", "eventtype", "category", "cause"),
    "start": ("start", "starttime", "startdate", "startdatetime", "begin", "begintime", "reported", "occurred"),
    "end": ("end", "endtime", "enddate", "enddatetime", "finish", "closed", "cleared"),
    "duration": ("duration", "durationmin", "durations"),
    "lanes_closed": ("lanesclosed", "lanesblocked", "lanesaffected"),
    "lon": ("lon", "lng", "long", "longitude"),
    "lat": ("lat", "latitude"),
    "road": ("road", "roadname", "roadway", "street", "route", "highway"),
    "direction": ("direction", "bound", "heading"),
    "milepost": ("milepost", "postmile", "milemarker"),
}
"""Fields of a mapping, and what their columns are often called: small letters and digits only, the best first."""


def suggest_mapping(header: Sequence[str]) -> str:
    """Options ``--map field=column`` for a table with these columns; empty where they do not make a table of movement
    (time, vehicle, a place) or of incidents (start, kind).

    >>> suggest_mapping(["scene", "vehicle_id", "t", "x", "y", "v"])
    '--map recording=scene --map time=t --map vehicle=vehicle_id --map x=x --map y=y --map speed=v'
    """
    incidents = _matched(header, INCIDENT_WORDS)
    if {"start", "kind"} <= incidents.keys():
        return _options(incidents)
    movement = _matched(header, MOVEMENT_WORDS)
    has_place = {"x", "y"} <= movement.keys() or {"lon", "lat"} <= movement.keys()
    return _options(movement) if {"time", "vehicle"} <= movement.keys() and has_place else ""


def _matched(header: Sequence[str], words: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    plain = {re.sub(r"[^a-z0-9]", "", column.casefold()): column for column in reversed(header)}
    found = {}
    for name, spellings in words.items():
        column = next((plain[spelling] for spelling in spellings if spelling in plain), None)
        if column is not None and column not in found.values():
            found[name] = column
    return found


def _options(found: Mapping[str, str]) -> str:
    return " ".join(f"--map {shlex.quote(f'{name}={column}')}" for name, column in found.items())
