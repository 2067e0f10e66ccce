"""Continuous flow of a set of points whose density rigid motions and permutations leave as it is.

Points start as centred normal noise x(0) and move along dx/dt = v(x, t) until t = 1. Along the way

    log p(x(1)) = log p(x(0)) − ∫₀¹ div v(x(t), t) dt

(Chen, Rubanova, Bettencourt & Duvenaud, *Neural ordinary differential equations*, 2018). Where v turns and relabels
with its points and the base density does not notice, p does not notice either (Köhler, Klein & Noé, *Equivariant flows:
exact likelihood generative learning for symmetric densities*, 2020). The field is
:class:`scenariogen.sampling.equivariant_field.KernelField`, with its divergence in closed form.

The equation is solved by a fixed number of steps of the fifth-order method of Dormand & Prince (*A family of embedded
Runge–Kutta formulae*, 1980). The log-density is exact up to the solver's error, which
:meth:`EquivariantFlow.solver_error` measures and :meth:`EquivariantFlow.choose_steps` brings below a tolerance. It
counts as exact where that error is below :data:`EXACT_BELOW` for a few draws, which is looked at anew whenever the
parameters or the steps have changed. Likelihood with too few steps rewards the solver's error.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import normal
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context
from scenariogen.sampling.equivariant_field import KernelField
from scenariogen.sampling.rigid import (
    CENTRED,
    aligned,
    centred,
    centred_normal_log_prob,
    check_points,
    check_shape,
    from_points,
    subspace_basis,
    to_points,
)
from scenariogen.sampling.training import seeded

EXACT_BELOW = {torch.float64: 1e-5, torch.float32: 1e-3}
"""The solver's error of a log-density that counts as exact. Single precision adds rounding, which grows with it."""
TRIED = 16
"""Draws that the error is looked at for."""
SAVED_BYTES = 2**30
"""Above this, what the solver's gradient needs is computed again step by step instead of kept."""

NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0)
STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
)
WEIGHTS = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)


class EquivariantFlowDistribution(Distribution):
    """Centred normal points carried along the field of ``flow``; log-densities exact up to the solver's error."""

    def __init__(self, flow: "EquivariantFlow", context: Tensor) -> None:
        self.flow, self.context = flow, context
        self.noise_columns = (flow.points - 1) * flow.dim

    @property
    def log_prob_is_exact(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the solver's error is small enough (:meth:`EquivariantFlow.is_solved`)."""
        return self.flow.is_solved()

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch point dim"]:
        return self.push(torch.special.ndtri(noise))[0]

    def log_prob(self, x: Float[Tensor, "batch point dim"]) -> Float[Tensor, " batch"]:
        """Natural log-density per configuration up to translation; ``x`` is centred first."""
        return self.latent_and_log_prob(x)[1]

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch columns"]
    ) -> tuple[Float[Tensor, "batch point dim"], Float[Tensor, " batch"]]:
        return self.push(torch.special.ndtri(noise))

    def push(
        self, z: Float[Tensor, "batch columns"]
    ) -> tuple[Float[Tensor, "batch point dim"], Float[Tensor, " batch"]]:
        """The points that standard normal ``z`` is carried to and their log-density, both differentiable."""
        start = to_points(z, self.flow.basis)
        x, growth = self.flow.integrate(start, self.context, backward=False)
        return self.flow.scale * x, centred_normal_log_prob(start) - growth - self.flow.log_volume

    def latent(self, x: Float[Tensor, "batch point dim"]) -> Float[Tensor, "batch columns"]:
        """The standard normal numbers that are carried to ``x``: the inverse of :meth:`push`."""
        return self.latent_and_log_prob(x)[0]

    def latent_and_log_prob(
        self, x: Float[Tensor, "batch point dim"]
    ) -> tuple[Float[Tensor, "batch columns"], Float[Tensor, " batch"]]:
        """Both in one pass of the solver."""
        check_points(x, self.flow.points, self.flow.dim)
        start, growth = self.flow.integrate(centred(x) / self.flow.scale, self.context, backward=True)
        return from_points(start, self.flow.basis), centred_normal_log_prob(start) + growth - self.flow.log_volume


