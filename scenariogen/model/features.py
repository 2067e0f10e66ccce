"""Intrinsic features of the road graph. Nothing here depends on where the map lies or how edges are called."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scenariogen.network import RoadClass, RoadNetwork

CLASSES = tuple(RoadClass)
EDGE_FEATURES = 11
LINK_FEATURES = 3


@dataclass(frozen=True)
class RoadGraph:
    """The road graph in tensors, float64.

    ``features``    (edge, feature): log length, lanes, limit, neighbours before and after, signal, two-way, class
    ``sources``, ``targets``  (link,): edge indices of every connection, from and to
    ``links``       (link, feature): sine and cosine of the signed turn angle, relative change of the limit
    ``road_class``  (edge,): index into ``CLASSES``
    ``lanes``       (edge,): driving lanes
    ``lengths_m``   (edge,)
    """

    features: Tensor
    sources: Tensor
    targets: Tensor
    links: Tensor
    road_class: Tensor
    lanes: Tensor
    lengths_m: Tensor

    def relabelled(self, order: Tensor) -> "RoadGraph":
        """The same graph with edges in another order: ``order[i]`` is the old index of the new edge ``i``."""
        inverse = torch.argsort(order)
        return RoadGraph(
            self.features[order],
            inverse[self.sources],
            inverse[self.targets],
            self.links,
            self.road_class[order],
            self.lanes[order],
            self.lengths_m[order],
        )


def road_graph(network: RoadNetwork) -> RoadGraph:
    """Features of every edge and connection; scales are fixed numbers, the same for every network."""
    rows, sources, targets, links = [], [], [], []
    for edge in network.edges.values():
        one_hot = [float(edge.road_class is kind) for kind in CLASSES]
        rows.append(
            [
                torch.log(torch.tensor(max(edge.length_m, 1.0) / 100.0)).item(),
                len(edge.driving_lanes) / 3.0,
                edge.speed_mps / 30.0,
                len(edge.predecessors) / 2.0,
                len(edge.successors) / 2.0,
                float(edge.signalised),
                float(edge.opposite is not None),
                float(len(edge.predecessors) > 1),
                *one_hot,
            ]
        )
        for after, angle in zip(edge.successors, edge.turn_angles, strict=True):
            if after in network.edge_index:
                sources.append(network.edge_index[edge.id])
                targets.append(network.edge_index[after])
                turn = torch.tensor(angle)
                drop = (network.edges[after].speed_mps - edge.speed_mps) / 30.0
                links.append([torch.sin(turn).item(), torch.cos(turn).item(), drop])
    return RoadGraph(
        features=torch.tensor(rows, dtype=torch.float64),
        sources=torch.tensor(sources, dtype=torch.int64),
        targets=torch.tensor(targets, dtype=torch.int64),
        links=torch.tensor(links, dtype=torch.float64).reshape(-1, LINK_FEATURES),
        road_class=torch.tensor([CLASSES.index(edge.road_class) for edge in network.edges.values()]),
        lanes=torch.tensor([len(edge.driving_lanes) for edge in network.edges.values()]),
        lengths_m=torch.tensor([edge.length_m for edge in network.edges.values()], dtype=torch.float64),
    )
