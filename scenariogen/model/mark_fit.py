"""Fitting the marks: published priors as weighted pseudo-incidents, updated by local incidents."""

import torch
from torch import Tensor

from scenariogen.model.features import RoadGraph
from scenariogen.model.mark_likelihood import MarkLikelihood
from scenariogen.model.mark_rows import MarkRows
from scenariogen.model.marks import Marks, mark_contexts
from scenariogen.model.options import LaneOptions
from scenariogen.randomness import child_seed


def fit_marks(rows: MarkRows, graph: RoadGraph, options: LaneOptions, *, settings, seed: int, progress=None) -> Marks:
    """Maximum likelihood over local incidents (weight 1 each) and draws from the priors (together worth
    ``PRIOR_WEIGHT_INCIDENTS``); what a row does not say is summed out, see :mod:`scenariogen.model.mark_likelihood`."""
    marks = Marks()
    _initialise(marks, seed)
    likelihood = MarkLikelihood(mark_contexts(graph, options), options, graph, rows)
    optimiser = torch.optim.Adam(marks.parameters(), lr=settings.learning_rate)
    weight: Tensor = rows.weight / rows.weight.sum()
    for step in range(settings.mark_steps):
        loss = -(weight * likelihood(marks)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if progress and step % 20 == 0:
            progress("marks", step, settings.mark_steps)
    if progress:
        progress("marks", settings.mark_steps, settings.mark_steps)
    return marks


def _initialise(marks: Marks, seed: int) -> None:
    """First layers from the seed, not from torch's global state; last layers stay at zero (the base densities)."""
    generator = torch.Generator().manual_seed(child_seed(seed, "marks") & 0x7FFFFFFF)
    with torch.no_grad():
        for parameter in marks.parameters():
            if parameter.abs().sum() > 0:
                bound = parameter.shape[-1] ** -0.5
                parameter.copy_((torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * 2 - 1) * bound)
