"""What one run gave, and the key under which it is kept."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

from scenariogen.randomness import sumo_seed
from scenariogen.scenarios.records import Design, LanesReopen, Scenario, ScenarioBatch
from scenariogen.simulation.contract import EndReason
from scenariogen.window import StudyWindow

QUARANTINED = (EndReason.SIMULATOR_DIED, EndReason.TIME_LIMIT)
"""What another attempt may mend, unlike a policy that raises or an incident that does not fit."""
_FAILURES = {
    EndReason.SIMULATOR_DIED: "simulator died",
    EndReason.POLICY_RAISED: "policy raised",
    EndReason.INJECTION_FAILED: "could not be injected",
    EndReason.TIME_LIMIT: "took too long",
}


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One scenario under one policy with one simulator seed. Counts and delay are None where the run failed.

    ``key``                identifies the run by everything that decides it
    ``scenario``           index in the batch
    ``policy``             name
    ``replica``            0 for the scenario's own simulator seed, 1, 2, … for further ones
    ``seed``               the simulator's
    ``system_delay_veh_h`` time minus free-flow time, vehicle-hours, over the study window
    ``time_veh_h``         vehicles running and waiting to enter, integrated
    ``free_flow_veh_h``    what the same demand needs alone on the road
    ``due``, ``arrived``, ``discarded``, ``running_at_end``, ``waiting_at_end``  vehicles of the project
    ``locked_up``, ``locked_up_at_s``  the network stood still, and since when
    ``end_reason``         why the run ended
    ``error``              message where it failed, otherwise empty
    ``incidents_asked``    of the scenario
    ``incidents_due``      those that were to start before the run ended
    ``incidents_realised`` those that stood
    ``incidents``          JSON list: asked and realised start, end, lanes and position of each, and the reason
    ``effects_due``        effects besides incidents that were to start before the run ended
    ``effects_realised``   those that held
    ``effects``            JSON list: each as asked, between which seconds it held, what it did in numbers
    ``delay_by_class``     JSON object: vehicle-hours of delay by SUMO's vehicle class, which add up to
                           ``system_delay_veh_h``; empty in results of versions that did not tell them apart
    ``found_incidents``    JSON list: those that our detector found during the run, where the policy reads them
    ``co2_kg``, ``nox_kg``, ``pmx_kg``  what all vehicles emitted, where the evaluation was asked to measure it
    ``turned_by_advice``   changes of route by drivers who followed the control room's advice
    ``rerouted``           drivers who took another way because of an incident
    ``teleports``, ``collisions``, ``emergency_stops``  counted by the simulator
    ``backlog_most``       most vehicles that were due and could not enter, looked at once a minute
    ``stuck_share_most``   largest share of the vehicles in the network that moved less than 10 m in a minute
    ``balance_checks``     how often it was looked at whether loaded and inserted vehicles are all accounted for
    ``balance_broken``     what did not add up first; empty where everything did
    ``warnings``           JSON list of what the injection could not promise, in words
    ``cpu_s``, ``wall_s``  what the run took to compute
    ``attempts``           how often it was tried: 2 where a first attempt crashed or took too long
    ``policy_sha256``, ``sumo_version``, ``scenariogen_version``  what it was made with
    ``scenario_sha256``    hash of what happens in the scenario, see :func:`scenario_content`
    ``batch_hash``, ``project_hash``, ``network_hash``, ``simulator``, ``capacity_table``  as in the folder's manifest
    """

    key: str
    scenario: int
    policy: str
    replica: int
    seed: int
    end_reason: EndReason
    system_delay_veh_h: float | None = None
    time_veh_h: float | None = None
    free_flow_veh_h: float | None = None
    due: int | None = None
    arrived: int | None = None
    discarded: int | None = None
    running_at_end: int | None = None
    waiting_at_end: int | None = None
    locked_up: bool = False
    locked_up_at_s: float | None = None
    error: str = ""
    incidents_asked: int = 0
    incidents_due: int = 0
    incidents_realised: int = 0
    incidents: str = "[]"
    effects_due: int = 0
    effects_realised: int = 0
    effects: str = "[]"
    delay_by_class: str = "{}"
    rerouted: int = 0
    found_incidents: str = "[]"
    turned_by_advice: int = 0
    co2_kg: float | None = None
    nox_kg: float | None = None
    pmx_kg: float | None = None
    teleports: int = 0
    collisions: int = 0
    emergency_stops: int = 0
    backlog_most: int = 0
    stuck_share_most: float = 0.0
    balance_checks: int = 0
    balance_broken: str = ""
    warnings: str = "[]"
    cpu_s: float = 0.0
    wall_s: float = 0.0
    policy_sha256: str = ""
    sumo_version: str = ""
    scenariogen_version: str = ""
    attempts: int = 1
    scenario_sha256: str = ""
    batch_hash: str = ""
    project_hash: str = ""
    network_hash: str = ""
    simulator: str = ""
    capacity_table: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "end_reason", EndReason(self.end_reason))
        if (self.system_delay_veh_h is None) != self.failed:
            raise ValueError(
                f"a run that ended because {self.end_reason} "
                f"{'has no' if self.failed else 'needs a'} delay, got {self.system_delay_veh_h}"
            )

    @property
    def failed(self) -> bool:
        """True where the run gave no delay."""
        return self.end_reason not in (EndReason.HORIZON, EndReason.LOCKED_UP)

    @property
    def is_quarantined(self) -> bool:
        """True where it crashed, or took too long, each time it was tried: the same command leaves it alone."""
        return self.end_reason in QUARANTINED

    @property
    def not_realised(self) -> bool:
        """True where an incident or effect that was due did not happen, so that the delay is another scenario's."""
        return not self.failed and (
            self.incidents_realised < self.incidents_due or self.effects_realised < self.effects_due
        )

    @property
    def trouble(self) -> str:
        """Why the run says nothing of its scenario, in words: it gave no delay, or that of another scenario or of other
        vehicles. Empty where it may be used."""
        if self.not_realised:
            return "incident not realised"
        if self.balance_broken:
            return "vehicles not accounted for"
        return _FAILURES.get(self.end_reason, "")

    @property
    def valid_delay_veh_h(self) -> float | None:
        """``system_delay_veh_h``, None where the run is in trouble."""
        return None if self.trouble else self.system_delay_veh_h

    def to_json(self) -> str:
        """One line of strict JSON."""
        return json.dumps(asdict(self) | {"end_reason": self.end_reason.name}, allow_nan=False)

    @classmethod
    def from_mapping(cls, row: Mapping[str, Any]) -> "RunResult":
        """From a decoded JSON line or a table's row. Raises ``ValueError`` where it is not one."""
        known = {each.name for each in fields(cls)}
        if not known >= set(row) or not set(row) >= {"key", "scenario", "policy", "end_reason"}:
            raise ValueError(f"a run has the columns {sorted(known)}, got {sorted(row)}")
        values: dict[str, Any] = {
            name: value
            for name, value in row.items()
            if value is not None and not (isinstance(value, float) and math.isnan(value))
        }
        values["end_reason"] = EndReason[row["end_reason"]]
        return cls(**values)


