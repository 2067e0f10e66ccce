"""Runs the command line inside this process, and makes the small files that commands need."""

from pathlib import Path

from typer.testing import CliRunner, Result

VERBS = (
    "networks",
    "check",
    "calibrate",
    "inspect",
    "convert",
    "match",
    "export",
    "record",
    "fields",
    "detect",
    "fit",
    "sample",
    "incident",
    "effect",
    "attach",
    "run",
    "evaluate",
    "query",
    "report",
    "demo",
)


def scenariogen(*arguments: object) -> Result:
    """One command. Anything but an orderly exit is raised here, so that no traceback passes for a message."""
    from scenariogen.cli.app import app

    result = CliRunner().invoke(app, [str(each) for each in arguments], prog_name="scenariogen")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def tiny_project(folder: Path, *, vehicles: int = 5) -> Path:
    """A copy of a RESCO network with a demand of its own: a few vehicles on an edge of it."""
    from tests.support import copy_project, resco

    sumocfg = copy_project(resco("cologne1"), folder)
    routes = next(sumocfg.parent.glob("*.rou.xml"))
    if vehicles == 0:
        routes.write_text("<routes></routes>\n", encoding="utf-8")
    return sumocfg
