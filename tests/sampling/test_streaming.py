"""Draws on disk: the bits of draws in memory, for any number of processes, whole or not at all, in flat memory."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from scenariogen.errors import DataError, DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling.contract import ConditionalDensity, Distribution, draw
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.gan import GAN
from scenariogen.sampling.streaming import GROUP, draw_to_parquet, read_draw_blocks, read_draws
from scenariogen.sampling.training import seeded

MEASURE = "Lebesgue on metres and seconds"
ROWS = 2 * GROUP + 1500


def flow(context_width: int = 0, dtype: torch.dtype = torch.float64) -> CouplingFlow:
    made = seeded(lambda: CouplingFlow(2, context_width, transforms=2, hidden=(8,), dtype=dtype), seed=3)
    with torch.no_grad():
        for number, each in enumerate(made.parameters()):
            each.add_(0.3 * normal(number, torch.arange(each.numel()), 1).reshape(each.shape))
    return made


def store(path: Path, density: ConditionalDensity, context: torch.Tensor | None = None, **options) -> Path:
    return draw_to_parquet(
        path, density, context, **{"columns": ("a_m", "b_s"), "measure": MEASURE, "seed": 5, **options}
    )


def test_the_file_holds_the_bits_of_draws_in_memory_with_names_seed_and_measure(tmp_path):
    path = store(tmp_path / "draws.parquet", flow(), n=ROWS, first=17)
    stored, expected = read_draws(path), draw(flow(), n=ROWS, first=17, seed=5)
    assert torch.equal(stored.draws.x, expected.x) and stored.draws.log_prob_is_exact
    assert stored.draws.log_prob is not None and expected.log_prob is not None
    assert torch.equal(stored.draws.log_prob, expected.log_prob)
    assert stored.columns == ("a_m", "b_s") and "seed 5, 'Lebesgue" in repr(stored)
    for name, value in {"seed": 5, "first": 17, "n": ROWS, "measure": MEASURE, "density": "CouplingFlow"}.items():
        assert stored.header[name] == value
    assert stored.header["noise"] == "uniform" and set(stored.header["versions"]) == {"scenariogen", "torch", "pyarrow"}
    parts = list(read_draw_blocks(path))
    assert [len(part) for part in parts] == [GROUP, GROUP, 1500]
    assert torch.equal(torch.cat([part.x for part in parts]), expected.x)
    table = pd.read_parquet(path)  # whoever knows nothing of this package reads it too
    assert list(table.columns) == ["a_m", "b_s", "log_density", "is_exact"] and bool(table["is_exact"].all())
    assert [entry.name for entry in tmp_path.iterdir()] == ["draws.parquet"]


def test_the_file_is_the_same_to_the_last_byte_for_any_number_of_processes(tmp_path):
    density, context = flow(2), uniform(9, torch.arange(ROWS), 2)
    seen: list[tuple[int, int]] = []
    one = store(tmp_path / "one", density, context, progress=lambda *done: seen.append(done))
    two = store(tmp_path / "two", density, context, jobs=2)
    assert one.read_bytes() == two.read_bytes()
    assert seen == [(GROUP, ROWS), (2 * GROUP, ROWS), (ROWS, ROWS)]
    assert torch.equal(read_draws(two).draws.x, draw(density, context, seed=5).x)


def test_one_thread_draws_whatever_the_callers_setting(tmp_path):
    used, before = set(), torch.get_num_threads()

    def watch(seed: int, rows: torch.Tensor, columns: int) -> torch.Tensor:
        used.add(torch.get_num_threads())
        return uniform(seed, rows, columns)

    torch.set_num_threads(2)
    try:
        store(tmp_path / "x", Uniform(), n=3000, noise=watch)
        assert used == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_one_row_of_context_serves_all_draws(tmp_path):
    density, row = flow(2), torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    stored = read_draws(store(tmp_path / "x", density, row.expand(3000, -1)))
    assert torch.equal(stored.draws.x, draw(density, row.expand(3000, -1), seed=5).x)


def test_single_precision_and_draws_without_a_density_come_back_as_they_were(tmp_path):
    single = read_draws(store(tmp_path / "single", flow(dtype=torch.float32), n=2000)).draws
    assert single.x.dtype == torch.float32 and single.log_prob is not None and single.log_prob.dtype == torch.float32
    assert torch.equal(single.x, draw(flow(dtype=torch.float32), n=2000, seed=5).x)
    model = seeded(lambda: GAN(2, 2, hidden=8), seed=1)
    without = read_draws(store(tmp_path / "gan", model, n=2000)).draws
    assert without.log_prob is None and not without.log_prob_is_exact
    assert torch.equal(without.x, draw(model, n=2000, seed=5).x)
    column = pq.read_table(tmp_path / "gan").column("log_density")
    assert column.null_count == len(column) == 2000


class Square(Distribution):
    """Uniform on the unit square."""

    noise_columns = 2

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        return noise

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(len(x))


class Uniform(ConditionalDensity):
    def forward(self, context: torch.Tensor) -> Square:
        return Square()


def stops_late(seed: int, rows: torch.Tensor, columns: int) -> torch.Tensor:
    if int(rows[-1]) > 2 * GROUP:
        raise DensityError("the noise has run out")
    return uniform(seed, rows, columns)


def nan_late(seed: int, rows: torch.Tensor, columns: int) -> torch.Tensor:
    return torch.where(rows[:, None] == GROUP + 7, torch.nan, uniform(seed, rows, columns))


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_in_the_middle_leaves_nothing_behind_and_what_was_there_as_it_was(tmp_path, jobs):
    before = store(tmp_path / "old", Uniform(), n=100).read_bytes()
    for name in ("old", "new")[: 3 - jobs]:
        with pytest.raises(DensityError, match="the noise has run out"):
            store(tmp_path / name, Uniform(), n=ROWS, noise=stops_late, jobs=jobs)
    assert [entry.name for entry in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == before


def dies_late(seed: int, rows: torch.Tensor, columns: int) -> torch.Tensor:
    if int(rows[-1]) > 2 * GROUP:
        os._exit(3)
    return uniform(seed, rows, columns)


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_and_leaves_nothing_behind(tmp_path):
    with pytest.raises(DensityError, match="one of the 2 processes that drew has died"):
        store(tmp_path / "x", Uniform(), n=ROWS, noise=dies_late, jobs=2)
    assert not list(tmp_path.iterdir())


def test_a_draw_that_is_nan_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DensityError, match=rf"draw number {GROUP + 7} is \[nan, nan\]"):
        store(tmp_path / "x", Uniform(), n=ROWS, first=3, noise=nan_late)
    assert not list(tmp_path.iterdir())


def test_bad_requests_are_listed_at_once(tmp_path):
    wrong = {"columns": ("a", "a"), "measure": " ", "first": -1, "jobs": 0, "n": 0}
    with pytest.raises(DensityError) as caught:
        store(tmp_path / "none" / "x", flow(), **wrong)
    for part in ("does not exist", "columns are ['a', 'a']", "measure is empty", "first is -1", "jobs is 0", "0 draws"):
        assert part in str(caught.value)
    with pytest.raises(DensityError, match="none of them 'log_density'"):
        store(tmp_path / "x", flow(), n=5, columns=("a", "log_density"))
    with pytest.raises(DensityError, match="a draw has 2 numbers and 3 names were given"):
        store(tmp_path / "x", flow(), n=5, columns=("a", "b", "c"))
    with pytest.raises(DensityError, match=r"shape \(5, 1\), expected \(batch, 2\)"):
        store(tmp_path / "x", flow(2), torch.zeros(5, 1, dtype=torch.float64))
    with pytest.raises(DensityError, match=r"got no context, expected \(batch, 2\)"):
        store(tmp_path / "x", flow(2), n=5)
    with pytest.raises(DensityError, match="give one"):
        store(tmp_path / "x", flow())
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "text").write_text("no table")
    pd.DataFrame({"log_density": [0.0], "is_exact": [True]}).to_parquet(tmp_path / "table")
    for name, message in (("text", "cannot be read"), ("absent", "cannot be read"), ("table", "not a file of draws")):
        with pytest.raises(DataError, match=message):
            read_draws(tmp_path / name)
    with pytest.raises(DataError, match="not a file of draws"):
        next(read_draw_blocks(tmp_path / "table"))


MEMORY = """
import sys
from pathlib import Path
import torch
from scenariogen.sampling.contract import ConditionalDensity, Distribution
from scenariogen.sampling.streaming import draw_to_parquet

class Cube(Distribution):
    noise_columns = 8
    def sample(self, noise):
        return noise
    def log_prob(self, x):
        return x.new_zeros(len(x))

class Uniform(ConditionalDensity):
    def forward(self, context):
        return Cube()

def peak_mib():
    status = Path("/proc/self/status").read_text()  # of this process alone, unlike getrusage, which keeps its parent's
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

for n in (100_000, 1_000_000):
    draw_to_parquet(sys.argv[1], Uniform(), columns=list("abcdefgh"), measure="Lebesgue", seed=1, n=n)
    print(peak_mib())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_is_flat_in_the_number_of_draws(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "x")], capture_output=True, text=True, check=True
    )
    few, many = (float(line) for line in run.stdout.split())
    whole = 1_000_000 * 9 * 8 / 2**20  # what the larger file's numbers take: 69 MiB
    assert many - few < whole / 4
