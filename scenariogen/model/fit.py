"""Fitting: where incidents fall (message passing), how many (Gamma over published priors), what they are (marks)."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scenariogen.errors import ModelError, Problems
from scenariogen.incidents.exposure import Exposure
from scenariogen.incidents.records import KINDS, check_observed
from scenariogen.model.condition import ConditionTable
from scenariogen.model.features import CLASSES, road_graph
from scenariogen.model.mark_fit import fit_marks
from scenariogen.model.options import lane_options
from scenariogen.model.rates import RateShape, base_rates, group_normalised, prior_shapes, time_features
from scenariogen.model.scenario_model import ScenarioModel
from scenariogen.network import RoadNetwork
from scenariogen.randomness import child_seed
from scenariogen.window import StudyWindow

PATIENCE = 2
"""Checks in a row that a held-out likelihood may stay below the ones before until learning stops."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a model is fitted. Steps are of Adam; ``folds`` choose how long the rate network learns."""

    rate_steps: int = 200
    rate_check_every: int = 20
    folds: int = 4
    learning_rate: float = 0.02
    weight_decay: float = 0.01
    hidden: int = 24
    mark_steps: int = 200
    prior_draws: int = 1000


def fit_model(
    observed: pd.DataFrame,
    exposure: Exposure,
    network: RoadNetwork,
    window: StudyWindow,
    *,
    days: int,
    intensity: float = 1.0,
    seed: int = 0,
    network_name: str = "",
    clock_s: float = 0.0,
    settings: FitSettings | None = None,
    progress: Progress | None = None,
) -> ScenarioModel:
    """Fit the model of one network.

    ``observed``   table of ``OBSERVED_COLUMNS``, incidents of ``days`` recorded days; may be empty: priors alone
    ``exposure``   vehicle-kilometres per edge and time cell of a mean day
    ``intensity``  the declared frequency multiplier of the recording; divided out, so that the model's frequency 1
                   is that of the road itself

    Raises ``DataError`` or ``ModelError`` with every problem found. Same data and seed, same model.
    """
    settings = settings or FitSettings()
    problems = Problems("the model cannot be fitted")
    if days < 1:
        problems.add(f"days is {days}, expected at least 1 recorded day")
    if not intensity > 0:
        problems.add(f"intensity is {intensity}, expected a positive frequency multiplier")
    if exposure.edge_ids != network.edge_ids:
        problems.add("the exposure was computed on another network")
    elif not exposure.total_km > 0:
        problems.add("no vehicle moved in the span in which incidents may start, so there is no exposure")
    problems.raise_as(ModelError)
    observed = check_observed(observed, network)
    table, dropped = _usable(observed, network, window)
    graph, options = road_graph(network), lane_options(network)
    kilometres = torch.tensor(exposure.vehicle_km, dtype=torch.float64)
    kilometres[graph.lanes == 0] = 0.0
    cell_edges = torch.tensor(exposure.cell_edges_s, dtype=torch.float64)
    times = time_features(
        (cell_edges[1:] + cell_edges[:-1]) / 2, start_s=window.count_from_s, span_s=window.start_span_s, clock_s=clock_s
    )
    where = _where(table, network, cell_edges)
    shape, steps = _fit_shape(graph, times, kilometres, where, table["day"].to_numpy(), settings, seed, progress)
    posterior = _posterior(graph, times, kilometres, shape, where, days=days * intensity)
    marks = fit_marks(table, network, graph, options, kilometres, settings=settings, seed=seed, progress=progress)
    model = ScenarioModel(
        network=network,
        window=window,
        cell_edges_s=cell_edges,
        exposure=kilometres,
        shape=shape,
        marks=marks,
        posterior=posterior,
        condition=ConditionTable(clock_s=clock_s),
        info={},
    )
    model.info.update(_info(model, table, dropped, days, intensity, seed, steps, network_name, settings))
    return model


def _usable(observed: pd.DataFrame, network: RoadNetwork, window: StudyWindow) -> tuple[pd.DataFrame, dict[str, int]]:
    """Incidents on drivable edges that start in the span of starts, and how many were left out for which reason."""
    drivable = set(network.drivable)
    on_road = observed["edge"].isin(list(drivable)).to_numpy(dtype=bool)
    start = observed["start_s"].to_numpy(dtype=float)
    in_span = (start >= window.count_from_s) & (start < window.incidents_until_s)
    dropped = {
        "not on a driving lane": int((~on_road).sum()),
        "outside the span of starts": int((on_road & ~in_span).sum()),
    }
    return observed.loc[on_road & in_span].reset_index(drop=True), dropped


def _where(table: pd.DataFrame, network: RoadNetwork, cell_edges: Tensor) -> Tensor:
    """(incident, 3): edge, cell and kind indices."""
    edge = [network.edge_index[name] for name in table["edge"]]
    cell = np.searchsorted(cell_edges.numpy(), table["start_s"].to_numpy(dtype=float), side="right") - 1
    kind = [[k.value for k in KINDS].index(str(name)) for name in table["kind"]]
    return torch.tensor(
        np.array([edge, np.clip(cell, 0, len(cell_edges) - 2), kind]).T.reshape(-1, 3), dtype=torch.int64
    )


