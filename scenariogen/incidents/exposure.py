"""Exposure: vehicle-kilometres per edge and time cell, the base of every incident rate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.incidents.recorded_days import DayTypes
from scenariogen.trajectories.fields import edie_fields
from scenariogen.trajectories.records import Trajectories

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.window import StudyWindow


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Vehicle-kilometres of a mean day.

    ``edge_ids``        edges in the network's own order, the ``edge`` axis
    ``cell_edges_s``    borders of the time cells, simulation seconds; ``cell`` + 1 numbers
    ``vehicle_km``      mean over days, of shape (edge, cell)
    ``standard_error``  of that mean over days; not a number where only one day was recorded
    ``days``            the recorded days
    ``day_totals_km``   vehicle-kilometres of each day, all edges and cells
    ``days_worth``      vehicle-kilometres of all the days, in mean days: less than their number where some of them,
                        weekends for instance, have less traffic than those of which the mean is taken
    ``traffic``         vehicle-kilometres of a day by its type, in mean days; types that are not named: 1
    ``source``          ``trajectories`` or ``counts``
    ``estimated``       edges that nobody counted, whose vehicle-kilometres were estimated
    ``total_error_km``  standard error of the total of a mean day; None where it is not known
    ``remarks``         what was assumed, in words
    """

    edge_ids: tuple[str, ...]
    cell_edges_s: np.ndarray
    vehicle_km: np.ndarray
    standard_error: np.ndarray
    days: tuple[int, ...]
    day_totals_km: np.ndarray
    days_worth: float | None = None
    traffic: Mapping[str, float] = field(default_factory=dict, repr=False)
    source: str = "trajectories"
    estimated: tuple[str, ...] = ()
    total_error_km: float | None = None
    remarks: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        shape = (len(self.edge_ids), len(self.cell_edges_s) - 1)
        if self.vehicle_km.shape != shape or self.standard_error.shape != shape:
            raise ValueError(
                f"vehicle_km is {self.vehicle_km.shape}, standard_error {self.standard_error.shape}; expected {shape}"
            )

    @property
    def total_km(self) -> float:
        """Vehicle-kilometres of a mean day on the whole network."""
        return float(self.vehicle_km.sum())

    @property
    def estimated_share(self) -> float:
        """Share of the vehicle-kilometres that were estimated."""
        index = {edge: row for row, edge in enumerate(self.edge_ids)}
        rows = [index[edge] for edge in self.estimated]
        return float(self.vehicle_km[rows].sum() / self.vehicle_km.sum()) if rows else 0.0

    @property
    def cell_s(self) -> np.ndarray:
        """Lengths of the cells in seconds; the last may be shorter."""
        return np.diff(self.cell_edges_s)

    def __repr__(self) -> str:
        return (
            f"Exposure({self.total_km:,.0f} vehicle-km a day on {len(self.edge_ids)} edges, "
            f"{len(self.cell_edges_s) - 1} cells, {len(self.days)} days)"
        )


def exposure(
    trajectories: Trajectories,
    network: "RoadNetwork",
    window: "StudyWindow",
    *,
    cell_s: float = 300.0,
    day_types: DayTypes | None = None,
) -> Exposure:
    """Vehicle-kilometres per edge and time cell between ``count_from_s`` and ``incidents_until_s``, the span in
    which incidents may start, averaged over the recorded days of the first of ``day_types`` (None: over all). Days of
    no wanted type do not count at all.

    Distances come from :func:`scenariogen.trajectories.fields.edie_fields`; an edge without vehicles counts 0.
    Raises ``ValueError`` for a cell length that is not positive.
    """
    if not cell_s > 0:
        raise ValueError(f"cell_s is {cell_s}, expected a positive number of seconds")
    borders = time_cells(window, cell_s)
    count = len(borders) - 1
    day_types = day_types or DayTypes()
    days = day_types.counted(trajectories.days)
    day_index = {day: index for index, day in enumerate(days)}
    # The fields' cells begin at multiples of their length, so a shorter one that fits into ours is asked for.
    fine_s = _divisor_s(window.count_from_s, window.incidents_until_s, cell_s)
    fields = edie_fields(trajectories, network, cell_s=fine_s)
    middle_s = fields["cell_begin_s"].to_numpy() + fine_s / 2
    inside = (middle_s > borders[0]) & (middle_s < borders[-1])
    day = np.array([day_index.get(day, -1) for day in fields["day"]], dtype=int)
    inside &= day >= 0
    edge = np.array([network.edge_index[edge] for edge in fields["edge"]], dtype=int)
    cell = np.searchsorted(borders, middle_s) - 1
    per_day = np.zeros((len(days), len(network.edge_ids), count))
    kilometres = fields["distance_m"].to_numpy() / 1000
    np.add.at(per_day, (day[inside], edge[inside], cell[inside]), kilometres[inside])
    kinds = np.array([day_types.of(day) for day in days], dtype=object)
    reference = np.isin(np.array(days), day_types.reference(days))
    own, many = per_day[reference], int(reference.sum())
    error = own.std(axis=0, ddof=1) / np.sqrt(many) if many > 1 else np.full(per_day.shape[1:], np.nan)
    totals = per_day.sum(axis=(1, 2))
    mean_km = float(totals[reference].mean())
    traffic = {str(kind): float(totals[kinds == kind].mean() / mean_km) for kind in np.unique(kinds)} if mean_km else {}
    return Exposure(
        edge_ids=network.edge_ids,
        cell_edges_s=borders,
        vehicle_km=own.mean(axis=0),
        standard_error=error,
        days=days,
        day_totals_km=totals,
        days_worth=float(totals.sum() / mean_km) if mean_km else None,
        traffic=traffic,
        total_error_km=float(totals[reference].std(ddof=1) / np.sqrt(many)) if many > 1 else None,
    )


def time_cells(window: "StudyWindow", cell_s: float) -> np.ndarray:
    """Borders of the time cells, ``cell_s`` apart; the last cell may be shorter."""
    count = max(1, int(np.ceil(window.start_span_s / cell_s - 1e-9)))
    borders = window.count_from_s + cell_s * np.arange(count + 1)
    borders[-1] = window.incidents_until_s
    return borders


def _divisor_s(begin_s: float, end_s: float, cell_s: float) -> float:
    """A length, at least 1 s, of which the borders are multiples; 1 s serves where they are crooked."""
    for part in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60):
        fine_s = cell_s / part
        if fine_s < 1:
            break
        if all(abs(value / fine_s - round(value / fine_s)) < 1e-9 for value in (begin_s, end_s)):
            return fine_s
    return 1.0
