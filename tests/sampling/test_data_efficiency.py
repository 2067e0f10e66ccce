"""What a symmetry is worth: a tenth of the data against an unconstrained network of the same size with augmentation.

Both networks of a comparison have the same number of parameters within 10 %. The perceptron gets all of the data, and
in every step a new random motion or relabelling of each of its rows.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.equivariant import InvariantNetwork
from scenariogen.sampling.layers import perceptron
from scenariogen.sampling.message_passing import Graph, MessagePassing
from scenariogen.sampling.rigid import centred, random_motions
from scenariogen.sampling.training import Rows, fit, seeded

SHARE = 10


def size(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def perceptron_of_size(inputs: int, outputs: int, parameters: int, *, layers: int = 2) -> nn.Module:
    """The perceptron whose number of parameters is nearest to ``parameters``."""
    widths = range(1, 400)
    made = [(abs(_count(inputs, outputs, width, layers) - parameters), width) for width in widths]
    hidden = min(made)[1]
    return seeded(lambda: perceptron(inputs, outputs, hidden=hidden, layers=layers, zero=False), seed=1)


def _count(inputs: int, outputs: int, hidden: int, layers: int) -> int:
    return inputs * hidden + hidden + (layers - 1) * (hidden * hidden + hidden) + hidden * outputs + outputs


# --- the energies of a cluster ------------------------------------------------------------------------------------


def clusters(points: int, dim: int, batch: int, *, seed: int) -> Tensor:
    """Points evenly in a disc or ball at the density of a liquid, no two nearer than 0.9."""
    radius = 0.75 * points ** (1 / dim)
    found: list[Tensor] = []
    count, turn = 0, 0
    while count < batch:
        # One point after the other, each tried until it is far enough from those before it.
        x = torch.full((4 * batch, points, dim), 1e6, dtype=torch.float64)
        alive = torch.ones(len(x), dtype=torch.bool)
        for number in range(points):
            placed = ~alive
            for attempt in range(30):
                name = child_seed(seed, "cluster", turn, number, attempt)
                new = radius * (2 * uniform(name, torch.arange(len(x)), dim) - 1)
                free = (x[:, :number] - new[:, None]).norm(dim=-1).amin(1) > 0.9 if number else torch.ones(len(x)) > 0
                good = free & (new.norm(dim=-1) < radius) & ~placed
                x[:, number] = torch.where(good[:, None], new, x[:, number])
                placed |= good
            alive &= placed
        found.append(x[alive])
        count, turn = count + int(alive.sum()), turn + 1
    return centred(torch.cat(found)[:batch])


def energies(x: Tensor) -> Tensor:
    """Lennard-Jones: Σ 4 (d⁻¹² − d⁻⁶)."""
    first, second = torch.triu_indices(x.shape[1], x.shape[1], 1)
    inverse = (x[:, first] - x[:, second]).square().sum(-1).reciprocal() ** 3
    return 4 * (inverse.square() - inverse).sum(1)


def energy_errors(
    points: int, dim: int, count: int, *, steps: int, peer_steps: int, hidden: int
) -> tuple[float, float]:
    """Relative root mean square errors on fresh clusters: of the symmetric network, then of the perceptron."""
    x, fresh = clusters(points, dim, count, seed=1), clusters(points, dim, 500, seed=2)
    mean, spread = energies(x).mean(), energies(x).std()
    target, truth = (energies(x) - mean) / spread, (energies(fresh) - mean) / spread
    network = InvariantNetwork(dim, reflections=True, hidden=hidden, rounds=1, kernels=24, reach=2.5, seed=1)
    peer = perceptron_of_size(points * dim, 1, size(network))
    assert abs(size(peer) / size(network) - 1) < 0.1

    def symmetric(module: nn.Module, rows: Rows) -> Tensor:
        return (module(rows.values[0])[:, 0] - rows.values[1]).square()

    def augmented(module: nn.Module, rows: Rows) -> Tensor:
        motions = random_motions(rows.seed, len(rows), points=points, dim=dim, reflections=True, shift=0.0)
        return (module(motions.turn(rows.values[0]).flatten(1))[:, 0] - rows.values[1]).square()

    few = count // SHARE
    rate = {"learning_rate": 1e-2, "held_out": 0.0, "batch": 64}
    fit(network, symmetric, (x[:few], target[:few]), seed=1, steps=steps, **rate)
    fit(peer, augmented, (x, target), seed=1, steps=peer_steps, **rate)
    with torch.no_grad():
        errors = network(fresh)[:, 0] - truth, peer(fresh.flatten(1))[:, 0] - truth
    return tuple(float(each.square().mean().sqrt() / truth.std()) for each in errors)  # pyright: ignore


def test_a_tenth_of_the_energies_of_a_cluster_is_enough():
    symmetric, peer = energy_errors(7, 2, 2000, steps=300, peer_steps=300, hidden=16)
    assert symmetric < 0.4 < 0.8 < peer


@pytest.mark.slow
def test_a_tenth_of_the_energies_of_thirteen_points_in_space_is_enough():
    symmetric, peer = energy_errors(13, 3, 5000, steps=800, peer_steps=8000, hidden=32)
    print(f"relative errors: {symmetric:.3f} with a tenth, {peer:.3f} with all")
    assert symmetric <= peer


# --- incident rates on two networks -------------------------------------------------------------------------------

EDGES, FEATURES = 10, 3


def network(seed: int) -> Graph:
    """A road network's edges as nodes: each leads on to one to three others, with a turn angle."""
    draws = uniform(child_seed(seed, "links"), torch.arange(EDGES), EDGES)
    draws.fill_diagonal_(2.0)
    many = 1 + (3 * uniform(child_seed(seed, "count"), torch.arange(EDGES), 1)[:, 0]).to(torch.int64)
    pairs = [(u, int(v)) for u in range(EDGES) for v in draws[u].argsort()[: int(many[u])]]
    sources, targets = torch.tensor(pairs).T
    angle = 2 * math.pi * uniform(child_seed(seed, "angle"), torch.arange(len(pairs)), 1)
    return Graph(EDGES, sources, targets, torch.cat([angle.sin(), angle.cos()], dim=1))


