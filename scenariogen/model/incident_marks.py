"""Incidents as points of the sampling core: what the marks of a point are, and which points a condition takes.

A cell is an edge in a time cell, cells of one edge next to each other; the location is the start in seconds. A point's
marks are the index of its lane option, position, capacity left, and the durations of its three phases.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

from scenariogen.model.given import Given, allowed_table
from scenariogen.model.marks import (
    Marks,
    MarkTables,
    draw_phases,
    duration_to_unit,
    phases_log_prob,
    unit_to_duration,
)
from scenariogen.model.options import LaneOptions
from scenariogen.network import RoadNetwork
from scenariogen.randomness import uniform
from scenariogen.sampling.discrete import draw_category
from scenariogen.sampling.points import MarkDensity, Points
from scenariogen.sampling.regions import Region

OPTION, POSITION_M, CAPACITY, PHASES_S = 0, 1, 2, slice(3, 6)
"""Columns of the marks."""
_COLUMNS = (0, 1, 3, 2, 4, 5, 6, 7, 8)


def incident_noise(seed: int, rows: Tensor, columns: int) -> Tensor:
    """The core's noise for one incident, its columns in the order in which scenarios have always taken them."""
    return uniform(seed, rows, len(_COLUMNS))[:, list(_COLUMNS[:columns])]


