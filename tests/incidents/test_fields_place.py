"""Where the head of a queue lies, in fields by whole edges."""

import numpy as np
import pandas as pd
import pytest

from scenariogen.incidents.from_fields import detect_in_fields
from scenariogen.trajectories.fields import edie_fields
from tests.incidents.test_detect_fields import DAY_S, field_rows
from tests.trajectories.handmade import JAM_M, LENGTH_M, LIMIT_MPS, REACTION_S, Traffic, every, record, road

SPAN_S = (1800.0, 3600.0)


@pytest.mark.parametrize("at_m", [20.0, 40.0, 250.0])
def test_a_road_closed_near_its_start_is_not_the_one_before_it(tmp_path, at_m):
    """Closed behind two or four vehicles, the road shows hardly a queue; the one before it is full of it."""
    quiet, closed = Traffic(end_s=3000), Traffic(end_s=3000)
    quiet.file(0, every(5, until_s=2900))
    closed.file(0, every(5, until_s=2900), holds=[(LENGTH_M + at_m, 1000.0, 2000.0)])
    network = road(1)
    found = detect_in_fields(edie_fields(record(tmp_path, quiet, closed), network), network)
    (row,) = found.itertuples()
    assert (row.day, row.edge) == (1, "here")
    assert row.position_m == pytest.approx(at_m, abs=20)


def queue_fields(reach_m: float, wider: float, flow_veh_h: float = 1200.0) -> pd.DataFrame:
    """Two days on two lanes; on the second a queue fills ``before``, ``here`` and so much of ``after``, in which each
    vehicle takes ``wider`` times the road; past it drivers gather speed at 1.4 m/s²."""
    minutes = DAY_S // 60
    part = slice(int(SPAN_S[0] // 60), int(SPAN_S[1] // 60))
    per_lane = flow_veh_h / 2 / 3600
    queue_mps = per_lane * wider * JAM_M / (1 - per_lane * wider * REACTION_S)
    gathered_m = (LIMIT_MPS**2 - queue_mps**2) / 2.8
    beyond_s = (LIMIT_MPS - queue_mps) / 1.4 + (LENGTH_M - reach_m - gathered_m) / LIMIT_MPS
    rows = []
    for day in (0, 1):
        for edge, mps in (
            ("before", queue_mps),
            ("here", queue_mps),
            ("after", LENGTH_M / (reach_m / queue_mps + beyond_s)),
        ):
            flow, speed = np.full(minutes, 2400.0), np.full(minutes, LIMIT_MPS)
            if day == 1:
                flow[part], speed[part] = flow_veh_h, mps
            rows.append(field_rows(day, edge, flow, speed))
    return pd.concat(rows)


@pytest.mark.parametrize("wider", [0.85, 1.0, 1.2])
@pytest.mark.parametrize("reach_m", [100.0, 200.0, 400.0])
def test_how_densely_a_queue_stands_is_read_off_the_road_behind_that_it_fills(reach_m, wider):
    network = road(2)
    table = queue_fields(reach_m, wider)
    (row,) = detect_in_fields(table, network, days=[1]).itertuples()
    assert row.edge == "after"
    assert row.position_m == pytest.approx(reach_m, abs=30)
