"""The command line: one verb per stage, in the order in which data goes through them."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``scenariogen`` with the process's arguments, or those given; ends the process with an exit code."""
    from scenariogen.cli.app import app

    app(args=None if arguments is None else list(arguments), prog_name="scenariogen")
