"""``docs/cli.md`` out of the program itself: ``python -m scenariogen.cli.pages docs/cli.md``."""

import sys
from pathlib import Path

WIDTH = 100


def command_pages() -> str:
    """Markdown with the help of the program and of each verb, in their order."""
    from typer.main import get_command

    from scenariogen.cli.app import app

    group = get_command(app)
    with group.make_context("scenariogen", [], resilient_parsing=True, terminal_width=WIDTH) as parent:
        blocks = [("scenariogen", group.get_help(parent).strip())]
        for name, command in group.commands.items():  # type: ignore[attr-defined]
            with command.make_context(name, [], parent=parent, resilient_parsing=True) as context:
                blocks.append((f"scenariogen {name}", command.get_help(context).strip()))
    head = "# Commands\n\nThe help of every command, written by `python -m scenariogen.cli.pages docs/cli.md`.\n"
    return "\n".join([head, *(f"## {title}\n\n```text\n{text}\n```\n" for title, text in blocks)])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(command_pages(), encoding="utf-8")
