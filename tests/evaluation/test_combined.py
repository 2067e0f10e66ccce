"""Several policies in one: order, who wins, what is given back, and how they are named."""

import pytest

from scenariogen.errors import PolicyError
from scenariogen.evaluation.combined import Combined
from scenariogen.evaluation.policy import load_policy, resolve_policies, resolve_policy
from scenariogen.simulation.contract import Policy
from tests.evaluation.paper_project import write_policy
from tests.policies.room import PaperSignal, crossing


class Wants(Policy):
    """Sets a state at some seconds; None releases the signal."""

    def __init__(self, name, plan, *, reads=("signals",), needs_detectors=False):
        self.name, self.plan, self.reads, self.needs_detectors = name, plan, reads, needs_detectors
        self.finished = 0

    def step(self, run, time_s):
        if time_s in self.plan:
            signal, state = run.signals["J"], self.plan[time_s]
            if state is None:
                signal.release()
            else:
                signal.set_state(state)

    def finish(self, run):
        self.finished += 1
        if "raises" in self.name:
            raise OSError(self.name)


class Released(PaperSignal):
    def release(self):
        self.shown = "own"


def shown(*parts, seconds):
    room, signal = crossing()
    room.signals = {"J": Released(signal.id, signal.links, signal.phases)}
    both = Combined(parts)
    both.start(room)
    found = []
    for second in range(1, seconds + 1):
        both.step(room, float(second))
        found.append(room.signals["J"].state)
    both.finish(room)
    return found


def test_the_later_wins_until_it_lets_go_and_then_the_earlier_shows_again():
    under = Wants("under", {1: "Gr", 3: "rG", 6: None})
    over = Wants("over", {2: "rr", 5: None})
    assert shown(under, over, seconds=6) == ["Gr", "rr", "rr", "rr", "rG", "own"]


def test_an_earlier_policy_that_lets_go_leaves_the_later_ones_state():
    assert shown(Wants("a", {1: "Gr", 3: None}), Wants("b", {2: "rG"}), seconds=3) == ["Gr", "rG", "rG"]
    assert shown(Wants("a", {1: None}), Wants("b", {}), seconds=1) == ["Gr"], "nothing was wanted"


def test_a_wrong_state_is_refused_whoever_wins():
    with pytest.raises(PolicyError, match="2 links"):
        shown(Wants("a", {2: "G"}), Wants("b", {1: "rr"}), seconds=2)


def test_it_reads_and_needs_what_its_parts_do_and_all_of_them_finish():
    parts = (Wants("raises first", {}, reads=("signals", "incidents")), Wants("b", {}, needs_detectors=True))
    both = Combined(parts)
    assert both.name == "raises first+b" and both.reads == ("signals", "incidents") and both.needs_detectors
    room, _ = crossing()
    both.start(room)
    with pytest.raises(OSError, match="raises first"):
        both.finish(room)
    assert [part.finished for part in parts] == [1, 1]


def test_names_joined_by_a_plus_are_one_policy_with_a_hash_of_all(tmp_path):
    both = resolve_policy("max_pressure+incident_plans")
    assert both.name == "max_pressure+incident_plans" and both.reads_incidents
    assert both.sha256 != resolve_policy("incident_plans+max_pressure").sha256
    made = both.create()
    assert isinstance(made, Combined) and [part.name for part in made.parts] == ["max_pressure", "incident_plans"]
    mine = write_policy(tmp_path, "calm")
    assert resolve_policies([f"{mine}+no_control", "no_control"])[0].name == "calm+no_control"
    assert not resolve_policy("no_control+max_pressure").reads_incidents
    odd = tmp_path / "a+b.py"
    odd.write_text(mine.read_text())
    assert load_policy(odd).name == "calm", "a file with a plus in its name is a file"


def test_what_is_wrong_with_any_part_is_told():
    with pytest.raises(PolicyError) as caught:
        resolve_policy("no_control+nobody+no_control+nothing")
    text = str(caught.value)
    assert "'nobody'" in text and "'nothing'" in text and "no_control is named twice" in text
