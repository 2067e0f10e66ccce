"""Which class makes which record happen."""

from scenariogen.injection.effects.closure import ActiveClosure
from scenariogen.injection.effects.contract import ActiveEffect, Scene
from scenariogen.injection.effects.demand_surge import ActiveDemandSurge
from scenariogen.injection.effects.detector_outage import ActiveDetectorOutage
from scenariogen.injection.effects.rubbernecking import ActiveRubbernecking
from scenariogen.injection.effects.signal_failure import ActiveSignalFailure
from scenariogen.injection.effects.speed_limit import ActiveSpeedLimit
from scenariogen.injection.effects.weather import ActiveWeather
from scenariogen.scenarios.effects import Effect

ACTIVE: dict[type[Effect], type[ActiveEffect]] = {
    each.of: each
    for each in (
        ActiveSpeedLimit,
        ActiveClosure,
        ActiveWeather,
        ActiveSignalFailure,
        ActiveDemandSurge,
        ActiveDetectorOutage,
        ActiveRubbernecking,
    )
}


def active_effect(number: int, asked: Effect, scene: Scene) -> ActiveEffect:
    """What makes the ``number``-th effect of a scenario happen."""
    return ACTIVE[type(asked)](number, asked, scene)
