"""The program: its verbs in order, and what becomes of an error."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scenariogen.cli import ask, bring, calibrate, draw, effects, evaluating, join, learn, look, measure, runs, show
from scenariogen.errors import ScenariogenError

USERS_FAULT = 1
INTERRUPTED = 130
RESUMES = ("evaluate",)
"""Verbs of which the same command goes on with what was finished when it was interrupted."""


class Stages(TyperGroup):
    """Turns a user's mistake into its message: no traceback, exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ScenariogenError as error:
            text = error.text()
        except KeyboardInterrupt:
            kept = "; the same command goes on with what was finished" if ctx.invoked_subcommand in RESUMES else ""
            print(f"\ninterrupted{kept}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.filename is None:
                raise
            text = f"{error.filename}: {error.strerror}: check that the place exists and can be written to"
        print(f"error: {text}", file=sys.stderr)
        raise typer.Exit(USERS_FAULT)


app = typer.Typer(
    cls=Stages,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        from scenariogen import __version__

        print(f"scenariogen {__version__}")
        raise typer.Exit


@app.callback()
def scenariogen(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Incident scenarios with a known probability for SUMO: draw them, make them happen, compare policies.

    The commands stand in the order in which data goes through them. `scenariogen demo` runs them all. Exit codes:
    0 fine, 1 a problem with what was given or a refusal, 2 wrong usage.

    \b
    Example:
      scenariogen check --network cologne8
    """


for verb in (
    look.networks, look.check, calibrate.calibrate, bring.inspect, bring.convert, bring.match, bring.export,
    learn.record, measure.fields, learn.detect, learn.fit, draw.sample, draw.incident, effects.effect, join.attach,
    runs.run, evaluating.evaluate, ask.query, show.report, show.demo,
):  # fmt: skip
    app.command()(verb)
