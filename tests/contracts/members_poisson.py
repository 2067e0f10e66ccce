"""No members: a draw of a Poisson process is a set of a size of its own, which (batch, dim) cannot hold.

Its record is ``scenariogen.sampling.points.Points``. What the contract asks of a density is shown for it in
``tests/sampling/test_poisson*.py``: mass one, draws that follow the density, the same set in a request of any size,
single precision, faulty input.
"""

from tests.contracts.members import Member

MEMBERS: list[Member] = []
