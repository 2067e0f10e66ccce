"""The likelihood of marks against sums and integrals by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scenariogen.model.levels import over_by
from scenariogen.model.mark_likelihood import MarkLikelihood
from scenariogen.model.mark_rows import MarkRows, joined, record_rows
from scenariogen.model.marks import mark_contexts
from tests.model.logs import events, used
from tests.model.small import small_model, two_edges

START = "2024-01-01T00:20"
DTYPES = {"shortest": torch.float64, "longest": torch.float64, "capacity": torch.float64}


def likelihood(rows: MarkRows) -> np.ndarray:
    model = small_model()
    made = MarkLikelihood(mark_contexts(model.graph, model.options), model.options, model.graph, rows)
    with torch.no_grad():
        return made(model.marks).numpy()


def row(**said) -> MarkRows:
    """One record; ``shortest``, ``longest`` and other tensors by name replace what a plain log gives."""
    tensors = {name: said.pop(name) for name in ("shortest", "longest", "capacity", "bounded") if name in said}
    records = used(events([{"start": START, "position_m": np.nan, **said}]), two_edges(), until="2024-01-02")
    made = record_rows(records, two_edges(), small_model().options)
    return replace(made, **{name: torch.tensor([value], dtype=DTYPES.get(name)) for name, value in tensors.items()})


def test_a_record_that_says_nothing_has_likelihood_one():
    assert likelihood(row()) == pytest.approx(0.0, abs=1e-9)


def test_lanes_alone_have_the_shares_of_the_options_that_remain():
    model = small_model()
    shares = torch.exp(model.tables.log_lanes[0, 0])
    for said, options in (
        ({"shoulder_only": True}, [0]),
        ({"lanes_closed": [0, 1.0]}, [1, 2, 3]),
        ({"full_closure": True}, [6]),
    ):
        assert likelihood(row(**said)) == pytest.approx(np.log(float(shares[options].sum())), abs=1e-9)


def test_a_bound_is_the_probability_of_what_is_above_it_over_all_lanes():
    model = small_model()
    above = 1 - float(over_by(model.marks, model.tables, 1500.0)[0, 0])
    found = likelihood(row(end_is="last_update", duration_s=1500.0, duration_is_censored=True))
    assert found == pytest.approx(np.log(above), abs=1e-9)


@pytest.mark.parametrize(("shortest", "longest"), [(0.0, np.inf), (900.0, np.inf), (0.0, 3600.0), (900.0, 3600.0)])
def test_durations_integrate_to_one_over_what_the_log_can_hold(shortest, longest):
    grid = np.exp(np.linspace(np.log(max(shortest, 20.0)), np.log(min(longest, 80_000.0)), 61))
    rows = joined(
        [row(end_is="observed", duration_s=t, duration_is_censored=False, shortest=shortest, longest=longest)
         for t in grid]
    )  # fmt: skip
    density = np.exp(likelihood(rows))
    assert np.trapezoid(density * grid, np.log(grid)) == pytest.approx(1.0, abs=0.01)
    known = likelihood(row(shortest=shortest, longest=longest))
    assert known == pytest.approx(0.0, abs=1e-9)  # that it is in the log is all that is known


def test_capacity_is_a_density_with_atoms_and_a_bound_is_its_tail():
    said = {"lanes_closed": [0, 0, 1.0], "lanes_side": "left"}
    options = small_model().options
    low, high = float(options.low[0, 5]), float(options.high[0, 5])
    values = np.linspace(low, high, 102)[1:-1]
    base = float(likelihood(row(**said))[0])
    density = np.exp(likelihood(joined([row(capacity=value, **said) for value in values])) - base)
    assert np.trapezoid(density, values) == pytest.approx(1.0, abs=0.05)
    bound = np.exp(float(likelihood(row(capacity=values[50], bounded=True, **said))[0]) - base)
    assert bound == pytest.approx(np.trapezoid(density[50:], values[50:]), abs=0.05)
