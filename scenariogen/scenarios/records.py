"""A scenario: a condition and a set of incidents, with the weight it carries; a batch: many of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from scenariogen.errors import Problems, ScenarioError
from scenariogen.incidents.records import Incident
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.drivers import USUAL_DRIVERS, Drivers, driver_problems
from scenariogen.scenarios.effects import Effect, effect_problems
from scenariogen.trajectories.entries import OTHERS
from scenariogen.units import clock_text, duration_text
from scenariogen.window import StudyWindow

if TYPE_CHECKING:
    from scenariogen.scenarios.arrays import BatchColumns


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What holds for a whole run.

    ``clock_s``         seconds after midnight at SUMO's second 0
    ``day_type``        ``weekday`` or ``weekend``
    ``weather``         ``dry``, ``rain``, ``snow``, ``fog`` or ``ice``; stored and weighed, without effect on vehicles
                        (the effect ``Weather`` has one)
    ``demand_scale``    factor on the project's demand
    ``day_multiplier``  factor on every incident rate of that day (mean 1): it carries over-dispersion
    ``demand_factors``  the factors that the scales of the entries follow from; empty without a pattern of demand
    ``entry_scales``    (entry edge, factor on its demand) pairs, ``*`` for the entries that are not named (without it
                        those follow ``demand_scale``); empty: the whole demand has one scale
    """

    clock_s: float = 0.0
    day_type: str = "weekday"
    weather: str = "dry"
    demand_scale: float = 1.0
    day_multiplier: float = 1.0
    demand_factors: tuple[float, ...] = ()
    entry_scales: tuple[tuple[str, float], ...] = ()

    def clock_at(self, time_s: float) -> str:
        """The time of day at a simulation second.

        >>> Condition(clock_s=7 * 3600.0).clock_at(2400), Condition(clock_s=23 * 3600.0).clock_at(5400)
        ('07:40', '00:30')
        """
        return clock_text(round(self.clock_s + time_s) % 86_400)


class LanesReopen(StrEnum):
    """How the lanes of an incident that blocks several of them open again.

    ``AT_ONCE`` is the default because of what a scenario says: ``capacity_left`` is one share, it holds for the whole
    duration, and the density, conditions on it and recorded truth are about that share. ``ONE_BY_ONE`` leaves more than
    that during the clearance phase (:mod:`scenariogen.injection.reopening`): ``capacity_left`` is then what is left
    until the first lane opens.
    """

    AT_ONCE = "at once"
    ONE_BY_ONE = "one by one"


