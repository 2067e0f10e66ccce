"""Roads that differ in one feature at a time, and a study window."""

from scenariogen.network import Edge, Lane, RoadClass, RoadNetwork
from scenariogen.window import StudyWindow

WINDOW = StudyWindow(begin_s=0.0, count_from_s=600.0, incidents_until_s=3300.0, end_s=6000.0, demand_end_s=6000.0)
SLOW_MPS, FAST_MPS = 14.0, 30.0


def edge(
    name: str,
    *,
    lanes: int = 1,
    idle_lane: int | None = None,
    speed_mps: float = SLOW_MPS,
    length_m: float = 500.0,
    after: tuple[str, ...] = (),
    before: tuple[str, ...] = (),
    road_class: RoadClass = RoadClass.STREET,
) -> Edge:
    return Edge(
        id=name,
        from_junction=f"{name}.from",
        to_junction=f"{name}.to",
        length_m=length_m,
        speed_mps=speed_mps,
        road_class=road_class,
        signalised=False,
        lanes=tuple(
            Lane(
                id=f"{name}_{index}",
                index=index,
                length_m=length_m,
                speed_mps=speed_mps,
                width_m=3.2,
                drives=index != idle_lane,
                shape=((0.0, 0.0), (length_m, 0.0)),
            )
            for index in range(lanes)
        ),
        successors=after,
        predecessors=before,
        turn_angles=(0.0,) * len(after),
    )


def network(tmp_path, *edges: Edge) -> RoadNetwork:
    """The edges as a network, without a file behind it."""
    return RoadNetwork(path=tmp_path / "roads.net.xml", sha256="0", edges={e.id: e for e in edges}, lane_links={},
                       signals={})  # fmt: skip
