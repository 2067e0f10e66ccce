"""The numbers of many scenarios as arrays, so that weights and estimates need no scenario in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scenariogen.scenarios.records import Scenario


@dataclass(frozen=True, kw_only=True, eq=False)
class DensityColumns:
    """The densities of drawn scenarios, one row each: fields as in :class:`~scenariogen.scenarios.records.Density`.

    ``component`` has the shape (batch,), the others (batch, kind).
    """

    component: NDArray[np.int64] = field(repr=False)
    counts: NDArray[np.float64] = field(repr=False)
    expected: NDArray[np.float64] = field(repr=False)
    expected_given: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchColumns:
    """Scenarios as arrays of the shape (batch,).

    ``index``             of each scenario
    ``is_incident_free``  bool
    ``demand_scale``      factor on the project's demand
    ``density``           None where a scenario was made by hand
    """

    index: NDArray[np.int64] = field(repr=False)
    is_incident_free: NDArray[np.bool_] = field(repr=False)
    demand_scale: NDArray[np.float64] = field(repr=False)
    density: DensityColumns | None = field(repr=False)


def columns_of(scenarios: Sequence[Scenario]) -> BatchColumns:
    """All columns in one pass."""
    size = len(scenarios)
    index, free, scale = np.empty(size, np.int64), np.empty(size, bool), np.empty(size)
    component, by_kind, drawn = np.empty(size, np.int64), np.empty((3, size, 0)), True
    for row, scenario in enumerate(scenarios):
        index[row], free[row] = scenario.index, scenario.is_incident_free
        scale[row] = scenario.condition.demand_scale
        density = scenario.density
        if density is None or not drawn:
            drawn = False
            continue
        if row == 0:
            by_kind = np.empty((3, size, len(density.counts)))
        component[row] = density.component
        by_kind[:, row] = density.counts, density.expected, density.expected_given
    density = None
    if drawn:
        counts, expected, inside = by_kind
        density = DensityColumns(component=component, counts=counts, expected=expected, expected_given=inside)
    return BatchColumns(index=index, is_incident_free=free, demand_scale=scale, density=density)
