"""Every source's words for what happened, mapped to the one vocabulary.

DATEX II says the kind by the type of a record, WZDx by the type of an event. Event logs use words and dispatch codes,
which rules read in order; the first rule that fits decides. The account of a file lists which word became which kind,
so that a mapping that does not suit can be seen.
"""

import re
from collections.abc import Iterable

from scenariogen.incidents.events import EventKind

_RULES: tuple[tuple[EventKind, str], ...] = (
    (EventKind.OTHER, r"^accidents?( ?and ?| )?incidents?$"),
    (EventKind.PLANNED_WORK, r"road ?works?|work ?zone|construction|maintenance|resurfac|paving|patching|striping"),
    (EventKind.CRASH, r"crash|accident|collision|roll ?over|slide ?off|jack ?knife|t?964|hit and run|fatal"),
    (
        EventKind.BREAKDOWN,
        r"c34|disabled|break ?down|broken|stalled|stopped vehicle|abandoned|vehicle ?(on ?)?fire|car ?fire|^tfire"
        r"|flat tire|stuck",
    ),
    (
        EventKind.WEATHER,
        r"flood|^tflo$|snow|^ice$|icy|\bice\b|fog|\bdust|\bwind|1013wind|1013wash|storm|mud ?slide|landslide|\brain"
        r"|weather|\bhail|smoke|low visib",
    ),
    (
        EventKind.OBSTRUCTION,
        r"debris|litter|rocks?\b|1018|animal|spill|spilt|obstruct|obstacle|hazard|pedestrian|leak|\btrees?\b|object"
        r"|brush ?fire|wild ?fire|pothole|wrong ?way",
    ),
    (EventKind.CLOSURE, r"clos|blocked|(left|right|center|centre|middle|hov) ?lanes?$|restricted|lane ?blockage"),
)
"""Kind and what its words look like, in the order in which they are asked.

``C34`` is a police dispatch code for a disabled vehicle, ``964`` for a crash, ``1018`` and ``1013`` for things and
weather on the road, as Arizona's log uses them beside plain words. ``AccidentIncident`` says that it is one or the
other, so it is ``other``.
"""
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_COMPILED = tuple((kind, re.compile(pattern, re.I)) for kind, pattern in _RULES)

DATEX_KINDS: dict[str, EventKind] = {
    "Accident": EventKind.CRASH,
    "VehicleObstruction": EventKind.BREAKDOWN,
    "GeneralObstruction": EventKind.OBSTRUCTION,
    "AnimalPresenceObstruction": EventKind.OBSTRUCTION,
    "InfrastructureDamageObstruction": EventKind.OBSTRUCTION,
    "EnvironmentalObstruction": EventKind.OBSTRUCTION,
    "EquipmentDamageObstruction": EventKind.OBSTRUCTION,
    "MaintenanceWorks": EventKind.PLANNED_WORK,
    "ConstructionWorks": EventKind.PLANNED_WORK,
    "PoorEnvironmentConditions": EventKind.WEATHER,
    "WeatherRelatedRoadConditions": EventKind.WEATHER,
    "NonWeatherRelatedRoadConditions": EventKind.OBSTRUCTION,
    "WinterDrivingManagement": EventKind.WEATHER,
    "RoadOrCarriagewayOrLaneManagement": EventKind.CLOSURE,
}
"""Type of a situation record (DATEX II, EN 16157-3) to kind; all other types are ``other``."""
CAUSES: dict[str, str] = {
    "accident": "Accident",
    "vehicleObstruction": "VehicleObstruction",
    "obstruction": "GeneralObstruction",
    "animalPresence": "AnimalPresenceObstruction",
    "environmentalObstruction": "EnvironmentalObstruction",
    "infrastructureDamageObstruction": "InfrastructureDamageObstruction",
    "infrastructureFailure": "InfrastructureDamageObstruction",
    "roadMaintenance": "MaintenanceWorks",
    "constructionWork": "ConstructionWorks",
    "poorEnvironment": "PoorEnvironmentConditions",
    "poorWeather": "PoorEnvironmentConditions",
    "weatherRelatedRoadConditions": "WeatherRelatedRoadConditions",
    "nonWeatherRelatedRoadConditions": "NonWeatherRelatedRoadConditions",
    "winterEquipmentManagement": "WinterDrivingManagement",
}
"""Word for the cause of a record (``causeType``, versions 2 and 3) to the type of record that says the same."""
_MOVING_VEHICLES = frozenset({
    "abnormalLoad", "convoy", "dangerousSlowMovingVehicle", "emergencyVehicle", "highSpeedChase",
    "highSpeedEmergencyVehicle", "longLoad", "militaryConvoy", "recklessDriver", "slowVehicle",
    "specialPermitTransport", "trackedVehicle", "vehicleOnWrongCarriageway", "winterMaintetanceVehicleInTransfer",
})  # fmt: skip
_WET = frozenset({"flashFloods", "flooding", "avalanches", "stormDamage", "fallingIce", "fallingLightIceOrSnow"})
CLOSING_MANAGEMENT = frozenset({
    "carriagewayClosures", "closedPermanentlyForTheWinter", "intermittentShortTermClosures", "laneClosures",
    "overnightClosures", "roadClosed", "doNotUseSpecifiedLanesOrCarriageways", "rollingRoadBlock",
    "singleAlternateLineTraffic", "narrowLanes", "contraflow", "lanesDeviated",
})  # fmt: skip
"""Managements of lanes that take room from traffic; the others (``roadCleared``, a minimum load) are ``other``."""
LEADING: tuple[EventKind, ...] = (
    EventKind.CRASH,
    EventKind.PLANNED_WORK,
    EventKind.BREAKDOWN,
    EventKind.OBSTRUCTION,
    EventKind.WEATHER,
    EventKind.CLOSURE,
    EventKind.OTHER,
)
"""Where one incident has several records, the kind that comes first here is its kind: causes before consequences."""
ALWAYS_PLANNED = frozenset({EventKind.PLANNED_WORK})


def kind_of_words(*words: str) -> EventKind:
    """The kind for category words, the most telling first.

    >>> kind_of_words("C34Rshoulder"), kind_of_words("", "roadwork"), kind_of_words("silverAlert")
    (<EventKind.BREAKDOWN: 'breakdown'>, <EventKind.PLANNED_WORK: 'planned_work'>, <EventKind.OTHER: 'other'>)
    """
    for word in words:
        plain = " ".join(_HUMP.sub(" ", word).replace("_", " ").replace("-", " ").split())
        known = EventKind.__members__.get(word.strip().upper())
        if known is not None:
            return known
        for kind, pattern in _COMPILED:
            if plain and pattern.search(plain):
                return kind
    return EventKind.OTHER


def kind_of_datex(record_type: str, detail: str) -> EventKind:
    """The kind of one situation record: its type without prefix, and its own category (``brokenDownVehicle``)."""
    if record_type == "VehicleObstruction" and detail in _MOVING_VEHICLES:
        return EventKind.OBSTRUCTION
    if record_type == "EnvironmentalObstruction" and detail in _WET:
        return EventKind.WEATHER
    if record_type == "RoadOrCarriagewayOrLaneManagement" and detail not in CLOSING_MANAGEMENT:
        return EventKind.OTHER
    return DATEX_KINDS.get(record_type, EventKind.OTHER)


def leading(kinds: Iterable[EventKind]) -> EventKind:
    """The kind of an incident of several records. Raises ``ValueError`` for none."""
    return min(kinds, key=LEADING.index)
