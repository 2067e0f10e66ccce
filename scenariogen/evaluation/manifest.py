"""What a results folder is about, so that nothing else gets mixed into it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scenariogen.errors import Problems, ResultsError
from scenariogen.evaluation.policy import PolicyReference

SCHEMA = 1
MANIFEST = "results.json"
GROWN = "all"
"""Where the results of an evaluation lie that grew look by look, inside its folder."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a results folder is about.

    ``sumocfg``   where the project lay, for commands that replay a run
    ``replicas``  simulator seeds per scenario
    ``simulator`` ``libsumo``, ``traci`` or ``dummy``
    ``capacity_table``  hash of the table that speeds past incidents are looked up in; empty for the shipped default
    ``usual_traffic``   hash of what usual traffic is made from, where policies learn of incidents from a detector;
                        empty: incidents are reported to them
    ``emissions``       what vehicles emit is measured
    """

    project_hash: str
    project_name: str
    sumocfg: str
    network_hash: str
    batch_hash: str
    window: dict[str, Any] = field(repr=False)
    policies: tuple[PolicyReference, ...]
    replicas: int
    simulator: str
    sumo_version: str
    scenariogen_version: str
    capacity_table: str = ""
    usual_traffic: str = ""
    emissions: bool = False

    def to_json(self) -> str:
        """Indented JSON."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, path: Path) -> "Manifest":
        """Read it back, or raise a ``ResultsError`` that names the file."""
        try:
            content = json.loads(text)
            schema = content.pop("schema")
            if schema != SCHEMA:
                raise ResultsError(f"{path} has schema {schema}, this version reads {SCHEMA}: use a new folder")
            policies = [each | {"parts": tuple(each.get("parts", ()))} for each in content["policies"]]
            content["policies"] = tuple(PolicyReference(**each) for each in policies)
            return cls(**content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ResultsError(f"{path} is not a manifest of results ({error}): use a new folder") from error


def read_manifest(folder: Path) -> Manifest:
    """The folder's manifest, or a ``ResultsError``."""
    path = folder / MANIFEST
    if not path.is_file():
        if (folder / GROWN / MANIFEST).is_file():
            raise ResultsError(f"{folder} grew look by look: its results are in {folder / GROWN}")
        what = "is not a results folder" if folder.is_dir() else "does not exist"
        raise ResultsError(f"{folder} {what}: it has no {MANIFEST}; expected the --out folder of an evaluation")
    return Manifest.from_json(path.read_text(encoding="utf-8"), path)


def refuse_mixing(old: Manifest, new: Manifest, folder: Path) -> None:
    """Raise a ``ResultsError`` where a folder belongs to something else than what is asked for now."""
    problems = Problems(f"{folder} holds other results; choose a new folder")
    if old.project_hash != new.project_hash:
        problems.add(
            f"they are of project {old.project_name} ({old.project_hash[:12]}), this is {new.project_name} "
            f"({new.project_hash[:12]})"
        )
    if old.batch_hash != new.batch_hash:
        problems.add(f"they are of another batch of scenarios ({old.batch_hash[:12]}, this is {new.batch_hash[:12]})")
    for name in sorted(set(old.window) | set(new.window)):
        if old.window.get(name) != new.window.get(name):
            problems.add(f"their study window has {name} {old.window.get(name)}, this one {new.window.get(name)}")
    if old.simulator != new.simulator:
        problems.add(f"they were made with {old.simulator}, this is {new.simulator}")
    problems.raise_as(ResultsError)
