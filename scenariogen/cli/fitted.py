"""The tables of a fit: which number came from where, durations side by side, and how kinds were mapped."""

import textwrap

from scenariogen.cli.tables import table
from scenariogen.model.levels import RECORDS, TRAJECTORIES
from scenariogen.model.moves import PRIORS

WIDTH = 80
KINDS_SHOWN = 12
SHORT = {PRIORS: "prior%", TRAJECTORIES: "traj%", RECORDS: "rec%"}
ACCOUNT = (
    "incidents_used",
    "incidents_left_out",
    "moves",
    "groups",
    "sources",
    "exposure",
    "records",
    "durations",
    "dispersion",
    "clusters",
    "expected_per_run",
    "expected_lane_blocking_per_run",
)


def fit_account(info: dict) -> dict:
    """What programs get: everything that the tables and lines are made of."""
    return {name: info[name] for name in ACCOUNT}


def fit_text(info: dict) -> str:
    """The tables for people, at most 80 columns wide."""
    parts = [_moves(info), _durations(info["durations"])]
    if info["records"] is not None:
        parts.append(_kinds(info["records"]))
    return "\n\n".join(part for part in parts if part)


def _moves(info: dict) -> str:
    """Numbers with their prior, how much they moved, and the share of each source in them."""
    sources = [name for name in SHORT if any(name in move["shares"] for move in info["moves"])]
    rows = [
        (
            move["name"].removesuffix(" blocked") + _elsewhere(move["shares"]),
            _number(move["prior"]),
            _number(move["value"]),
            "" if move["ratio"] is None else f"{move['ratio']:.2f}",
            "" if move["moved_sd"] is None else f"{move['moved_sd']:+.1f}",
            *(_percent(move["shares"].get(source)) for source in sources),
        )
        for move in info["moves"]
    ]
    header = ("number", "prior", "now", "x", "sd", *(SHORT[source] for source in sources))
    said = (
        "rate: incidents per 1e8 vehicle-km; share: of all incidents, by lanes blocked; median duration: minutes; "
        "capacity left: share. x: now / prior. sd: how far it moved in standard deviations of the prior. %: how much "
        "of the number each source tells."
    )
    return "\n".join(["Which number came from where", "", table(header, rows), "", *textwrap.wrap(said, WIDTH)])


def _durations(durations: dict) -> str:
    """Families side by side with their tails."""
    rows = [
        (
            each["family"],
            "" if each["log_likelihood"] is None else f"{each['log_likelihood']:.1f}",
            "" if each["aic"] is None else f"{each['aic']:.1f}",
            f"{each['median_min']:.1f}",
            f"{each['q95_min']:.0f}",
            *(f"{share:.4f}" for share in each["exceeds"]),
        )
        for each in durations["families"]
    ]
    header = ("duration", "log-lik.", "AIC", "median", "q95", *(f"P(>{m:g})" for m in durations["tail_minutes"]))
    count = f"{durations['durations']} durations, {durations['lower_bounds']} of them lower bounds; minutes"
    few = "" if len(durations["families"]) > 2 else " (too few for families of their own)"
    return "\n".join([*textwrap.wrap(f"Durations: {count}{few}", WIDTH), "", table(header, rows)])


def _kinds(records: dict) -> str:
    """The log's words and what became of them."""
    kinds = sorted(records["kinds"], key=lambda row: (not row["kind"], -row["records"]))
    rows = [
        ((row["word"] or "(no word)")[:34], row["record_kind"], row["kind"] or "left out", f"{row['records']:,}")
        for row in kinds[:KINDS_SHOWN]
    ]
    more = len(kinds) - KINDS_SHOWN
    tail = [f"and {more} more words; --json lists all"] if more > 0 else []
    return "\n".join(["Kinds", "", table(("the log's word", "its kind", "kind here", "records"), rows), *tail])


def _elsewhere(shares: dict[str, float]) -> str:
    """The source of a number that none of the columns has."""
    others = [name for name in shares if name not in SHORT]
    return f", from {', '.join(others)}" if others else ""


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"
