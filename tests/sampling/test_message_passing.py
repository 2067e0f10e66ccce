"""Message passing: renamed nodes rename the result, messages travel as far as there are rounds, densities on graphs."""

import math

import pytest
import torch
from torch import Tensor, nn

from scenariogen.errors import DensityError
from scenariogen.randomness import normal
from scenariogen.sampling.contract import draw
from scenariogen.sampling.message_passing import Graph, MessagePassing, graph_flow

NONE = torch.zeros(1, 0, dtype=torch.float64)


def graph() -> Graph:
    """Six nodes: a chain 0 → 1 → 2 → 3, a branch 1 → 4, and 5 alone."""
    return Graph(6, torch.tensor([0, 1, 2, 1]), torch.tensor([1, 2, 3, 4]), normal(1, torch.arange(4), 2))


def shaken(module: nn.Module, *, size: float = 0.3) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return module


def network(rounds: int = 2) -> MessagePassing:
    made = MessagePassing(3, 2, 4, hidden=8, rounds=rounds)
    shaken(made)
    return made


NODES = normal(2, torch.arange(6), 3)
ORDER = torch.tensor([3, 5, 0, 1, 4, 2])


def test_the_sums_are_those_of_a_loop_over_the_links():
    made, given = network(rounds=1), graph()
    along, against, update = (next(iter(each.children())) for each in (made.along, made.against, made.update))
    state = torch.tanh(made.enter(NODES))
    heard, answered = torch.zeros_like(state), torch.zeros_like(state)
    for u, v, feature in zip(given.sources.tolist(), given.targets.tolist(), given.features, strict=True):
        heard[v] = heard[v] + along(torch.cat([state[u], feature]))
        answered[u] = answered[u] + against(torch.cat([state[v], feature]))
    expected = state + update(torch.cat([state, heard, answered], dim=-1))
    torch.testing.assert_close(made.state(NODES, given), expected, atol=1e-13, rtol=0)


def test_renaming_the_nodes_renames_the_result():
    made, given = network(), graph()
    plain = made(NODES, given)
    torch.testing.assert_close(made(NODES[ORDER], given.relabelled(ORDER)), plain[ORDER], atol=1e-12, rtol=0)
    links = torch.tensor([2, 0, 3, 1])
    shuffled = Graph(6, given.sources[links], given.targets[links], given.features[links])
    torch.testing.assert_close(made(NODES, shuffled), plain, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("rounds", "reached"), [(0, {1}), (1, {0, 1, 2, 4}), (2, {0, 1, 2, 3, 4})])
def test_news_travels_one_link_a_round(rounds: int, reached: set[int]):
    made = network(rounds)
    moved = NODES.clone()
    moved[1] += 1.0
    change = (made(moved, graph()) - made(NODES, graph())).abs().amax(-1)
    assert {node for node in range(6) if float(change[node].detach()) > 1e-9} == reached


def test_direction_and_link_features_matter():
    made, given = network(), graph()
    turned = Graph(6, given.targets, given.sources, given.features)
    other = Graph(6, given.sources, given.targets, given.features + 1)
    for each in (turned, other):
        assert float((made(NODES, each) - made(NODES, given)).detach().abs().max()) > 1e-3


def test_a_batch_of_nodes_and_a_graph_without_links():
    made = network()
    batch = normal(3, torch.arange(5), 18).reshape(5, 6, 3)
    together = made(batch, graph())
    torch.testing.assert_close(together[3], made(batch[3], graph()), atol=1e-13, rtol=0)
    empty = Graph(6, torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), graph().features[:0])
    alone = made(NODES, empty)
    torch.testing.assert_close(alone[5], made(NODES, graph())[5], atol=1e-13, rtol=0)  # node 5 has no links anyway


FEATURES = normal(4, torch.arange(6), 1)


def density(given: Graph, features: Tensor, **options):
    made = graph_flow(given, features, 2, hidden=8, bins=6, transforms=2, **options)
    shaken(made)
    return made


def test_the_density_on_a_graph_is_renamed_with_it():
    x = normal(5, torch.arange(4), 12).reshape(4, 6, 2)
    plain, renamed = density(graph(), FEATURES), density(graph().relabelled(ORDER), FEATURES[ORDER])
    with torch.no_grad():
        expected = plain(NONE).log_prob(x)
        torch.testing.assert_close(renamed(NONE).log_prob(x[:, ORDER]), expected, atol=1e-11, rtol=0)
        assert float((plain(NONE).log_prob(x[:, ORDER]) - expected).abs().min()) > 1e-3  # the graph has no symmetry
    smaller = density(Graph(2, torch.tensor([0]), torch.tensor([1]), graph().features[:1]), FEATURES[:2])
    smaller.load_state_dict(plain.state_dict())  # the same parameters go with any graph


def test_what_a_node_carries_depends_on_its_neighbours():
    x = normal(5, torch.arange(1), 12).reshape(1, 6, 2)
    jacobian = torch.autograd.functional.jacobian(lambda each: density(graph(), FEATURES)(NONE).latent(each)[0], x)
    seen = jacobian.reshape(6, 2, 6, 2).abs().amax((1, 3))
    assert float(seen[0, 1]) > 1e-4 and float(seen[3, 2]) > 1e-4
    assert float(seen[5, :5].max()) == 0.0 and float(seen[:5, 5].max()) == 0.0


def test_the_log_density_on_a_graph_is_autograds():
    given = density(graph(), FEATURES)(NONE)
    z = normal(6, torch.arange(1), 12)
    x, log_prob = (each.detach() for each in given.push(z))
    jacobian = torch.autograd.functional.jacobian(lambda each: given.push(each)[0].flatten(), z).reshape(12, 12)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum()
    assert float(log_prob) == pytest.approx(float(base - torch.linalg.slogdet(jacobian)[1]), abs=1e-9)
    assert float(given.log_prob(x).detach()) == pytest.approx(float(log_prob), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_draw_on_a_graph_is_the_same_to_the_last_bit_in_a_request_of_any_size(dtype: torch.dtype):
    made = density(graph(), FEATURES, dtype=dtype)
    everything, few = draw(made, n=100, seed=7, block=64), draw(made, n=17, seed=7, block=64)
    assert everything.x.dtype == dtype and torch.equal(few.x, everything.x[:17])


def test_bad_input_says_what_was_got_and_expected():
    with pytest.raises(DensityError, match=r"2 targets are no nodes, expected numbers from 0 to 1"):
        Graph(2, torch.tensor([0, 1]), torch.tensor([2, -1]), torch.zeros(2, 1))
    with pytest.raises(DensityError, match="got 2, 1 and 2 sources"):
        Graph(2, torch.tensor([0, 1]), torch.tensor([1]), torch.zeros(2, 1))
    with pytest.raises(DensityError, match="features of the links holds 1 values"):
        Graph(2, torch.tensor([0]), torch.tensor([1]), torch.tensor([[math.nan]]))
    with pytest.raises(DensityError, match=r"got nodes \(6, 2\) with 2 numbers a link, expected \(6, 3\) with 2"):
        network()(NODES[:, :2], graph())
    with pytest.raises(DensityError, match="features of 2 nodes, expected 6"):
        graph_flow(graph(), FEATURES[:2], 2)
