"""Positions on a set of segments, such as the lanes of a network: which segment, and where on it.

A draw is (i, x): the segment's number, and the distance from its start in metres, 0 < x < ℓᵢ. Its density, with respect
to counting on the segments times Lebesgue measure in metres, is

    log p(i, x | c) = log P(i | c) + log p_base(y | c, features of i) − log|dx/dy|,   x = ℓᵢ σ(y),

with σ the logistic function, or log P(i | c) − log ℓᵢ where positions are uniform on their segment. No draw lies beside
the network.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context, check_finite
from scenariogen.sampling.discrete import draw_category

MEASURE = "counting on the segments times Lebesgue along them, in metres"
"""What densities of positions on segments refer to."""


class SegmentDistribution(Distribution):
    """Segment and position given ``log_p`` (batch, segment), and ``position_given(segment)`` for positions on ℝ."""

    def __init__(
        self,
        lengths: Float[Tensor, " segment"],
        log_p: Float[Tensor, "batch segment"],
        *,
        position: ConditionalDensity | None,
        features: Float[Tensor, "segment feature"],
        context: Float[Tensor, "batch context"],
    ) -> None:
        self.lengths, self.log_p, self.position = lengths, log_p, position
        self.features, self.context = features, context
        on_any = self._on(torch.zeros(len(context), dtype=torch.int64, device=context.device))
        self.noise_columns = 1 + (1 if on_any is None else on_any.noise_columns)
        self.log_prob_is_exact = on_any is None or on_any.log_prob_is_exact
        self.has_log_prob = on_any is None or on_any.has_log_prob

    def _on(self, segment: Int[Tensor, " batch"]) -> Distribution | None:
        if self.position is None:
            return None
        return self.position(torch.cat([self.context, self.features[segment]], -1))

    def _segment_log_p(self, segment: Tensor) -> Tensor:
        return self.log_p.gather(-1, segment[:, None])[:, 0]

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch dim"]:
        return self._sample(noise)[0]

    def _sample(self, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        segment = draw_category(noise[:, 0], self.log_p.detach().exp())
        lengths, base = self.lengths[segment], self._on(segment)
        if base is None:
            at, log_prob = lengths * noise[:, 1], -lengths.log()
        else:
            y, log_base = base.sample_and_log_prob(noise[:, 1:])
            y = y[:, 0]
            # From the nearer end, so that small distances to either end keep their digits.
            at = torch.where(y < 0, lengths * torch.sigmoid(y), lengths - lengths * torch.sigmoid(-y))
            log_prob = None if log_base is None else log_base - _log_slope(lengths, y)
        at = at.clamp_min(torch.finfo(at.dtype).tiny).minimum(torch.nextafter(lengths, torch.zeros_like(lengths)))
        x = torch.stack([segment.to(at), at], -1)
        return x, None if log_prob is None else log_prob + self._segment_log_p(segment)

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch columns"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"] | None]:
        return self._sample(noise)

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        if x.shape[1] != 2:
            raise DensityError(f"got points of shape {tuple(x.shape[1:])}, expected (2,): segment and position")
        number, at = x[:, 0], x[:, 1]
        known = (number == number.round()) & (number >= 0) & (number < len(self.lengths))
        segment = number.where(known, 0.0).to(torch.int64)
        lengths = self.lengths[segment]
        inside = known & (at > 0) & (at < lengths)
        base = self._on(segment)
        if base is None:
            log_prob = -lengths.log()
        else:
            at = torch.where(inside, at, lengths / 2)
            y = at.log() - (lengths - at).log()
            log_prob = base.log_prob(y[:, None]) - _log_slope(lengths, y)
        return torch.where(inside, log_prob + self._segment_log_p(segment), -torch.inf)


def _log_slope(lengths: Tensor, y: Tensor) -> Tensor:
    """log|dx/dy| of x = ℓ σ(y)."""
    return lengths.log() + logsigmoid(y) + logsigmoid(-y)


class SegmentPositions(ConditionalDensity):
    """Positions on segments of ``lengths`` metres, shape (segment,).

    ``weights``   probabilities of the segments up to a factor, shape (segment,); by default the lengths, which with
                  uniform positions is the uniform density on the network
    ``scores``    instead of weights, a module from contexts (batch, context_width) to log-weights (batch, segment)
    ``position``  density of one number y on ℝ given the context and the segment's features; by default positions are
                  uniform on their segment
    ``features``  of the segments, shape (segment, feature), for ``position``

    ``DensityError`` lists lengths that are not positive, weights that are negative or all 0, weights and features of
    another number of segments, widths that do not fit.
    """

    def __init__(
        self,
        lengths: Float[Tensor, " segment"],
        *,
        weights: Float[Tensor, " weight"] | None = None,
        scores: nn.Module | None = None,
        position: ConditionalDensity | None = None,
        features: Float[Tensor, "row feature"] | None = None,
        context_width: int = 0,
    ) -> None:
        super().__init__()
        features = lengths.new_zeros((len(lengths), 0)) if features is None else features.to(lengths)
        problems = Problems("positions on segments")
        if wrong := int((~(torch.isfinite(lengths) & (lengths > 0))).sum()):
            problems.add(f"{wrong} of {len(lengths)} lengths are not positive and finite")
        if not len(lengths):
            problems.add("got no segments, expected at least one")
        if weights is not None and scores is not None:
            problems.add("got weights and scores, expected one of them")
        if weights is not None and not (torch.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            problems.add("the weights must be finite, at least 0, and not all 0")
        expected = context_width + features.shape[1]
        for name, rows in (("weights", weights), ("features", features)):
            if rows is not None and len(rows) != len(lengths):
                problems.add(f"got {len(rows)} {name} for {len(lengths)} segments, expected one for each")
        if position is not None and position.context_width != expected:
            problems.add(
                f"position takes {position.context_width} numbers, expected {expected}: "
                f"{context_width} of the context and {features.shape[1]} features"
            )
        try:
            check_finite(features, "features")
        except DensityError as error:
            problems.extend(error.problems)
        problems.raise_as(DensityError)
        self.context_width, self.scores, self.position = context_width, scores, position
        self.measure = MEASURE
        self.lengths: Tensor
        self.features: Tensor
        self.log_weights: Tensor
        self.register_buffer("lengths", lengths.clone())
        self.register_buffer("features", features.clone())
        self.register_buffer("log_weights", (lengths if weights is None else weights.to(lengths)).log())

    def forward(self, context: Float[Tensor, "batch context"]) -> SegmentDistribution:
        """The density for contexts of shape (batch, context). ``DensityError`` where scores rule out every segment."""
        check_context(context, self.context_width)
        lengths, features = self.lengths.to(context), self.features.to(context)
        log_weights = self.log_weights.to(context).expand(len(context), -1)
        if self.scores is not None:
            log_weights = self.scores(context)
            if log_weights.shape != (len(context), len(lengths)):
                raise DensityError(
                    f"scores gave shape {tuple(log_weights.shape)}, expected {(len(context), len(lengths))}"
                )
            if not torch.isfinite(log_weights.amax(-1)).all():
                raise DensityError("scores gave nan, inf, or −inf for every segment of a row: it has no distribution")
        return SegmentDistribution(
            lengths, log_weights.log_softmax(-1), position=self.position, features=features, context=context
        )
