"""A model's folder says which project it is for, and is refused for any other."""

from types import SimpleNamespace

import pytest

from scenariogen.errors import ModelError
from scenariogen.simulation.noted_project import NOTE, check_noted, note_project, noted_project


def project(tmp_path, number: int) -> SimpleNamespace:
    return SimpleNamespace(sumocfg=tmp_path / "a.sumocfg", hash=f"{number}" * 64, name="a")


def test_a_model_is_for_the_project_that_it_was_fitted_on(tmp_path):
    own, other = project(tmp_path, 1), project(tmp_path, 2)
    check_noted(tmp_path, other)  # nothing was noted
    note_project(tmp_path, own, "a")
    check_noted(tmp_path, own)
    with pytest.raises(ModelError, match="fitted on a project with hash 111111111111, a has 222222222222"):
        check_noted(tmp_path, other)
    with pytest.raises(ModelError, match="no longer there"):
        noted_project(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "a"}'])
def test_a_damaged_note_is_told_and_not_passed_over(tmp_path, content):
    (tmp_path / NOTE).write_text(content)
    for ask in (lambda: check_noted(tmp_path, project(tmp_path, 1)), lambda: noted_project(tmp_path)):
        with pytest.raises(ModelError, match="is damaged"):
            ask()


def test_a_folder_without_a_note_says_what_to_give(tmp_path):
    with pytest.raises(ModelError, match="give --network or --sumocfg"):
        noted_project(tmp_path)
    with pytest.raises(ModelError, match="does not exist"):
        noted_project(tmp_path / "nowhere")
