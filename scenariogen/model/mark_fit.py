"""Fitting the marks: published priors as weighted pseudo-incidents, updated by local incidents."""

import torch
from torch import Tensor

from scenariogen.model.features import RoadGraph
from scenariogen.model.mark_likelihood import MarkLikelihood
from scenariogen.model.mark_rows import MarkRows
from scenariogen.model.marks import Marks, mark_contexts
from scenariogen.model.options import LaneOptions
from scenariogen.randomness import child_seed

READ_OUT_SD = 0.03
"""Prior standard deviation of the last layers of durations and positions, whose base densities are the published and
the uniform one. Of seven values from 0.005 to 0.4 the one that served held-out records best: after 150, 465 and 1,243
simulated incidents it was 0.08, 0.03 and 0.03 nats a record short of the family they came from, without it 0.27, 0.11
and 0.05."""


def fit_marks(rows: MarkRows, graph: RoadGraph, options: LaneOptions, *, settings, seed: int, progress=None) -> Marks:
    """Penalised likelihood of local incidents (weight 1 each) and draws from the priors (together worth
    ``PRIOR_WEIGHT_INCIDENTS``); what a row does not say is summed out, see :mod:`scenariogen.model.mark_likelihood`."""
    marks = Marks()
    _initialise(marks, seed)
    likelihood = MarkLikelihood(mark_contexts(graph, options), options, graph, rows)
    optimiser = torch.optim.Adam(marks.parameters(), lr=settings.learning_rate)
    outer = _read_outs(marks)
    total = rows.weight.sum()
    for step in range(settings.mark_steps):
        penalty = 0.5 * torch.stack([(each / READ_OUT_SD).square().sum() for each in outer]).sum()
        loss = (penalty - (rows.weight * likelihood(marks)).sum()) / total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if progress and step % 20 == 0:
            progress("marks", step, settings.mark_steps)
    if progress:
        progress("marks", settings.mark_steps, settings.mark_steps)
    return marks


def _read_outs(marks: Marks) -> list[Tensor]:
    """Weights and biases of the last layers whose zero is the density that a few incidents should not bend."""
    heads = (marks.duration.network, marks.position.network)
    return [parameter for head in heads for parameter in list(head.children())[-1].parameters()]


def _initialise(marks: Marks, seed: int) -> None:
    """First layers from the seed, not from torch's global state; last layers stay at zero (the base densities)."""
    generator = torch.Generator().manual_seed(child_seed(seed, "marks") & 0x7FFFFFFF)
    with torch.no_grad():
        for parameter in marks.parameters():
            if parameter.abs().sum() > 0:
                bound = parameter.shape[-1] ** -0.5
                parameter.copy_((torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * 2 - 1) * bound)
