"""The axis names that shape annotations use everywhere, and nothing else.

batch      scenarios, or independent draws
incident   incidents within one scenario
edge       edges of the road network, in the network's own order
cell       time cells of the study window
lane       lanes of an edge, in SUMO's order, rightmost first
option     the choices of a categorical head
feature    numbers that describe an edge
context    numbers that a conditional density is conditioned on
dim        coordinates of one draw, or of one point of a set
point      points of a set, or of a point process
columns    uniform numbers that one draw is made from
kind       kinds of a marked point
node       nodes of a graph
component  densities of a mixture

Annotations are ``jaxtyping``'s; ``beartype`` checks them in the test run only (see ``tests/conftest.py``).
"""

AXES = (
    "batch", "incident", "edge", "cell", "lane", "option", "feature", "context",
    "dim", "point", "columns", "kind", "node", "component",
)  # fmt: skip
