"""Delay by cause and vehicle class, in vehicle-hours and in person-hours.

The cause of what incidents add is their kind; the rest is what there would be without any. Both are split as in
:mod:`.attribution`, class by class, so that classes and causes add up to the mean.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scenariogen.errors import Problems, ResultsError
from scenariogen.evaluation.store import Results
from scenariogen.report.attribution import Split, limits, sums_by_group, weights_at
from scenariogen.report.cases import Array, Cases

CAR, BUS, TRUCK = 1.7, 10.8, 1.0
OCCUPANCY: Mapping[str, float] = {
    **dict.fromkeys(("passenger", "private", "taxi", "hov", "evehicle"), CAR),
    **dict.fromkeys(("bus", "coach"), BUS),
    **dict.fromkeys(("truck", "trailer", "delivery"), TRUCK),
}
"""People in a vehicle, by SUMO's vehicle class. Cars 1.7, buses 10.8, trucks 1.0: United States Federal Highway
Administration, *Average vehicle occupancy factors for computing travel time reliability measures and total peak hour
excessive delay metrics* (2018), as tabulated by the University of Pittsburgh's IRISE consortium (user costs of early
opening, table 10). To which of SUMO's classes they apply is our assumption."""
OTHERWISE = 1.0
"""Classes that are not named, such as motorcycles and bicycles."""
REPLICATES = 199


@dataclass(frozen=True, kw_only=True)
class ClassDelay:
    """Delay of one vehicle class by one cause under one policy, per run, with a 95 % interval."""

    policy: str
    cause: str
    vehicle_class: str
    delay_veh_h: float
    low_veh_h: float
    high_veh_h: float
    occupancy: float

    @property
    def delay_person_h(self) -> float:
        """Vehicle-hours times the people in each."""
        return self.delay_veh_h * self.occupancy


def parse_occupancy(text: str) -> dict[str, float]:
    """Occupancy by class from ``bus=20,passenger=1.3``. Raises ``ResultsError`` with all that is wrong.

    >>> parse_occupancy("bus=20, passenger=1.3")
    {'bus': 20.0, 'passenger': 1.3}
    """
    found: dict[str, float] = {}
    problems = Problems(f"the occupancy {text!r}")
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, number = (piece.strip() for piece in part.partition("="))
        try:
            people = float(number)
        except ValueError:
            people = math.nan
        if not name or not (math.isfinite(people) and people >= 0):
            problems.add(f"{part!r} is no occupancy, expected a vehicle class and people in it such as bus=20")
        elif name in found:
            problems.add(f"{name} is named twice")
        else:
            found[name] = people
    problems.raise_as(ResultsError)
    return found


def class_delays(
    results: Results,
    policy: str,
    *,
    frequency: float | None = None,
    occupancy: Mapping[str, float] | None = None,
    split: Split = Split.BLOCKED,
) -> list[ClassDelay]:
    """Delay by cause and class; empty where the runs do not tell vehicle classes apart, as those of old versions."""
    classes, delays = _by_class(results, policy)
    if not classes:
        return []
    asked = None if results.batch.design is None else frequency
    cases = Cases(batch=results.batch, terms=[(1.0, delays)], weights=weights_at(results, asked))
    if not cases.known.any():
        return []
    people = {**OCCUPANCY, **(occupancy or {})}
    sums = sums_by_group(cases, split, ["kind"], replicates=REPLICATES)
    kinds = sums.groups["kind"]
    causes = [("without incidents", sums.without), *((name, kinds.values[:, i]) for i, name in enumerate(kinds.names))]
    found = []
    for cause, values in causes:
        for column, name in enumerate(classes):
            low, high = limits(values[:, column])
            found.append(
                ClassDelay(
                    policy=policy,
                    cause=cause,
                    vehicle_class=name,
                    delay_veh_h=float(values[0, column]),
                    low_veh_h=low,
                    high_veh_h=high,
                    occupancy=people.get(name, OTHERWISE),
                )
            )
    return found


def _by_class(results: Results, policy: str) -> tuple[tuple[str, ...], Array]:
    """Classes, and (batch, class) delays averaged over seeds; nan where no run tells them."""
    position = {scenario.index: row for row, scenario in enumerate(results.batch.scenarios)}
    told: list[tuple[int, dict[str, float]]] = []
    for run in results.runs:
        if run.policy == policy and run.valid_delay_veh_h is not None and run.delay_by_class != "{}":
            told.append((position[run.scenario], json.loads(run.delay_by_class)))
    classes = tuple(sorted({name for _, delays in told for name in delays}))
    sums, number = np.zeros((len(position), len(classes))), np.zeros((len(position), 1))
    for row, delays in told:
        sums[row] += [delays.get(name, 0.0) for name in classes]
        number[row] += 1
    with np.errstate(invalid="ignore"):
        return classes, np.where(number > 0, sums / np.maximum(number, 1), np.nan)
