"""What many injections warned of, told once: those into runs of one project have the same warnings, by the hundred."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from scenariogen.injection.records import InjectionWarning

MOST = 3
"""Different warnings that are told; the others are counted."""


@contextmanager
def untold() -> Iterator[None]:
    """A context in which an injection begins without telling its ``warnings``, which whoever began it keeps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InjectionWarning)
        yield


def warn_once(texts: Iterable[str], *, others: str = "") -> None:
    """Give the most frequent texts as :class:`InjectionWarning`, and count the rest; ``others`` says where they are."""
    found = Counter(texts)
    for text, _ in found.most_common(MOST):
        warnings.warn(text, InjectionWarning, stacklevel=3)
    if len(found) > MOST:
        text = f"the runs have {len(found) - MOST} other warnings{', ' if others else ''}{others}"
        warnings.warn(text, InjectionWarning, stacklevel=3)
