"""Models on disk that are damaged, or that an earlier version wrote."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from scenariogen.errors import ModelError
from scenariogen.model.checkpoint import DESCRIPTION, SCHEMA, TENSORS, load_model, save_model
from scenariogen.network import file_sha256
from tests.model.small import small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    model = small_model()
    net = tmp_path_factory.mktemp("net") / "two.net.xml"
    net.write_text("<net/>")
    return replace(model, network=replace(model.network, path=net))


@pytest.fixture
def folder(tmp_path, model):
    return save_model(model, tmp_path / "model")


def test_a_model_may_be_read_by_whom_the_umask_lets(folder):
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {folder.stat().st_mode & 0o666}


@pytest.mark.parametrize(
    ("content", "says"),
    [("[]", "schema None"), (json.dumps({"schema": SCHEMA}), "it lacks network_hash"), ("{", "not JSON")],
)
def test_a_damaged_description_is_refused_with_the_reason(folder, model, content, says):
    (folder / DESCRIPTION).write_text(content)
    with pytest.raises(ModelError, match=says):
        load_model(folder, model.network)


def test_a_model_from_before_durations_had_a_base_of_their_own_keeps_its_densities(folder, model):
    tensors = load_file(folder / TENSORS)
    del tensors["marks.duration_base"]
    save_file(tensors, folder / TENSORS)
    description = json.loads((folder / DESCRIPTION).read_text())
    description["tensors_sha256"] = file_sha256(folder / TENSORS)
    (folder / DESCRIPTION).write_text(json.dumps(description))
    base = load_model(folder, model.network).marks.duration_base
    torch.testing.assert_close(base.detach(), torch.tensor([0.0, math.log(1.6)], dtype=torch.float64))
