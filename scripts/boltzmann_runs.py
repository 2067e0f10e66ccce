"""The Boltzmann section of scripts/benchmark_rare_events: standard energies, each run in one thread of its own.

A run gets an energy, its gradient and a broad normal prior, and nothing else: no draw of the target, no modes, no
factors. What is known in closed form is only read afterwards, to score the run.
"""

import math
import time
from dataclasses import dataclass, replace
from itertools import pairwise

MIXTURE, WELLS, FOUR, CLUSTER = "40-mode mixture", "32-d many-well", "4 particles, plane", "13-particle cluster"
STANDARD = (MIXTURE, WELLS)
MOST_SECONDS = 600.0
MODE_FACTOR = 5.0
"""A mode is found where the flow's density lies within this factor of the target's."""
LEAST_SHARE = 0.005
"""Of the pair distances, in a bin of the histogram that is compared."""


@dataclass(frozen=True, kw_only=True)
class BoltzmannRun:
    """One run: what was reached, and what it took (training included, scoring not)."""

    problem: str
    seed: int
    effective_share: float
    log_z_error: float | None
    modes: str
    modes_missed: int
    energy: float | None
    energy_error: float | None
    reference: float | None
    reference_error: float | None
    largest_gap: float | None
    bins: int
    energies: int
    gradients: int
    cpu_s: float
    free_energy_difference: float | None = None
    free_energy_error: float | None = None
    free_energy_exact: float | None = None


def run(problem: str, seed: int, device: str = "cpu", *, full: bool = True) -> BoltzmannRun:
    """Train and score one problem; not ``full``, clusters are scored by half as many draws."""
    import torch

    torch.set_num_threads(1)
    return _standard(problem, seed, device) if problem in STANDARD else _points(problem, seed, device, full)


def _standard(problem: str, seed: int, device: str) -> BoltzmannRun:
    import torch

    from scenariogen.sampling.boltzmann import BoltzmannGenerator, BoltzmannSettings, Direction
    from scenariogen.sampling.flow import CouplingFlow
    from scenariogen.sampling.normal import isotropic
    from scenariogen.sampling.targets import BoltzmannTarget, gaussian_mixture, many_well, relative_to
    from scenariogen.sampling.weighing import weigh

    single = torch.float32
    if problem == MIXTURE:
        benchmark, spread = gaussian_mixture(), 30.0
        flow = CouplingFlow(2, transforms=6, bins=24, hidden=(128, 128), marginal_bins=16, seed=seed, dtype=single)
        # Between narrow modes the gradient of D(q‖p*) is huge and says little: D(p*‖q) alone.
        settings = BoltzmannSettings(direction=Direction.FORWARD, updates=2500, warm_up=100, fresh=10_000)
    else:
        benchmark, spread = many_well(), 2.0
        flow = CouplingFlow(32, transforms=2, bins=8, hidden=(64,), marginal_bins=64, seed=seed, dtype=single)
        settings = BoltzmannSettings(updates=4500, warm_up=100, learning_rate=1e-4, fresh=4000, particles=16_000)
    began = _clock(device)
    prior = isotropic(benchmark.dim, spread, dtype=single, device=device)
    target = BoltzmannTarget(prior=prior, energy=relative_to(prior, benchmark.energy))
    trained, _ = BoltzmannGenerator(target=target, flow=flow.to(device), settings=settings).train(seed)
    seconds = _clock(device) - began
    energies, gradients = target.energies, target.gradients
    exact = replace(target, prior=prior.double(), energy=relative_to(prior.double(), benchmark.energy))
    drawn = weigh(trained.double(), exact, seed=seed + 1000, n=100_000)
    known = benchmark.modes.to(drawn.x)
    free = None
    if problem == MIXTURE:
        nearest = torch.cdist(drawn.x, known).argmin(1)
        share = torch.zeros(len(known), dtype=torch.float64, device=drawn.x.device)
        share.index_add_(0, nearest, torch.softmax(drawn.log_w, 0))
        missed = int(((share < 0.2 / len(known)) | (share > 5 / len(known))).sum())
        modes = f"{len(known) - missed}/{len(known)}"
    else:
        missed, total, worst = _wells_missed(trained, known, benchmark)
        modes = f"{total - missed}/{total} x{worst:.1f}"
        free = drawn.free_energy_difference(drawn.x[:, 0] > 0, drawn.x[:, 0] <= 0)
    return BoltzmannRun(
        problem=problem,
        seed=seed,
        effective_share=drawn.effective_size / len(drawn),
        log_z_error=drawn.log_z.value - benchmark.log_z,
        modes=modes,
        modes_missed=missed,
        energy=None,
        energy_error=None,
        reference=None,
        reference_error=None,
        largest_gap=None,
        bins=0,
        energies=energies,
        gradients=gradients,
        cpu_s=seconds,
        free_energy_difference=free.value if free else None,
        free_energy_error=free.standard_error if free else None,
        free_energy_exact=_well_difference() if free else None,
    )


