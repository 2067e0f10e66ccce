"""Which of a project's options a run replaces, with what, and why: applied to every run and shown by ``check``."""

from collections.abc import Mapping
from dataclasses import dataclass

from scenariogen.simulation.options import is_output, is_true
from scenariogen.simulation.project import SumoProject

_TELEPORT = "a vehicle that is moved ahead dissolves the queue it stands in"
_OURS: dict[str, tuple[str, str, str]] = {
    "time-to-teleport": ("-1", "300", _TELEPORT),
    "time-to-teleport.highways": ("0", "0", _TELEPORT),
    "time-to-teleport.disconnected": ("-1", "-1", _TELEPORT),
    "time-to-teleport.bidi": ("-1", "-1", _TELEPORT),
    "time-to-teleport.railsignal-deadlock": ("-1", "-1", _TELEPORT),
    "time-to-teleport.remove": ("false", "false", _TELEPORT),
    "collision.action": ("warn", "teleport", "a collision is counted, its vehicles stay on the road"),
    "max-depart-delay": ("-1", "-1", "a vehicle that cannot enter waits and is counted, it is not dropped"),
    "max-num-teleports": ("-1", "-1", "no vehicle is teleported"),
    "random": ("false", "false", "a run is decided by its seed"),
    "mesosim": ("false", "false", "partial closures have no effect in the mesoscopic model"),
    "output.format": ("xml", "xml", "what a run writes for itself is read back"),
    "human-readable-time": ("false", "false", "what a run writes for itself is read back"),
    "ignore-accidents": ("false", "false", "collisions are counted"),
}
"""Option: our value, SUMO's default, why. Listed by ``check`` where the project's value differs from ours."""

_QUIET = {
    "no-step-log": "true",
    "no-warnings": "true",
    "verbose": "false",
    "duration-log.disable": "true",
    "duration-log.statistics": "false",
    "quit-on-end": "true",
    "start": "true",
}
"""How a run speaks: warnings and errors go to a file of the run's folder."""

# ``ignore-route-errors`` stays as the project has it: a broken route is the project's fault, and SUMO names it.


@dataclass(frozen=True, kw_only=True)
class Override:
    """One option that runs replace. ``theirs`` is the project's value, or SUMO's default with a mark."""

    option: str
    theirs: str
    ours: str
    why: str

    def __str__(self) -> str:
        return f"{self.option}: {self.theirs} -> {self.ours} ({self.why})"


def fixed_options(project: SumoProject) -> dict[str, str]:
    """Options that every run of the project gets, whatever the project says."""
    return (
        {option: ours for option, (ours, _, _) in _OURS.items()}
        | _QUIET
        | {
            # an arrived vehicle is kept for one step, so that an arrival can be told from a removal
            "keep-after-arrival": f"{project.step_length_s:g}",
        }
    )


def overrides(project: SumoProject) -> list[Override]:
    """What runs replace of the project's own settings, and of SUMO's defaults where they matter."""
    found = [
        Override(option=option, theirs=theirs, ours=ours, why=why)
        for option, (ours, default, why) in _OURS.items()
        if not _same(theirs := _theirs(project.options, option, default), ours)
    ]
    found += [
        Override(option=option, theirs=project.options[option], ours="by the study window", why=why)
        for option, why in (
            ("begin", "every command studies the same part of the demand"),
            ("end", "every command counts over the same window"),
        )
        if option in project.options
    ]
    if "seed" in project.options:
        found.append(
            Override(
                option="seed", theirs=project.options["seed"], ours="per run", why="runs differ by their seed alone"
            )
        )
    for option, value in project.options.items():
        if is_output(option):
            found.append(
                Override(option=option, theirs=value, ours="into the run's folder", why="the project stays as it is")
            )
        elif option in ("output-prefix", "output-suffix"):
            found.append(Override(option=option, theirs=value, ours="not set", why="every run has a folder of its own"))
    return found


def _theirs(options: Mapping[str, str], option: str, default: str) -> str:
    return options.get(option, f"{default} (SUMO's default)")


def _same(theirs: str, ours: str) -> bool:
    theirs = theirs.removesuffix(" (SUMO's default)")
    if ours == "false":
        return not is_true(theirs)
    try:
        return float(theirs) == float(ours) or (float(ours) <= 0 and float(theirs) <= 0)
    except ValueError:
        return theirs == ours
