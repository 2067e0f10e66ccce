"""Which capacity table holds for a traffic: those shipped, and those measured here and kept in the user's cache.

A kept table's file name is decided by the traffic, the SUMO version and how the stretch is driven, so that none of
them can change without the table being measured again. A table holds for a traffic that does not differ materially
from the one it was measured with (:meth:`~scenariogen.injection.vehicle_mix.Traffic.differences`).
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from scenariogen.errors import ProjectError
from scenariogen.incidents.capacity_tables import CapacityTable, section_of, shipped_tables
from scenariogen.injection.stretch import stretch_settings
from scenariogen.injection.vehicle_mix import Traffic, traffic_from_record
from scenariogen.written import written_whole


def installed_sumo() -> str:
    """Version of the simulator that measures here."""
    from sumolib import __version__

    return __version__


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/scenariogen/capacity``, by default in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "scenariogen" / "capacity"


def cache_file(traffic: Traffic) -> Path:
    """Where the table of a traffic is kept, measured with the installed SUMO and the stretch as it is driven now."""
    about = json.dumps([traffic.as_record(), installed_sumo(), stretch_settings()], sort_keys=True)
    return cache_folder() / f"{hashlib.sha256(about.encode()).hexdigest()[:24]}.json"


def keep_table(content: Mapping) -> Path:
    """Write a measured table to the cache, whole or not at all, with the rows of other roads kept before.

    Returns the file. Raises ``OSError`` where the folder cannot be written to.
    """
    file = cache_file(traffic_from_record(content["traffic"]))
    before = _read(file) if file.is_file() else {"rows": []}
    rows = {section_of(row): row for row in [*before["rows"], *content["rows"]]}
    lines = {
        (line["lanes"], line["before_m"], line["asked"] is None): line
        for line in [*before.get("stop_line", ()), *content.get("stop_line", ())]
    }
    whole = {"rows": [rows[key] for key in sorted(rows)], "stop_line": [lines[key] for key in sorted(lines)]}
    with written_whole(file) as partial:
        partial.write_text(as_text({**content, **whole}), encoding="utf-8")
    return file


def as_text(table: Mapping) -> str:
    """JSON with one line a row, so that a change of the table can be read as a difference."""
    lists = ("stop_line", "rows")
    text = json.dumps({key: value for key, value in table.items() if key not in lists}, indent=2)[:-2]
    for name in lists:
        if table.get(name):
            rows = ",\n    ".join(json.dumps(row) for row in table[name])
            text += f',\n  "{name}": [\n    {rows}\n  ]'
    return text + "\n}\n"


def kept_table(file: Path) -> CapacityTable:
    """A table of the cache. Raises ``ProjectError`` where the file is damaged."""
    stamp = file.stat()
    return _kept(file, stamp.st_mtime_ns, stamp.st_size)


def find_table(traffic: Traffic) -> CapacityTable | None:
    """The table that holds for a traffic: the one measured with exactly it, else the first that does not differ."""
    own = cache_file(traffic)
    if own.is_file():
        return kept_table(own)
    for table in shipped_tables():
        if not traffic.differences(table_traffic(table)):
            return table
    for file in sorted(cache_folder().glob("*.json")):
        table = kept_table(file)
        if not traffic.differences(table_traffic(table)) and file == cache_file(table_traffic(table)):
            return table
    return None


def table_traffic(table: CapacityTable) -> Traffic:
    """The traffic that a table was measured with."""
    return traffic_from_record(table.content["traffic"])


@lru_cache(maxsize=64)
def _kept(file: Path, _modified_ns: int, _size: int) -> CapacityTable:
    content = _read(file)
    return CapacityTable(f"the table measured with {content['vehicles']} ({file})", content)


def _read(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        traffic_from_record(content["traffic"])
        CapacityTable(str(file), content)
    except (ValueError, KeyError, TypeError) as error:
        raise ProjectError(
            f"{file} is not a capacity table ({type(error).__name__}: {error}): delete it and run "
            "`scenariogen calibrate` again"
        ) from error
    return content
