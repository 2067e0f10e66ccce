"""Fitting the marks: published priors as weighted pseudo-incidents, updated by local records."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scenariogen.incidents.capacity import published_capacity_left
from scenariogen.incidents.priors import PASSABLE_CAPACITY, PRIOR_WEIGHT_INCIDENTS, kind_shares
from scenariogen.incidents.records import KINDS
from scenariogen.model.features import CLASSES, RoadGraph
from scenariogen.model.marks import Marks, duration_to_unit, mark_contexts
from scenariogen.model.options import LaneOptions
from scenariogen.network import RoadClass, RoadNetwork
from scenariogen.randomness import child_seed, normal, uniform

CAPACITY_SPREAD = 0.06
"""Assumption: standard deviation of the capacity left round its published value."""
STREET_PASSING = (0.5, 1.0)
"""Assumption: on streets the capacity left is the share of open lanes times a passing-speed factor in this range."""


def fit_marks(
    table: pd.DataFrame,
    network: RoadNetwork,
    graph: RoadGraph,
    options: LaneOptions,
    exposure: Tensor,
    *,
    settings,
    seed: int,
    progress=None,
) -> Marks:
    """Maximum likelihood over local incidents (weight 1 each) and draws from the priors (together worth
    ``PRIOR_WEIGHT_INCIDENTS``). Lower bounds of the capacity left enter as P(C ≥ bound), censored durations as
    P(T ≥ t)."""
    marks = Marks()
    _initialise(marks, seed)
    contexts = mark_contexts(graph, options)
    rows = [_prior_rows(network, graph, options, exposure, draws=settings.prior_draws, seed=seed)]
    if len(table):
        rows.append(_local_rows(table, network, options))
    data = {name: torch.cat([part[name] for part in rows]) for name in rows[0]}
    optimiser = torch.optim.Adam(marks.parameters(), lr=settings.learning_rate)
    weight = data["weight"] / data["weight"].sum()
    for step in range(settings.mark_steps):
        loss = -(weight * mark_log_likelihood(marks, contexts, options, graph, data)).sum()
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


def mark_log_likelihood(marks: Marks, contexts: Tensor, options: LaneOptions, graph: RoadGraph, data: dict) -> Tensor:
    """Log-likelihood of each row, without the parts that are never learned; shape (row,)."""
    edge, kind, option = data["edge"], data["kind"], data["option"]
    context = contexts[edge, kind, option]
    every = contexts[edge, kind]
    score = marks.lanes(every).squeeze(-1) + options.log_prior[edge]
    score = torch.where(options.allowed[edge], score, torch.full_like(score, -1e9))
    out = torch.log_softmax(score, dim=-1).gather(1, option[:, None]).squeeze(1)
    # Capacity left: atom, value, or at least so much.
    log_atoms = marks.log_atoms(context, options.atoms[edge, option])
    low, high = options.low[edge, option], options.high[edge, option]
    width = (high - low).clamp_min(1e-6)
    unit = ((data["capacity"] - low) / width).clamp(1e-4, 1 - 1e-4)
    spline = marks.capacity(context)
    zero, one = data["capacity"] <= 0.0, data["capacity"] >= 1.0
    value = torch.where(
        zero, log_atoms[:, 0], torch.where(one, log_atoms[:, 2], log_atoms[:, 1] + spline.log_prob(unit))
    )
    above = torch.exp(log_atoms[:, 1]) * (1 - spline.cdf(unit)) + torch.exp(log_atoms[:, 2])
    above = torch.where(data["capacity"] <= low, 1 - torch.exp(log_atoms[:, 0]), above)
    degenerate = (high - low) < 1e-6
    capacity = torch.where(data["bounded"], torch.log(above.clamp_min(1e-9)), value.clamp_min(-30.0))
    out = out + torch.where(degenerate, torch.zeros_like(capacity), capacity)
    # Duration: a value, or at least so long.
    v, _ = duration_to_unit(data["duration"].clamp_min(1.0), options.log_minutes[edge, option])
    durations = marks.duration(context)
    survived = torch.log((1 - durations.cdf(v)).clamp_min(1e-9))
    out = out + torch.where(data["censored"], survived, durations.log_prob(v.clamp(1e-9, 1 - 1e-9)))
    place = (data["position"] / graph.lengths_m[edge]).clamp(1e-6, 1 - 1e-6)
    return out + marks.position(context).log_prob(place)


def _local_rows(table: pd.DataFrame, network: RoadNetwork, options: LaneOptions) -> dict[str, Tensor]:
    kinds = [kind.value for kind in KINDS]
    edge = [network.edge_index[name] for name in table["edge"]]
    lanes = [tuple(int(lane) for lane in found) for found in table["lanes"]]
    option = [_nearest_option(options, row, found) for row, found in zip(edge, lanes, strict=True)]
    as_float = {
        "capacity": "capacity_left",
        "duration": "duration_s",
        "position": "position_m",
    }
    rows = {name: torch.tensor(table[column].to_numpy(dtype=float)) for name, column in as_float.items()}
    return {
        "edge": torch.tensor(edge),
        "kind": torch.tensor([kinds.index(str(name)) for name in table["kind"]]),
        "option": torch.tensor(option),
        "bounded": torch.tensor(table["capacity_left_is_lower_bound"].to_numpy(dtype=bool)),
        "censored": torch.tensor(table["duration_is_censored"].to_numpy(dtype=bool)),
        "weight": torch.ones(len(table), dtype=torch.float64),
        **rows,
    }


def _nearest_option(options: LaneOptions, edge: int, lanes: tuple[int, ...]) -> int:
    """The option with these lanes, or with as many and the most in common where they are not adjacent."""
    exact = options.find(edge, lanes)
    if exact is not None:
        return exact
    scored = [
        (len(set(option) & set(lanes)) - abs(len(option) - len(lanes)), -index)
        for index, option in enumerate(options.lanes[edge])
    ]
    return -max(scored)[1]


def _prior_rows(
    network: RoadNetwork, graph, options: LaneOptions, exposure, *, draws: int, seed: int
) -> dict[str, Tensor]:
    """Pseudo-incidents: places by exposure, kinds, lanes, capacity and durations by the published tables."""
    from scenariogen.sampling.discrete import draw_category

    names = torch.arange(draws)
    noise = uniform(child_seed(seed, "prior"), names, 6)
    bell = normal(child_seed(seed, "prior bell"), names, 2)
    edge = draw_category(noise[:, 0], exposure.sum(1))
    kind = draw_category(noise[:, 1], torch.tensor(kind_shares(), dtype=torch.float64))
    option = draw_category(noise[:, 2], torch.exp(options.log_prior)[edge])
    capacity = torch.empty(draws, dtype=torch.float64)
    for row in range(draws):
        capacity[row] = _prior_capacity(
            network, options, int(edge[row]), int(kind[row]), int(option[row]), noise[row], float(bell[row, 0])
        )
    log_minutes = options.log_minutes[edge, option]
    return {
        "edge": edge,
        "kind": kind,
        "option": option,
        "capacity": capacity,
        "duration": 60.0 * torch.exp(log_minutes[:, 0] + log_minutes[:, 1] * bell[:, 1]),
        "position": noise[:, 5] * graph.lengths_m[edge],
        "bounded": torch.zeros(draws, dtype=torch.bool),
        "censored": torch.zeros(draws, dtype=torch.bool),
        "weight": torch.full((draws,), PRIOR_WEIGHT_INCIDENTS / draws, dtype=torch.float64),
    }


def _prior_capacity(
    network, options: LaneOptions, edge: int, kind: int, option: int, noise: Tensor, bell: float
) -> float:
    road = network.edges[network.edge_ids[edge]]
    lanes, blocked = len(road.driving_lanes), len(options.lanes[edge][option])
    atom, spread = float(noise[3]), float(noise[4])
    shares = torch.exp(options.atoms[edge, option]).tolist()
    if atom < shares[0]:
        return 0.0
    if atom >= 1 - shares[2]:
        return 1.0
    low, high = float(options.low[edge, option]), float(options.high[edge, option])
    published = published_capacity_left(min(max(lanes, 2), 8), blocked, crash=KINDS[kind].value == "crash")
    if lanes == 1 and blocked == 1:
        value = PASSABLE_CAPACITY[0] + spread * (PASSABLE_CAPACITY[1] - PASSABLE_CAPACITY[0])
    elif blocked == 0 or (
        CLASSES[int(CLASSES.index(road.road_class))] is not RoadClass.STREET and published is not None
    ):
        value = (published if published is not None else 0.9) + CAPACITY_SPREAD * bell
    else:
        value = (lanes - blocked) / lanes * (STREET_PASSING[0] + spread * (STREET_PASSING[1] - STREET_PASSING[0]))
    margin = 1e-3 * (high - low)
    return float(np.clip(value, low + margin, high - margin))
