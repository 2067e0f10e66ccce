"""Networks by name: real ones inside installed packages, read where they lie, and our own."""

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from scenariogen.errors import ProjectError

_PACKAGE = Path(__file__).resolve().parent.parent
_PIP_NAMES = {"sumo_rl": "sumo-rl", "sumo": "eclipse-sumo"}


@dataclass(frozen=True, kw_only=True)
class NamedNetwork:
    """One entry of the catalogue. ``why_not`` says what to do where it is not available."""

    name: str
    description: str
    origin: str
    sumocfg: Path
    available: bool
    why_not: str = ""


def catalog_folder() -> Path:
    """The folder ``sumo_networks``: inside an installed package, or beside it in a checkout."""
    for folder in (_PACKAGE / "_share" / "sumo_networks", _PACKAGE.parent / "sumo_networks"):
        if (folder / "catalog.toml").is_file():
            return folder
    raise ProjectError(f"catalog.toml is missing from {_PACKAGE.parent / 'sumo_networks'}: install scenariogen again")


def list_networks() -> list[NamedNetwork]:
    """Every network of the catalogue, in its order, whether it is installed or not."""
    folder = catalog_folder()
    with (folder / "catalog.toml").open("rb") as stream:
        entries = tomllib.load(stream)
    return [_entry(name, entry, folder) for name, entry in entries.items()]


def _entry(name: str, entry: dict[str, str], folder: Path) -> NamedNetwork:
    package = entry.get("package", "")
    root, why_not = (_package_folder(package) if package else folder), ""
    path = (root or Path(package)) / entry["sumocfg"]
    if root is None:
        why_not = f"the package {_PIP_NAMES.get(package, package)} is not installed: pip install it"
    elif not path.is_file():
        why_not = f"{path} does not exist: " + (
            f"install {_PIP_NAMES.get(package, package)} again" if package else "run scripts/build_networks"
        )
    return NamedNetwork(
        name=name,
        description=entry["description"],
        origin=entry["origin"],
        sumocfg=path,
        available=not why_not,
        why_not=why_not,
    )


def _package_folder(package: str) -> Path | None:
    """Where a package lies, without importing it: importing ``sumo_rl`` needs ``SUMO_HOME``."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def find_network(name: str) -> Path:
    """The ``.sumocfg`` of a named network, or a ``ProjectError`` that says which names there are."""
    networks = {network.name: network for network in list_networks()}
    if name not in networks:
        near = get_close_matches(name, networks, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ProjectError(
            f"there is no network {name!r}: {hint}the names are {', '.join(networks)}; any other project is given "
            "by its file (--sumocfg FILE)"
        )
    if not networks[name].available:
        raise ProjectError(f"the network {name} is not available: {networks[name].why_not}")
    return networks[name].sumocfg