class EquivariantFlow(ConditionalDensity):
    """A density of ``points`` points in the plane (``dim`` 2) or in space (3) that rigid motions leave as it is.

    Draws have shape (batch, points, dim) and their centre of mass at 0; densities are with respect to Lebesgue measure
    on the centre-of-mass-free subspace (:mod:`.rigid`). Permuting the points changes nothing either. The context holds
    numbers that do not turn with the points, such as a temperature.

    ``reflections``  whether a mirror image must have the same density; off, it may differ
    ``hidden``       units in each of the ``layers`` that weigh the directions at each point
    ``kernels``      Gaussians of the distance between 0 and ``reach``
    ``reach``        in units of ``scale``; points further apart than that hardly see each other
    ``steps``        of the solver, each of six evaluations of the field; stored with the parameters
    ``scale``        standard deviation of the normal points at the start: the data's, roughly
    ``seed``         of the first parameters

    ``DensityError`` for fewer than 2 points, other dimensions, and numbers that are not positive.
    """

    basis: Tensor
    step_count: Tensor

    def __init__(
        self,
        points: int,
        dim: int,
        *,
        context_width: int = 0,
        reflections: bool = False,
        hidden: int = 32,
        layers: int = 2,
        kernels: int = 16,
        reach: float = 5.0,
        steps: int = 16,
        scale: float = 1.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        check_shape(points, dim)
        problems = Problems("an equivariant flow")
        if kernels < 2:
            problems.add(f"got {kernels} kernels, expected at least 2")
        for name, value in (
            ("hidden", hidden),
            ("layers", layers),
            ("steps", steps),
            ("reach", reach),
            ("scale", scale),
        ):
            if not (math.isfinite(value) and value > 0):
                problems.add(f"{name} is {value}, expected a positive number")
        problems.raise_as(DensityError)
        self.points, self.dim, self.context_width, self.reflections = points, dim, context_width, reflections
        self.scale, self.measure = scale, CENTRED
        self.register_buffer("step_count", torch.tensor(steps))
        self._looked_at: tuple[tuple, bool] | None = None
        self.log_volume = (points - 1) * dim * math.log(scale)
        self.register_buffer("basis", subspace_basis(points, dtype=dtype))
        self.field = seeded(
            lambda: KernelField(
                points,
                dim,
                context_width=context_width,
                reflections=reflections,
                hidden=hidden,
                layers=layers,
                kernels=kernels,
                reach=reach,
                dtype=dtype,
            ),
            seed=seed,
        )

    def forward(self, context: Float[Tensor, "batch context"]) -> EquivariantFlowDistribution:
        """The density for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        # Without a context there is one density, for any number of rows.
        return EquivariantFlowDistribution(self, context if self.context_width else context.new_zeros((1, 0)))

    @property
    def steps(self) -> int:
        """Steps of the solver from t = 0 to 1."""
        return int(self.step_count)

    @steps.setter
    def steps(self, count: int) -> None:
        self.step_count.fill_(count)

    def is_solved(self) -> bool:
        """Whether :meth:`solver_error` is below :data:`EXACT_BELOW` for a few draws, given a context of zeros."""
        state = tuple((each._version, each.data_ptr()) for each in (*self.parameters(), self.step_count))
        if self._looked_at is None or self._looked_at[0] != state:
            like = self.basis
            z = normal(0, torch.arange(TRIED, device=like.device), (self.points - 1) * self.dim).to(like)
            context = like.new_zeros((TRIED, self.context_width))
            try:
                with torch.no_grad():
                    error = float(self.solver_error(self(context).push(z)[0], context).max())
            except DensityError:  # the solver diverged
                error = math.inf
            state = tuple((each._version, each.data_ptr()) for each in (*self.parameters(), self.step_count))
            self._looked_at = state, error < EXACT_BELOW.get(like.dtype, 0.0)
        return self._looked_at[1]

    def integrate(
        self, x: Float[Tensor, "batch point dim"], context: Tensor, *, backward: bool
    ) -> tuple[Float[Tensor, "batch point dim"], Float[Tensor, " batch"]]:
        """Points carried from t = 0 to 1, or ``backward``, and the integral of the divergence along that way.

        In units of ``scale``.
        ``DensityError`` where the solver diverges.
        """
        start, end = (1.0, 0.0) if backward else (0.0, 1.0)
        size = (end - start) / self.steps
        growth = x.new_zeros(len(x))
        kept = 6 * len(NODES) * self.steps * len(x) * self.points**2 * len(self.field.centres) * x.element_size()
        again = torch.is_grad_enabled() and kept > SAVED_BYTES
        for number in range(self.steps):
            t = torch.full((), start + number * size, dtype=x.dtype, device=x.device)
            if again:
                step = checkpoint(self._step, x, t, size, context, use_reentrant=False, preserve_rng_state=False)
                x, change = step  # pyright: ignore[reportGeneralTypeIssues]
            else:
                x, change = self._step(x, t, size, context)
            growth = growth + change
        wrong = int((~torch.isfinite(growth)).sum())
        if wrong:
            raise DensityError(
                f"the solver diverged for {wrong} of {len(x)} sets of points with {self.steps} steps: take more steps, "
                "or train with a smaller step"
            )
        return x, growth

    def _step(self, x: Tensor, t: Tensor, size: float, context: Tensor) -> tuple[Tensor, Tensor]:
        speeds, rates = [], []
        for node, stage in zip(NODES, STAGES, strict=True):
            at = x
            for factor, speed in zip(stage, speeds, strict=True):
                at = at + (size * factor) * speed
            speed, rate = self.field(at, t + node * size, context)
            speeds.append(speed)
            rates.append(rate)
        change = torch.zeros_like(rates[0])
        for weight, speed, rate in zip(WEIGHTS, speeds, rates, strict=True):
            x = x + (size * weight) * speed
            change = change + (size * weight) * rate
        return x, change

    def solver_error(
        self, x: Float[Tensor, "batch point dim"], context: Tensor | None = None
    ) -> Float[Tensor, " batch"]:
        """How far the log-density of each row, and of the draw from its latent, moves when the steps are doubled.

        The larger of the two. The method is of fifth order, so that the error left with twice the steps is about 3 %
        of this.
        """
        given = self(x.new_zeros((len(x), 0)) if context is None else context)
        steps = self.steps
        with torch.no_grad():
            z, of_row = given.latent_and_log_prob(x)
            drawn, of_draw = given.push(z)
            try:
                self.steps = 2 * steps
                error = (given.log_prob(x) - of_row).abs()
                return torch.maximum(error, (given.log_prob(drawn) - of_draw).abs())
            finally:
                self.steps = steps

    def choose_steps(
        self,
        x: Float[Tensor, "batch point dim"],
        context: Tensor | None = None,
        *,
        tolerance: float = 1e-5,
        most: int = 1024,
    ) -> float:
        """Doubles ``steps`` until the solver's error is below ``tolerance`` in every row; returns the largest.

        To be called after training, with draws and data. ``DensityError`` where ``most`` steps do not suffice.
        """
        while True:
            try:
                error = float(self.solver_error(x, context).max())
            except DensityError:  # the solver diverged: all the more steps
                error = math.inf
            if error < tolerance:
                return error
            if 2 * self.steps > most:
                raise DensityError(
                    f"the solver's error is {error:.2g} with {self.steps} steps, expected below {tolerance:g}: allow "
                    "more steps, or use double precision"
                )
            self.steps *= 2

    def flow_matching_loss(
        self,
        x: Float[Tensor, "batch point dim"],
        noise: Float[Tensor, "batch columns"],
        context: Tensor | None = None,
        *,
        align: bool = False,
    ) -> Float[Tensor, " batch"]:
        """|v(xₜ, t) − (x − x₀)|², xₜ = (1 − t) x₀ + t x, x₀ centred normal, per row: training without the solver.

        Lipman, Chen, Ben-Hamu, Nickel & Le, *Flow matching for generative modeling*, 2023. ``noise`` is uniform in
        (0, 1), of shape (batch, (points − 1)·dim + 1). With ``align`` the points x₀ are turned and relabelled to lie
        near x first, so that paths cross less (Klein, Krämer & Noé, *Equivariant flow matching*, 2023).
        """
        check_points(x, self.points, self.dim)
        expected = (self.points - 1) * self.dim + 1
        if noise.shape != (len(x), expected):
            raise DensityError(f"got noise of shape {tuple(noise.shape)}, expected ({len(x)}, {expected})")
        end = centred(x) / self.scale
        start = to_points(torch.special.ndtri(noise[:, 1:]), self.basis)
        if align:
            start = aligned(start, end, reflections=self.reflections)
        t = noise[:, 0]
        at = torch.lerp(start, end, t[:, None, None])
        given = x.new_zeros((len(x), 0)) if context is None else context
        check_context(given, self.context_width)
        velocity, _ = self.field(at, t, given)
        return (velocity - (end - start)).square().sum((1, 2))
