"""The fit in words and numbers, for people; tables stand beside it."""

from scenariogen.units import clock_text

CONTRADICTION = 0.01
"""Probability of such a difference between two sources below which they are said to contradict each other."""


def summary_lines(model) -> list[str]:
    """What was used and left out, what was assumed, and how far the data depart from the model."""
    info = model.info
    left_out = ", ".join(f"{count} {why}" for why, count in info["incidents_left_out"].items() if count)
    lines = []
    if info["days"]:
        detected = info["incidents_used"] - (info["records"] or {"used": 0})["used"]
        lines.append(
            f"trajectories: {detected} incidents of {info['days']} days at intensity {info['intensity']:.4g}"
            + (f"; left out: {left_out}" if left_out else "")
        )
    if info["records"]:
        lines += _record_lines(info["records"])
    lines += _exposure_lines(info["exposure"])
    if "capacity_table" in info:
        lines.append(f"capacity left: as far as {info['capacity_table']} tells that it can be brought about")
    lines.append(
        f"expected per run at frequency 1: {info['expected_per_run']:.4g} incidents, "
        f"{info['expected_lane_blocking_per_run']:.4g} of them blocking a lane"
    )
    return lines + _source_lines(info["sources"]) + _departure_lines(info)


def _record_lines(records: dict) -> list[str]:
    left_out = ", ".join(f"{count:,} {why}" for why, count in records["left_out"].items())
    return [
        f"records: {records['used']:,} incidents of {records['days']} {records['day_type']} days, "
        f"{records['since'][:16]} to {records['until'][:16]} {records['time_zone']}, SUMO's second 0 at "
        f"{clock_text(records['clock_s'])}",
        *([f"records left out: {left_out}"] if left_out else []),
        *records["remarks"],
    ]


def _source_lines(sources: dict) -> list[str]:
    """Whether two sources agree on how often."""
    if sources["agree_p"] is None:
        return []
    alone = ", ".join(f"{name} {value:.2f}" for name, value in sources["times_published"].items())
    p = sources["agree_p"]
    doubt = "; they contradict each other and the rates lie between: leave out the one that is not to be trusted"
    said = f"incidents over the published rates by each source alone: {alone} (p {p:.3f} that they agree)"
    return [said + doubt * (p < CONTRADICTION)]


def _exposure_lines(exposure: dict) -> list[str]:
    error = exposure["standard_error"]
    spread = f" +/- {error:,.0f}" if error is not None else ""
    return [
        f"exposure: {exposure['vehicle_km_a_day']:,.0f}{spread} vehicle-km a day while incidents may start, "
        f"from {exposure['source']}",
        *exposure["remarks"],
    ]


def _departure_lines(info: dict) -> list[str]:
    lines = []
    for source, found in info["dispersion"].items():
        if found["index"] is not None:
            asymptotic = "" if found["p_chi2"] is None else f", chi-square {found['p_chi2']:.3f}"
            lines.append(
                f"daily counts of {source}: variance / mean {found['index']:.2f} over {found['days']} days (1 for a "
                f"Poisson process; p {found['p_draws']:.3f}{asymptotic})"
            )
    pairs = info["clusters"]
    if pairs is not None:
        lines.append(
            f"pairs within {pairs['near_m']:g} m and {pairs['near_s'] / 60:g} min: {pairs['seen']}, expected "
            f"{pairs['expected']:.1f} without clustering (p {pairs['p']:.3f})"
        )
    return lines