def replica_seed(scenario: Scenario, replica: int) -> int:
    """Simulator seed of a replica, the same for every policy. Replica 0 has the scenario's own."""
    return scenario.seed if replica == 0 else sumo_seed(scenario.seed, "replica", replica)


def run_key(
    scenario: Scenario,
    *,
    replica: int,
    policy_sha256: str,
    project_hash: str,
    window: StudyWindow,
    sumo_version: str,
    scenariogen_version: str,
    simulator: str,
    capacity_table: str = "",
    content: Mapping[str, Any] | None = None,
    usual_traffic: str = "",
    emissions: bool = False,
) -> str:
    """Hash of everything that decides a run: equal keys, equal numbers.

    ``capacity_table``  what names the table that speeds past incidents are looked up in; empty for the shipped default
    ``content``         the scenario's :func:`scenario_content` where it is known already
    ``usual_traffic``   names what a detector compares traffic with; empty where the policy has none to learn from
    ``emissions``       measured as well: the same run, and one more number of it
    """
    return digest(
        ({"capacity_table": capacity_table} if capacity_table else {})
        | ({"usual_traffic": usual_traffic} if usual_traffic else {})
        | ({"emissions": True} if emissions else {})
        | {
            "scenario": scenario_content(scenario) if content is None else content,
            "seed": replica_seed(scenario, replica),
            "policy": policy_sha256,
            "project": project_hash,
            "window": window_content(window),
            "sumo": sumo_version,
            "scenariogen": scenariogen_version,
            "simulator": simulator,
        }
    )


def scenario_content(scenario: Scenario) -> dict[str, Any]:
    """What happens in a scenario: not its index, nor how likely it is."""
    return {
        "condition": {
            name: value
            for name, value in asdict(scenario.condition).items()
            if name not in ("demand_factors", "entry_scales") or value  # as before there were such parts
        },
        "incidents": [asdict(incident) for incident in scenario.incidents],
        "drivers": scenario.drivers.to_plain(),
    } | _newer_parts(scenario)


def window_content(window: StudyWindow) -> dict[str, Any]:
    """A study window without its remarks."""
    return {name: value for name, value in asdict(window).items() if name != "remarks"}


def batch_hash(batch: ScenarioBatch) -> str:
    """Hash of a batch's content, the same whatever file it was read from."""
    content = {
        each.name: getattr(batch, each.name) for each in fields(batch) if each.name not in ("window", "scenarios")
    }
    content = {
        name: _design(value) if name == "design" and value is not None else value for name, value in content.items()
    }
    mark = "\x00scenarios\x00"
    head, tail = canonical(content | {"window": window_content(batch.window), "scenarios": mark}).split(canonical(mark))
    found = hashlib.sha256(f"{head}[".encode())
    for number, each in enumerate(batch.scenarios):  # one after another: there may be very many
        found.update(f"{', ' if number else ''}{canonical(_scenario_plain(each))}".encode())
    found.update(f"]{tail}".encode())
    return found.hexdigest()


def _design(design: Design) -> dict[str, Any]:
    """Without what was not written down, so that hashes are those from before there were such parts."""
    plain = asdict(design)
    return {name: value for name, value in plain.items() if value or name not in ("rates", "road_classes", "durations")}


def _scenario_plain(scenario: Scenario) -> dict[str, Any]:
    plain = asdict(scenario)
    for name in ("effects", "lanes_reopen"):
        del plain[name]
    if scenario.density is not None and not scenario.density.log_durations:
        del plain["density"]["log_durations"]
    return plain | {"drivers": scenario.drivers.to_plain()} | _newer_parts(scenario)


def _newer_parts(scenario: Scenario) -> dict[str, Any]:
    """What is left out where it says nothing, so that hashes are those from before there were such parts."""
    parts: dict[str, Any] = {}
    if scenario.effects:
        parts["effects"] = [effect.to_plain() for effect in scenario.effects]
    if scenario.lanes_reopen is not LanesReopen.AT_ONCE:
        parts["lanes_reopen"] = scenario.lanes_reopen
    return parts


def digest(content: Any) -> str:
    """SHA-256 of content in one canonical JSON form."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def canonical(content: Any) -> str:
    """Content in one canonical JSON form."""
    return json.dumps(content, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """Numbers from other libraries, and enums, as JSON knows them."""
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no canonical form")
