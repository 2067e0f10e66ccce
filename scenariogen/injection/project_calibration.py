"""The capacity table of somebody's project: the one at hand that holds for its traffic, or measured now and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.incidents.capacity_tables import CapacityTable, cross_sections
from scenariogen.injection.calibration import Progress, calibrate, roads_of
from scenariogen.injection.calibration_cache import cache_file, find_table, keep_table, kept_table
from scenariogen.injection.signal_rig import record_of, stop_line_losses
from scenariogen.injection.vehicle_mix import DEFAULT_TRAFFIC, Traffic
from scenariogen.injection.vehicle_mix_reading import project_traffic
from scenariogen.network import RoadClass

if TYPE_CHECKING:
    from scenariogen.simulation.project import SumoProject

SEEDS = (1, 2)


@dataclass(frozen=True, kw_only=True)
class ProjectTable:
    """``differences``: how the traffic differs from SUMO's default car; ``kept_at``: where it was written just now."""

    traffic: Traffic
    table: CapacityTable
    differences: tuple[str, ...]
    kept_at: Path | None = None


def project_table(
    project: "SumoProject",
    *,
    jobs: int = 1,
    again: bool = False,
    seeds: Sequence[int] = SEEDS,
    progress: Progress | None = None,
) -> ProjectTable:
    """The table that holds for a project on all its roads.

    Roads that no table at hand holds are measured (seconds to minutes each) and kept; with ``again`` all of them.
    Raises ``ProjectError`` where the traffic cannot be read, ``OSError`` where the cache cannot be written.
    """
    traffic, roads = project_traffic(project), roads_of(project.network())
    differences = traffic.differences(DEFAULT_TRAFFIC)
    table = None if again else find_table(traffic)
    if table is not None and all(_holds(table, road) for road in roads):
        return ProjectTable(traffic=traffic, table=table, differences=differences)
    own = cache_file(traffic)
    if own.is_file() and not again:  # measured for another project with the same traffic
        roads = tuple(road for road in roads if not _holds(kept_table(own), road))
    content = calibrate(seeds=seeds, roads=roads, traffic=traffic, jobs=jobs, progress=progress)
    if any(edge.signalised for edge in project.network().edges.values()):
        losses = stop_line_losses(seeds=seeds, table=CapacityTable("", content), traffic=traffic)
        content["stop_line"] = record_of(losses)
    file = keep_table(content)
    return ProjectTable(traffic=traffic, table=kept_table(file), differences=differences, kept_at=file)


def _holds(table: CapacityTable, road: tuple[RoadClass, int]) -> bool:
    road_class, lanes = road
    return all(table.holds(road_class, lanes, blocked, inner=inner) for _, blocked, inner in cross_sections([lanes]))
