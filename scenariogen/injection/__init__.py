"""Scenarios that happen in a running SUMO simulation."""

from scenariogen.injection.attach import Injection, inject
from scenariogen.injection.records import InjectionWarning, RealisedIncident

__all__ = ["Injection", "InjectionWarning", "RealisedIncident", "inject"]
