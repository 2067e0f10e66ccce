"""One running simulation per test, on either backend, always closed."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scenariogen.injection.rig import build_road
from scenariogen.network import RoadNetwork, read_network
from tests.injection import roads

_numbers = itertools.count()


@pytest.fixture(scope="session")
def road(tmp_path_factory) -> Callable[[int, float], RoadNetwork]:
    """Straight roads of three edges by lanes and limit, each built once."""
    built: dict[tuple[int, float], RoadNetwork] = {}

    def get(lanes: int, limit_mps: float = roads.MOTORWAY_MPS) -> RoadNetwork:
        if (lanes, limit_mps) not in built:
            folder = tmp_path_factory.mktemp(f"road{lanes}")
            built[lanes, limit_mps] = read_network(build_road(folder, lanes=lanes, limit_mps=limit_mps))
        return built[lanes, limit_mps]

    return get


@pytest.fixture(scope="session")
def diamond(tmp_path_factory) -> RoadNetwork:
    return read_network(roads.diamond(tmp_path_factory.mktemp("diamond")))


@pytest.fixture(scope="session")
def signal_road(tmp_path_factory) -> RoadNetwork:
    return read_network(roads.crossing(tmp_path_factory.mktemp("crossing")))


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    """Start a simulation on ``libsumo`` or ``traci``; it is closed at the end of the test."""
    opened = []

    def begin(
        backend: str, network: RoadNetwork | Path | None, routes: Path | None = None, *options: str, stable: bool = True
    ):
        path = network.path if isinstance(network, RoadNetwork) else network
        arguments = [
            *(["-n", str(path)] if path else []),
            *(["-r", str(routes)] if routes else []),
            *roads.QUIET,
            *options,
        ]
        if stable:
            arguments += roads.STABLE
        if backend == "libsumo":
            import libsumo

            libsumo.start(["sumo", *arguments])
            opened.append(libsumo)
            return libsumo
        import traci
        from sumo import SUMO_HOME

        label = f"test{next(_numbers)}"
        traci.start([str(Path(SUMO_HOME) / "bin" / "sumo"), *arguments], label=label)
        opened.append(traci.getConnection(label))
        return opened[-1]

    yield begin
    for connection in opened:
        if isinstance(connection, ModuleType):
            if connection.isLoaded():
                connection.close()
        elif connection._socket is not None:
            connection._process.poll()
            if connection._process.returncode is None:
                connection.close()
            else:  # it died: nothing is there to be closed
                connection._socket.close()
                import traci

                traci.connection._connections.clear()