def _wells_missed(flow, minima, benchmark) -> tuple[int, int, float]:
    """Modes of the many-well at whose minimum the flow has less than a fifth, or more than five times, the target's
    density; all modes; and the largest factor between the two."""
    import torch

    wells = benchmark.dim // 2
    total, missed, worst = 2**wells, 0, 0.0
    for first in range(0, total, 8192):
        number = torch.arange(first, min(first + 8192, total), device=minima.device)
        right = (number[:, None] >> torch.arange(wells, device=minima.device)) & 1
        x = minima.new_zeros((len(number), benchmark.dim))
        x[:, 0::2] = torch.where(right == 1, minima[1, 0], minima[0, 0])
        with torch.no_grad():
            gap = (flow(x[:, :0]).log_prob(x) + benchmark.energy(x) + benchmark.log_z).abs()
        missed += int((gap > math.log(MODE_FACTOR)).sum())
        worst = max(worst, float(gap.max()))
    return missed, total, math.exp(worst)


def _well_difference() -> float:
    """−log of the odds of the right well, by quadrature."""
    import torch

    a = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    density = torch.exp(-(a**4 - 6 * a**2 - 0.5 * a))
    return -math.log(float(density[a > 0].sum() / density[a <= 0].sum()))


def _points(problem: str, seed: int, device: str, full: bool) -> BoltzmannRun:
    import torch

    from scenariogen.sampling.boltzmann import BoltzmannGenerator, BoltzmannSettings, Direction
    from scenariogen.sampling.contract import draw
    from scenariogen.sampling.coordinates import InCoordinates, energy_in_coordinates, matching_loss
    from scenariogen.sampling.equivariant_flow import EquivariantFlow
    from scenariogen.sampling.normal import isotropic
    from scenariogen.sampling.rigid import to_points
    from scenariogen.sampling.targets import (
        BoltzmannTarget,
        double_well_energy,
        lennard_jones_energy,
        pair_distances,
        relative_to,
    )
    from scenariogen.sampling.weighing import weigh

    single = torch.float32
    if problem == FOUR:
        points, dim, energy, spread, scale, kernels = 4, 2, double_well_energy, 3.0, 2.1, 16
        matching, particles, every = 500, 10_000, 50
        likelihood = BoltzmannSettings(
            direction=Direction.FORWARD, updates=300, warm_up=0, batch=256, fresh=1000, learning_rate=3e-4,
            updates_per_step=20, averaging=0.95, gradient_limit=1.0,
        )  # fmt: skip
    else:
        points, dim, energy, spread, scale, kernels = 13, 3, lennard_jones_energy, 1.0, 0.9, 32
        matching, particles, every = 2400, 6000, 200
        likelihood = BoltzmannSettings(
            direction=Direction.FORWARD, updates=90, warm_up=0, batch=192, fresh=300, learning_rate=3e-4,
            updates_per_step=30, averaging=0.9, gradient_limit=1.0,
        )  # fmt: skip
    columns = (points - 1) * dim
    in_rows = energy_in_coordinates(energy, points)
    began = _clock(device)
    prior = isotropic(columns, spread, dtype=single, device=device)
    target = BoltzmannTarget(prior=prior, energy=relative_to(prior, in_rows))
    flow = InCoordinates(
        EquivariantFlow(
            points, dim, reflections=True, kernels=kernels, reach=4.0, scale=scale, steps=8, seed=seed, dtype=single
        )
    ).to(device)
    first = BoltzmannGenerator(
        target=target,
        flow=flow,
        forward_loss=matching_loss,
        settings=BoltzmannSettings(
            direction=Direction.FORWARD, updates=matching, warm_up=50, batch=256, fresh=500, particles=particles,
            effective_share=0.8, averaging=0.99, updates_per_step=every,
        ),
    )  # fmt: skip
    trained, state = first.train(seed)
    # Matching needs no solver; what it leaves wrong in the tail of the weights the likelihood takes away.
    second = BoltzmannGenerator(target=target, flow=trained, settings=likelihood)
    state = second.start(seed, buffer=state.buffer, log_z=state.log_z)
    while state.updates < second.settings.updates:
        state, _ = second.step(seed, state)
    trained = second.finish(state)
    seconds = _clock(device) - began
    energies, gradients = target.energies, target.gradients
    trained = trained.double()
    exact = replace(target, prior=prior.double(), energy=relative_to(prior.double(), in_rows))
    trial = draw(trained, seed=seed + 500, n=60)
    draws = (20_000 if problem == FOUR else 4000) // (1 if full else 2)
    trained.flow.choose_steps(to_points(trial.x, trained.basis), tolerance=1e-5)
    drawn = weigh(trained, exact, seed=seed + 1000, n=draws, block=2000)
    mean = drawn.mean(in_rows(drawn.x))
    reference = _tempered(problem, exact, in_rows, points, seed)
    edges = reference["edges"]
    inside = pair_distances(to_points(drawn.x, trained.basis))
    gaps = []
    for number, (low, high) in enumerate(pairwise(edges)):
        found = drawn.mean(((inside >= low) & (inside < high)).double().mean(1))
        error = (found.standard_error**2 + reference["errors"][number] ** 2) ** 0.5
        gaps.append(abs(found.value - reference["shares"][number]) / error)
    return BoltzmannRun(
        problem=problem,
        seed=seed,
        effective_share=drawn.effective_size / len(drawn),
        log_z_error=None,
        modes="",
        modes_missed=0,
        energy=mean.value,
        energy_error=mean.standard_error,
        reference=reference["energy"],
        reference_error=reference["energy_error"],
        largest_gap=max(gaps),
        bins=len(gaps),
        energies=energies,
        gradients=gradients,
        cpu_s=seconds,
    )


