"""The phases of an incident, and how long those who know of it expect it to last.

Nobody in a simulation is told the scenario's own end. What a control room expects comes from the published durations
(:data:`scenariogen.incidents.priors.DURATION_LOG_MINUTES`) and from how long the incident has lasted already.
"""

import math
from enum import StrEnum
from statistics import NormalDist

from scenariogen.incidents.priors import PHASE_CONCENTRATION, duration_parameters

_NORMAL = NormalDist()
_LEAST_SURVIVAL = 1e-12


class IncidentPhase(StrEnum):
    """How far an incident is. The text is for people."""

    UNDETECTED = "undetected"
    DETECTED = "detected"
    RESPONDED = "responders there"
    REOPENING = "lanes reopening"
    """Some lanes are open again, others still blocked; only where lanes reopen one by one."""
    CLEAR = "road clear"
    """Nothing obstructs the road any more; the queue may still be there."""
    RECOVERED = "recovered"
    """The queue behind it has gone."""


def expected_remaining_s(blocked: int, *, detected_s: float, now_s: float) -> float:
    """Seconds that an incident is expected to last from now on, for somebody who knows since ``detected_s``.

    ``blocked``  lanes blocked when it was detected

    The median of what remains of a lognormal duration that has lasted so far: with S the survival function of the
    duration by lanes blocked (HCM, see :mod:`scenariogen.incidents.priors`) and t the time since its beginning,
    S⁻¹(S(t) / 2) − t. The beginning is not known: it is taken to lie before the detection by the usual share of the
    median duration (20 %, our assumption as all shares of the phases).

    >>> round(expected_remaining_s(1, detected_s=0.0, now_s=0.0) / 60, 1)
    25.7
    """
    mean, deviation = duration_parameters(blocked)
    median_s = 60 * math.exp(mean)
    lasted_s = now_s - detected_s + median_s * PHASE_CONCENTRATION[0] / sum(PHASE_CONCENTRATION)
    score = (math.log(lasted_s / 60) - mean) / deviation
    survival = _NORMAL.cdf(-score)
    far_out = survival <= _LEAST_SURVIVAL  # there it falls at the rate of the normal tail, score + 1 / score
    half = score + math.log(2) / (score + 1 / score) if far_out else -_NORMAL.inv_cdf(survival / 2)
    return 60 * math.exp(mean + deviation * half) - lasted_s
