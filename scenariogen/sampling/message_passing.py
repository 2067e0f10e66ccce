"""Message passing on a graph: a score of every node, and densities of what the nodes carry.

In each round a node hears from those it has a link from and from those it has a link to,

    m⁺_v = Σ_{u→v} M⁺(h_u, ℓ_uv),    m⁻_v = Σ_{v→w} M⁻(h_w, ℓ_vw),    h_v ← h_v + U(h_v, m⁺_v, m⁻_v),

with features ℓ of the links (Gilmer, Schoenholz, Riley, Vinyals & Dahl, *Neural message passing for quantum chemistry*,
2017). Renaming the nodes, with their links, renames the result and changes nothing else; where the features are
intrinsic, neither does moving or turning the map. Sums are taken in the order of the links through a table of each
node's links, not by scattered addition, whose order on a GPU is not fixed.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import check_finite
from scenariogen.sampling.layers import Linear
from scenariogen.sampling.sets import SetFlow
from scenariogen.sampling.training import seeded


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed graph: ``nodes`` many, links from ``sources`` to ``targets`` (link,), ``features`` (link, feature).

    ``DensityError`` where these differ in length, a link starts or ends at a node that is not there, or features are
    not finite.
    """

    nodes: int
    sources: Int[Tensor, " _"]
    targets: Int[Tensor, " _"]
    features: Float[Tensor, "_ feature"]

    def __post_init__(self) -> None:
        problems = Problems("a graph")
        if not len(self.sources) == len(self.targets) == len(self.features):
            counts = f"{len(self.sources)}, {len(self.targets)} and {len(self.features)}"
            problems.add(f"got {counts} sources, targets and features, expected as many of each")
        for name, ends in (("sources", self.sources), ("targets", self.targets)):
            wrong = int(((ends < 0) | (ends >= self.nodes)).sum())
            if wrong:
                problems.add(f"{wrong} {name} are no nodes, expected numbers from 0 to {self.nodes - 1}")
        problems.raise_as(DensityError)
        check_finite(self.features, "the features of the links")

    def relabelled(self, order: Int[Tensor, " node"]) -> "Graph":
        """The same graph with its nodes in another order: ``order[i]`` is the old number of the new node i."""
        place = torch.argsort(order)
        return Graph(self.nodes, place[self.sources], place[self.targets], self.features)

    @cached_property
    def arriving(self) -> Int[Tensor, "node slot"]:
        """The links that end at each node, in their own order, filled up with the number of links."""
        return _table(self.targets, self.nodes)

    @cached_property
    def leaving(self) -> Int[Tensor, "node slot"]:
        """The links that start at each node."""
        return _table(self.sources, self.nodes)


def _table(ends: Tensor, nodes: int) -> Tensor:
    order = torch.argsort(ends, stable=True)
    count = torch.bincount(ends, minlength=nodes)
    slot = torch.arange(len(ends), device=ends.device) - (count.cumsum(0) - count)[ends[order]]
    table = torch.full((nodes, max(1, int(count.max()) if len(ends) else 1)), len(ends), device=ends.device)
    table[ends[order], slot] = order
    return table


