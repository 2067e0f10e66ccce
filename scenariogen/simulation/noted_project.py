"""Which project a model's folder was fitted on, noted beside the model, so that later commands need not be told."""

import json
from pathlib import Path

from scenariogen.errors import ModelError
from scenariogen.simulation.catalog import list_networks
from scenariogen.simulation.project import SumoProject, open_project
from scenariogen.written import written_whole

NOTE = "project.json"


def note_project(folder: Path, project: SumoProject, name: str) -> None:
    """Write the note of a project and what it is called."""
    note = {"name": name, "sumocfg": str(project.sumocfg), "project_hash": project.hash}
    with written_whole(folder / NOTE) as partial:
        partial.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def noted_project(folder: Path) -> tuple[SumoProject, str]:
    """The project that a model was fitted on, and its name. Raises ``ModelError`` where it is not noted or gone."""
    if not folder.is_dir():
        raise ModelError(f"the model folder {folder} does not exist: make one with scenariogen fit")
    if not (folder / NOTE).is_file():
        raise ModelError(f"{folder} does not say which project it is for: give --network or --sumocfg")
    note = _read(folder)
    name, sumocfg = note["name"], Path(note["sumocfg"])
    if not sumocfg.is_file():  # a network of the catalogue moves with the environment
        known = {each.name: each.sumocfg for each in list_networks() if each.available}
        if name not in known:
            raise ModelError(f"{sumocfg}, which the model was fitted on, is no longer there: give --sumocfg FILE")
        sumocfg = known[name]
    return open_project(sumocfg), name


def check_noted(folder: Path, project: SumoProject) -> None:
    """Raise ``ModelError`` where a project is not, or no longer, the one whose times and traffic a model has.

    A model that was saved from Python has no note; it belongs to a network, which is checked when it is loaded.
    """
    if not (folder / NOTE).is_file():
        return
    noted = _read(folder)["project_hash"]
    if noted != project.hash:
        raise ModelError(
            f"the model in {folder} was fitted on a project with hash {noted[:12]}, {project.name} has "
            f"{project.hash[:12]}: times, traffic and frequencies in it are not this project's; fit again"
        )


def _read(folder: Path) -> dict[str, str]:
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return {key: str(note[key]) for key in ("name", "sumocfg", "project_hash")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / NOTE} is damaged ({type(error).__name__}: {error}): fit again") from error
