"""Numbers and names as people read them. Everything that the page says in figures is rounded here."""

import math
from collections.abc import Sequence

from scenariogen.evaluation.estimates import Estimate
from scenariogen.evaluation.outcomes import ARRIVED, EMITTED, LOCK_UP, MEAN, RECOVERY
from scenariogen.scenarios.records import Design

PERCENT = "\N{NO-BREAK SPACE}%"
_TITLES = {
    ARRIVED: "Vehicles that reach their destination per run",
    EMITTED["co2_kg"]: "CO2 that all vehicles emit, kilograms per run",
    EMITTED["nox_kg"]: "Nitrogen oxides (NOx) that all vehicles emit, kilograms per run",
    EMITTED["pmx_kg"]: "Particles (PMx) that all vehicles emit, kilograms per run",
    RECOVERY: "Mean time from an incident's start until its queue is gone, seconds, on days with an incident",
}


def is_probability(estimand: str) -> bool:
    """True for estimands between 0 and 1."""
    return estimand.startswith("P(")


def more_is_better(estimand: str) -> bool:
    """True where a policy is better with a larger number."""
    return estimand == ARRIVED


def estimand_title(estimand: str) -> str:
    """What is estimated, in words.

    >>> estimand_title("P(delay>150 veh h)")
    'Chance that the delay of a run exceeds 150 vehicle-hours'
    >>> estimand_title("cvar_0.95_delay_veh_h")
    'Mean delay of the worst 5.0\\xa0% of days (CVaR), vehicle-hours per run'
    """
    if estimand == MEAN:
        return "Mean delay, vehicle-hours per run"
    if estimand == LOCK_UP:
        return "Chance that the network locks up"
    if estimand in _TITLES:
        return _TITLES[estimand]
    if estimand.startswith(("quantile_", "cvar_")):
        name, at = estimand.split("_")[:2]
        worst = percent_text(1 - float(at))
        if name == "cvar":
            return f"Mean delay of the worst {worst} of days (CVaR), vehicle-hours per run"
        return f"Delay that {worst} of days exceed (quantile), vehicle-hours per run"
    threshold = estimand.removeprefix("P(delay>").removesuffix(" veh h)")
    return f"Chance that the delay of a run exceeds {threshold} vehicle-hours"


def hours_text(value: float, *, signed: bool = False) -> str:
    """Vehicle-hours with about three significant digits, with a true minus sign.

    >>> hours_text(1234.5), hours_text(123.4), hours_text(-12.34), hours_text(0.456, signed=True), hours_text(0.00123)
    ('1,234', '123', '−12.3', '+0.46', '0.0012')
    """
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.0995 or size == 0 else 4
    if digits == 4 and size >= 0.00995:
        digits = 3
    return _with_sign(value, f"{size:,.{digits}f}", signed)


def percent_text(value: float, *, signed: bool = False, unit: str = PERCENT) -> str:
    """A share as a percentage with two significant digits, at most two decimals.

    >>> percent_text(0.1234), percent_text(0.0012), percent_text(0.0), percent_text(0.00001)
    ('12\\xa0%', '0.12\\xa0%', '0\\xa0%', '<0.01\\xa0%')
    """
    size = abs(value) * 100
    if size == 0:
        return f"0{unit}"
    if size < 0.005:
        return f"{'>−' if value < 0 else '<'}0.01{unit}"
    digits = max(0, 1 - math.floor(math.log10(size))) if size < 99.5 else 0
    return _with_sign(value, f"{size:.{min(digits, 2)}f}", signed) + unit


def value_text(value: float, estimand: str, *, signed: bool = False) -> str:
    """A value of an estimand: vehicle-hours, a percentage, or bare percentage points for a difference.

    >>> value_text(12.0, MEAN), value_text(0.055, LOCK_UP), value_text(-0.055, LOCK_UP, signed=True)
    ('12.0', '5.5\\xa0%', '−5.5')
    """
    if not is_probability(estimand):
        return hours_text(value, signed=signed)
    return percent_text(value, signed=signed, unit="" if signed else PERCENT)


def interval_text(low: float, high: float, estimand: str, *, signed: bool = False) -> str:
    """An interval of an estimand, its unit once.

    >>> interval_text(0.01, 0.12, LOCK_UP), interval_text(-0.09, -0.02, LOCK_UP, signed=True)
    ('1.0 to 12\\xa0%', '−9.0 to −2.0')
    """
    if not is_probability(estimand):
        return f"{hours_text(low, signed=signed)} to {hours_text(high, signed=signed)}"
    unit = "" if signed else PERCENT
    return f"{percent_text(low, signed=signed, unit='')} to {percent_text(high, signed=signed, unit=unit)}"


def level_text(level: float) -> str:
    """The level of an interval.

    >>> level_text(0.95), level_text(0.97319)
    ('95\\xa0%', '97.3\\xa0%')
    """
    return f"{100 * level:.3g}{PERCENT}"


def times_text(multiplier: float) -> str:
    """A frequency multiplier.

    >>> times_text(0.5), times_text(2.134)
    ('×0.5', '×2.13')
    """
    return f"×{multiplier:.3g}"


def frequency_text(found: Estimate) -> str:
    """The frequency of an estimate, one for all kinds of incident or one for each."""
    if found.frequencies is not None:
        return ", ".join(f"{kind} {times_text(value)}" for kind, value in found.frequencies.items())
    return "all scenarios" if found.frequency is None else times_text(found.frequency)


def policy_text(found: Estimate) -> str:
    """Whose an estimate is: a policy's, or of a difference."""
    return found.policy if found.versus is None else f"{found.policy} − {found.versus}"


def per_hours_text(lane_blocking_per_100_h: float) -> str:
    """Incidents per 100 hours with two or three digits.

    >>> per_hours_text(41.26), per_hours_text(0.1234), per_hours_text(1234.0)
    ('41', '0.12', '1,234')
    """
    size = abs(lane_blocking_per_100_h)
    if size >= 9.95:
        return f"{lane_blocking_per_100_h:,.0f}"
    return f"{lane_blocking_per_100_h:.2g}"


def given_text(design: Design | None) -> str:
    """The condition that scenarios were drawn under, with its quantifier; empty without one.

    >>> given_text(Design(multipliers=(), alphas=(), frequencies=(), given="capacity_left<=0.5"))
    'capacity_left<=0.5 (any)'
    """
    return f"{design.given} ({design.quantifier})" if design is not None and design.given else ""


def listed(items: Sequence[str], last: str = "and") -> str:
    """A list in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def reason(verdict: str) -> str:
    """Why an estimate is refused, without the word."""
    return verdict.removeprefix("refused:").strip()


def _with_sign(value: float, text: str, signed: bool) -> str:
    if not any(digit in "123456789" for digit in text):
        return text
    return ("−" if value < 0 else "+" if signed else "") + text
