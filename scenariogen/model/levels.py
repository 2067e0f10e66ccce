"""The level of each group: a Gamma prior over the published rate, moved by counts and the exposure they came from.

With sources s (days of trajectories, days of a log) and g = (kind, road class),

    u_g | data ~ Gamma(a + Σ_s N_gs, a + Σ_s E_gs),    E_gs = Σ_{e in class, b} Λ⁰_ebk · w_s(e, b, k),

Λ⁰ being the expected count of a day at u = 1 and w the days that a source effectively saw: days × intensity for
trajectories; for a log the sum over its days of the share of the cell that it covers times the chance that an incident
of that moment got into it (:func:`days_seen`). The posterior mean is a mean of 1, N_gs/E_gs with weights a, E_gs, which
is what each source's share in a rate means.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scenariogen.incidents.exposure import Exposure
from scenariogen.incidents.recorded import RecordedIncidents
from scenariogen.incidents.recorded_days import day_type_of
from scenariogen.incidents.records import KINDS
from scenariogen.model.features import CLASSES, RoadGraph
from scenariogen.model.marks import Marks, MarkTables, duration_to_unit
from scenariogen.model.rates import base_rates, prior_shapes

TRAJECTORIES, RECORDS = "trajectories", "records"
SURE_AFTER_S = 3 * 86_400.0
"""An incident that had so long to end is over: published durations reach this with a probability below 1e-15."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one source saw.

    ``name``      ``trajectories`` or ``records``
    ``where``     (incident, 3): edge, cell and kind indices
    ``weight``    days effectively seen, (edge, cell, kind)
    """

    name: str
    where: Tensor
    weight: Tensor


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The posterior of u.

    ``posterior``  (2, kind, class): Gamma shape and rate
    ``counts``     incidents by source, (kind, class); ``expected``  their expectation at u = 1
    """

    posterior: Tensor
    counts: dict[str, Tensor]
    expected: dict[str, Tensor]


def learn_levels(graph: RoadGraph, exposure: Tensor, log_shape: Tensor, seen: list[Seen]) -> Levels:
    """Update the priors by every source. ``log_shape`` (edge, cell, kind) is normalised in each group."""
    at_one = exposure[..., None] * torch.exp(log_shape) * base_rates(graph)[:, None, :]
    counts, expected = {}, {}
    for source in seen:
        every = torch.zeros((len(CLASSES), len(KINDS)), dtype=torch.float64)
        found = torch.zeros_like(every)
        expected[source.name] = every.index_add(0, graph.road_class, (at_one * source.weight).sum(1)).T
        pair = graph.road_class[source.where[:, 0]], source.where[:, 2]
        counts[source.name] = found.index_put(pair, torch.ones(len(source.where)).double(), accumulate=True).T
    prior = prior_shapes()
    posterior = torch.stack([prior + sum(counts.values()), prior + sum(expected.values())])
    return Levels(posterior=posterior, counts=counts, expected=expected)


def days_seen(
    records: RecordedIncidents, marks: Marks, tables: MarkTables, cell_edges_s, *, traffic: np.ndarray | None = None
) -> Tensor:
    """Days of a log by edge, cell and kind: covered share of the cell times the chance to be in the log, summed.

    The chance is P(a ≤ T ≤ b), a the least duration of the log and b the time from the cell's middle to its end where
    it lists closed incidents only (infinite otherwise), under the fitted durations. ``traffic`` of each day in mean
    days (None: 1) is how much of a day it counts for.
    """
    share = torch.tensor(records.clock.coverage(records.days, cell_edges_s), dtype=torch.float64)
    if traffic is not None:
        share = share * torch.tensor(traffic, dtype=torch.float64)[:, None]
    left_s = torch.tensor(records.clock.left_s(records.days, cell_edges_s), dtype=torch.float64)
    least_s, closed_only = records.settings.least_duration_s, records.settings.closed_only
    sure = (left_s > SURE_AFTER_S) | (not closed_only)
    longer = 1 - over_by(marks, tables, least_s)  # (edge, kind)
    out = (share * sure).sum(0)[None, :, None] * longer[:, None, :]
    for day, cell in torch.nonzero(~sure & (share > 0)).tolist():
        over = over_by(marks, tables, float(left_s[day, cell]))
        out[:, cell] += share[day, cell] * (over - (1 - longer)).clamp_min(0.0)
    return out


def traffic_of(records: RecordedIncidents, exposure: Exposure) -> np.ndarray:
    """Traffic of each of a log's days in mean days of the exposure, (day,), by its type."""
    return np.array([exposure.traffic.get(day_type_of(day), 1.0) for day in records.days.astype(object)], dtype=float)


def over_by(marks: Marks, tables: MarkTables, seconds: float) -> Tensor:
    """P(T ≤ seconds) by edge and kind, lanes averaged out. Shape (edge, kind)."""
    if seconds <= 0:
        return torch.zeros(tables.log_lanes.shape[:2], dtype=torch.float64)
    unit, _ = duration_to_unit(torch.tensor(seconds, dtype=torch.float64), tables.minutes)
    cdf = marks.spline(tables.duration).cdf(unit[:, None, :].expand(tables.log_lanes.shape))
    return (torch.exp(tables.log_lanes) * cdf).sum(-1)
