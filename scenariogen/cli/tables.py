"""Tables as plain text."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenariogen.evaluation import Estimate, EstimateDetail

ESTIMATES_HEADER = ("estimand", "frequency", "policy", "value", "std. error", "interval", "ess", "k_hat", "runs")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width under a line."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def estimates_table(estimates: Iterable["Estimate"]) -> str:
    """One line for each estimate; what was refused carries the number of its reason, which stands below.

    Columns for all differences together and for the total interval are there where any estimate has them.
    """
    estimates = list(estimates)
    more = [
        (title, limits)
        for title, limits in (("all together", _together), ("with the rates", _total))
        if any(limits(each) for each in estimates)
    ]
    rows: list[tuple[str, ...]] = []
    reasons: dict[str, int] = {}
    for each in estimates:
        who = _who(each)
        if each.value is None:
            number = reasons.setdefault(each.verdict.removeprefix("refused: "), len(reasons) + 1)
            answer = (f"refused [{number}]", "", "")
        else:
            error = "" if each.standard_error is None else f"{each.standard_error:.3g}"
            answer = (f"{each.value:.4g}", error, _limits(each.low, each.high))
        k_hat = "" if each.k_hat is None else f"{each.k_hat:.2f}"
        others = tuple(limits(each) for _, limits in more)
        rows.append((each.estimand, often(each), who, *answer, *others, f"{each.ess:.0f}", k_hat, f"{each.runs}"))
    level = estimates[0].level if estimates else 0.95
    header: list[str] = list(ESTIMATES_HEADER)
    header[5] = f"{100 * level:g} % interval"
    header[6:6] = [title for title, _ in more]
    return "\n".join([table(header, rows), *(f"[{number}] {text}" for text, number in reasons.items())])


def often(found: "Estimate") -> str:
    """The frequency of an estimate."""
    if found.frequencies is not None:
        return ", ".join(f"{kind} x{value:g}" for kind, value in found.frequencies.items())
    return "as given" if found.frequency is None else f"x{found.frequency:g}"


def remarks(estimates: Sequence["Estimate"], details: Sequence["EstimateDetail"]) -> list[str]:
    """What must be said beside a table of estimates: lower bounds, where variance comes from, what is left out."""
    lines = [f"{e.estimand}, {often(e)}, {_who(e)}: {e.remark}" for e in estimates if e.remark and not e.is_refused]
    shown = [(e, d) for e, d in zip(estimates, details, strict=True) if e.value is not None and e.versus is None]
    for found, detail in shown[:1]:
        if found.shares:
            parts = ", ".join(f"{share:.0%} {source}" for source, share in found.shares.items())
            lines.append(f"variance of {found.estimand} ({often(found)}, {found.policy}): {parts}")
        if detail.simulator_share is not None:
            lines.append(
                f"the simulator's seeds make {detail.simulator_share:.0%} of the sampling variance; where a scenario "
                f"costs nothing but its runs, {detail.best_seeds} seed per scenario tells most for the next runs"
            )
    outside = max((d.total_outside or 0.0 for d in details), default=0.0)
    if outside > 0:
        lines.append(
            f"up to {outside:.0%} of the posterior draws of the rates lie beyond the frequencies that were sampled"
        )
    lines += [f"total interval: {why}" for why in dict.fromkeys(d.total_left_out for d in details if d.total_left_out)]
    return lines


def _who(found: "Estimate") -> str:
    return f"{found.policy} - {found.versus}" if found.versus else found.policy


def _together(found: "Estimate") -> str:
    return _limits(found.low_all, found.high_all)


def _total(found: "Estimate") -> str:
    return _limits(found.low_total, found.high_total)


def _limits(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
