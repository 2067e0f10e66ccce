"""Tables as plain text."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenariogen.evaluation import Estimate

ESTIMATES_HEADER = ("estimand", "frequency", "policy", "value", "std. error", "95 % interval", "ess", "k_hat", "runs")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width under a line."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def estimates_table(estimates: Iterable["Estimate"]) -> str:
    """One line for each estimate; what was refused carries the number of its reason, which stands below."""
    rows: list[tuple[str, ...]] = []
    reasons: dict[str, int] = {}
    for each in estimates:
        who = f"{each.policy} - {each.versus}" if each.versus else each.policy
        often = "as given" if each.frequency is None else f"x{each.frequency:g}"
        if each.value is None:
            number = reasons.setdefault(each.verdict.removeprefix("refused: "), len(reasons) + 1)
            answer = (f"refused [{number}]", "", "")
        else:
            error = "" if each.standard_error is None else f"{each.standard_error:.3g}"
            limits = "" if each.low is None or each.high is None else f"{each.low:.4g} to {each.high:.4g}"
            answer = (f"{each.value:.4g}", error, limits)
        k_hat = "" if each.k_hat is None else f"{each.k_hat:.2f}"
        rows.append((each.estimand, often, who, *answer, f"{each.ess:.0f}", k_hat, f"{each.runs}"))
    return "\n".join([table(ESTIMATES_HEADER, rows), *(f"[{number}] {text}" for text, number in reasons.items())])
