"""A model on disk: tensors as safetensors, everything else as JSON; never pickle."""

import gzip
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import torch

from scenariogen.errors import ModelError
from scenariogen.incidents.capacity_tables import CapacityTable
from scenariogen.model.condition import table_from_plain
from scenariogen.model.marks import Marks
from scenariogen.model.rates import RateShape
from scenariogen.model.scenario_model import ScenarioModel
from scenariogen.network import RoadNetwork, file_sha256, read_network
from scenariogen.window import StudyWindow
from scenariogen.written import written_whole

SCHEMA = "scenariogen-model/1"
TENSORS, DESCRIPTION, NETWORK = "model.safetensors", "model.json", "network.net.xml.gz"
REQUIRED = (
    "network_hash", "network_file", "tensors_sha256", "rate_network", "window", "condition", "info",
)  # fmt: skip
"""What a description must have; the table of capacities may be missing."""
WIDENED = torch.tensor([0.0, math.log(1.6)], dtype=torch.float64)
"""The base of durations of models that were written before it was learned."""


def save_model(model: ScenarioModel, folder: Path) -> Path:
    """Write a model's folder; each file is replaced in one step, the description last."""
    from safetensors.torch import save_file

    from scenariogen import __version__

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"shape.{name}": value for name, value in model.shape.state_dict().items()}
    tensors |= {f"marks.{name}": value for name, value in model.marks.state_dict().items()}
    tensors |= {f"demand.{name}": value for name, value in model.condition.tensors().items()}
    tensors |= {"cell_edges_s": model.cell_edges_s, "exposure": model.exposure, "posterior": model.posterior}
    with written_whole(folder / TENSORS) as partial:
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial)
    description = {
        "schema": SCHEMA,
        "scenariogen": __version__,
        "torch": torch.__version__,
        "network_hash": model.network.sha256,
        "network_file": model.network.path.name,
        "edges": len(model.network.edges),
        "tensors_sha256": file_sha256(folder / TENSORS),
        "rate_network": {"hidden": model.shape.hidden, "members": len(model.shape.members)},
        "window": asdict(model.window),
        "condition": model.condition.plain(),
        "info": model.info,
    }
    if model.capacity_table is not None:
        table = model.capacity_table
        description["capacity_table"] = {"name": table.name, "content": dict(table.content)}
    _keep_network(model.network, folder)
    with written_whole(folder / DESCRIPTION) as partial:
        partial.write_text(json.dumps(description, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return folder


def _keep_network(network: RoadNetwork, folder: Path) -> None:
    """A compressed copy of the network, so that scenarios can be drawn where the project is not."""
    content = network.path.read_bytes()
    if network.path.suffix == ".gz":
        content = gzip.decompress(content)
    with written_whole(folder / NETWORK) as partial:
        partial.write_bytes(gzip.compress(content, mtime=0))


def load_model(folder: Path | str, network: RoadNetwork | None = None) -> ScenarioModel:
    """Read a model; ``network`` None takes the copy kept with it. ``ModelError`` says what is wrong."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    description = read_description(folder)
    if network is None:
        network = replace(read_network(folder / NETWORK), sha256=description["network_hash"])
    elif description["network_hash"] != network.sha256:
        raise ModelError(
            f"the model in {folder} was fitted on {description['network_file']} with hash "
            f"{description['network_hash'][:12]}; {network.path.name} has {network.sha256[:12]}: fit again"
        )
    if file_sha256(folder / TENSORS) != description["tensors_sha256"]:
        raise ModelError(f"{folder / TENSORS} does not belong to {DESCRIPTION} (its hash differs): fit again")
    try:
        tensors = load_file(folder / TENSORS)
    except SafetensorError as error:
        raise ModelError(f"{folder / TENSORS} cannot be read: {error}") from error
    shape = RateShape(**description["rate_network"])
    marks = Marks()
    shape.load_state_dict({k.removeprefix("shape."): v for k, v in tensors.items() if k.startswith("shape.")})
    heads = {k.removeprefix("marks."): v for k, v in tensors.items() if k.startswith("marks.")}
    marks.load_state_dict({"duration_base": WIDENED, **heads})
    window = dict(description["window"])
    window["remarks"] = tuple(window["remarks"])
    demand = {k.removeprefix("demand."): v for k, v in tensors.items() if k.startswith("demand.")}
    return ScenarioModel(
        network=network,
        window=StudyWindow(**window),
        cell_edges_s=tensors["cell_edges_s"],
        exposure=tensors["exposure"],
        shape=shape,
        marks=marks,
        posterior=tensors["posterior"],
        condition=table_from_plain(description["condition"], demand),
        info={**description["info"], "model_hash": description["tensors_sha256"]},
        capacity_table=CapacityTable(**description["capacity_table"]) if "capacity_table" in description else None,
    )


def read_description(folder: Path) -> dict:
    """The JSON half of a model's folder."""
    path = folder / DESCRIPTION
    if not path.is_file() or not (folder / TENSORS).is_file():
        raise ModelError(f"{folder} holds no model (expected {DESCRIPTION} and {TENSORS}): run scenariogen fit first")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    schema = description.get("schema") if isinstance(description, dict) else None
    if schema != SCHEMA:
        raise ModelError(f"{path} has the schema {schema!r}, this version reads {SCHEMA!r}")
    missing = [name for name in REQUIRED if name not in description]
    if missing:
        raise ModelError(f"{path} is damaged, it lacks {', '.join(missing)}: fit again")
    return description