@dataclass(frozen=True, eq=False)
class IncidentMarks(MarkDensity):
    """p(lanes, position, capacity left, phases | edge, kind), tabulated; ``cells`` time cells an edge."""

    network: RoadNetwork
    heads: Marks
    tables: MarkTables
    options: LaneOptions
    lengths_m: Tensor
    cells: int

    width = 6
    noise_columns = 6

    @cached_property
    def shares(self) -> Tensor:
        """p(option | edge, kind), of shape (edge, kind, option)."""
        return torch.exp(self.tables.log_lanes) * self.options.allowed[:, None, :]

    def sample(self, noise: Tensor, cell: Tensor, kind: Tensor) -> Tensor:
        return self.draw(noise, cell, kind, self.shares, CapacityRange(Given()))

    def draw(self, noise: Tensor, cell: Tensor, kind: Tensor, weights: Tensor, capacity: "CapacityRange") -> Tensor:
        """Marks with options weighed by ``weights`` (edge, kind, option) and capacity left where it is allowed."""
        edge = cell // self.cells
        if not len(edge):
            return noise.new_zeros((0, self.width))
        option = draw_category(noise[:, 0], weights[edge, kind])
        at = (edge, kind, option)
        left = capacity.draw(self, noise[:, 1], at)
        v = self.heads.spline(self.tables.duration[at]).icdf(noise[:, 2])
        duration = unit_to_duration(v, self.tables.minutes[edge, option])
        position = self.heads.spline(self.tables.position[at]).icdf(noise[:, 3]) * self.lengths_m[edge]
        phases = draw_phases(noise[:, 4:6], duration)
        return torch.cat([option.to(phases.dtype)[:, None], position[:, None], left[:, None], phases], dim=1)

    def log_terms(self, marks: Tensor, cell: Tensor, kind: Tensor) -> tuple[Tensor, ...]:
        edge, option = cell // self.cells, marks[:, OPTION].to(torch.int64)
        at = (edge, kind, option)
        phases, length = marks[:, PHASES_S], self.lengths_m[edge]
        v, log_slope = duration_to_unit(phases.sum(-1), self.tables.minutes[edge, option])
        place = self.heads.spline(self.tables.position[at]).log_prob(marks[:, POSITION_M] / length)
        return (
            self.tables.log_lanes[at],
            self._capacity_log_prob(marks[:, CAPACITY], at),
            self.heads.spline(self.tables.duration[at]).log_prob(v),
            log_slope,
            phases_log_prob(phases),
            place,
            -torch.log(length),
        )

    def _capacity_log_prob(self, left: Tensor, at: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        edge, _, option = at
        low, high = self.options.low[edge, option], self.options.high[edge, option]
        width = (high - low).clamp_min(1e-12)
        log_atoms = self.tables.log_atoms[at]
        inside = self.heads.spline(self.tables.capacity[at]).log_prob((left - low) / width)
        continuous = log_atoms[:, 1] + inside - torch.log(width)
        out = torch.where(left == 0, log_atoms[:, 0], continuous)
        return torch.where(left == 1, log_atoms[:, 2], out)

    def capacity_mass(self, given: Given) -> Tensor:
        """P(capacity left as given | edge, kind, option), or its density at an exact value; (edge, kind, option)."""
        low, high = self.options.low[:, None, :], self.options.high[:, None, :]
        width = (high - low).clamp_min(1e-12)
        atoms = torch.exp(self.tables.log_atoms)
        spline = self.heads.spline(self.tables.capacity)
        if given.value is not None:
            at = (given.value - low) / width
            return atoms[..., 1] * torch.exp(spline.log_prob(at.expand_as(atoms[..., 1]))) / width
        ends = [((torch.full_like(low, end) - low) / width).expand_as(atoms[..., 1]) for end in (given.low, given.high)]
        between = spline.cdf(ends[1]) - spline.cdf(ends[0])
        zero = float(given.with_zero and given.low <= 0)
        one = float(given.with_one and given.high >= 1)
        return atoms[..., 0] * zero + atoms[..., 1] * between + atoms[..., 2] * one


@dataclass(frozen=True, eq=False)
class IncidentRegion(Region):
    """The set A of incidents that a condition takes."""

    marks: IncidentMarks
    given: Given

    @property
    def noise_columns(self) -> int:
        return self.marks.noise_columns

    @cached_property
    def allowed(self) -> Tensor:
        """Which (edge, kind, option) the condition allows, capacity apart."""
        return allowed_table(self.given, self.marks.network, self.marks.options.lanes)

    @cached_property
    def weights(self) -> Tensor:
        """p(option | edge, kind) · P(A | edge, kind, option), of shape (edge, kind, option)."""
        allowed = self.allowed & self.marks.options.allowed[:, None, :]
        return torch.exp(self.marks.tables.log_lanes) * self.marks.capacity_mass(self.given) * allowed

    @cached_property
    def rest(self) -> Tensor:
        """p(option | edge, kind) · P(not A | edge, kind, option); an exact value takes nothing from it."""
        if self.given.value is not None:
            return self.marks.shares
        return (self.marks.shares - self.weights).clamp_min(0.0)

    @cached_property
    def inside(self) -> Tensor:
        return self.weights.sum(-1).repeat_interleave(self.marks.cells, dim=0)

    @cached_property
    def outside(self) -> Tensor:
        return self.rest.sum(-1).repeat_interleave(self.marks.cells, dim=0)

    def sample(self, noise: Tensor, cell: Tensor, kind: Tensor) -> Tensor:
        return self.marks.draw(noise, cell, kind, self.weights, CapacityRange(self.given))

    def sample_outside(self, noise: Tensor, cell: Tensor, kind: Tensor) -> Tensor:
        if self.given.value is not None:
            return self.marks.sample(noise, cell, kind)
        return self.marks.draw(noise, cell, kind, self.rest, CapacityRange(self.given, self.allowed))

    def contains(self, points: Points) -> Bool[Tensor, " point"]:
        edge, option = points.cell // self.marks.cells, points.marks[:, OPTION].to(torch.int64)
        left, given = points.marks[:, CAPACITY], self.given
        if given.value is not None:
            met = left == given.value
        else:
            met = (left >= given.low) & (left <= given.high)
            met &= (left > 0) | given.with_zero
            met &= (left < 1) | given.with_one
        return met & self.allowed[edge, points.kind, option]


@dataclass(frozen=True, eq=False)
class CapacityRange:
    """Draws of the capacity left as ``given`` says, or with ``but_for`` (edge, kind, option) bool of all else.

    ``but_for`` marks the options that the condition allows: of those the rest of the range is drawn, of others all.
    """

    given: Given
    but_for: Tensor | None = None

    def draw(self, marks: IncidentMarks, noise: Tensor, at: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Inverse CDF over the atom at 0, two stretches of the spline, and the atom at 1."""
        given = self.given
        if given.value is not None and self.but_for is None:
            return torch.full_like(noise, given.value)
        edge, _, option = at
        low, high = marks.options.low[edge, option], marks.options.high[edge, option]
        spline = marks.heads.spline(marks.tables.capacity[at])
        zero_ok, a, b, c, d, one_ok = self._ranges(spline, low, high, at).unbind(-1)
        atoms = torch.exp(marks.tables.log_atoms[at])
        masses = torch.stack(
            [atoms[:, 0] * zero_ok, atoms[:, 1] * (b - a), atoms[:, 1] * (d - c), atoms[:, 2] * one_ok], -1
        )
        choice = draw_category(noise, masses)
        before = torch.cat([torch.zeros_like(masses[:, :1]), masses.cumsum(-1)], dim=-1)
        start = before.gather(1, choice[:, None]).squeeze(1)
        mass = masses.gather(1, choice[:, None]).squeeze(1)
        inside = ((noise * before[:, -1] - start) / mass).clamp(0.0, 1.0)
        first, last = torch.where(choice == 2, c, a), torch.where(choice == 2, d, b)
        drawn = low + (high - low) * spline.icdf(first + inside * (last - first))
        out = torch.where(choice == 0, torch.zeros_like(drawn), drawn)
        out = torch.where(choice == 3, torch.ones_like(drawn), out)
        # Rounding of the inverse CDF at the ends; without a condition they are 0 and 1.
        return out.clamp(given.low, given.high) if self.but_for is None else out

    def _ranges(self, spline, low: Tensor, high: Tensor, at: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """What of the capacity left is allowed, shape (batch, 6).

        Columns: atom at 0, two intervals of the spline's CDF [a, b] and [c, d], atom at 1; atoms are 0 or 1.
        """
        given, one = self.given, torch.ones_like(low)
        width = (high - low).clamp_min(1e-12)
        p_low, p_high = (spline.cdf((end - low) / width) for end in (given.low, given.high))
        zero = one * float(given.with_zero and given.low <= 0)
        full = one * float(given.with_one and given.high >= 1)
        if self.but_for is None:
            return torch.stack([zero, p_low, p_high, one, one, full], dim=-1)
        inside = torch.stack([1 - zero, 0 * one, p_low, p_high, one, 1 - full], dim=-1)
        everything = torch.stack([one, 0 * one, one, one, one, one], dim=-1)
        return torch.where(self.but_for[at][:, None], inside, everything)
