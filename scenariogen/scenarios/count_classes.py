"""Scenarios with incidents by how many they hold: 1, 2, 3 and more, whose probabilities are known.

Given c the number of incidents is Poisson with mean μ_κ(c) = Σ_k κ_k Λ_k(c), so that, averaged over c,

    P_κ(N = n | N ≥ 1) = E_c[Pois(n; μ_κ(c))] / E_c[1 − e^{−μ_κ(c)}]                         under the target, and
    Q(N = n)           = Σ_j α_j E_c[Pois(n; μ_κj(c)) / (1 − e^{−μ_κj(c)})]                  under the batch's proposal.

Inside a class the weight is that among all scenarios with incidents, times Q(class) / P_κ(class).
"""

from dataclasses import dataclass, field

import numpy as np

from scenariogen.scenarios.records import Design

SIZE = 3
"""Classes: 1, 2, and 3 or more incidents."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CountClasses:
    """Scenarios by number of incidents at one frequency.

    ``number``        (batch,) class from 0; −1 without incident
    ``target``        (node, class) probability of the condition's node and class under the target given an incident
    ``proposal``      (class,) under the proposal
    ``at_nodes``      (node, control) the controls' functions at the nodes, whose mean in the stratum was taken off
    """

    number: np.ndarray = field(repr=False)
    target: np.ndarray = field(repr=False)
    proposal: np.ndarray
    at_nodes: np.ndarray = field(repr=False)

    @property
    def size(self) -> int:
        """How many classes there are."""
        return len(self.proposal)

    def joined(self, first: int, last: int) -> tuple[float, float, np.ndarray]:
        """Classes ``first`` to ``last`` as one.

        Their probability under the target given an incident, the log of the same under the proposal over it, and what
        to add to the controls, (control,), so that their target mean is 0 in the class.
        """
        inside = self.target[:, first : last + 1].sum(axis=1)
        probability = float(inside.sum())
        everywhere = self.target.sum(axis=1) @ self.at_nodes
        log_ratio = float(np.log(self.proposal[first : last + 1].sum()) - np.log(probability))
        return probability, log_ratio, everywhere - inside @ self.at_nodes / probability


def count_classes(
    design: Design, counts: np.ndarray, kappa: np.ndarray, at_nodes: np.ndarray, *, is_free: np.ndarray
) -> CountClasses | None:
    """The classes of a batch at multipliers ``kappa`` by kind; None under a condition on incidents.

    ``counts``    (batch, kind)
    ``at_nodes``  (node, control)
    """
    if design.given or not design.free_every or not design.nodes:
        return None
    weight = np.array([node.weight for node in design.nodes])
    expected = np.array([node.expected for node in design.nodes])
    target = weight[:, None] * _poisson_classes(expected @ kappa)
    rows = [_poisson_classes(expected @ np.array(row)) for row in design.multipliers]
    proposal = sum(
        alpha * weight @ (each / each.sum(axis=1, keepdims=True))
        for alpha, each in zip(design.alphas, rows, strict=True)
    )
    number = np.minimum(counts.sum(axis=1).astype(np.int64), SIZE) - 1
    return CountClasses(
        number=np.where(is_free, -1, number),
        target=target / target.sum(),
        proposal=np.asarray(proposal),
        at_nodes=at_nodes,
    )


def _poisson_classes(mean: np.ndarray) -> np.ndarray:
    """(node, class) probabilities of 1, 2, …, and of at least ``SIZE`` for means (node,)."""
    from scipy.special import pdtrc
    from scipy.stats import poisson

    exact = [poisson.pmf(n, mean) for n in range(1, SIZE)]
    return np.stack([*exact, pdtrc(SIZE - 1, mean)], axis=1)
