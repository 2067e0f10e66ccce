"""The formats of trajectories that are read, and how one is recognised."""

from collections.abc import Mapping

from scenariogen.heads import FileHead
from scenariogen.recognise import TABLE, choose
from scenariogen.trajectories.readers.contract import TrajectoryReader


def readers() -> Mapping[str, TrajectoryReader]:
    """Every reader by its name, in the order in which they are asked."""
    from scenariogen.trajectories.readers import commonroad, highd, i24, mapped, ngsim, ngsim_text, pneuma, sumo_fcd

    classes = (
        sumo_fcd.SumoFcdReader,
        ngsim.NgsimReader,
        ngsim_text.NgsimTextReader,
        highd.HighdReader,
        pneuma.PneumaReader,
        i24.I24Reader,
        commonroad.CommonRoadReader,
        mapped.MappedReader,
    )
    return {each.name: each() for each in classes}


EXAMPLE = "--map time=t:s --map vehicle=id --map x=x:m --map y=y:m --map speed=v:km/h"


def find_reader(head: FileHead, *, format: str = "", is_mapped: bool = False) -> TrajectoryReader:
    """The reader for a file: the one named, the mapped table where a mapping is given, else by the content.

    Raises ``DataError`` where no format fits, or where the named one is unknown.
    """
    asked = format or (TABLE if is_mapped else "")
    return choose(head, readers(), what="trajectories", example=EXAMPLE, format=asked)
