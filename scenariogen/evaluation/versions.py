"""Versions of what is installed, without importing it."""

from importlib.metadata import PackageNotFoundError, version


def installed(package: str) -> str:
    """Version of an installed package, ``unknown`` where it has none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
