"""The parts of scripts/benchmark_sampling that worker processes import: densities, and incidents under a condition."""

import time
from collections.abc import Callable
from pathlib import Path

CONTEXT = 8
CHUNK = 8192


def densities(dtype, device: str) -> dict:
    """A density of each family with its context's width; three numbers and eight of context where it has a choice."""
    import torch

    from scenariogen.randomness import normal
    from scenariogen.sampling.atoms import AtomicSpline
    from scenariogen.sampling.categorical import CategoricalChain
    from scenariogen.sampling.constrained import Constrained
    from scenariogen.sampling.cvae import CVAE
    from scenariogen.sampling.equivariant_flow import EquivariantFlow
    from scenariogen.sampling.flow import CouplingFlow
    from scenariogen.sampling.gan import GAN
    from scenariogen.sampling.kernel import KernelDensity
    from scenariogen.sampling.manifolds import Simplex
    from scenariogen.sampling.mixture import DefensiveMixture, Mixture
    from scenariogen.sampling.sets import SetFlow
    from scenariogen.sampling.spline import ConditionalSpline
    from scenariogen.sampling.supports import Interval

    def flow(seed: int = 0):
        return CouplingFlow(3, CONTEXT, seed=seed, dtype=dtype)

    records = normal(1, torch.arange(1000), 3).to(dtype)
    gaps = torch.full((4,), 2.0, dtype=dtype)
    made = {
        "coupling flow": flow(),
        "spline": ConditionalSpline(CONTEXT, support=Interval(0.0, 1.0), dtype=dtype),
        "spline with atoms": AtomicSpline((0.0, 1.0), CONTEXT, support=Interval(0.0, 1.0), dtype=dtype),
        "categorical chain 3×4×5": CategoricalChain((3, 4, 5), CONTEXT, dtype=dtype),
        "mixture of two flows": Mixture([flow(), flow(1)], [0.4, 0.6]),
        "defensive mixture": DefensiveMixture(flow(), [flow(1)], [0.2, 0.8]),
        "flow on a simplex": Constrained(CouplingFlow(3, CONTEXT, dtype=dtype), Simplex(gaps, total=50.0)),
        "flow of sets, 4 points": SetFlow(4, 2, CONTEXT, dtype=dtype),
        "kernel density, 1,000 records": KernelDensity(records),
        "equivariant flow, 4 points": EquivariantFlow(4, 2, steps=8, dtype=dtype),
        "CVAE, bound of 64 (inexact)": CVAE(3, 2, CONTEXT, dtype=dtype),
        "GAN (no density)": GAN(3, 2, CONTEXT, dtype=dtype),
    }
    return {name: each.to(device) for name, each in made.items()}


def rate(work: Callable[[], int], *, seconds: float, device: str) -> float:
    """Rows a second: CPU seconds, or wall seconds on another device; the best of three."""
    import torch

    def now() -> float:
        if device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    work()
    best = 0.0
    for _ in range(3):
        began, rows = now(), 0
        while now() - began < seconds / 3:
            rows += work()
        best = max(best, rows / (now() - began))
    return best


def member_rate(density, dtype, device: str, *, seconds: float, chunk: int = CHUNK) -> float:
    """Draws with log-density a second through :func:`scenariogen.sampling.contract.draw`."""
    import torch

    from scenariogen.randomness import normal
    from scenariogen.sampling.contract import draw

    width = density.context_width
    context = normal(2, torch.arange(chunk), width).to(device=device, dtype=dtype) if width else None

    def work() -> int:
        n = None if width else chunk
        return len(draw(density, context, seed=3, n=n, block=chunk))

    return rate(work, seconds=seconds, device=device)


def zuko_rate(dtype, device: str, *, seconds: float, chunk: int = CHUNK) -> float:
    """The same of zuko's own neural spline flow: four coupling transforms, eight bins, two layers of 64."""
    import torch
    from zuko.flows import NSF

    from scenariogen.randomness import normal

    torch.manual_seed(0)
    flow = NSF(3, CONTEXT, transforms=2, passes=2, bins=8, hidden_features=[64, 64]).to(device=device, dtype=dtype)
    context = normal(2, torch.arange(chunk), CONTEXT).to(device=device, dtype=dtype)

    def work() -> int:
        with torch.no_grad():
            return len(flow(context).rsample_and_log_prob()[1])

    return rate(work, seconds=seconds, device=device)


