"""Scenarios that happen in a running SUMO simulation."""

from scenariogen.injection.attach import Injection
from scenariogen.injection.entry import inject
from scenariogen.injection.environment import EnvironmentInjection
from scenariogen.injection.records import InjectionWarning, RealisedIncident

__all__ = ["EnvironmentInjection", "Injection", "InjectionWarning", "RealisedIncident", "inject"]
