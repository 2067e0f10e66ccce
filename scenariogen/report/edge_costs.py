"""Expected incident delay per edge and year: how often incidents come there, times what they cost.

Per run, the expected delay of an edge's incidents is its part of the mean (:mod:`.attribution`). A run stands for the
hours in which its incidents may start; a year for :data:`HOURS_PER_YEAR` hours like these. Edges on which no incident
was drawn are left out: of them the batch says nothing.

Where scenarios were drawn under a condition, means are those of runs that meet it. The probability of the condition at
the frequency says how many runs of a year do, and only those are counted.
"""

import csv
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from scenariogen.errors import ResultsError
from scenariogen.evaluation.store import Results
from scenariogen.mapgeometry import Projection
from scenariogen.network import Edge, RoadNetwork
from scenariogen.report.attribution import Attribution
from scenariogen.report.words import given_text
from scenariogen.sampling.quantifier import Mode
from scenariogen.scenarios.reweight import frequency_weights
from scenariogen.written import written_whole

HOURS_PER_YEAR = 500.0
"""250 working days with two hours like those studied; our assumption, to be replaced by what the project stands for."""
SUFFIXES = (".csv", ".gpkg")
LAYER = "incident_delay"


@dataclass(frozen=True, kw_only=True)
class EdgeCost:
    """One edge under one policy, at one frequency.

    ``incidents_per_year``       expected, of all kinds
    ``delay_veh_h_per_incident`` None where none is expected
    ``delay_veh_h_per_year``     with ``low`` and ``high``, its 95 % interval
    ``drawn``                    incidents on the edge in the batch, on which this rests
    ``given``                    the condition that runs must meet to be counted; empty: all are
    ``runs_per_year``            runs that are counted, with incidents or without
    """

    edge: str
    policy: str
    frequency: float | None
    hours_per_year: float
    incidents_per_year: float
    delay_veh_h_per_incident: float | None
    delay_veh_h_per_year: float
    low: float
    high: float
    drawn: int
    given: str
    runs_per_year: float


def why_no_costs(results: Results) -> str:
    """Why a batch says nothing about a year; empty where it does."""
    design = results.batch.design
    if design is None:
        return (
            "delay per year needs scenarios with a frequency, and these were made by hand: draw them from a model "
            "(scenariogen sample)"
        )
    if design.given and design.quantifier == Mode.GIVEN_ONE:
        return (
            f"delay per year needs the probability of what scenarios were drawn under, and {given_text(design)} is no "
            "event that has one: sample without a condition, or with a range and another --quantifier"
        )
    return ""


def runs_per_year(results: Results, frequency: float | None, hours_per_year: float) -> float:
    """Runs of a year that the batch stands for: all, or those that meet its condition at the frequency."""
    log_given = frequency_weights(results.batch, 1.0 if frequency is None else frequency).log_given
    return math.exp(log_given) * hours_per_year / (results.batch.window.start_span_s / 3600.0)


def edge_costs(
    results: Results, attributions: Mapping[str, Attribution], *, hours_per_year: float = HOURS_PER_YEAR
) -> list[EdgeCost]:
    """All edges with incidents, under each policy, the costliest first.

    ``attributions`` are those of each policy's own mean. Raises ``ResultsError`` for scenarios that do not say how
    often they come: made by hand, or drawn with an incident that is given.
    """
    why = why_no_costs(results)
    if why:
        raise ResultsError(why)
    given = given_text(results.batch.design)
    runs_at = {
        each: runs_per_year(results, each, hours_per_year) for each in {a.frequency for a in attributions.values()}
    }
    found = [
        EdgeCost(
            edge=part.group,
            policy=policy,
            frequency=attribution.frequency,
            hours_per_year=hours_per_year,
            incidents_per_year=part.expected * runs,
            delay_veh_h_per_incident=part.value_veh_h / part.expected if part.expected > 0 else None,
            delay_veh_h_per_year=part.value_veh_h * runs,
            low=part.low * runs,
            high=part.high * runs,
            drawn=part.incidents,
            given=given,
            runs_per_year=runs,
        )
        for policy, attribution in attributions.items()
        for runs in (runs_at[attribution.frequency],)
        for part in attribution.by["edge"]
    ]
    return sorted(found, key=lambda each: -each.delay_veh_h_per_year)


def write_edge_costs(costs: Sequence[EdgeCost], out: Path, network: RoadNetwork | str) -> Path:
    """Write them as ``.csv`` or ``.gpkg``, by the path's ending; returns the path.

    ``network`` gives the edges' geometry, in WGS 84 where the network has a projection, otherwise in its own metres; a
    text says why there is none, which a ``.gpkg`` refuses as a ``ResultsError``.
    """
    if out.suffix == ".csv":
        with written_whole(out) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, [each.name for each in fields(EdgeCost)])
            table.writeheader()
            table.writerows(asdict(each) for each in costs)
        return out
    if out.suffix != ".gpkg":
        raise ResultsError(f"delay per edge was to be written to {out}, expected a name in {' or '.join(SUFFIXES)}")
    if isinstance(network, str):
        raise ResultsError(f"{out} needs the roads' geometry. {network} A .csv needs none")
    return _write_geopackage([each for each in costs if each.edge in network.edges], out, network)


def _write_geopackage(costs: Sequence[EdgeCost], out: Path, network: RoadNetwork) -> Path:
    import pyarrow as pa
    from pyogrio import write_arrow
    from shapely import to_wkb

    lines = {name: edge_line(network.edges[name], network) for name in {each.edge for each in costs}}
    types = {str: pa.string(), int: pa.int64()}
    columns = {
        each.name: pa.array([getattr(cost, each.name) for cost in costs], types.get(each.type, pa.float64()))
        for each in fields(EdgeCost)
    }
    roads = [network.edges[each.edge] for each in costs]
    columns["road_class"] = pa.array([str(road.road_class) for road in roads], pa.string())
    columns["length_m"] = pa.array([road.length_m for road in roads], pa.float64())
    columns["geometry"] = pa.array([to_wkb(lines[each.edge]) for each in costs], pa.binary())
    with written_whole(out) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # a network without projection has none
        write_arrow(
            pa.table(columns),
            str(partial),
            layer=LAYER,
            driver="GPKG",
            geometry_name="geometry",
            geometry_type="LineString",
            crs="EPSG:4326" if network.projection else None,
        )
    return out


def edge_line(edge: Edge, network: RoadNetwork):
    """The middle lane as a ``shapely.LineString``: degrees where the network has a projection, else its own metres."""
    from shapely import LineString

    if not network.projection:
        return LineString(edge.shape)
    x, y = zip(*edge.shape, strict=True)
    lon, lat = Projection(network).to_degrees(x, y)
    return LineString(list(zip(lon.tolist(), lat.tolist(), strict=True)))