class MessagePassing(nn.Module):
    """``outputs`` numbers of every node after ``rounds`` rounds of messages along and against the links.

    ``inputs`` and ``link_features`` numbers describe a node and a link; messages and updates are one layer of tanh
    with ``hidden`` units, the read-out is a linear map of own features and state that starts at zero. What goes in may
    have a batch before its nodes.
    """

    def __init__(
        self,
        inputs: int,
        link_features: int,
        outputs: int,
        *,
        hidden: int = 32,
        rounds: int = 2,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.inputs, self.link_features = inputs, link_features

        def layers(width: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Sequential(Linear(width, hidden, dtype=dtype), nn.Tanh()) for _ in range(rounds))

        parts = seeded(
            lambda: nn.ModuleList(
                [
                    Linear(inputs, hidden, dtype=dtype),
                    layers(hidden + link_features),
                    layers(hidden + link_features),
                    layers(3 * hidden),
                    Linear(inputs + hidden, outputs, zero=True, dtype=dtype),
                ]
            ),
            seed=seed,
        )
        self.enter, self.along, self.against, self.update, self.leave = parts

    def forward(self, nodes: Float[Tensor, "*batch node inputs"], graph: Graph) -> Float[Tensor, "*batch node outputs"]:
        """(…, node, outputs)."""
        return self.leave(torch.cat([nodes, self.state(nodes, graph)], dim=-1))

    def state(self, nodes: Float[Tensor, "*batch node inputs"], graph: Graph) -> Float[Tensor, "*batch node hidden"]:
        """h after the last round. ``DensityError`` where nodes or links have other widths than the network's."""
        if nodes.shape[-2:] != (graph.nodes, self.inputs) or graph.features.shape[1] != self.link_features:
            raise DensityError(
                f"got nodes {tuple(nodes.shape[-2:])} with {graph.features.shape[1]} numbers a link, expected "
                f"({graph.nodes}, {self.inputs}) with {self.link_features}"
            )
        state = torch.tanh(self.enter(nodes))
        links = graph.features.expand(*nodes.shape[:-2], *graph.features.shape)
        rounds = zip(self.along, self.against, self.update, strict=True)  # pyright: ignore[reportArgumentType]
        for along, against, update in rounds:
            heard = _gathered(along(torch.cat([state[..., graph.sources, :], links], dim=-1)), graph.arriving)
            answered = _gathered(against(torch.cat([state[..., graph.targets, :], links], dim=-1)), graph.leaving)
            state = state + update(torch.cat([state, heard, answered], dim=-1))
        return state


def _gathered(messages: Tensor, table: Tensor) -> Tensor:
    """The sum of each node's messages, in the order of the links."""
    padded = torch.cat([messages, messages.new_zeros((*messages.shape[:-2], 1, messages.shape[-1]))], dim=-2)
    return padded[..., table, :].sum(-2)


class OnGraph(nn.Module):
    """A message-passing network with its graph and the nodes' own features: a map of what the nodes carry alone.

    Graph and features are no part of the state that is stored: the same parameters go with any graph.
    """

    def __init__(self, network: MessagePassing, graph: Graph, features: Float[Tensor, "node feature"]) -> None:
        super().__init__()
        self.network = network
        self.features: Tensor
        self.register_buffer("features", features, persistent=False)
        self._graph = graph

    def forward(self, x: Float[Tensor, "batch node inputs"]) -> Float[Tensor, "batch node outputs"]:
        """The network's result for ``x`` beside the nodes' features."""
        graph = self._graph
        if graph.features.device != x.device or graph.features.dtype != x.dtype:
            sources, targets = graph.sources.to(x.device), graph.targets.to(x.device)
            self._graph = Graph(graph.nodes, sources, targets, graph.features.to(x))
        return self.network(torch.cat([x, self.features.expand(len(x), -1, -1)], dim=-1), self._graph)


def graph_flow(
    graph: Graph,
    features: Float[Tensor, "node feature"],
    dim: int,
    context_width: int = 0,
    *,
    hidden: int = 32,
    rounds: int = 2,
    transforms: int = 4,
    bins: int = 8,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> SetFlow:
    """An exact density of ``dim`` ≥ 2 numbers at every node, that is renamed with the graph: p_{πG}(πx) = p_G(x).

    A :class:`.sets.SetFlow` whose networks pass messages on ``graph`` and see the nodes' ``features``: what one node
    carries depends on what its neighbours carry. Flows of one seed and one size have the same parameters whatever the
    graph, so that one trained on a network can be loaded on another.
    """
    if len(features) != graph.nodes:
        raise DensityError(f"got features of {len(features)} nodes, expected {graph.nodes}")
    features, width = features.to(dtype), features.shape[1]
    graph = Graph(graph.nodes, graph.sources, graph.targets, graph.features.to(dtype))
    size = {"hidden": hidden, "rounds": rounds, "dtype": dtype}

    def conditioner(inputs: int, outputs: int) -> nn.Module:
        own = int(torch.randint(2**31, ()).item())
        network = MessagePassing(inputs + width, graph.features.shape[1], outputs, seed=own, **size)
        return OnGraph(network, graph, features)

    return SetFlow(
        graph.nodes,
        dim,
        context_width,
        conditioner=conditioner,
        transforms=transforms,
        bins=bins,
        seed=seed,
        dtype=dtype,
    )
