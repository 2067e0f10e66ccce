"""What the verbs share: naming a project, reading lists and times, progress, output for programs."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenariogen.units import parse_duration_s, parse_time_s

if TYPE_CHECKING:
    from scenariogen.simulation.project import SumoProject

Network = Annotated[
    str, typer.Option("--network", metavar="NAME", help="A network of `scenariogen networks`, e.g. cologne8.")
]
Sumocfg = Annotated[
    Path | None, typer.Option("--sumocfg", metavar="FILE", help="Any SUMO project, by its .sumocfg file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes that simulate at the same time.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same result.")]

TOGETHER = "a+b runs several as one."
IncidentsKnown = Annotated[
    str,
    typer.Option(
        metavar="detected|reported",
        help="How policies learn of incidents: by our detector on the run's own traffic, or by the scenario's report.",
    ),
]


def open_target(network: str, sumocfg: Path | None) -> tuple["SumoProject", str]:
    """The project that ``--network`` or ``--sumocfg`` names, and its name. Exactly one must be given."""
    if bool(network) == (sumocfg is not None):
        raise typer.BadParameter("give exactly one of --network NAME and --sumocfg FILE")
    from scenariogen.simulation.project import open_project

    if sumocfg is None:
        from scenariogen.simulation.catalog import find_network

        sumocfg = find_network(network)
    project = open_project(sumocfg)
    return project, network or project.name


def print_json(value: Any) -> None:
    """Strict JSON on standard output; what is not a finite number becomes null."""
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str | bool | int) or value is None:
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def note(text: str) -> None:
    """One line for people, on standard error, so that standard output stays a program's."""
    print(text, file=sys.stderr)


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error; ``update(done, total)`` moves it. A total of 0 means that it is not known."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield update


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Ascending positive numbers from ``0.5,1,2``."""
    try:
        found = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        found = ()
    if not found or not all(math.isfinite(number) and number > 0 for number in found):
        raise typer.BadParameter(f"{option} is {text!r}, expected positive numbers such as 0.5,1,2,5")
    return found


def frequencies(text: str, option: str) -> tuple[float | dict[str, float], ...]:
    """Multipliers from ``0.5,1,2``, or by kind of incident from ``crash=2,breakdown=1``; ``;`` parts several."""
    found: list[float | dict[str, float]] = []
    for part in text.split(";"):
        if "=" not in part:
            found += numbers(part, option)
            continue
        pairs = [each.partition("=") for each in part.split(",")]
        try:
            by_kind = {kind.strip(): float(value) for kind, _, value in pairs}
        except ValueError:
            by_kind = {}
        if len(by_kind) < len(pairs) or not all(math.isfinite(v) and v > 0 for v in by_kind.values()):
            raise typer.BadParameter(
                f"{option} is {part.strip()!r}, expected each kind once with a positive number, such as "
                "crash=2,breakdown=1"
            )
        found.append(by_kind)
    return tuple(found)


def indices(text: str, option: str) -> tuple[int, ...]:
    """Indices of scenarios from ``3,17``."""
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        found = (-1,)
    if found[0] < 0:
        raise typer.BadParameter(f"{option} is {text!r}, expected indices of scenarios such as 3,17")
    return found


def lanes(text: str) -> tuple[int, ...]:
    """Lane indices from ``0,1``; ``none`` is the shoulder."""
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise typer.BadParameter(
            f"--lanes is {text!r}, expected lane numbers counted from the right such as 0,1, or none for the shoulder"
        ) from None


def time_s(text: str, option: str) -> float:
    """Simulation seconds from a clock time (seconds after midnight) or from ``600s``."""
    try:
        return parse_time_s(text)
    except ValueError:
        raise typer.BadParameter(
            f"{option} is {text!r}, expected a clock time such as 07:40 or simulation seconds such as 600s"
        ) from None


def duration_s(text: str, option: str) -> float:
    """Seconds from ``35min``."""
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None


def require_suffix(path: Path, *suffixes: str) -> Path:
    """The path, or a usage error: the ending says which format is meant."""
    if path.suffix not in suffixes:
        raise typer.BadParameter(f"--out is {path}, expected a file that ends in {' or '.join(suffixes)}")
    return path


def incident_source(text: str) -> str:
    """The value of ``--incidents-known``."""
    if text not in ("detected", "reported"):
        raise typer.BadParameter(f"--incidents-known is {text!r}, expected detected or reported")
    return text