def _tempered(problem: str, target, energy, points: int, seed: int) -> dict:
    """Mean energy and pair-distance shares by parallel tempering, with errors from independent ladders."""
    import torch

    from scenariogen.sampling.annealing import Annealing, anneal
    from scenariogen.sampling.rigid import subspace_basis, to_points
    from scenariogen.sampling.targets import pair_distances
    from scenariogen.sampling.tempering import Tempering

    ladders, rounds, skipped = (200, 900, 200) if problem == FOUR else (100, 700, 200)
    start = anneal(Annealing(target=target), seed + 77, 2 * ladders).x[:ladders]
    sampler = Tempering(target=target, betas=(1.0, 0.75, 0.55, 0.4, 0.25, 0.12), adapting=100)
    state = sampler.start(start)
    basis = subspace_basis(points).to(start)
    edges = torch.linspace(1.0, 7.0, 16) if problem == FOUR else torch.linspace(0.75, 3.75, 16)
    edges = edges.to(start)
    total = start.new_zeros(ladders)
    shares = start.new_zeros((ladders, len(edges) - 1))
    for number in range(rounds):
        state, _ = sampler.step(seed + 78, state)
        if number < skipped:
            continue
        total += energy(state.x[:, 0])
        distances = pair_distances(to_points(state.x[:, 0], basis))
        inside = (distances[..., None] >= edges[:-1]) & (distances[..., None] < edges[1:])
        shares += inside.double().mean(1)
    count = rounds - skipped
    means, shares = total / count, shares / count
    # A bin that hardly anything falls into has no error that is nearly normal: it goes with its neighbour.
    kept, merged = [0], []
    for number in range(len(edges) - 1):
        since = shares[:, kept[-1] : number + 1].sum(1)
        if float(since.mean()) >= LEAST_SHARE and float(shares[:, number + 1 :].sum(1).mean()) >= LEAST_SHARE:
            kept.append(number + 1)
            merged.append(since)
    merged.append(shares[:, kept[-1] :].sum(1))
    edges, shares = edges[[*kept, len(edges) - 1]], torch.stack(merged, dim=1)
    return {
        "energy": float(means.mean()),
        "energy_error": float(means.std()) / ladders**0.5,
        "edges": edges.tolist(),
        "shares": shares.mean(0).tolist(),
        "errors": (shares.std(0) / ladders**0.5).clamp_min(1e-12).tolist(),
    }


