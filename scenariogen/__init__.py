"""Incident scenarios with an exact density for SUMO: draw them, make them happen, compare policies.

A table of contents. Names are loaded when they are first used, so importing the package costs next to nothing.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenariogen.errors import ScenariogenError
    from scenariogen.evaluation import Estimate, Evaluation, Results, evaluate, load_results, re_estimate
    from scenariogen.incidents.detect import detect_incidents
    from scenariogen.incidents.exposure import Exposure, exposure
    from scenariogen.incidents.records import Incident, IncidentKind
    from scenariogen.injection import Injection, RealisedIncident, inject
    from scenariogen.model.checkpoint import load_model
    from scenariogen.model.fit import fit_model
    from scenariogen.network import RoadNetwork, read_network
    from scenariogen.recording import record
    from scenariogen.report import write_report
    from scenariogen.scenarios.byhand import one_incident
    from scenariogen.scenarios.files import read_batch, write_batch
    from scenariogen.scenarios.files import read_scenario as load_scenario
    from scenariogen.scenarios.records import Condition, Drivers, Scenario, ScenarioBatch
    from scenariogen.scenarios.synthesize import synthesize
    from scenariogen.simulation.catalog import find_network, list_networks
    from scenariogen.simulation.contract import ControlRoom, Policy
    from scenariogen.simulation.inspect import check_project
    from scenariogen.simulation.project import SumoProject, open_project
    from scenariogen.simulation.study import study_window
    from scenariogen.trajectories.records import open_trajectories
    from scenariogen.window import StudyWindow

_CONTENTS = {
    "scenariogen.errors": ("ScenariogenError",),
    "scenariogen.network": ("RoadNetwork", "read_network"),
    "scenariogen.window": ("StudyWindow",),
    "scenariogen.trajectories.records": ("open_trajectories",),
    "scenariogen.incidents.records": ("Incident", "IncidentKind"),
    "scenariogen.incidents.detect": ("detect_incidents",),
    "scenariogen.incidents.exposure": ("Exposure", "exposure"),
    "scenariogen.model.fit": ("fit_model",),
    "scenariogen.model.checkpoint": ("load_model",),
    "scenariogen.scenarios.records": ("Condition", "Drivers", "Scenario", "ScenarioBatch"),
    "scenariogen.scenarios.byhand": ("one_incident",),
    "scenariogen.scenarios.files": ("load_scenario", "read_batch", "write_batch"),
    "scenariogen.scenarios.synthesize": ("synthesize",),
    "scenariogen.simulation.catalog": ("find_network", "list_networks"),
    "scenariogen.simulation.contract": ("ControlRoom", "Policy"),
    "scenariogen.simulation.inspect": ("check_project",),
    "scenariogen.simulation.project": ("SumoProject", "open_project"),
    "scenariogen.simulation.study": ("study_window",),
    "scenariogen.injection": ("Injection", "RealisedIncident", "inject"),
    "scenariogen.recording": ("record",),
    "scenariogen.evaluation": ("Estimate", "Evaluation", "Results", "evaluate", "load_results", "re_estimate"),
    "scenariogen.report": ("write_report",),
}
_NAMED_OTHERWISE = {"load_scenario": "read_scenario"}
_HOME = {name: module for module, names in _CONTENTS.items() for name in names}

__all__ = [
    "Condition", "ControlRoom", "Drivers", "Estimate", "Evaluation", "Exposure", "Incident", "IncidentKind",
    "Injection", "Policy", "RealisedIncident", "Results", "RoadNetwork", "Scenario", "ScenarioBatch",
    "ScenariogenError", "StudyWindow", "SumoProject", "check_project", "detect_incidents", "evaluate", "exposure",
    "find_network", "fit_model", "inject", "list_networks", "load_model", "load_results", "load_scenario",
    "one_incident", "open_project", "open_trajectories", "re_estimate", "read_batch", "read_network", "record",
    "study_window", "synthesize", "write_batch", "write_report",
]  # fmt: skip

try:
    __version__ = version("scenariogen")
except PackageNotFoundError:  # run from a copy of the source that was never installed
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'scenariogen' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), _NAMED_OTHERWISE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
