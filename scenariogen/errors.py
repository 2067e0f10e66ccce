"""One exception tree. Every error lists all the problems found, each with what to do about it.

::

    ScenariogenError
    ├── ProjectError      a SUMO project: configuration, network, demand, or one that locks up by itself
    ├── DataError         a trajectory file or an incident table
    ├── ScenarioError     a scenario file, or an incident that does not fit its network
    ├── ConditionError    a condition that cannot be read or has probability zero
    ├── FrequencyError    a multiplier outside the range that a batch was drawn for
    ├── ModelError        a model file or a fit
    ├── DensityError      a density, a constraint or a weight that is asked for what it does not have
    ├── PolicyError       a policy that cannot be loaded or that raised
    ├── SimulationError   SUMO refused to start or died
    │   └── ConnectionLostError    the simulation at the other end is gone
    └── ResultsError      a results folder
"""

from collections.abc import Iterable


class ScenariogenError(Exception):
    """Base of all errors that are a user's to mend. ``problems`` holds one line per fault."""

    def __init__(self, *problems: str, title: str = "") -> None:
        self.title = title
        self.problems = tuple(problems)
        super().__init__(self.text())

    def text(self) -> str:
        if not self.title:
            return "\n".join(self.problems)
        if not self.problems:
            return self.title
        return "\n".join([f"{self.title}:", *(f"  - {problem}" for problem in self.problems)])

    def __reduce__(self):  # keeps title and problems across process borders
        return _rebuild, (type(self), self.title, self.problems)


def _rebuild(kind: type[ScenariogenError], title: str, problems: tuple[str, ...]) -> ScenariogenError:
    return kind(*problems, title=title)


class ProjectError(ScenariogenError):
    """A SUMO project that cannot be read, has no demand, or locks up by itself."""


class DataError(ScenariogenError):
    """A trajectory file or an incident table that cannot be used as it is."""


class ScenarioError(ScenariogenError):
    """A scenario file with faults, or an incident that does not fit its network."""


class ConditionError(ScenariogenError):
    """A condition that cannot be read or has probability zero."""


class FrequencyError(ScenariogenError):
    """A frequency multiplier outside the range that a batch was drawn for."""


class ModelError(ScenariogenError):
    """A model file that cannot be read, or data that a model cannot be fitted to."""


class DensityError(ScenariogenError):
    """Sampling was given what it cannot work with: nan, a context of another width, a density that is not exact."""


class PolicyError(ScenariogenError):
    """A policy that cannot be loaded, or that raised while it controlled a run."""


class SimulationError(ScenariogenError):
    """SUMO refused to start, or died."""


class ConnectionLostError(SimulationError):
    """The simulation at the other end of a connection is gone."""


class ResultsError(ScenariogenError):
    """A results folder that is missing, mixed or damaged."""


class Problems:
    """Collects every problem, then raises once.

    >>> problems = Problems("scenario file")
    >>> problems.add("row 3: duration_s is -5, expected a positive number")
    >>> bool(problems)
    True
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        self.found.append(problem)

    def extend(self, problems: Iterable[str]) -> None:
        self.found.extend(problems)

    def __bool__(self) -> bool:
        return bool(self.found)

    def raise_as(self, kind: type[ScenariogenError]) -> None:
        """Raise ``kind`` with all problems found, or do nothing where there is none."""
        if self.found:
            raise kind(*self.found, title=self.title)
