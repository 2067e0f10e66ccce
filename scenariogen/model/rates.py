"""Incident rates: a message-passing network spreads each group's rate over edges and time, a Gamma sets its level.

In edge e, time cell b and kind k the expected count of a day is

    Λ_ebk = exposure_eb · r_class(e) · share_k · s_ebk · u_g,    g = (kind, road class),

with published r and share. The shape s = exp(f_θ) is normalised to an exposure-weighted mean of 1 in each group, so
that level and shape are separate: f_θ sees only *where* the incidents of a group fell (a multinomial likelihood, free
of levels), and u_g ~ Gamma(a, a) is updated to Gamma(a + N_g, a + ΣΛ⁰_g), Λ⁰ being Λ at u = 1. The density of record
has u at its posterior mean.
"""

import torch
from torch import Tensor, nn

from scenariogen.incidents.priors import RATE_PER_KM, RATE_SHAPE, kind_shares
from scenariogen.incidents.records import KINDS
from scenariogen.model.features import CLASSES, EDGE_FEATURES, LINK_FEATURES, RoadGraph

TIME_FEATURES = 5


def time_features(cell_middle_s: Tensor, *, start_s: float, span_s: float, clock_s: float) -> Tensor:
    """(cell, feature): place in the span of starts, and the hour of the day as sine and cosine."""
    place = (cell_middle_s - start_s) / span_s
    hour = (cell_middle_s + clock_s) / 86_400.0 * 2 * torch.pi
    return torch.stack(
        [2 * place - 1, torch.sin(2 * torch.pi * place), torch.cos(2 * torch.pi * place), hour.sin(), hour.cos()],
        dim=-1,
    )


class RateMember(nn.Module):
    """f_θ(e, b, k) = x_e·(a + a_k) + h_e·(c + c_k) + t_b·(d + d_k): own features, messages, time of day.

    ``x`` are the edge's own features, ``h`` its state after two rounds of messages along and against the traffic, ``t``
    time features. Each read-out has a part that all kinds of incident share and one for each kind.
    """

    def __init__(self, *, hidden: int, rounds: int = 2) -> None:
        super().__init__()
        self.enter = nn.Linear(EDGE_FEATURES, hidden, dtype=torch.float64)
        self.forward_messages = nn.ModuleList(mlp_hidden(hidden + LINK_FEATURES, hidden) for _ in range(rounds))
        self.backward_messages = nn.ModuleList(mlp_hidden(hidden + LINK_FEATURES, hidden) for _ in range(rounds))
        self.updates = nn.ModuleList(mlp_hidden(3 * hidden, hidden) for _ in range(rounds))
        self.own = ReadOut(EDGE_FEATURES)
        self.messages = ReadOut(hidden)
        self.time = ReadOut(TIME_FEATURES)

    def forward(self, graph: RoadGraph, times: Tensor) -> Tensor:
        """log s before normalisation, of shape (edge, cell, kind)."""
        state = torch.tanh(self.enter(graph.features))
        for along, against, update in zip(self.forward_messages, self.backward_messages, self.updates, strict=True):
            down = along(torch.cat([state[graph.sources], graph.links], dim=-1))
            up = against(torch.cat([state[graph.targets], graph.links], dim=-1))
            arriving = torch.zeros_like(state).index_add(0, graph.targets, down)
            leaving = torch.zeros_like(state).index_add(0, graph.sources, up)
            state = state + update(torch.cat([state, arriving, leaving], dim=-1))
        return (self.own(graph.features) + self.messages(state))[:, None, :] + self.time(times)[None]


class ReadOut(nn.Module):
    """A linear map to the kinds of incident: what they share, and how each departs from it. Starts at zero."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.zeros(inputs, 1, dtype=torch.float64))
        self.by_kind = nn.Parameter(torch.zeros(inputs, len(KINDS), dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        """(..., inputs) to (..., kind)."""
        return rows @ (self.shared + self.by_kind)


class RateShape(nn.Module):
    """The mean of a few members that differ by where they started.

    Sums over neighbours make it equivariant under relabelled edges; features are intrinsic, so moving or turning
    the map changes nothing, while a mirror image does (turn angles are signed).
    """

    def __init__(self, *, hidden: int = 48, members: int = 2) -> None:
        super().__init__()
        self.hidden = hidden
        self.members = nn.ModuleList(RateMember(hidden=hidden) for _ in range(members))

    def forward(self, graph: RoadGraph, times: Tensor) -> Tensor:
        """log s before normalisation, of shape (edge, cell, kind)."""
        return torch.stack([member(graph, times) for member in self.members]).mean(0)


def mlp_hidden(inputs: int, outputs: int) -> nn.Module:
    """One layer with a smooth bend, for messages and updates."""
    return nn.Sequential(nn.Linear(inputs, outputs, dtype=torch.float64), nn.Tanh())


def group_normalised(log_shape: Tensor, exposure: Tensor, road_class: Tensor) -> Tensor:
    """log s with an exposure-weighted mean of 1 over edges and cells of each (kind, class), shape as given."""
    out = log_shape.clone()
    for index in range(len(CLASSES)):
        members = road_class == index
        weight = exposure[members]
        if not members.any() or weight.sum() <= 0:
            continue
        inside = log_shape[members]
        log_weight = torch.log(weight / weight.sum())[..., None]
        out[members] = inside - torch.logsumexp((inside + log_weight).flatten(0, 1), dim=0)
    return out


def base_rates(graph: RoadGraph) -> Tensor:
    """Published rate per vehicle-kilometre, of shape (edge, kind); 0 where no car drives."""
    per_class = torch.tensor([RATE_PER_KM[kind] for kind in CLASSES], dtype=torch.float64)
    shares = torch.tensor(kind_shares(), dtype=torch.float64)
    return per_class[graph.road_class][:, None] * shares * (graph.lanes > 0)[:, None]


def prior_shapes() -> Tensor:
    """Gamma shapes a_g, of shape (kind, class)."""
    row = torch.tensor([RATE_SHAPE[kind] for kind in CLASSES], dtype=torch.float64)
    return row.expand(len(KINDS), -1).clone()
