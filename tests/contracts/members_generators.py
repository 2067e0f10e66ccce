"""Members without an exact log-density: the CVAE, whose log-density is bounded, and the GAN, which has none."""

from scenariogen.sampling.cvae import CVAE
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.gan import GAN
from scenariogen.sampling.normal import ConditionalNormal, StandardNormal
from tests.contracts.members import Member, box, no_context, normal_contexts, shaken

MEMBERS = [
    Member(
        name="standard normal",
        make=lambda dtype, device: StandardNormal(2, 3, dtype=dtype).to(device),
        contexts=normal_contexts(3),
        shape=(2,),
        quadrature=box((-8.0, -8.0), (8.0, 8.0), nodes=401),
    ),
    Member(
        name="conditional normal",
        make=lambda dtype, device: shaken(lambda: ConditionalNormal(2, 3, hidden=16, dtype=dtype), scale=0.15).to(
            device
        ),
        contexts=normal_contexts(3),
        shape=(2,),
        quadrature=box((-12.0, -12.0), (12.0, 12.0), nodes=701),
    ),
    Member(
        name="CVAE",
        make=lambda dtype, device: shaken(
            lambda: CVAE(2, 1, 3, hidden=16, layers=1, samples=8, dtype=dtype), scale=0.15
        ).to(device),
        contexts=normal_contexts(3),
        shape=(2,),
        exact=False,
        block=128,
    ),
    Member(
        name="CVAE with flows inside",
        make=lambda dtype, device: shaken(
            lambda: CVAE(
                2,
                2,
                prior=CouplingFlow(2, transforms=2, hidden=(8,), dtype=dtype),
                encoder=CouplingFlow(2, 2, transforms=2, hidden=(8,), dtype=dtype),
                hidden=8,
                samples=4,
                dtype=dtype,
            ),
            scale=0.15,
        ).to(device),
        contexts=no_context,
        shape=(2,),
        exact=False,
        block=128,
    ),
    Member(
        name="GAN",
        make=lambda dtype, device: shaken(lambda: GAN(2, 3, 3, hidden=16, dtype=dtype)).to(device),
        contexts=normal_contexts(3),
        shape=(2,),
        exact=False,
        has_log_prob=False,
    ),
]
