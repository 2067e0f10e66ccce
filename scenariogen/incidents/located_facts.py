"""What the account of located records says of how sure their places are, and what would make them surer."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.accounts import AccountBook
from scenariogen.incidents.record_settings import RecordSettings
from scenariogen.network import RoadNetwork

if TYPE_CHECKING:
    import pandas as pd


class LocationMethod(StrEnum):
    """How a record was put on its edge."""

    POLYLINE = "polyline"
    POINT = "point"
    MILEPOST = "milepost"


def tell_places(book: AccountBook, rows: "pd.DataFrame", network: RoadNetwork, names: Mapping[str, str]) -> None:
    """Methods, confidence and road names, and a note where `fit` would leave records out for their place.

    ``rows``   located records: road, direction, edge, location_confidence, location_method
    ``names``  edge id to road name
    """
    methods = Counter(rows["location_method"])
    book.facts["methods"] = ", ".join(f"{count:,} by {name}" for name, count in methods.most_common()) or "none"
    if len(rows):
        confidence = rows["location_confidence"].to_numpy()
        low, middle = np.quantile(confidence, [0.05, 0.5])
        book.facts["confidence"] = (
            f"median {middle:.2f}, 95 % above {low:.2f}, {np.mean(confidence < 0.5):.0%} below 0.5"
        )
        _tell_unsure(book, rows, names)
    named = sum(1 for name in network.edges if names.get(name))
    book.facts["names"] = f"{named:,} of {len(network.edges):,} edges bear a road name"


def _tell_unsure(book: AccountBook, rows: "pd.DataFrame", names: Mapping[str, str]) -> None:
    least = RecordSettings().least_confidence
    columns = ("location_confidence", "location_method", "direction", "road", "edge")
    unsure = [row for row in zip(*(rows[name] for name in columns), strict=True) if row[0] < least]
    if not unsure:
        return
    undirected = sum(method == LocationMethod.POINT and not _has_text(way) for _, method, way, _, _ in unsure)
    unnamed = sum(not _has_text(road) or not names.get(edge) for *_, road, edge in unsure)
    why = [
        *([f"{undirected:,} have no direction (0.5 at most)"] if undirected else []),
        *([f"{unnamed:,} no road name, of their own or of the edge (times 0.7)"] if unnamed else []),
    ]
    book.note(
        f"have a place less sure than {least:g}, and `fit` leaves them out unless --least-confidence says otherwise"
        f"{': ' if why else ''}{', '.join(why)}",
        rows=len(unsure),
    )


def _has_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
