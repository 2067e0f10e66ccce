"""Marks of an incident: which lanes, how much capacity is left, how long, in which phases, where along the edge.

p(m | e, k) = p(lanes | e, k) · p(capacity | e, k, lanes) · p(T | e, k, lanes) · p(x | e, k, lanes) · p(phases)

* lanes: a softmax over the edge's options, starting from the published severities;
* capacity left: atoms at 0 and 1 where they are possible, between them a conditional spline on what can be brought
  about (``incidents.capacity.reachable``);
* duration T: a conditional spline on v = Φ((log T − μ − a σ) / (w σ)), μ and σ published for the severity, a and w
  common to all (0 and 1 at the start), since a spline leaves the tails of its base as they are; analytic CDF, so a
  censored duration enters as P(T > t);
* position: a conditional spline on x / length;
* phases: shares of detection, response and clearance are logistic-normal with declared parameters
  (Aitchison & Shen, *Logistic-normal distributions*, 1980), never learned from durations alone.

All conditional parameters depend on (edge, kind, option) only; they are tabulated once, and a draw is a look-up and an
inverse CDF.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scenariogen.incidents.records import KINDS
from scenariogen.model.features import EDGE_FEATURES, RoadGraph
from scenariogen.model.options import NEVER, OPTION_FEATURES, LaneOptions
from scenariogen.sampling.contract import mlp
from scenariogen.sampling.spline import ConditionalUnitSpline, UnitSpline

CONTEXT = EDGE_FEATURES + len(KINDS) + OPTION_FEATURES
PHASE_MEAN = (math.log(0.2 / 0.5), math.log(0.3 / 0.5))
"""Means of log(detection / clearance) and log(response / clearance): shares of about 20, 30 and 50 %; assumption."""
PHASE_SIGMA = 0.5
"""Their standard deviation, independent; assumption."""


@dataclass(frozen=True)
class MarkTables:
    """Parameters of every (edge, kind, option): log-shares of lanes and atoms, spline parameters; of every (edge,
    option) the mean and standard deviation of the base of log minutes."""

    log_lanes: Tensor
    log_atoms: Tensor
    capacity: Tensor
    duration: Tensor
    position: Tensor
    minutes: Tensor


class Marks(nn.Module):
    """The heads. At the start each is the published or assumed prior, or uniform on its support."""

    def __init__(self, *, bins: int = 8, hidden: int = 32) -> None:
        super().__init__()
        self.bins = bins
        self.lanes = mlp(CONTEXT, 1, hidden=hidden)
        self.atoms = mlp(CONTEXT, 3, hidden=hidden)
        self.capacity = ConditionalUnitSpline(CONTEXT, bins=bins, hidden=hidden)
        self.duration = ConditionalUnitSpline(CONTEXT, bins=bins, hidden=hidden)
        self.position = ConditionalUnitSpline(CONTEXT, bins=bins, hidden=hidden)
        self.duration_base = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        """a, and log w."""

    def log_lanes(self, contexts: Tensor, options: LaneOptions) -> Tensor:
        """Log-shares of the options; ``contexts`` (edge, kind, option, context), result (edge, kind, option)."""
        score = self.lanes(contexts).squeeze(-1) + options.log_prior[:, None, :]
        score = torch.where(options.allowed[:, None, :], score, torch.full_like(score, NEVER))
        return torch.log_softmax(score, dim=-1)

    def log_atoms(self, contexts: Tensor, prior: Tensor) -> Tensor:
        """Log-shares of capacity left at 0, between, and at 1, for contexts (..., context), priors (..., 3)."""
        logits = self.atoms(contexts) + prior
        return torch.log_softmax(torch.where(prior > NEVER, logits, torch.full_like(logits, NEVER)), dim=-1)

    def tables(self, graph: RoadGraph, options: LaneOptions) -> MarkTables:
        """All parameters for a network, without gradients."""
        with torch.no_grad():
            contexts = mark_contexts(graph, options)
            prior = options.atoms[:, None].expand(*contexts.shape[:3], 3)
            return MarkTables(
                log_lanes=self.log_lanes(contexts, options),
                log_atoms=self.log_atoms(contexts, prior),
                capacity=self.capacity.network(contexts),
                duration=self.duration.network(contexts),
                position=self.position.network(contexts),
                minutes=self.minutes(options.log_minutes),
            )

    def minutes(self, log_minutes: Tensor) -> Tensor:
        """Mean and standard deviation of the base of log minutes from the published ones, shape (..., 2) both."""
        shift, log_width = self.duration_base
        mean, spread = log_minutes.unbind(-1)
        return torch.stack([mean + shift * spread, torch.exp(log_width) * spread], dim=-1)

    def spline(self, parameters: Tensor) -> UnitSpline:
        """The unit-interval density with these parameters."""
        return UnitSpline(parameters, self.bins)


def mark_contexts(graph: RoadGraph, options: LaneOptions) -> Tensor:
    """Contexts of every (edge, kind, option), shape (edge, kind, option, context)."""
    edges, width = options.allowed.shape
    kinds = torch.eye(len(KINDS), dtype=torch.float64, device=graph.features.device)
    return torch.cat(
        [
            graph.features[:, None, None, :].expand(edges, len(KINDS), width, -1),
            kinds[None, :, None, :].expand(edges, -1, width, -1),
            options.features[:, None].expand(-1, len(KINDS), -1, -1),
        ],
        dim=-1,
    )


def duration_to_unit(duration_s: Tensor, log_minutes: Tensor) -> tuple[Tensor, Tensor]:
    """v = Φ((log minutes − mean) / spread) and log dv/dT, T in seconds, with a base of :meth:`Marks.minutes`."""
    mean, spread = log_minutes.unbind(-1)
    z = (torch.log(duration_s / 60.0) - mean) / spread
    log_slope = -0.5 * z**2 - 0.5 * math.log(2 * math.pi) - torch.log(spread) - torch.log(duration_s)
    return torch.special.ndtr(z), log_slope


def unit_to_duration(v: Tensor, log_minutes: Tensor) -> Tensor:
    """Duration in seconds; inverse of :func:`duration_to_unit`."""
    z = torch.special.ndtri(v.clamp(1e-12, 1 - 1e-12))
    return 60.0 * torch.exp(log_minutes[..., 0] + log_minutes[..., 1] * z)


def draw_phases(noise: Tensor, duration_s: Tensor) -> Tensor:
    """Detection, response and clearance in seconds, shape (batch, 3), from noise (batch, 2); they sum to T."""
    mean = torch.tensor(PHASE_MEAN, dtype=torch.float64, device=noise.device)
    y = mean + PHASE_SIGMA * torch.special.ndtri(noise)
    shares = torch.softmax(torch.cat([y, torch.zeros_like(y[:, :1])], dim=-1), dim=-1)
    return shares * duration_s[:, None]


def phases_log_prob(phases_s: Tensor) -> Tensor:
    """log p(phases | T) with respect to Lebesgue measure on two of the shares, less 2 log T.

    Added to log p(T) it gives the density on the three durations in seconds: the map (T, s₁, s₂) ↦ T·s has the
    Jacobian T². −inf where a phase is 0.
    """
    total = phases_s.sum(-1, keepdim=True)
    log_shares = torch.log(phases_s / total)
    y = log_shares[..., :2] - log_shares[..., 2:]
    mean = torch.tensor(PHASE_MEAN, dtype=torch.float64, device=phases_s.device)
    normal = -0.5 * (((y - mean) / PHASE_SIGMA) ** 2).sum(-1) - 2 * math.log(PHASE_SIGMA) - math.log(2 * math.pi)
    out = normal - log_shares.sum(-1) - 2 * torch.log(total.squeeze(-1))
    return torch.where((phases_s > 0).all(-1), out, torch.full_like(out, -torch.inf))
