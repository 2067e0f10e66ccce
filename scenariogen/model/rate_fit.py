"""Learning where incidents fall: first what the read-outs can tell, then the messages themselves, as far as it pays.

The likelihood is that of the places given how many incidents there were (levels are the Gamma's part). Every read-out
carries a Gaussian prior, tighter for how kinds differ than for what they share, so with few incidents little is learned
and with none nothing. With the messages' weights as drawn, the read-outs have a convex problem, solved by L-BFGS. From
there all weights move by Adam, those of the messages held near where they started by a prior of their own; how many
steps of that help is decided on held-out days, none being the usual answer for few incidents.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from scenariogen.model.features import RoadGraph
from scenariogen.model.rates import RateMember, RateShape, ReadOut, group_normalised
from scenariogen.randomness import child_seed

SHARED_SD, BY_KIND_SD = 0.4, 0.1
"""Prior standard deviations of the read-outs of own features and time: what kinds share, and how each departs."""
MESSAGES_SD, MESSAGES_BY_KIND_SD = 0.25, 0.1
"""The same for the read-out of the messages."""
MOVED_SD = 0.1
"""Prior standard deviation of how far the messages' weights move from where they started."""
LEARNING_RATE = 0.002
CONVEX_STEPS = 60
LEAST_SEEN = 1e-12
"""Share of the days seen that stands for none, so that its logarithm is a number."""


class _Data:
    """What the likelihood is made of: ``where`` (incident, 3) holds edge, cell and kind indices."""

    def __init__(self, graph: RoadGraph, times: Tensor, exposure: Tensor, where: Tensor, log_seen: Tensor) -> None:
        self.graph, self.times, self.exposure, self.where, self.log_seen = graph, times, exposure, where, log_seen

    def subset(self, rows: Tensor) -> "_Data":
        return _Data(self.graph, self.times, self.exposure, self.where[rows], self.log_seen)

    def log_likelihood(self, member: nn.Module, where: Tensor) -> Tensor:
        seen = member(self.graph, self.times) + self.log_seen
        log_shape = group_normalised(seen, self.exposure, self.graph.road_class)
        return log_shape[where[:, 0], where[:, 1], where[:, 2]].sum()


def fit_shape(
    graph: RoadGraph,
    times: Tensor,
    exposure: Tensor,
    where: Tensor,
    day: np.ndarray,
    *,
    hidden: int,
    members: int,
    steps: int,
    check_every: int,
    folds: int,
    seed: int,
    weight: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[RateShape, int]:
    """The shape of the rates, and how many steps of the second stage were taken.

    ``exposure``  (edge, cell) vehicle-kilometres; incidents where there is none are left out
    ``where``     (incident, 3) edge, cell and kind indices; ``day`` (incident,) the day of each
    ``steps``     the most steps of the second stage; looked at every ``check_every`` of them on ``folds`` parts of the
                  days that were held out
    ``weight``    days effectively seen, (edge, cell, kind); None: the same everywhere
    """
    seen = exposure[where[:, 0], where[:, 1]] > 0
    day = day[seen.numpy()]
    log_seen = torch.zeros(1, dtype=torch.float64)
    if weight is not None:
        log_seen = torch.log((weight / weight.max()).clamp_min(LEAST_SEEN))
    data = _Data(graph, times, exposure, where[seen], log_seen)
    shape = _new_shape(hidden, members, seed)
    checks = range(0, steps + 1, check_every)
    folds = min(folds, len(np.unique(day)))
    gained = np.zeros(len(checks))
    tell = progress or (lambda done, total: None)
    if folds >= 2 and len(day) >= 4 * folds:
        order = np.random.default_rng(seed).permutation(np.unique(day))
        fold_of = {value: index % folds for index, value in enumerate(order)}
        fold = np.array([fold_of[value] for value in day])
        for number in range(folds):
            held, rest = torch.from_numpy(fold == number), torch.from_numpy(fold != number)
            for member in shape.members:
                gained += _learn(copy.deepcopy(member), data.subset(rest), checks, held=data.where[held])
            tell(number + 1, folds + members)
    taken = checks[int(np.argmax(gained))]
    for number, member in enumerate(shape.members):
        _learn(member, data, range(taken, taken + 1))
        tell(folds + number + 1, folds + members)
    return shape, taken


def _new_shape(hidden: int, members: int, seed: int) -> RateShape:
    """A rate network whose weights come from ``seed``, not from torch's global state; read-outs stay at zero."""
    generator = torch.Generator().manual_seed(child_seed(seed, "rates") & 0x7FFFFFFF)
    shape = RateShape(hidden=hidden, members=members)
    with torch.no_grad():
        for member in shape.members:
            for parameter in _inner(member):
                bound = parameter.shape[-1] ** -0.5
                parameter.copy_((torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * 2 - 1) * bound)
    return shape


def _inner(member: nn.Module) -> list[nn.Parameter]:
    """The weights of the messages, in a fixed order."""
    outer = {id(parameter) for parameter in _outer(member)}
    return [parameter for parameter in member.parameters() if id(parameter) not in outer]


def _outer(member: nn.Module) -> list[nn.Parameter]:
    """The read-outs."""
    return [parameter for part in member.modules() if isinstance(part, ReadOut) for parameter in part.parameters()]


def _penalty(member: RateMember) -> Tensor:
    """Minus the log prior of the read-outs, up to a constant."""
    parts = [
        (part.shared / shared).square().sum() + (part.by_kind / by_kind).square().sum()
        for part, shared, by_kind in (
            (member.own, SHARED_SD, BY_KIND_SD),
            (member.time, SHARED_SD, BY_KIND_SD),
            (member.messages, MESSAGES_SD, MESSAGES_BY_KIND_SD),
        )
    ]
    return 0.5 * torch.stack(parts).sum()


def _learn(member: nn.Module, data: _Data, checks: range, held: Tensor | None = None) -> np.ndarray:
    """Both stages, up to the last of ``checks``; the log-likelihood of ``held`` incidents at each of them."""
    assert isinstance(member, RateMember)
    scale = 1.0 / max(len(data.where), 1)
    inner, outer = _inner(member), _outer(member)
    for parameter in inner:
        parameter.requires_grad_(False)
    convex = torch.optim.LBFGS(outer, max_iter=CONVEX_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        convex.zero_grad()
        loss = (_penalty(member) - data.log_likelihood(member, data.where)) * scale
        loss.backward()
        return loss

    convex.step(closure)  # pyright: ignore[reportArgumentType] - the stub wants a float
    for parameter in inner:
        parameter.requires_grad_(True)
    start = [parameter.detach().clone() for parameter in inner]
    optimiser = torch.optim.Adam(member.parameters(), lr=LEARNING_RATE)
    scores = []
    for step in range(checks[-1] + 1):
        if held is not None and step in checks:
            with torch.no_grad():
                scores.append(float(data.log_likelihood(member, held)))
        if step == checks[-1]:
            break
        moved = torch.stack([((now - then) / MOVED_SD).square().sum() for now, then in zip(inner, start, strict=True)])
        loss = (_penalty(member) + 0.5 * moved.sum() - data.log_likelihood(member, data.where)) * scale
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return np.array(scores)
