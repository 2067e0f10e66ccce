"""The right to refuse: what is wrong with an estimate, and how many more draws of what kind would mend it.

Every rule looks at what an estimate is made of, none at its value. :func:`find_faults` decides; a stage that has words
of its own for strata and draws words its findings itself, :attr:`Finding.text` is for everyone else. :func:`assess`
puts an estimate beside its diagnostics, its blind spot and the verdict.

The limits were set from measured coverage: with 50 effective draws intervals cover 93 to 95 of 100 for a relative
standard deviation near 1, with 30 they cover 90 to 94. The shape of the weights' tail is judged after Vehtari, Simpson,
Gelman, Yao & Gabry, *Pareto smoothed importance sampling*, 2024.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from scenariogen.sampling.diagnostics import WeightDiagnostics, diagnose
from scenariogen.sampling.importance import Stratum, WeightedEstimate, blind_spot
from scenariogen.sampling.intervals import largest_unseen
from scenariogen.sampling.quantiles import TailEstimate


class Fault(Enum):
    """Why an estimate is not given."""

    EMPTY = "a stratum has no draws"
    FEW_EFFECTIVE = "too few effective draws"
    FEW_DRAWS = "too few draws"
    WEIGHTS_OFF = "the weights do not average 1"
    HEAVY_TAIL = "a few draws decide"
    FEW_IN_TAIL = "too few effective draws in the tail"
    FEW_EVENTS = "too few effective draws that show the event"
    UNSEEN = "too much may be unseen"
    ROUNDS_APART = "the rounds do not agree"
    UNBOUNDED = "too few different values"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an estimate needs.

    ``effective``   effective draws over all strata together
    ``tail``        effective draws beyond a quantile (quantile and CVaR only)
    ``events``      effective draws that show the event (probabilities only). 0 by default: a probability whose event
                    was never seen has an upper limit, which is an answer. Who needs it to a relative error asks for
                    10: the standard error is then a third
    ``blind_spot``  the largest probability that may be unseen
    ``weight_gap``  standard errors between a stratum's mean weight and 1
    """

    effective: float | int = 50.0
    tail: float | int = 50.0
    events: float | int = 0.0
    blind_spot: float | int = 0.2
    weight_gap: float | int = 5.0


