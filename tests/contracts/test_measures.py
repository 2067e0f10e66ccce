"""What every density says of its measure is true, and densities of different measures are kept apart."""

import pytest
import torch

from scenariogen.errors import DensityError
from scenariogen.randomness import normal
from scenariogen.sampling.chains import Chain, Sphere
from scenariogen.sampling.constrained import Constrained
from scenariogen.sampling.contract import LEBESGUE, ConditionalDensity, draw
from scenariogen.sampling.manifolds import Box, Ordered, Simplex
from scenariogen.sampling.mixture import DefensiveMixture, Mixture
from scenariogen.sampling.normal import isotropic
from scenariogen.sampling.rigid import CentredNormal
from scenariogen.sampling.segments import SegmentPositions
from tests.contracts.members import Member, all_members

CPU = torch.device("cpu")
ROWS = 64
MEMBERS = [each for each in all_members() if each.has_log_prob]
every = pytest.mark.parametrize("member", MEMBERS, ids=str)


def made(member: Member) -> tuple[ConditionalDensity, torch.Tensor]:
    """The density and contexts of ``ROWS`` rows."""
    contexts = member.contexts(ROWS)
    return member.make(torch.float64, CPU), torch.zeros(ROWS, 0).double() if contexts is None else contexts


@every
def test_a_distribution_knows_the_measure_of_its_density(member: Member):
    density, context = made(member)
    assert density.measure and density(context).measure == density.measure


@every
def test_a_density_with_respect_to_lebesgue_measure_has_mass_all_around_its_draws_and_none_far_away(member: Member):
    """Not so one of a surface, of whole numbers, or of points that are centred first."""
    density, context = made(member)
    given = density(context)
    with torch.no_grad():
        x = draw(density, context if density.context_width else None, n=ROWS, seed=3).x
        step = normal(4, torch.arange(ROWS), x[0].numel()).reshape(x.shape)
        near = torch.isfinite(given.log_prob(x + 1e-5 * step)).double().mean()
        falls = (given.log_prob(x + 1e4) < given.log_prob(x) - 1).all()
    assert density.measure != LEBESGUE or (float(near) > 0.9 and bool(falls))


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


OTHERS: dict[str, ConditionalDensity] = {
    "simplex": Constrained(isotropic(2, 1.0), Simplex(tensor(0.0, 0.0, 0.0), total=1.0)),
    "sphere": Constrained(isotropic(2, 1.0), Sphere(3)),
    "chain from a point": Constrained(isotropic(2, 1.0), Chain(tensor(1.0, 1.0), start=tensor(0.0, 0.0))),
    "chain": Constrained(isotropic(4, 1.0), Chain(tensor(1.0, 1.0))),
    "segments": SegmentPositions(tensor(30.0, 5.0)),
    "centred points": CentredNormal(3, 2),
}


def test_every_measure_has_a_name_of_its_own_and_full_dimensional_sets_share_lebesgues():
    assert len({LEBESGUE, *(each.measure for each in OTHERS.values())}) == 1 + len(OTHERS)
    for full in (Box(tensor(0.0), tensor(1.0)), Ordered(2)):
        assert Constrained(isotropic(full.latent_dim, 1.0), full).measure == LEBESGUE


@pytest.mark.parametrize("name", OTHERS)
def test_densities_of_different_measures_are_not_mixed(name: str):
    flat, other = isotropic(3, 1.0), OTHERS[name]
    with pytest.raises(DensityError, match="expected one measure"):
        Mixture([flat, other], [0.5, 0.5])
    with pytest.raises(DensityError, match="expected one measure"):
        DefensiveMixture(flat, [other], [0.5, 0.5])
    assert Mixture([other, other], [0.5, 0.5]).measure == other.measure