@dataclass(frozen=True, kw_only=True)
class Density:
    """Where a scenario was drawn from. Logarithms are natural; the measure is the batch header's.

    ``component``       which proposal of the batch's mixture drew it (−1: the incident-free stratum)
    ``log_model``       log-density of condition and incidents under the model at frequency 1
    ``log_proposal``    log-density under the batch's whole-scenario mixture
    ``counts``          incidents by kind, in the order of ``KINDS``
    ``expected``        Λ by kind under this scenario's condition, at frequency 1
    ``expected_given``  Λ by kind of incidents inside the condition's set A (equal to ``expected`` without one)
    ``counts_given``    incidents of this scenario inside A, by kind
    ``log_durations``   log of the density of all durations under each other family of the batch over the model's;
                        empty where the batch names none
    """

    component: int
    log_model: float
    log_proposal: float
    counts: tuple[int, ...]
    expected: tuple[float, ...]
    expected_given: tuple[float, ...]
    counts_given: tuple[int, ...]
    log_durations: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One day to try. ``seed`` is the simulator's, shared by all policies; ``density`` is None if hand-made.

    ``effects`` are what happens besides incidents; a density is of condition and incidents alone.
    ``lanes_reopen`` says how the lanes of its incidents open again, ``drivers`` what drivers know and do.
    """

    index: int
    seed: int
    condition: Condition = Condition()
    incidents: tuple[Incident, ...] = ()
    drivers: Drivers = USUAL_DRIVERS
    density: Density | None = None
    effects: tuple[Effect, ...] = ()
    lanes_reopen: LanesReopen = LanesReopen.AT_ONCE

    @property
    def is_incident_free(self) -> bool:
        return not self.incidents

    def __str__(self) -> str:
        what = "; ".join(
            [
                f"{i.kind} on {i.edge} lanes {list(i.lanes) or 'shoulder'} at {self.condition.clock_at(i.start_s)} for "
                f"{duration_text(i.duration_s)}, capacity left {i.capacity_left:.2f}"
                for i in self.incidents
            ]
            + [str(effect) for effect in self.effects]
        )
        return f"scenario {self.index}: {what or 'no incident'}"


@dataclass(frozen=True, kw_only=True)
class ConditionNode:
    """One node of the quadrature over p(c): probability, demand scale, and the Λ by kind that hold there."""

    weight: float
    demand_scale: float
    expected: tuple[float, ...]
    expected_given: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RateGroup:
    """Incidents of one kind on one class of road, and how sure their rate is.

    ``expected``        Λ over the network and the span of starts at frequency, demand scale and day multiplier 1
    ``expected_given``  of those, inside the condition's set A (equal to ``expected`` without one)
    ``shape``           of the Gamma posterior of the rate's multiplier: its relative standard deviation is shape^−1/2
    """

    kind: str
    road_class: str
    expected: float
    expected_given: float
    shape: float


@dataclass(frozen=True, kw_only=True)
class Design:
    """How a batch was drawn: all that reweighting needs, without the model.

    ``multipliers``   rows of frequency multipliers by kind, one per proposal of the mixture
    ``alphas``        the mixture's shares, each at least 0.05, summing to 1
    ``frequencies``   the multipliers asked for, ascending; estimates exist within their range only
    ``given``         the condition on incidents as the user wrote it, empty without one
    ``quantifier``    ``any``, ``all``, ``none``, ``count=n`` or ``given-one``
    ``free_every``    one index in so many is an incident-free run (0: none, the condition needs an incident)
    ``nodes``         quadrature over p(c), for probabilities averaged over the condition
    ``lane_blocking_per_100_h``  expected lane-blocking incidents in 100 hours of the start span, frequency 1
    ``seed``          the batch's seed
    ``rates``         how sure the rates are, by kind and class of road; empty where that was not written down
    ``road_classes``  (edge, class of road) of the edges on which the batch's incidents lie
    ``durations``     (family, probability) of how long incidents last, the first as the model has it; empty where that
                      was not written down
    """

    multipliers: tuple[tuple[float, ...], ...]
    alphas: tuple[float, ...]
    frequencies: tuple[float, ...]
    given: str = ""
    quantifier: str = "any"
    free_every: int = 4
    nodes: tuple[ConditionNode, ...] = field(default=(), repr=False)
    lane_blocking_per_100_h: float = float("nan")
    seed: int = 0
    rates: tuple[RateGroup, ...] = field(default=(), repr=False)
    road_classes: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    durations: tuple[tuple[str, float], ...] = ()


MEASURE = (
    "unordered sets of incidents: counting on edges, kinds and lane sets; Lebesgue on start (s), position (m), "
    "share of capacity left and the three phase durations (s), with atoms at capacity left 0 and 1; "
    "sum over n of 1/n! times the n-fold product"
)
"""The measure that every density in a batch is taken with respect to."""


@dataclass(frozen=True, kw_only=True)
class ScenarioBatch:
    """Scenarios for one project, made for one study window. ``design`` is None for hand-made ones.

    ``scenarios``  a tuple, or a sequence that reads them from their file
    """

    project_hash: str
    network_hash: str
    network_name: str
    window: StudyWindow
    scenarios: Sequence[Scenario]
    design: Design | None = None
    model_hash: str = ""
    measure: str = MEASURE

    def __len__(self) -> int:
        return len(self.scenarios)

    @cached_property
    def columns(self) -> "BatchColumns":
        """What weights and estimates need of the scenarios, as arrays."""
        from scenariogen.scenarios.arrays import columns_of

        return columns_of(self.scenarios)

    def __repr__(self) -> str:
        incidents = sum(len(scenario.incidents) for scenario in self.scenarios)
        return f"ScenarioBatch({len(self)} scenarios, {incidents} incidents, {self.network_name})"

    def made_elsewhere(self, network: RoadNetwork) -> str:
        """In words, that it was made for another network; empty where it was made for this one, or nobody knows."""
        if not self.network_hash or self.network_hash == network.sha256:
            return ""
        return (
            f"made for a network with hash {self.network_hash[:12]}, this one ({network.path.name}) has "
            f"{network.sha256[:12]}"
        )

    def check(self, network: RoadNetwork) -> None:
        """Raise a ``ScenarioError`` that lists every incident that cannot happen on ``network``."""
        problems = Problems("scenarios do not fit the network")
        if fault := self.made_elsewhere(network):
            problems.add(f"{fault}: sample again for this network")
        for scenario in self.scenarios:
            problems.extend(scenario_problems(scenario, network, self.window))
        problems.raise_as(ScenarioError)


def scenario_problems(scenario: Scenario, network: RoadNetwork, window: StudyWindow) -> list[str]:
    """Every reason why a scenario cannot be run, each naming scenario and incident."""
    found = []
    for number, incident in enumerate(scenario.incidents):
        faults = incident.problems(network)
        if not window.begin_s <= incident.start_s < window.end_s:
            faults.append(
                f"it starts at {clock_text(incident.start_s)}, outside the simulated "
                f"{clock_text(window.begin_s)}-{clock_text(window.end_s)}"
            )
        found += [f"scenario {scenario.index}, incident {number}: {fault}" for fault in faults]
    faults = effect_problems(scenario.effects, network, begin_s=window.begin_s, end_s=window.end_s)
    found += [f"scenario {scenario.index}, {fault}" for fault in faults]
    if not 0 < scenario.condition.demand_scale < 100:
        found.append(f"scenario {scenario.index}: demand_scale is {scenario.condition.demand_scale:g}, expected > 0")
    found += _entry_problems(scenario, network)
    found += [f"scenario {scenario.index}: {fault}" for fault in driver_problems(scenario.drivers, network)]
    return found


def _entry_problems(scenario: Scenario, network: RoadNetwork) -> list[str]:
    """What is wrong with the scales of the entries."""
    found = []
    scales = scenario.condition.entry_scales
    for entry, scale in scales:
        if not 0 < scale < 100:
            found.append(f"scenario {scenario.index}: the scale of entry {entry} is {scale:g}, expected more than 0")
        if entry != OTHERS and entry not in network.edges:
            found.append(f"scenario {scenario.index}: entry {network.unknown_edge(entry)}")
    if len({entry for entry, _ in scales}) < len(scales):
        found.append(f"scenario {scenario.index}: some entries have two scales")
    return found
