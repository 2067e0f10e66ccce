"""The networks of our own: what is written for each, and whether what stands in the folder is what would be written."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sumo_networks.building import corridor_demand, grid_demand, grid_layout
from sumo_networks.building.demand import Demand, write_routes
from sumo_networks.building.toolchain import BuildError, build_net, same_substance

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class OwnNetwork:
    """A network under ``sumo_networks/``. ``scales`` are the demand factors at which it must not lock up."""

    name: str
    demand: Demand
    scales: tuple[float, ...]

    @property
    def folder(self) -> Path:
        return ROOT / self.name

    @property
    def sumocfg(self) -> Path:
        return self.folder / f"{self.name}.sumocfg"


OWN = {
    network.name: network
    for network in (
        OwnNetwork(name="corridor", demand=corridor_demand.DEMAND, scales=(1.0,)),
        OwnNetwork(name="grid", demand=grid_demand.DEMAND, scales=(1.0, 1.2)),
    )
}


def build(network: OwnNetwork, folder: Path) -> None:
    """Write network and demand to a folder of the network's name that holds its plain XML."""
    if network.name == "grid":
        grid_layout.write_plain_xml(folder)
    warnings = build_net(folder, folder)
    if warnings:
        raise BuildError(f"netconvert warns about {network.name}:\n" + "\n".join(warnings))
    write_routes(network.demand, folder / f"{network.name}.rou.xml")


def outdated(network: OwnNetwork) -> list[str]:
    """Names of the files in the network's folder that a rebuild in a temporary folder writes differently."""
    with tempfile.TemporaryDirectory() as name:
        rebuilt = Path(shutil.copytree(network.folder, Path(name) / network.name))
        build(network, rebuilt)
        return [
            path.name
            for path in sorted(rebuilt.glob("*.xml"))
            if not (network.folder / path.name).is_file() or not same_substance(path, network.folder / path.name)
        ]