def _clock(device: str) -> float:
    """CPU seconds; on another device wall seconds, once it has caught up."""
    if device == "cpu":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def figures_of(run: BoltzmannRun) -> list[tuple[str, float, float, str, bool]]:
    """What was asked of a run: what, value, limit, unit, and whether the limit is a least one."""
    name = f"{run.problem}, seed {run.seed}"
    if run.problem in STANDARD:
        return [
            (f"{name}: effective share", run.effective_share, 0.85, "", True),
            (f"{name}: |log Z error|", abs(run.log_z_error or 0.0), 0.02, "", False),
            (f"{name}: modes missed", float(run.modes_missed), 0.0, "", False),
            (f"{name}: CPU time", run.cpu_s, MOST_SECONDS, " s", False),
        ]
    assert run.energy is not None and run.reference is not None and run.largest_gap is not None
    gap = abs(run.energy - run.reference) / math.hypot(run.energy_error or 0.0, run.reference_error or 0.0)
    return [
        (f"{name}: mean energy off the reference", gap, 3.0, " SE", False),
        (f"{name}: worst pair-distance bin off the reference", run.largest_gap, 3.0, " SE", False),
    ]


def table(runs: list[BoltzmannRun]) -> str:
    """The runs as lines of text."""
    lines = [
        f"{'problem':<22}{'seed':>5}{'eff. share':>11}{'log Z error':>12}{'modes':>18}{'energy':>18}{'reference':>18}"
        f"{'worst bin':>11}{'energies':>11}{'gradients':>11}{'CPU s':>7}"
    ]
    for r in runs:
        energy = f"{r.energy:.3f} ± {r.energy_error:.3f}" if r.energy is not None else ""
        reference = f"{r.reference:.3f} ± {r.reference_error:.3f}" if r.reference is not None else ""
        log_z = f"{r.log_z_error:+.4f}" if r.log_z_error is not None else ""
        worst = f"{r.largest_gap:.1f} SE/{r.bins}" if r.largest_gap is not None else ""
        lines.append(
            f"{r.problem:<22}{r.seed:>5}{r.effective_share:>11.3f}{log_z:>12}{r.modes:>18}{energy:>18}{reference:>18}"
            f"{worst:>11}{r.energies:>11,}{r.gradients:>11,}{r.cpu_s:>7.0f}"
        )
        if r.free_energy_difference is not None:
            lines.append(
                f"    free energy, right less left well: {r.free_energy_difference:.4f} ± {r.free_energy_error:.4f} "
                f"(exact {r.free_energy_exact:.4f})"
            )
    return "\n".join(lines)
