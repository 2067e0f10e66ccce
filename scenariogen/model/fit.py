"""Fitting: where incidents fall (message passing), how many (Gamma over published priors), what they are (marks)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scenariogen.errors import ModelError, Problems
from scenariogen.incidents.capacity_tables import CapacityTable
from scenariogen.incidents.exposure import Exposure
from scenariogen.incidents.recorded import RecordedIncidents
from scenariogen.incidents.records import KINDS, check_observed
from scenariogen.model.account import Learned, account
from scenariogen.model.condition import ConditionTable
from scenariogen.model.features import road_graph
from scenariogen.model.levels import RECORDS, TRAJECTORIES, Seen, days_seen, learn_levels, traffic_of
from scenariogen.model.mark_fit import fit_marks
from scenariogen.model.mark_rows import detected_rows, joined, prior_rows, record_rows
from scenariogen.model.marks import Marks
from scenariogen.model.options import LaneOptions, lane_options
from scenariogen.model.rate_fit import fit_shape
from scenariogen.model.rates import group_normalised, time_features
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
    days_worth: float | None = None,
    intensity: float = 1.0,
    records: RecordedIncidents | None = None,
    left_out: Mapping[str, int] | None = None,
    seed: int = 0,
    network_name: str = "",
    clock_s: float = 0.0,
    condition: ConditionTable | None = None,
    capacity_table: CapacityTable | None = None,
    settings: FitSettings | None = None,
    progress: Progress | None = None,
) -> ScenarioModel:
    """Fit the model of one network.

    ``observed``   table of ``OBSERVED_COLUMNS``, incidents of ``days`` recorded days; may be empty: priors alone
    ``exposure``   vehicle-kilometres per edge and time cell of a mean day, which is that of the records too
    ``days_worth``  the traffic of those days in mean days of the exposure; None: as many as days
    ``left_out``   incidents that were left out before, by the reason, for the account
    ``intensity``  the declared frequency multiplier of the recording; divided out, so that the model's frequency 1
                   is that of the road itself. Records are of the road: their intensity is 1
    ``records``    usable incidents of a log, of days of their own
    ``condition``  the declared table of conditions; None: the default one at ``clock_s``
    ``capacity_table``  measured with the project's own traffic; None: what SUMO's default car can be made to leave

    Raises ``DataError`` or ``ModelError`` with every problem found. Same data and seed, same model.
    """
    settings = settings or FitSettings()
    condition = condition or ConditionTable(clock_s=clock_s)
    _check(observed, exposure, network, days=days, intensity=intensity, records=records)
    table, dropped = _usable(check_observed(observed, network), network, window)
    graph, options = road_graph(network), lane_options(network, capacity_table)
    kilometres = torch.tensor(exposure.vehicle_km, dtype=torch.float64)
    kilometres[graph.lanes == 0] = 0.0
    cell_edges = torch.tensor(exposure.cell_edges_s, dtype=torch.float64)
    local = {TRAJECTORIES: detected_rows(table, network, options)} if days else {}
    if records is not None:
        local[RECORDS] = record_rows(records, network, options)
    prior = prior_rows(network, graph, options, kilometres, draws=settings.prior_draws, seed=seed)
    marks = fit_marks(joined([prior, *local.values()]), graph, options, settings=settings, seed=seed, progress=progress)
    worth = (days if days_worth is None else days_worth) * intensity
    seen, day = _seen(table, records, network, exposure, marks, options, days=worth)
    times = time_features(
        (cell_edges[1:] + cell_edges[:-1]) / 2,
        start_s=window.count_from_s,
        span_s=window.start_span_s,
        clock_s=condition.clock_s,
    )
    shape, steps = fit_shape(
        graph,
        times,
        kilometres,
        torch.cat([source.where for source in seen]),
        day,
        hidden=settings.hidden,
        members=settings.members,
        steps=settings.rate_steps,
        check_every=settings.rate_check_every,
        folds=settings.folds,
        seed=seed,
        weight=None if records is None else torch.stack([source.weight for source in seen]).sum(0),
        progress=None if progress is None else lambda done, total: progress("rates", done, total),
    )
    with torch.no_grad():
        log_shape = group_normalised(shape(graph, times), kilometres, graph.road_class)
    levels = learn_levels(graph, kilometres, log_shape, seen)
    model = ScenarioModel(
        network=network,
        window=window,
        cell_edges_s=cell_edges,
        exposure=kilometres,
        shape=shape,
        marks=marks,
        posterior=levels.posterior,
        condition=condition,
        info={},
        capacity_table=capacity_table,
    )
    learned = Learned(
        table=table,
        left_out={**(left_out or {}), **dropped},
        records=records,
        exposure=exposure,
        days=days,
        intensity=intensity,
        rows=local,
        prior=prior,
        levels=levels,
        seed=seed,
    )
    model.info.update(
        {
            "network_name": network_name,
            "seed": seed,
            **({} if capacity_table is None else {"capacity_table": capacity_table.name}),
            "settings": asdict(settings),
            "data_sha256": _data_hash(learned, model),
            "rate_steps": steps,
            **account(model, learned),
        }
    )
    return model


def _check(observed, exposure, network, *, days: int, intensity: float, records: RecordedIncidents | None) -> None:
    """Raise ``ModelError`` with everything that stands in the way."""
    problems = Problems("the model cannot be fitted")
    if days < 0 or (days == 0 and records is None):
        problems.add(f"days is {days}, expected at least 1 recorded day, or records of a log")
    if days == 0 and len(observed):
        problems.add(f"{len(observed)} incidents come from 0 recorded days")
    if records is not None and not len(records.days):
        clock = records.clock
        problems.add(
            f"the log, from {clock.since} to {clock.until}, covers the study window on no day of the type "
            f"{clock.day_type}: --day-type, --clock and --time-zone say which days and hours count"
        )
    if not intensity > 0:
        problems.add(f"intensity is {intensity}, expected a positive frequency multiplier")
    if exposure.edge_ids != network.edge_ids:
        problems.add("the exposure was computed on another network")
    elif not exposure.total_km > 0:
        problems.add("no vehicle moved in the span in which incidents may start, so there is no exposure")
    problems.raise_as(ModelError)


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


def _seen(
    table: pd.DataFrame,
    records: RecordedIncidents | None,
    network: RoadNetwork,
    exposure: Exposure,
    marks: Marks,
    options: LaneOptions,
    *,
    days: float,
) -> tuple[list[Seen], np.ndarray]:
    """What each source saw, and a number for the day of every incident, the sources one after the other."""
    cell_edges = exposure.cell_edges_s
    shape = (len(network.edge_ids), len(cell_edges) - 1, len(KINDS))
    seen = []
    if days:
        every = torch.full(shape, days, dtype=torch.float64)
        seen.append(Seen(name=TRAJECTORIES, where=_where(table, network, cell_edges), weight=every))
    day = table["day"].to_numpy(dtype=np.int64)
    if records is not None:
        tables = marks.tables(road_graph(network), options)
        weight = days_seen(records, marks, tables, cell_edges, traffic=traffic_of(records, exposure))
        seen.append(Seen(name=RECORDS, where=_where(records.table, network, cell_edges), weight=weight))
        later = day.max(initial=-1) + 1
        day = np.concatenate([day, records.table["day"].to_numpy(dtype=np.int64) + later])
    return seen, day


def _where(table: pd.DataFrame, network: RoadNetwork, cell_edges: np.ndarray) -> Tensor:
    """(incident, 3): edge, cell and kind indices."""
    edge = [network.edge_index[name] for name in table["edge"]]
    cell = np.searchsorted(cell_edges, table["start_s"].to_numpy(dtype=float), side="right") - 1
    kind = [[k.value for k in KINDS].index(str(name)) for name in table["kind"]]
    return torch.tensor(
        np.array([edge, np.clip(cell, 0, len(cell_edges) - 2), kind]).T.reshape(-1, 3), dtype=torch.int64
    )


def _data_hash(learned: Learned, model: ScenarioModel) -> str:
    """Hash of what the model learned from: the incidents used and the exposure."""
    digest = hashlib.sha256(learned.table.to_csv(index=False).encode())
    if learned.records is not None:
        digest.update(learned.records.table.to_csv(index=False).encode())
    digest.update(model.exposure.numpy().tobytes())
    return digest.hexdigest()