def log_rates(features: Tensor, graph: Graph) -> Tensor:
    """The truth: an edge's own features, and what the edges before it send on, more of it where it turns left."""
    own = 0.6 * features[..., 0] - 0.4 * features[..., 1] ** 2 + 0.3 * features[..., 0] * features[..., 2]
    sent = torch.tanh(features[..., graph.sources, 1]) * (1 + graph.features[:, 0])
    heard = torch.zeros_like(own).index_add(-1, graph.targets, sent)
    return own + 0.5 * heard


def days(graph: Graph, count: int, *, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each day's features of every edge, its counts of incidents, and its true rates."""
    rows = torch.arange(count)
    features = normal(child_seed(seed, "features"), rows, EDGES * FEATURES).reshape(count, EDGES, FEATURES)
    rates = log_rates(features, graph).exp()
    u = uniform(child_seed(seed, "counts"), rows, EDGES)
    counts = torch.zeros_like(rates)
    term = torch.exp(-rates)
    below = term.clone()
    for number in range(1, 60):
        counts += u > below
        term = term * rates / number
        below = below + term
    return features, counts, rates


def described(features: Tensor, graph: Graph, order: Tensor) -> Tensor:
    """All a perceptron could want, under another naming of the edges: features and the matrix of links with turns."""
    matrix = torch.zeros(3, EDGES, EDGES, dtype=torch.float64)
    values = torch.cat([torch.ones(len(graph.sources), 1, dtype=torch.float64), graph.features], dim=1)
    matrix[:, graph.sources, graph.targets] = values.T
    rows = torch.arange(len(order))[:, None]
    renamed = matrix[:, order[:, :, None], order[:, None, :]].transpose(0, 1)
    return torch.cat([features[rows, order].flatten(1), renamed.flatten(1)], dim=1)


def shortfall(predict: Callable[[Tensor, Graph], Tensor], held: list[tuple[Graph, Tensor, Tensor]]) -> float:
    """Mean Kullback–Leibler divergence of the predicted Poisson counts from the true ones, per edge and day."""
    found = []
    with torch.no_grad():
        for graph, features, rates in held:
            said = predict(features, graph)
            found.append((rates * (rates.log() - said) - rates + said.exp()).mean())
    return float(torch.stack(found).mean())


def rate_errors(count: int, *, steps: int, peer_steps: int, hidden: int) -> tuple[float, float, float]:
    """Shortfalls on fresh days of relabelled networks: symmetric, perceptron, and one constant rate for all."""
    graphs = [network(1), network(2)]
    data = [days(graph, count, seed=number) for number, graph in enumerate(graphs)]
    held = [(graph, *days(graph, 300, seed=10 + number)[::2]) for number, graph in enumerate(graphs)]
    passing = MessagePassing(FEATURES, 2, 1, hidden=hidden, rounds=1, seed=1)
    inputs = EDGES * FEATURES + 3 * EDGES**2
    peer = perceptron_of_size(inputs, EDGES, size(passing), layers=1)
    assert abs(size(peer) / size(passing) - 1) < 0.1

    def symmetric(module: nn.Module, rows: Rows) -> Tensor:
        losses = []
        for number, graph in enumerate(graphs):
            said = module(rows.values[2 * number], graph)[..., 0]
            losses.append((said.exp() - rows.values[2 * number + 1] * said).mean(1))
        return sum(losses, start=torch.zeros(()))

    def augmented(module: nn.Module, rows: Rows) -> Tensor:
        losses = []
        for number, graph in enumerate(graphs):
            order = uniform(child_seed(rows.seed, "order", number), torch.arange(len(rows)), EDGES).argsort(1)
            said = module(described(rows.values[2 * number], graph, order)).clamp(-6, 6)
            losses.append((said.exp() - rows.values[2 * number + 1].gather(1, order) * said).mean(1))
        return sum(losses, start=torch.zeros(()))

    few = count // SHARE
    rate = {"learning_rate": 5e-3, "held_out": 0.0, "batch": 64}
    fit(passing, symmetric, tuple(each[:few] for one in data for each in one[:2]), seed=1, steps=steps, **rate)
    fit(peer, augmented, tuple(each for one in data for each in one[:2]), seed=1, steps=peer_steps, **rate)
    order = torch.arange(EDGES).flip(0)
    level = torch.cat([one[1] for one in data]).mean().log()
    relabelled = [(graph.relabelled(order), features[:, order], rates[:, order]) for graph, features, rates in held]
    names = torch.arange(EDGES)
    return (
        shortfall(lambda features, graph: passing(features, graph)[..., 0], relabelled),
        shortfall(lambda x, graph: peer(described(x, graph, names.expand(len(x), -1))).clamp(-6, 6), relabelled),
        shortfall(lambda features, _: level.expand(features.shape[:2]), relabelled),
    )


def test_a_tenth_of_the_days_on_two_networks_is_enough():
    symmetric, peer, constant = rate_errors(1000, steps=150, peer_steps=300, hidden=32)
    assert symmetric < 0.5 * min(peer, constant)


@pytest.mark.slow
def test_a_tenth_of_the_days_is_enough_however_long_the_perceptron_learns():
    symmetric, peer, constant = rate_errors(2000, steps=600, peer_steps=6000, hidden=32)
    print(f"shortfall per edge and day: {symmetric:.3f} with a tenth, {peer:.3f} with all, {constant:.3f} constant")
    assert symmetric <= min(peer, constant)
