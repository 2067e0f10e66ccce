"""The command line: one verb per stage, in the order in which data goes through them."""

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``scenariogen`` with the process's arguments, or those given; ends the process with an exit code."""
    from scenariogen.cli.app import app

    warnings.showwarning = partial(_show, warnings.showwarning)
    app(args=None if arguments is None else list(arguments), prog_name="scenariogen")


def _show(usual: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any) -> None:
    """Our own warnings are for whoever typed the command: their text, without the line of code that gave them."""
    if category.__module__.startswith("scenariogen."):
        print(f"warning: {message}", file=sys.stderr)
    else:
        usual(message, category, *where)