def incident_model():
    """A model of the size that ``scenariogen fit`` makes by default, on a real network, from the published priors."""
    import numpy as np
    import pandas as pd

    from scenariogen.incidents.exposure import Exposure
    from scenariogen.incidents.records import OBSERVED_COLUMNS
    from scenariogen.model.fit import fit_model
    from scenariogen.simulation.catalog import find_network
    from scenariogen.simulation.project import open_project
    from scenariogen.simulation.study import study_window

    project = open_project(find_network("cologne8"))
    network, window = project.network(), study_window(project)
    cells = 4
    kilometres = np.full((len(network.edges), cells), 2e4)
    exposure = Exposure(
        edge_ids=network.edge_ids,
        cell_edges_s=np.linspace(window.count_from_s, window.incidents_until_s, cells + 1),
        vehicle_km=kilometres,
        standard_error=np.zeros_like(kilometres),
        days=(0,),
        day_totals_km=np.array([kilometres.sum()]),
    )
    nothing = pd.DataFrame({name: [] for name in OBSERVED_COLUMNS})
    return fit_model(nothing, exposure, network, window, days=1, seed=1)


def incidents(model, given: str, *, first: int, sets: int) -> int:
    """Draw sets of incidents under a condition with their log-density; how many incidents."""
    import torch

    from scenariogen.model.given import parse_given
    from scenariogen.model.incident_marks import incident_noise
    from scenariogen.sampling.conditioned import ConditionedPoisson

    with torch.no_grad():
        conditioned = ConditionedPoisson(model.process, model.region(parse_given(given, model.network)))
        drawn = conditioned.draw(torch.arange(first, first + sets), seed=5, noise=incident_noise)
    if not torch.isfinite(drawn.log_prob).all():
        raise RuntimeError("a log-density is not finite")
    return len(drawn.points)


def incident_worker(job: tuple[int, float]) -> tuple[int, float, float, float]:
    """In a process of its own: incidents drawn, CPU seconds, and when it began and ended on the wall's clock."""
    import torch

    torch.set_num_threads(1)
    worker, seconds = job
    model = incident_model()
    incidents(model, "capacity_left<=0.5", first=0, sets=2000)
    drawn, first = 0, 10_000_000 * (worker + 1)
    began, wall = time.process_time(), time.time()
    while time.time() - wall < seconds:
        drawn += incidents(model, "capacity_left<=0.5", first=first, sets=4000)
        first += 4000
    return drawn, time.process_time() - began, wall, time.time()


def peak_memory(job: tuple[str, int]) -> float:
    """MiB at the peak of a fresh process that streams so many draws of a flow to a file."""
    import torch

    from scenariogen.sampling.flow import CouplingFlow
    from scenariogen.sampling.streaming import draw_to_parquet

    torch.set_num_threads(1)
    path, n = job
    draw_to_parquet(path, CouplingFlow(3), columns=["a", "b", "c"], measure="Lebesgue", seed=1, n=n)
    # Not getrusage, which goes on counting from the process that this one was started by.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def tabular_rates(*, rows: int, epochs: int) -> dict[str, float]:
    """Rows a second of SDV's synthesisers, fitted to a table of two categories and three numbers; empty without SDV."""
    try:
        from sdv.metadata import Metadata
        from sdv.single_table import GaussianCopulaSynthesizer, TVAESynthesizer
    except ImportError:
        return {}
    import pandas as pd
    import torch

    from scenariogen.randomness import normal, uniform

    number = torch.arange(4000)
    u, z = uniform(4, number, 2), normal(4, number, 3)
    table = pd.DataFrame(
        {
            "kind": [("crash", "breakdown", "debris")[int(3 * a)] for a in u[:, 0].tolist()],
            "lanes": [str(int(4 * a)) for a in u[:, 1].tolist()],
            "minutes": (3.5 + 0.4 * z[:, 0]).exp().tolist(),
            "position_m": (500 + 200 * z[:, 1]).tolist(),
            "capacity_left": torch.sigmoid(z[:, 2]).tolist(),
        }
    )
    kinds = {name: "categorical" if table[name].dtype == object else "numerical" for name in table}
    columns = {name: {"sdtype": kind} for name, kind in kinds.items()}
    metadata = Metadata.load_from_dict({"tables": {"records": {"columns": columns}}, "relationships": []})
    found = {}
    for name, synthesizer in (
        ("SDV GaussianCopula (no density)", GaussianCopulaSynthesizer(metadata)),
        ("SDV TVAE (no density)", TVAESynthesizer(metadata, epochs=epochs)),
    ):
        synthesizer.fit({"records": table})
        found[name] = rate(lambda s=synthesizer: len(s.sample(rows)["records"]), seconds=3.0, device="cpu")
    return found