@dataclass(frozen=True, kw_only=True)
class Need:
    """What one stratum needs where its probability is above ``above``: draws, and effective draws."""

    draws: int = 2
    effective: float | int = 0.0
    above: float | int = 0.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault.

    ``stratum``  number of the stratum that would have to have more draws; None: all together
    ``got``, ``needed``  the number that decided and its limit
    ``draws``    there now, in that stratum or in all
    ``more``     draws to add there so that the limit is met; None where more of the same do not help
    ``of_values``  HEAVY_TAIL: the tail is that of weight times value, not of the weights
    """

    fault: Fault
    stratum: int | None
    got: float
    needed: float
    draws: int
    more: int | None
    of_values: bool = False

    @property
    def text(self) -> str:
        """The fault in one sentence, with what would mend it."""
        where = "" if self.stratum is None else f" in stratum {self.stratum}"
        more = f"draw about {self.more} more{where}"
        if self.fault is Fault.EMPTY:
            return f"stratum {self.stratum} has probability {self.got:.2g} and no draws: {more}"
        if self.fault is Fault.FEW_EFFECTIVE:
            return f"the {self.draws} draws{where} count as {self.got:.0f}, {self.needed:.0f} are needed: {more}"
        if self.fault is Fault.FEW_DRAWS:
            return f"{self.draws} draws{where}, {self.needed:.0f} are needed: {more}"
        if self.fault is Fault.WEIGHTS_OFF:
            return (
                f"the weights{where} average {self.got:.3g} where 1 is expected, more than {self.needed:.0f} standard "
                "errors away: the densities do not fit the draws, or the proposal misses what carries the weight; mix "
                "a share of the target into the proposal"
            )
        if self.fault is Fault.HEAVY_TAIL:
            what = "weight times value" if self.of_values else "the weights"
            mend = more
            if self.more is None:
                of_values = "ask for a quantile or the probability of an event, or draw more often where it is large"
                mend = of_values if self.of_values else "mix a share of the target into the proposal"
            return (
                f"Pareto k of {what} is {self.got:.2f}, above {self.needed:.2f} for {self.draws} draws, so a few draws "
                f"decide: {mend}"
            )
        if self.fault in (Fault.FEW_IN_TAIL, Fault.FEW_EVENTS):
            what = "lie in the tail" if self.fault is Fault.FEW_IN_TAIL else "show the event"
            return f"{self.got:.0f} effective draws {what}, {self.needed:.0f} are needed: {more}"
        if self.fault is Fault.UNSEEN:
            mend = "mix a share of the target into the proposal" if self.more is None else more
            return f"a region of probability up to {self.got:.0%} may be unseen, {self.needed:.0%} is allowed: {mend}"
        if self.fault is Fault.ROUNDS_APART:
            return (
                f"the rounds' own weights and those of the pooled draws differ by {self.got:.1f} joint standard "
                f"errors, {self.needed:.1f} are allowed: a region was found late; freeze the proposal and draw a last "
                "batch"
            )
        return "too few different values were seen to bound the answer: draw more"


def find_faults(
    strata: Sequence[Stratum],
    found: WeightedEstimate,
    *,
    diagnostics: WeightDiagnostics,
    limits: Limits = Limits(),
    needs: Sequence[Need] = (),
    unseen: float | None = None,
) -> tuple[Finding, ...]:
    """All faults, the most basic first.

    ``strata``       as estimated from; those of probability 0 need nothing
    ``diagnostics``  of the weights that decide
    ``needs``        one per stratum; none given: 2 draws, 10 where the probability is above 0.05
    ``unseen``       the blind spot where it is not that of the strata (rounds see the same region again)
    """
    needs = needs or [Need(draws=10 if s.probability > 0.05 else 2) for s in strata]
    faults: list[Finding] = []
    for number, (stratum, need) in enumerate(zip(strata, needs, strict=True)):
        if stratum.probability > need.above:
            faults += _few(number, stratum, need)
    faults.sort(key=lambda each: [*Fault].index(each.fault))
    if found.ess < limits.effective and not any(each.fault is Fault.EMPTY for each in faults):
        more = _missing(found.draws, found.ess, limits.effective)
        faults.append(_finding(Fault.FEW_EFFECTIVE, found.ess, limits.effective, draws=found.draws, more=more))
    for number, stratum in enumerate(strata):
        if stratum.probability > 0 and len(stratum) > 1 and stratum.weight_gap > limits.weight_gap:
            mean = float(stratum.w.mean())
            faults.append(_finding(Fault.WEIGHTS_OFF, mean, limits.weight_gap, stratum=number, draws=len(stratum)))
    faults += _heavy(diagnostics)
    if found.ess_tail is not None:
        fault, needed = Fault.FEW_EVENTS, limits.events
        if isinstance(found, TailEstimate):
            fault, needed = Fault.FEW_IN_TAIL, limits.tail
        if found.ess_tail < needed and any(s.probability > 0 and len(s) for s in strata):
            faults.append(_few_in_tail(fault, strata, found, needed))
    faults += _unseen(strata, limits.blind_spot, unseen)
    if not np.isfinite([found.value, found.low, found.high]).all():
        faults.append(_finding(Fault.UNBOUNDED, math.nan, math.nan, draws=found.draws))
    return tuple(faults)


def _finding(
    fault: Fault,
    got: float,
    needed: float | int,
    *,
    draws: int,
    more: int | None = None,
    stratum: int | None = None,
    of_values: bool = False,
) -> Finding:
    return Finding(
        fault=fault,
        stratum=stratum,
        got=float(got),
        needed=float(needed),
        draws=draws,
        more=more,
        of_values=of_values,
    )


def _missing(draws: int, effective: float, needed: float | int) -> int:
    """Draws to add so that the effective ones, which grow in proportion, reach a number."""
    return math.ceil(draws * (needed / effective - 1)) if effective > 0 else math.ceil(needed)


def _few(number: int, stratum: Stratum, need: Need) -> list[Finding]:
    n, ess = len(stratum), stratum.ess
    if n == 0:
        needed = max(need.draws, math.ceil(need.effective))
        return [_finding(Fault.EMPTY, stratum.probability, needed, draws=0, more=needed, stratum=number)]
    if ess < need.effective:
        more = _missing(n, ess, need.effective)
        return [_finding(Fault.FEW_EFFECTIVE, ess, need.effective, draws=n, more=more, stratum=number)]
    if n < need.draws:
        return [_finding(Fault.FEW_DRAWS, float(n), need.draws, draws=n, more=need.draws - n, stratum=number)]
    return []


def _heavy(diagnostics: WeightDiagnostics) -> list[Finding]:
    if diagnostics.is_trustworthy:
        return []
    worst = diagnostics.worst_k_hat or math.nan
    of_weights = diagnostics.k_hat is not None and diagnostics.k_hat > diagnostics.threshold
    # The least number of draws for which the threshold lies above the shape: 1 − 1/log10 S = k.
    more = math.ceil(10 ** (1 / (1 - worst))) - diagnostics.draws if worst < 0.7 else None
    return [
        _finding(
            Fault.HEAVY_TAIL,
            worst,
            diagnostics.threshold,
            draws=diagnostics.draws,
            more=None if more is None else max(more, 1),
            of_values=not of_weights,
        )
    ]


def _few_in_tail(fault: Fault, strata: Sequence[Stratum], found: WeightedEstimate, needed: float | int) -> Finding:
    """More draws are needed in the stratum that the tail's probability comes from."""
    used = [number for number, s in enumerate(strata) if s.probability > 0 and len(s)]
    shares = [
        strata[number].probability * float((strata[number].w * np.abs(h)).mean())
        for number, h in zip(used, found.integrand, strict=True)
    ]
    worst = used[int(np.argmax(shares))]
    ess = found.ess_tail or 0.0
    more = _missing(len(strata[worst]), ess, needed)
    where = worst if len(used) > 1 else None
    return _finding(fault, ess, needed, draws=len(strata[worst]), more=more, stratum=where)


