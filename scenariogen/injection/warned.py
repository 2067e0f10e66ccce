"""What many injections warned of, told once: those into runs of one project have the same warnings, by the hundred."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from scenariogen.injection.records import InjectionWarning

MOST = 3
"""Different warnings that are told; the others are counted."""


@contextmanager
def untold(about: str = "") -> Iterator[None]:
    """A context in which an injection begins without telling its ``warnings``, which whoever began it keeps.

    ``about``  only those that begin with this text are not told
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", re.escape(about), InjectionWarning)
        yield


def warn_once(found: Iterable[tuple[str, Sequence[str]]], *, others: str = "") -> None:
    """Give the most frequent texts as :class:`InjectionWarning`, and count the rest; ``others`` says where they are.

    ``found``  for each run its place, such as a day, and its texts; what one place alone of several warns of is told
               with that place, since its incidents are numbered anew in each
    """
    counts: Counter[str] = Counter()
    where: dict[str, str] = {}
    places: set[str] = set()  # two are enough to know that there are several
    for place, texts in found:
        if len(places) < 2:
            places.add(place)
        counts.update(texts)
        where |= {text: place if where.get(text, place) == place else "" for text in texts}
    for text, _ in counts.most_common(MOST):
        at = f"{where[text]}: " if where[text] and len(places) > 1 else ""
        warnings.warn(at + text, InjectionWarning, stacklevel=3)
    if len(counts) > MOST:
        text = f"the runs have {len(counts) - MOST} other warnings{', ' if others else ''}{others}"
        warnings.warn(text, InjectionWarning, stacklevel=3)
