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
from scenariogen.model.rate_fit import fit_shape
from scenariogen.model.rates import base_rates, group_normalised, prior_shapes, time_features
from scenariogen.model.scenario_model import ScenarioModel
from scenariogen.network import RoadNetwork
from scenariogen.window import StudyWindow

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a model is fitted.

    ``rate_steps``        the most steps in which the messages of the rate network are learned; held-out days decide
    ``rate_check_every``  steps between two looks at the held-out days, which are taken in ``folds`` parts
    ``hidden``, ``members``  width of the rate network's state, and how many networks are averaged
    ``mark_steps``, ``learning_rate``  of Adam, for the marks
    ``prior_draws``       incidents drawn from the published priors that the marks learn beside the recorded ones
    """

    rate_steps: int = 100
    rate_check_every: int = 10
    folds: int = 4
    hidden: int = 48
    members: int = 2
    mark_steps: int = 200
    learning_rate: float = 0.02
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
    condition: ConditionTable | None = None,
    settings: FitSettings | None = None,
    progress: Progress | None = None,
) -> ScenarioModel:
    """Fit the model of one network.

    ``observed``   table of ``OBSERVED_COLUMNS``, incidents of ``days`` recorded days; may be empty: priors alone
    ``exposure``   vehicle-kilometres per edge and time cell of a mean day
    ``intensity``  the declared frequency multiplier of the recording; divided out, so that the model's frequency 1
                   is that of the road itself
    ``condition``  the declared table of conditions; None: the default one at ``clock_s``

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
    shape, steps = fit_shape(
        graph,
        times,
        kilometres,
        where,
        table["day"].to_numpy(),
        hidden=settings.hidden,
        members=settings.members,
        steps=settings.rate_steps,
        check_every=settings.rate_check_every,
        folds=settings.folds,
        seed=seed,
        progress=None if progress is None else lambda done, total: progress("rates", done, total),
    )
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
        condition=condition or ConditionTable(clock_s=clock_s),
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
