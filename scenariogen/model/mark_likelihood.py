"""The likelihood of marks, with what a row does not say summed or integrated out.

For a row with edge e and kind k that is said to be d (a capacity, a duration, a position, or bounds of them), and whose
lanes are known as far as p(said | o) tells,

    log Σ_o p(o | e, k) p(said | o) p(d | e, k, o) − log Σ_o p(o | e, k) P(a ≤ T ≤ b | e, k, o).

The second term is there for rows that got into the data only because their duration T is at least a (a log that is
polled) or at most b (a log of closed incidents, b the time that was left): without it the fitted durations are those of
the log, not of the road. A duration that is a lower bound t enters as P(t ≤ T ≤ b).
"""

import torch
from torch import Tensor

from scenariogen.model.features import RoadGraph
from scenariogen.model.mark_rows import MarkRows
from scenariogen.model.marks import Marks, duration_to_unit
from scenariogen.model.options import NEVER, LaneOptions
from scenariogen.sampling.spline import UnitSpline
from scenariogen.sampling.supports import Unit

LEAST_LOG = -30.0
"""Log-density below which a capacity counts no further: the published support is not exactly everybody's."""
LEAST_PROBABILITY = 1e-12


class MarkLikelihood:
    """Everything about rows that does not change while marks are learned."""

    def __init__(self, contexts: Tensor, options: LaneOptions, graph: RoadGraph, rows: MarkRows) -> None:
        self.rows = rows
        kinds, width = contexts.shape[1:3]
        pair = rows.edge * kinds + rows.kind
        pairs, self.pair = pair.unique(return_inverse=True)
        edge, kind = pairs // kinds, pairs % kinds
        self.pair_contexts = contexts[edge, kind]
        self.pair_prior = torch.where(options.allowed[edge], options.log_prior[edge], NEVER)
        self.pair_minutes = options.log_minutes[edge]
        triple = pair[rows.owner] * width + rows.option
        triples, self.triple = triple.unique(return_inverse=True)
        self.contexts = contexts[triples // width // kinds, triples // width % kinds, triples % width]
        at = rows.edge[rows.owner], rows.option
        self.atoms, self.low, self.high = options.atoms[at], options.low[at], options.high[at]
        self.minutes, self.lengths = options.log_minutes[at], graph.lengths_m[at[0]]

    def __call__(self, marks: Marks) -> Tensor:
        """Log-likelihood of each row, shape (row,)."""
        rows = self.rows
        log_lanes = torch.log_softmax(marks.lanes(self.pair_contexts).squeeze(-1) + self.pair_prior, dim=-1)
        place = log_lanes[self.pair[rows.owner], rows.option] + rows.evidence
        place = place + self._capacity(marks) + self._duration(marks) + self._position(marks)
        out = _log_sum(place, rows.owner, len(rows))
        chosen = torch.nonzero(rows.selected).squeeze(-1)
        if len(chosen):
            out = out.index_add(0, chosen, -self._log_selected(marks, log_lanes, chosen))
        return out

    def _capacity(self, marks: Marks) -> Tensor:
        """Atom, value, or at least so much; 0 where nothing is known. Shape (place,)."""
        said, bounded = self.rows.capacity[self.rows.owner], self.rows.bounded[self.rows.owner]
        known = ~torch.isnan(said) & (self.high - self.low >= 1e-6)
        said, span = torch.nan_to_num(said, nan=0.5), (self.high - self.low).clamp_min(1e-6)
        log_atoms = marks.log_atoms(self.contexts[self.triple], self.atoms)
        unit = ((said - self.low) / span).clamp(1e-4, 1 - 1e-4)
        spline = marks.spline(marks.capacity.network(self.contexts)[self.triple])
        between = log_atoms[:, 1] + spline.log_prob(unit) - torch.log(span)
        value = torch.where(said <= 0, log_atoms[:, 0], torch.where(said >= 1, log_atoms[:, 2], between))
        above = torch.exp(log_atoms[:, 1]) * (1 - spline.cdf(unit)) + torch.exp(log_atoms[:, 2])
        above = torch.where(said <= self.low, 1 - torch.exp(log_atoms[:, 0]), above)
        found = torch.where(bounded, torch.log(above.clamp_min(1e-9)), value.clamp_min(LEAST_LOG))
        return torch.where(known, found, torch.zeros_like(found))

    def _duration(self, marks: Marks) -> Tensor:
        """Log-density of a duration in seconds, or the log-probability of what is known of it. Shape (place,)."""
        rows, owner = self.rows, self.rows.owner
        said, shortest, longest = rows.duration[owner], rows.shortest[owner], rows.longest[owner]
        exact = ~torch.isnan(said) & ~rows.censored[owner]
        spline = marks.spline(marks.duration.network(self.contexts)[self.triple])
        minutes = marks.minutes(self.minutes)
        _, log_slope = duration_to_unit(torch.where(exact, said, 60.0).clamp_min(1.0), minutes)
        value = spline.log_prob(_unit(torch.where(exact, said, 60.0), minutes).below.clamp(1e-9, 1 - 1e-9))
        least = torch.maximum(torch.nan_to_num(said, nan=0.0), shortest)
        least = torch.where(exact, 0.0, least)
        bounds = _unit(least, minutes), _unit(torch.where(exact, torch.inf, longest), minutes)
        within = _log_between(spline, *bounds)
        return torch.where(exact, value + log_slope, within)

    def _position(self, marks: Marks) -> Tensor:
        said = self.rows.position[self.rows.owner]
        share = torch.nan_to_num(said / self.lengths, nan=0.5).clamp(1e-6, 1 - 1e-6)
        found = marks.spline(marks.position.network(self.contexts)[self.triple]).log_prob(share)
        return torch.where(torch.isnan(said), torch.zeros_like(found), found)

    def _log_selected(self, marks: Marks, log_lanes: Tensor, chosen: Tensor) -> Tensor:
        """log P(a ≤ T ≤ b) of some rows, over all options of their edge and kind. Shape (chosen,)."""
        pair = self.pair[chosen]
        spline = marks.spline(marks.duration.network(self.pair_contexts)[pair])
        minutes = marks.minutes(self.pair_minutes[pair])
        bounds = (_unit(each[chosen][:, None], minutes) for each in (self.rows.shortest, self.rows.longest))
        return torch.logsumexp(log_lanes[pair] + _log_between(spline, *bounds), dim=-1)


def _unit(duration_s: Tensor, log_minutes: Tensor) -> Unit:
    """Durations on the unit interval, with the distance from both of its ends; 0 s and infinity are the ends."""
    inside = (duration_s > 0) & torch.isfinite(duration_s)  # apart, since at the ends there is no gradient
    log_duration = torch.log(torch.where(inside, duration_s, 60.0) / 60.0)
    z = (log_duration - log_minutes[..., 0]) / log_minutes[..., 1]
    z = torch.where(inside, z, torch.where(duration_s > 0, torch.inf, -torch.inf).to(z.dtype))
    return Unit(torch.special.ndtr(z), torch.special.ndtr(-z))


def _log_between(spline: UnitSpline, low: Unit, high: Unit) -> Tensor:
    """log P(low ≤ U ≤ high), no smaller than that of :data:`LEAST_PROBABILITY`; gradients are numbers everywhere."""
    first, last = spline.unit_cdf(low), spline.unit_cdf(high)
    between = torch.where(first.below < 0.5, last.below - first.below, first.above - last.above)
    return torch.log(between.clamp_min(LEAST_PROBABILITY))


def _log_sum(place: Tensor, owner: Tensor, rows: int) -> Tensor:
    """log Σ exp over the places of each row."""
    top = torch.full((rows,), -torch.inf, dtype=place.dtype).scatter_reduce(0, owner, place.detach(), "amax")
    return top + torch.log(torch.zeros_like(top).index_add(0, owner, torch.exp(place - top[owner])))
