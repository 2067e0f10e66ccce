"""What a record says of the lanes, as a likelihood over the options of its edge.

Nothing said leaves every option as it was. A distribution over the number of lanes is divided by the rule with which
readers spread "some lanes" (each further lane half as likely): that rule is a prior, and the model has its own. What a
source itself knows stays. "All lanes" is a full closure; fewer than all of a known total are fewer than all here.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scenariogen.model.options import NEVER, LaneOptions
from scenariogen.network import Edge, RoadNetwork

HALVING = 0.5
"""The readers' rule for 'some lanes' (:mod:`scenariogen.incidents.lane_words`)."""


def lane_evidence(table: pd.DataFrame, network: RoadNetwork, options: LaneOptions) -> Tensor:
    """log p(what was said | option) up to a constant of each row, shape (row, option); ``NEVER`` where ruled out.

    ``table``  columns edge, lanes_total, lanes_closed, lanes_side, shoulder_only, full_closure
    """
    out = torch.full((len(table), options.allowed.shape[1]), NEVER, dtype=torch.float64)
    names = ("edge", "lanes_total", "lanes_closed", "lanes_side", "shoulder_only", "full_closure")
    for row, said in enumerate(zip(*(table[name] for name in names), strict=True)):
        name, total, closed, side, shoulder_only, full_closure = said
        edge = network.edges[str(name)]
        choices = options.lanes[network.edge_index[str(name)]]
        driving = len(edge.driving_lanes)
        weight = np.ones(len(choices))
        if shoulder_only or full_closure:
            weight = np.array([float(len(lanes) == (driving if full_closure else 0)) for lanes in choices])
        elif closed is not None:
            by_number = _by_number(np.asarray(closed, dtype=float), None if pd.isna(total) else int(total), driving)
            weight = by_number[[len(lanes) for lanes in choices]]
        on_side = weight * [float(_is_on(side, lanes, edge, left_hand=network.left_hand)) for lanes in choices]
        weight = on_side if on_side.sum() > 0 else weight
        known = torch.tensor(weight, dtype=torch.float64)
        out[row, : len(choices)] = torch.where(known > 0, known.log(), torch.full_like(known, NEVER))
    return out


def _by_number(closed: np.ndarray, total: int | None, driving: int) -> np.ndarray:
    """Likelihood of 0, 1, ... ``driving`` blocked lanes from the probabilities of 0, 1, ... closed ones."""
    said = np.flatnonzero(closed > 0)
    rule = HALVING ** np.arange(len(said))
    likelihood = closed[said] / (rule / rule.sum())
    out = np.zeros(driving + 1)
    for number, value in zip(said, likelihood, strict=True):
        every = total is not None and number >= total
        short_of_all = driving - 1 if total is not None and not every and driving > 1 else driving
        here = driving if every else min(int(number), short_of_all)
        out[here] = max(out[here], value)
    return out


def _is_on(side: object, lanes: tuple[int, ...], edge: Edge, *, left_hand: bool) -> bool:
    """Whether blocked lanes lie where the source says; SUMO counts from the kerb, right or left."""
    driving = edge.driving_lanes[::-1] if left_hand else edge.driving_lanes
    if not lanes or side not in ("left", "right", "centre"):
        return True
    if side == "centre":
        return driving[0] not in lanes and driving[-1] not in lanes
    return (driving[-1] if side == "left" else driving[0]) in lanes
