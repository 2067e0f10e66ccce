"""How a results folder came about that grew look by look, so that whoever estimates from it later does it as its own
estimates were made: stage by stage, and with intervals that hold at the look at which it stopped."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import ResultsError
from scenariogen.sampling.allocation import planned_runs
from scenariogen.sampling.looks import Looks

if TYPE_CHECKING:
    from scenariogen.evaluation.strata import Stages

GROWTH = "growth.json"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Looks and stages of an evaluation that grew.

    ``looks``       scenarios at each look that was planned
    ``look``        at which it stopped
    ``may_stop``    whether a target could have stopped it before
    ``scenarios``   indices of the scenarios of each stage
    """

    looks: tuple[int, ...]
    look: int
    may_stop: bool
    scenarios: tuple[tuple[int, ...], ...] = field(repr=False)

    def level(self, together: float) -> float:
        """Of the interval at this look, for those of all looks to hold together at a level."""
        return Looks(runs=self.looks, level=together).levels[self.look] if self.may_stop else together

    def stages(self, index: NDArray[np.int64]) -> "Stages":
        """(rows, share) of each stage, for scenarios of these indices; shares follow from the looks alone."""
        planned = planned_runs(Looks(runs=self.looks), self.look)
        return [(np.isin(index, own), runs / sum(planned)) for own, runs in zip(self.scenarios, planned, strict=True)]

    def to_json(self) -> str:
        """Strict JSON."""
        return json.dumps(asdict(self), allow_nan=False) + "\n"


def read_growth(folder: Path) -> Growth | None:
    """Of a results folder; None where it has a fixed size. Raises ``ResultsError`` for a damaged file."""
    path = folder / GROWTH
    if not path.exists():
        return None
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        stages = tuple(tuple(stage) for stage in plain.pop("scenarios"))
        found = Growth(**plain | {"looks": tuple(plain["looks"])}, scenarios=stages)
        found.level(0.95)
        found.stages(np.zeros(0, dtype=np.int64))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ResultsError(f"{path} is damaged ({error}): run the evaluation that made it again") from error
    return found