def _fit_shape(graph, times, exposure, where, day, settings: FitSettings, seed: int, progress) -> tuple[RateShape, int]:
    """Choose the number of steps on held-out days, then learn from all of them; none where nothing is gained."""
    generator = torch.Generator().manual_seed(child_seed(seed, "rates") & 0x7FFFFFFF)
    seen = exposure[where[:, 0], where[:, 1]] > 0
    where, day = where[seen], day[seen.numpy()]
    checks = range(0, settings.rate_steps + 1, settings.rate_check_every)
    gained = np.zeros(len(checks))
    folds = min(settings.folds, len(np.unique(day)))
    start = _new_shape(settings, generator)
    if folds >= 2 and len(where) >= 4 * folds:
        fold_of = {
            value: index % folds for index, value in enumerate(np.random.default_rng(seed).permutation(np.unique(day)))
        }
        fold = np.array([fold_of[value] for value in day])
        for number in range(folds):
            held, rest = torch.from_numpy(fold == number), torch.from_numpy(fold != number)
            gained += _learn(_copy(start), graph, times, exposure, where[rest], checks, settings, held=where[held])[1]
            if progress:
                progress("rates", number + 1, folds + 1)
    best = int(np.argmax(gained))
    steps = checks[best]
    shape, _ = _learn(_copy(start), graph, times, exposure, where, range(steps, steps + 1), settings)
    if progress:
        progress("rates", folds + 1, folds + 1)
    return shape, steps


def _new_shape(settings: FitSettings, generator: torch.Generator) -> RateShape:
    """A rate network whose weights come from ``generator``, not from torch's global state."""
    shape = RateShape(hidden=settings.hidden)
    with torch.no_grad():
        for name, parameter in shape.named_parameters():
            if name.startswith("read_out") and name.endswith(("2.weight", "2.bias")):
                continue  # the last layer stays at zero: the start is the exposure alone
            bound = parameter.shape[-1] ** -0.5
            parameter.copy_((torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * 2 - 1) * bound)
    return shape


def _copy(shape: RateShape) -> RateShape:
    import copy

    return copy.deepcopy(shape)


def _learn(shape, graph, times, exposure, where, checks, settings: FitSettings, held: Tensor | None = None):
    """Maximum likelihood of where incidents fell given how many did; held-out log-likelihood at the checks."""
    optimiser = torch.optim.AdamW(shape.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    scores = []
    for step in range(checks[-1] + 1):
        log_shape = group_normalised(shape(graph, times), exposure, graph.road_class)
        if held is not None and step in checks:
            with torch.no_grad():
                scores.append(float(log_shape[held[:, 0], held[:, 1], held[:, 2]].sum()))
            if len(scores) > PATIENCE and scores[-1] < min(scores[-PATIENCE - 1 : -1]):
                break  # it has begun to learn noise
        if step == checks[-1] or len(where) == 0:
            break
        loss = -log_shape[where[:, 0], where[:, 1], where[:, 2]].sum() / len(where)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    scores += [scores[-1] if scores else 0.0] * (len(checks) - len(scores))
    return shape, np.array(scores)


def _posterior(graph, times, exposure, shape, where, *, days: float) -> Tensor:
    """Gamma shape and rate of u by (kind, class): the prior's, plus counts, plus expected counts at u = 1."""
    with torch.no_grad():
        log_shape = group_normalised(shape(graph, times), exposure, graph.road_class)
    at_one = (exposure[..., None] * torch.exp(log_shape) * base_rates(graph)[:, None, :]).sum(1) * days
    counts = torch.zeros((len(KINDS), len(CLASSES)), dtype=torch.float64)
    expected = torch.zeros_like(counts)
    for kind, index in ((k, c) for k in range(len(KINDS)) for c in range(len(CLASSES))):
        members = graph.road_class == index
        expected[kind, index] = at_one[members, kind].sum()
        counts[kind, index] = (members[where[:, 0]] & (where[:, 2] == kind)).sum()
    prior = prior_shapes()
    return torch.stack([prior + counts, prior + expected])


def _data_hash(table: pd.DataFrame, model: ScenarioModel) -> str:
    """Hash of what the model learned from: the incidents used and the exposure."""
    digest = hashlib.sha256(table.to_csv(index=False).encode())
    digest.update(model.exposure.numpy().tobytes())
    return digest.hexdigest()


def _info(model: ScenarioModel, table, dropped, days, intensity, seed, steps, network_name, settings) -> dict:
    from scenariogen.model.account import account

    return {
        "network_name": network_name,
        "days": days,
        "intensity": intensity,
        "seed": seed,
        "settings": asdict(settings),
        "data_sha256": _data_hash(table, model),
        "rate_steps": steps,
        "incidents_used": len(table),
        "incidents_left_out": dropped,
        **account(model, table, days=days, intensity=intensity),
    }
