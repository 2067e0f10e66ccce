"""Which scenarios of a batch are run next, of an evaluation that grows look by look."""

from dataclasses import replace

import numpy as np

from scenariogen.errors import ScenarioError
from scenariogen.evaluation.growth import Growth
from scenariogen.sampling.allocation import FLOOR, deal, planned_runs, stage_starts
from scenariogen.sampling.looks import Looks
from scenariogen.scenarios.records import ScenarioBatch


class ScenarioStream:
    """The scenarios of a batch in their order: those without incidents, and those with some."""

    def __init__(self, batch: ScenarioBatch) -> None:
        if batch.design is None:
            raise ScenarioError("runs can be added to scenarios of a model only, not to some that were written by hand")
        self._batch = batch
        self.frequencies = batch.design.frequencies
        every = batch.design.free_every
        free = 1 / every if every else 0.0
        self.first_shares = free, 1.0 - free
        """Of the first stage, without and with incidents: as in a batch of a fixed size."""
        is_free = batch.columns.is_incident_free
        self._left = [batch.columns.index[is_free].tolist(), batch.columns.index[~is_free].tolist()]

    def affordable(self, budget: int | None) -> int:
        """The budget, by default all scenarios. ``ScenarioError`` for more than there are."""
        if budget is not None and not 1 <= budget <= len(self._batch):
            raise ScenarioError(
                f"the budget is {budget} and there are {len(self._batch)} scenarios: sample as many as may be needed, "
                "better twice as many, so that there are enough of the kind that is needed most"
            )
        return budget or len(self._batch)

    def within(self, shares: tuple[float, float], *, stage: int, later: int) -> tuple[float, float]:
        """Shares of a stage of so many runs that leave enough of each kind for the floor of the later ones."""
        free, hit = (max(0.0, len(left) - FLOOR / 2 * later) / stage for left in self._left)
        share = min(max(shares[0], 1.0 - hit), free)
        return share, 1.0 - share

    def take(self, free: int, hit: int) -> ScenarioBatch:
        """The next scenarios of each kind; where one kind is used up, of the other."""
        total = free + hit
        free = min(free, len(self._left[0]))
        hit = min(total - free, len(self._left[1]))
        counts = (total - hit, hit)
        wanted = {index for left, count in zip(self._left, counts, strict=True) for index in left[:count]}
        self._left = [left[count:] for left, count in zip(self._left, counts, strict=True)]
        return replace(self._batch, scenarios=tuple(s for s in self._batch.scenarios if s.index in wanted))


class StagePlan:
    """Which scenarios each look adds. ``shares``: of the stage's scenarios without and with incidents."""

    def __init__(self, looks: Looks, stream: ScenarioStream) -> None:
        self._looks, self._stream = looks, stream
        self._starts, self._sizes = stage_starts(looks), planned_runs(looks, len(looks.runs) - 1)
        self._scenarios: list[list[int]] = [[]]
        self._dealt = (0, 0)
        self.shares = stream.first_shares

    def begins_stage(self, look: int) -> bool:
        """Whether new shares are due, of what was seen before; the first stage has those of a batch of fixed size."""
        return look > 0 and look in self._starts

    def divide(self, look: int, shares: tuple[float, float]) -> None:
        """Begin a stage with such shares, as far as later stages are left enough of each kind."""
        stage = len(planned_runs(self._looks, look)) - 1
        later = sum(self._sizes[stage + 1 :])
        self._scenarios.append([])
        self.shares, self._dealt = self._stream.within(shares, stage=self._sizes[stage], later=later), (0, 0)

    def take(self, look: int) -> ScenarioBatch:
        """The look's new scenarios."""
        planned = planned_runs(self._looks, look)
        free, hit = (int(count) for count in np.bincount(deal(self.shares, planned[-1]), minlength=2))
        part = self._stream.take(free - self._dealt[0], hit - self._dealt[1])
        self._dealt = (free, hit)
        self._scenarios[-1] += [scenario.index for scenario in part.scenarios]
        return part

    def growth(self, look: int, *, may_stop: bool) -> Growth:
        """Looks and stages up to a look."""
        scenarios = tuple(tuple(own) for own in self._scenarios)
        return Growth(looks=self._looks.runs, look=look, may_stop=may_stop, scenarios=scenarios)
