"""What a control policy costs, under any incident frequency in the range that a batch was drawn for."""

from scenariogen.evaluation.answer import Estimate, EstimateDetail
from scenariogen.evaluation.estimate import estimate, read_estimates
from scenariogen.evaluation.evaluate import Evaluation, evaluate, re_estimate
from scenariogen.evaluation.policy import PolicyReference, known_policies, load_policy, resolve_policies
from scenariogen.evaluation.progress import Progress, progress_bar
from scenariogen.evaluation.ranking import Ranking, ranking_by_frequency
from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.run_one import run_scenario
from scenariogen.evaluation.sequential import Seen, SequentialEvaluation, evaluate_until
from scenariogen.evaluation.simultaneous import Flips
from scenariogen.evaluation.stopping import Target, parse_target
from scenariogen.evaluation.store import Results, load_results

__all__ = [
    "Estimate",
    "EstimateDetail",
    "Evaluation",
    "Flips",
    "PolicyReference",
    "Progress",
    "Ranking",
    "Results",
    "RunResult",
    "Seen",
    "SequentialEvaluation",
    "Target",
    "estimate",
    "evaluate",
    "evaluate_until",
    "known_policies",
    "load_policy",
    "load_results",
    "parse_target",
    "progress_bar",
    "ranking_by_frequency",
    "re_estimate",
    "read_estimates",
    "resolve_policies",
    "run_scenario",
]
