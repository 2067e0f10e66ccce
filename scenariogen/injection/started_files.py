"""The files that a running simulation was started with."""

from pathlib import Path

from scenariogen.errors import ProjectError
from scenariogen.injection.connection import Link


def started_files(link: Link, *options: str) -> list[Path]:
    """Those that some of its options name. Raises ``ProjectError`` where one of them cannot be read from here."""
    names = [name.strip() for option in options for name in link.option(option).split(",")]
    files = [Path(name) for name in names if name]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise ProjectError(f"{', '.join(missing)} cannot be read from here")
    return files
