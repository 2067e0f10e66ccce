"""Loading policies: every way to name one, and one clear message for each thing that can be wrong."""

import pickle
import sys

import pytest

from scenariogen.errors import PolicyError, ResultsError
from scenariogen.evaluation.policy import (
    describe_failure,
    known_policies,
    load_policy,
    resolve_policies,
    resolve_policy,
)

GOOD = """
from scenariogen.simulation.contract import Policy
STARTED = []
class Mine(Policy):
    name = "mine"
    def step(self, run, time_s):
        raise RuntimeError("nothing to control")
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_the_shipped_policies_are_known_by_short_name():
    assert {"no_control", "max_pressure"} <= set(known_policies())
    assert load_policy("no_control").name == "no_control"


def test_a_file_is_loaded_from_any_path_and_leaves_nothing_beside_it(write, tmp_path):
    path = write(GOOD)
    assert load_policy(path).name == "mine"
    assert [each.name for each in tmp_path.iterdir()] == ["mine.py"]


def test_a_relative_path_works(write, tmp_path, monkeypatch):
    write(GOOD)
    monkeypatch.chdir(tmp_path)
    assert resolve_policy("mine.py").spec == str(tmp_path / "mine.py")
    assert resolve_policy("./mine.py").name == "mine"


def test_module_and_name(write, tmp_path, monkeypatch):
    write(GOOD, "a_module_of_mine.py")
    monkeypatch.syspath_prepend(tmp_path)
    reference = resolve_policy("a_module_of_mine:Mine")
    assert (
        reference.create().name == "mine"
        and reference.sha256 == resolve_policy(tmp_path / "a_module_of_mine.py").sha256
    )


def test_an_entry_point(monkeypatch, write, tmp_path):
    import importlib.metadata as metadata

    write(GOOD, "installed_policy.py")
    monkeypatch.syspath_prepend(tmp_path)
    entry = metadata.EntryPoint(name="from_elsewhere", value="installed_policy:Mine", group="scenariogen.policies")
    monkeypatch.setattr(metadata, "entry_points", lambda group: (entry,))
    assert load_policy("from_elsewhere").name == "mine"
    assert "from_elsewhere" in known_policies()


def test_every_run_gets_a_policy_that_no_other_run_has_touched(write):
    """Not even through a module-level variable: the file is executed afresh."""
    reference = resolve_policy(write(GOOD))
    first, second = reference.create(), reference.create()
    sys.modules[type(first).__module__].STARTED.append(1)
    assert first is not second and type(first) is not type(second)
    assert reference.create().step.__globals__["STARTED"] == []


def test_a_reference_travels_to_another_process_as_text(write):
    reference = resolve_policy(write(GOOD))
    assert pickle.loads(pickle.dumps(reference)) == reference
    assert b"nothing to control" not in pickle.dumps(reference)


def test_the_hash_is_of_the_content(write):
    before = resolve_policy(write(GOOD)).sha256
    assert resolve_policy(write(GOOD + "\n# changed\n")).sha256 != before


def test_a_class_without_a_name_takes_the_files(write):
    assert resolve_policy(write(GOOD.replace('name = "mine"', "pass"), "the_stem.py")).name == "the_stem"


def test_a_base_class_in_the_file_does_not_count(write):
    text = GOOD + "\nclass Better(Mine):\n    name = 'better'\n"
    assert load_policy(write(text)).name == "better"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = (", r"SyntaxError.*line 1"),
        ("import scenariogen_that_is_not_there", r"ModuleNotFoundError.*line 1"),
        ("a = 1\nb = 0\nc = a / b\n", r"ZeroDivisionError: division by zero \(line 3: c = a / b\)"),
        ("import sys\nsys.exit(3)\n", r"SystemExit: 3 \(line 2"),
        ("x = 1\n", r"holds no policy; expected one class derived from"),
        (GOOD + "\nclass Other(Mine.__base__):\n    def step(self, run, time_s): pass\n", r"several.*Mine, Other"),
        (GOOD.replace("def step", "def stop"), r"Mine\(\) raises: TypeError.*abstract"),
        (GOOD + "\n    def __init__(self, k): pass\n", r"Mine\(\) raises: TypeError.*'k'"),
    ],
    ids=["syntax", "import", "raises", "exits", "none", "several", "abstract", "arguments"],
)
def test_a_file_that_cannot_be_used_says_why(write, text, expected):
    path = write(text)
    with pytest.raises(PolicyError, match=expected) as caught:
        resolve_policy(path)
    assert str(path) in str(caught.value)


def test_one_of_several_can_be_chosen(write):
    path = write(GOOD + "\nclass Other(Mine.__base__):\n    def step(self, run, time_s): pass\n")
    assert type(load_policy(f"{path}:Other")).__name__ == "Other"
    with pytest.raises(PolicyError, match="STARTED is not a subclass"):
        load_policy(f"{path}:STARTED")


def test_unknown_names_and_missing_files_list_what_is_known():
    for wrong in ("no_controll", "policies/nowhere.py"):
        with pytest.raises(PolicyError, match="max_pressure, no_control"):
            resolve_policy(wrong)
    with pytest.raises(PolicyError, match="module not_a_module_here cannot be imported"):
        resolve_policy("not_a_module_here:Name")


def test_all_problems_of_a_list_are_told_at_once(write):
    write(GOOD)
    with pytest.raises(PolicyError) as caught:
        resolve_policies(["no_control", "nowhere.py", write("x = 1", "empty.py")])
    assert len(caught.value.problems) == 2


def test_two_policies_of_one_name_or_none_at_all_are_refused(write):
    first, second = write(GOOD, "a.py"), write(GOOD, "b.py")
    with pytest.raises(PolicyError, match=r"both named 'mine'"):
        resolve_policies([first, second])
    with pytest.raises(PolicyError, match="given twice"):
        resolve_policies([first, first])
    with pytest.raises(PolicyError, match="name at least one"):
        resolve_policies([])
    assert [each.name for each in resolve_policies(["no_control", first])] == ["no_control", "mine"]


def test_a_failure_during_a_run_names_file_and_line(write):
    reference = resolve_policy(write(GOOD))
    with pytest.raises(RuntimeError) as caught:
        reference.create().step(None, 0.0)  # type: ignore[arg-type]
    assert describe_failure(caught.value, reference) == (
        'mine: RuntimeError: nothing to control (line 7: raise RuntimeError("nothing to control"))'
    )


def test_a_file_that_changes_while_it_is_evaluated_is_not_run(write):
    path = write(GOOD)
    reference, other = resolve_policy(path), resolve_policy(f"no_control+{path}")
    reference.create()
    path.write_text(GOOD + "# another\n")
    for each in (reference, other):
        with pytest.raises(ResultsError, match="has changed since the evaluation began"):
            each.create()
    assert resolve_policy(path).create().name == "mine"


def test_a_folder_may_have_a_plus_in_its_name(write, tmp_path):
    (tmp_path / "R + D").mkdir()
    path = write(GOOD, "R + D/mine.py")
    assert resolve_policy(path).create().name == "mine"
    both = resolve_policies([path, "no_control"])
    assert [each.create().name for each in both] == ["mine", "no_control"]
