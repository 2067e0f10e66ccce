"""The other policies among themselves: estimates compare each with the first, a choice compares them all."""

from collections.abc import Sequence
from itertools import combinations

from scenariogen.evaluation.estimate import answers_at, answers_by_hand, weights_or_error
from scenariogen.evaluation.estimates import Estimate
from scenariogen.evaluation.outcomes import MEAN, outcomes, questions
from scenariogen.evaluation.question import Question
from scenariogen.evaluation.store import Results


def rival_questions(asked: Sequence[Question]) -> list[Question]:
    """The difference of mean delay of every two policies after the first, the later one less the earlier."""
    _, *others = [each for each in asked if each.estimand == MEAN and each.versus is None]
    return [later.less(earlier) for earlier, later in combinations(others, 2)]


def rival_estimates(results: Results, like: Estimate) -> list[Estimate]:
    """Those differences at the frequency and the level of an estimate.

    ``low_all`` and ``high_all`` hold for all of them together where there are several. Empty for two policies or one.
    """
    if len(results.policies) < 3:
        return []
    batch = results.batch
    by_policy = outcomes(results.runs, batch, results.policies, replicas=results.manifest.replicas)
    asked = rival_questions(questions(by_policy, batch))
    frequency = like.frequencies or like.frequency
    if frequency is None:
        return [found for found, _ in answers_by_hand(asked, level=like.level)]
    weights = weights_or_error(batch, frequency)
    found = answers_at(asked, batch, weights, frequency, level=like.level, stages=results.stages, total=False)
    return [each for each, _ in found]
