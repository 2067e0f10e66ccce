"""Fitting the marks: published priors as weighted pseudo-incidents, updated by local incidents."""

import torch
from torch import Tensor

from scenariogen.model.features import RoadGraph
from scenariogen.model.mark_likelihood import MarkLikelihood
from scenariogen.model.mark_rows import MarkRows
from scenariogen.model.marks import Marks, mark_contexts
from scenariogen.model.options import LaneOptions
from scenariogen.randomness import child_seed

BASE_SD = (1.0, 0.5)
"""Prior standard deviations of the shift and the log width of the base of durations, whose zero is the published
lognormal: a spline bends its middle but not its tails, so these are what tells a heavier or a lighter tail."""
READ_OUT_SD = 0.03
"""Prior standard deviation of the last layers of durations and positions, whose zero is the base of durations and the
uniform density of positions. Durations simulated from four families with other medians and tails were fitted 0.06 to
0.12 nats a record short of them from 150 and 0.03 to 0.07 from 600; with twice the value 0.07 to 0.14 and 0.03 to 0.06.
"""


def fit_marks(rows: MarkRows, graph: RoadGraph, options: LaneOptions, *, settings, seed: int, progress=None) -> Marks:
    """Penalised likelihood of local incidents (weight 1 each) and draws from the priors (together worth
    ``PRIOR_WEIGHT_INCIDENTS``); what a row does not say is summed out, see :mod:`scenariogen.model.mark_likelihood`."""
    marks = Marks()
    _initialise(marks, seed)
    likelihood = MarkLikelihood(mark_contexts(graph, options), options, graph, rows)
    optimiser = torch.optim.Adam(marks.parameters(), lr=settings.learning_rate)
    outer = _read_outs(marks)
    total = rows.weight.sum()
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.mark_steps)
    base_sd = torch.tensor(BASE_SD, dtype=torch.float64)
    for step in range(settings.mark_steps):
        penalty = 0.5 * torch.stack([(each / READ_OUT_SD).square().sum() for each in outer]).sum()
        penalty = penalty + 0.5 * (marks.duration_base / base_sd).square().sum()
        loss = (penalty - (rows.weight * likelihood(marks)).sum()) / total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        slower.step()
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
