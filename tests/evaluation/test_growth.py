"""What later readers need of an evaluation that grew."""

import numpy as np
import pytest

from scenariogen.errors import ResultsError
from scenariogen.evaluation.growth import GROWTH, Growth, read_growth
from scenariogen.sampling.looks import Looks

GREW = Growth(looks=(80, 104, 136, 177, 231), look=4, may_stop=True, scenarios=((0, 2, 4), (1, 3)))


def test_stages_part_the_scenarios_in_shares_of_the_planned_runs():
    (first, one), (second, other) = GREW.stages(np.arange(5))
    assert first.tolist() == [True, False, True, False, True] and (first ^ second).all()
    assert (one, other) == pytest.approx((177 / 231, 54 / 231))


def test_the_level_is_that_of_its_look_where_a_target_could_have_stopped_it():
    assert GREW.level(0.95) == Looks(runs=GREW.looks).levels[4] > 0.95
    assert Growth(looks=(80, 160), look=1, may_stop=False, scenarios=((0,),)).level(0.9) == 0.9


def test_it_is_read_back_and_damage_is_said(tmp_path):
    assert read_growth(tmp_path) is None
    (tmp_path / GROWTH).write_text(GREW.to_json())
    assert read_growth(tmp_path) == GREW
    for broken in ("{", "[]", '{"looks": [80], "look": 3, "may_stop": true, "scenarios": [[0]]}'):
        (tmp_path / GROWTH).write_text(broken)
        with pytest.raises(ResultsError, match="damaged"):
            read_growth(tmp_path)