def _unseen(strata: Sequence[Stratum], allowed: float | int, unseen: float | None) -> list[Finding]:
    spot = blind_spot(strata) if unseen is None else unseen
    if spot <= allowed:
        return []
    draws = sum(map(len, strata))
    if unseen is not None:
        more = math.ceil(draws * (spot / allowed - 1))
        return [_finding(Fault.UNSEEN, spot, allowed, draws=draws, more=more)]
    number = max(range(len(strata)), key=lambda i: strata[i].probability * strata[i].unseen())
    worst = strata[number]
    draws = len(worst)
    share = allowed / worst.probability  # below 1, since the blind spot exceeds what is allowed
    kept = worst.draws_from_target / draws if draws else 1.0
    more = math.ceil(math.log(0.05) / math.log1p(-share) / kept) - draws if kept else None  # weights know no bound
    if draws and largest_unseen([1.0], [worst.draws_from_target]) < worst.unseen():
        # Too few draws to tell that the weights average 1, whose error falls with the root; or they do not.
        left = share - max(1.0 - float(worst.w.mean()), 0.0)
        gap = worst.unseen() - max(1.0 - float(worst.w.mean()), 0.0)
        more = math.ceil(draws * (gap / left) ** 2) - draws if left > 0 else None
    return [_finding(Fault.UNSEEN, spot, allowed, draws=draws, more=more, stratum=number)]


@dataclass(frozen=True, kw_only=True)
class Assessed:
    """An estimate, what it is made of, and whether it may be used.

    ``blind_spot``  the largest probability of a region never seen that the draws from the target still allow at 95 %
    """

    estimate: WeightedEstimate
    diagnostics: WeightDiagnostics
    blind_spot: float
    findings: tuple[Finding, ...]

    @property
    def is_refused(self) -> bool:
        """True where anything was found."""
        return bool(self.findings)

    @property
    def verdict(self) -> str:
        """``ok``, or ``refused:`` with every reason and what would mend it."""
        return "refused: " + "; ".join(each.text for each in self.findings) if self.findings else "ok"

    def __repr__(self) -> str:
        e = self.estimate
        tail = "" if e.ess_tail is None else f", {e.ess_tail:.0f} in the tail"
        return (
            f"{e.value:.4g} ({e.low:.4g} to {e.high:.4g}); unbiased {e.plain:.4g}, self-normalised "
            f"{e.self_normalised:.4g}; {e.draws} draws count as {e.ess:.0f}{tail}; {self.diagnostics.words}; "
            f"blind spot {self.blind_spot:.2g}; {self.verdict}"
        )


def assess(
    strata: Sequence[Stratum],
    found: WeightedEstimate,
    *,
    limits: Limits = Limits(),
    needs: Sequence[Need] = (),
    unseen: float | None = None,
) -> Assessed:
    """An estimate with its diagnostics and verdict. ``strata`` are those that it was made from.

    The Pareto shapes are those of the draws' weights in the answer, A_s w / n_s over all strata together, and of those
    weights times what is averaged. The other arguments are those of :func:`find_faults`.
    """
    used = [s for s in strata if s.probability > 0]
    logs = [s.log_w + math.log(s.probability / max(len(s), 1)) for s in used]
    values = np.concatenate(found.integrand) if used else np.zeros(0)
    diagnostics = diagnose(np.concatenate(logs) if used else np.zeros(0), values)
    return Assessed(
        estimate=found,
        diagnostics=diagnostics,
        blind_spot=blind_spot(strata) if unseen is None else unseen,
        findings=find_faults(strata, found, diagnostics=diagnostics, limits=limits, needs=needs, unseen=unseen),
    )
