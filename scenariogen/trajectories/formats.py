"""The formats of trajectories that are read, and how one is recognised."""

from collections.abc import Mapping

from scenariogen.errors import DataError
from scenariogen.heads import FileHead
from scenariogen.trajectories.readers.contract import TrajectoryReader


def readers() -> Mapping[str, TrajectoryReader]:
    """Every reader by its name, in the order in which they are asked."""
    from scenariogen.trajectories.readers import commonroad, highd, i24, mapped, ngsim, pneuma, sumo_fcd

    classes = (
        sumo_fcd.SumoFcdReader,
        ngsim.NgsimReader,
        highd.HighdReader,
        pneuma.PneumaReader,
        i24.I24Reader,
        commonroad.CommonRoadReader,
        mapped.MappedReader,
    )
    return {each.name: each() for each in classes}


def find_reader(head: FileHead, *, format: str = "", is_mapped: bool = False) -> TrajectoryReader:
    """The reader for a file: the one named, the mapped table where a mapping is given, else by the content.

    Raises ``DataError`` where no format fits, or where the named one is unknown.
    """
    known = readers()
    if format:
        if format not in known:
            raise DataError(f"--format {format}: unknown, expected one of {', '.join(known)}")
        return known[format]
    if is_mapped:
        return known["csv"]
    for reader in known.values():
        if reader.recognises(head):
            return reader
    raise DataError(_stranger(head, known))


def _stranger(head: FileHead, known: Mapping[str, TrajectoryReader]) -> str:
    what = f"its columns are {', '.join(head.header[:20])}" if len(head.header) > 1 else f"it begins {head.text[:60]!r}"
    return (
        f"{head.path} is none of the trajectory formats known here ({', '.join(known)}); {what}. For a table say which "
        "column holds what, for example --map time=t:s --map vehicle=id --map x=x:m --map y=y:m --map speed=v:km/h"
    )
