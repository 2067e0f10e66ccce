"""Who drives is read from files, tables are kept by traffic, and what has no table is said."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenariogen.errors import ProjectError
from scenariogen.incidents import capacity
from scenariogen.incidents.capacity_tables import CapacityTable, shipped_table
from scenariogen.injection import inject
from scenariogen.injection.calibration import blocked_lanes, calibrate, without_long_delays
from scenariogen.injection.calibration_cache import cache_file, cache_folder, find_table, keep_table, kept_table
from scenariogen.injection.records import InjectionWarning
from scenariogen.injection.rig import Rig, summarise
from scenariogen.injection.signal_rig import SignalRig, stop_line_losses
from scenariogen.injection.vehicle_mix import (
    CLASS_DEFAULTS,
    DEFAULT_TRAFFIC,
    MEAN_TOLERANCES,
    Traffic,
    VehicleType,
    make_traffic,
    traffic_from_record,
)
from scenariogen.injection.vehicle_mix_reading import DRIVING_OPTIONS, read_traffic
from scenariogen.network import RoadClass
from tests.injection import roads

LORRIES = make_traffic([(70, {}), (30, {"vClass": "truck", "length": "12", "tau": "1.5"})])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def fake_table(traffic: Traffic, *, factor: float = 1.0) -> dict:
    """The shipped table under another traffic's name; ``factor`` makes its shares other ones."""
    content = dict(shipped_table().content) | {"traffic": traffic.as_record(), "vehicles": str(traffic)}
    content["rows"] = [
        {**row, "share": [share * factor if row["blocked"] else share for share in row["share"]]}
        for row in content["rows"]
    ]
    return content


def routes(folder, text: str):
    path = folder / "mixed.rou.xml"
    path.write_text(f"<routes>{text}</routes>", encoding="utf-8")
    return path


def test_a_mix_is_read_from_types_distributions_flows_and_nested_models(tmp_path):
    path = routes(
        tmp_path,
        """<vType id="lorry" vClass="truck" length="12" color="red"><carFollowing-IDM tau="1.4"/></vType>
        <vTypeDistribution id="cars"><vType id="a" probability="3"/><vType id="b" minGap="1" probability="1"/>
        </vTypeDistribution>
        <vTypeDistribution id="both" vTypes="lorry b" probabilities="0.5 0.5"/>
        <vType id="bike" vClass="bicycle"/>
        <flow id="f" type="cars" from="x" to="y" begin="0" end="3600" vehsPerHour="80"/>
        <flow id="g" type="both" from="x" to="y" begin="0" end="600" period="exp(0.05)"/>
        <flow id="bikes" type="bike" from="x" to="y" begin="0" end="600" number="500"/>
        <trip id="t" depart="700" from="x" to="y"/>""",
    )
    found = {(t.vehicle_class, t.attributes): t.share for t in read_traffic([path]).types}
    lorry = ("truck", (("carFollowModel", "IDM"), ("length", "12"), ("tau", "1.4")))
    assert set(found) == {("passenger", ()), ("passenger", (("minGap", "1"),)), lorry}
    assert found["passenger", ()] == pytest.approx(61 / 111, abs=0.006)
    assert found["passenger", (("minGap", "1"),)] == pytest.approx(35 / 111, abs=0.006)
    assert found[lorry] == pytest.approx(15 / 111, abs=0.006)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-5)


def test_a_mix_spreads_over_files_and_a_file_that_changes_is_read_again(tmp_path):
    types, use = tmp_path / "types.add.xml", tmp_path / "use.rou.xml"
    trip = '<trip id="t" type="all" depart="0" from="x" to="y"/>'
    use.write_text(f'<routes><vTypeDistribution id="all" vTypes="a b"/>{trip}</routes>')
    for weight, share in ((1, 0.25), (9, 0.75)):
        types.write_text(
            f'<additional><vType id="a" minGap="1" probability="{weight}"/><vType id="b" probability="3"/></additional>'
        )
        found = {t.attributes: t.share for t in read_traffic([types, use]).types}
        assert found == {(("minGap", "1"),): pytest.approx(share), (): pytest.approx(1 - share)}


def test_files_without_any_type_are_the_default_car(tmp_path):
    path = routes(tmp_path, '<trip id="t" depart="0" from="x" to="y"/>')
    defaults = dict(DRIVING_OPTIONS)
    assert read_traffic([path], options=defaults) == DEFAULT_TRAFFIC
    assert read_traffic([path], options=defaults | {"lateral-resolution": "0.8"}).differences(DEFAULT_TRAFFIC) == (
        "option lateral-resolution 0.8, not as SUMO's default",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<vType id="a"/><trip id="t" type="nobody" depart="0"/>', "'nobody' is used and nowhere defined"),
        ('<vType id="a" tau="soon"/><trip id="t" type="a" depart="0"/>', "'soon', expected a number"),
        ('<vType id="a"/>', "no vehicle, trip or flow"),
        ('<vTypeDistribution id="d"/><vType id="a"/><trip id="t" type="d" depart="0"/>', "'d' is empty"),
    ],
)
def test_a_mix_that_cannot_be_read_is_refused_with_the_reason(tmp_path, text, said):
    with pytest.raises(ProjectError, match=said):
        read_traffic([routes(tmp_path, text)]).differences(DEFAULT_TRAFFIC)


def test_what_differs_materially_is_said_and_what_does_not_is_no_difference():
    assert LORRIES.differences(LORRIES) == () and DEFAULT_TRAFFIC.differences(DEFAULT_TRAFFIC) == ()
    assert any(line.startswith("mean tau") for line in LORRIES.differences(DEFAULT_TRAFFIC))
    assert make_traffic([(98, {}), (2, {"vClass": "truck"})]).differences(DEFAULT_TRAFFIC) == ()
    eidm = make_traffic([(1, {"carFollowModel": "EIDM"})])
    assert "carFollowModel=EIDM for 100% of the vehicles, not 0%" in eidm.differences(DEFAULT_TRAFFIC)
    assert Traffic(step_s=0.5).differences(DEFAULT_TRAFFIC) == ("step length 0.5 s, not 1",)
    by_option = Traffic(options={"default.carfollowmodel": "IDM"})
    assert any("carFollowModel=IDM" in line for line in by_option.differences(DEFAULT_TRAFFIC))


@given(
    st.dictionaries(st.sampled_from(["length", "minGap", "tau", "sigma", "accel"]), st.floats(0.5, 9).map(str)),
    st.integers(1, 99),
)
def test_a_record_is_read_back_and_the_key_follows_the_content(attributes, weight):
    traffic = make_traffic([(weight, attributes), (100 - weight, {})], step_s=0.5, options={"lateral-resolution": "1"})
    again = traffic_from_record(json.loads(json.dumps(traffic.as_record())))
    assert again == traffic and again.key == traffic.key
    assert traffic.key != DEFAULT_TRAFFIC.key


def test_within_the_tolerances_of_space_and_headway_the_formulas_share_moves_by_less_than_the_tables_error():
    for limit in (110 / 3.6, 80 / 3.6, 50 / 3.6):
        for speed in (3.0, 6.0, 9.0, 12.0):
            shares = [
                (tau + space / limit) / (tau + space / speed)
                for tau, space in ((1.0, 7.5), (1 + MEAN_TOLERANCES["tau"], 7.5), (1.0, 7.5 + MEAN_TOLERANCES["space"]))
            ]
            assert max(abs(share - shares[0]) for share in shares) < 0.01


@pytest.mark.sumo
def test_the_defaults_of_each_class_are_those_of_the_simulator(start, road, tmp_path):
    types = "".join(f'<vType id="t.{name}" vClass="{name}"/>' for name in CLASS_DEFAULTS)
    sumo = start("libsumo", road(1), routes(tmp_path, types))
    ask = sumo.vehicletype
    for name in CLASS_DEFAULTS:
        kind, means = f"t.{name}", VehicleType(share=1.0, vehicle_class=name).means
        found = {
            "space": ask.getLength(kind) + ask.getMinGap(kind),
            "tau": ask.getTau(kind),
            "sigma": ask.getImperfection(kind),
            "accel": ask.getAccel(kind),
            "decel": ask.getDecel(kind),
            "maxSpeed": min(ask.getMaxSpeed(kind), 40.0),
            "speedFactor": ask.getSpeedFactor(kind),
            "speedDev": ask.getSpeedDeviation(kind),
        }
        assert found == pytest.approx(means, abs=0.005), name


def test_a_kept_table_is_found_again_by_its_traffic_and_by_one_that_does_not_differ():
    assert find_table(LORRIES) is None
    file = keep_table(fake_table(LORRIES))
    assert file.parent == cache_folder() and file == cache_file(LORRIES)
    found = find_table(LORRIES)
    assert found is not None and len(found.rows) == len(shipped_table().rows) and str(file) in found.name
    near = make_traffic([(71, {}), (29, {"vClass": "truck", "length": "12", "tau": "1.5"})])
    assert find_table(near) is found and find_table(DEFAULT_TRAFFIC) is shipped_table()
    assert find_table(Traffic(types=LORRIES.types, step_s=0.5)) is None


def test_a_table_of_another_sumo_is_not_taken_and_rows_of_other_roads_are_kept(monkeypatch):
    content = fake_table(LORRIES)
    one, other = ([row for row in content["rows"] if row["road_class"] == kind] for kind in ("street", "motorway"))
    keep_table({**content, "rows": one})
    table = kept_table(keep_table({**content, "rows": other}))
    assert table.holds(RoadClass.STREET, 3, 1) and table.holds(RoadClass.MOTORWAY, 7, 5)
    assert not table.holds(RoadClass.RAMP, 1, 0)
    monkeypatch.setattr("scenariogen.injection.calibration_cache.installed_sumo", lambda: "1.99.0")
    assert find_table(LORRIES) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"rows": []}'])
def test_a_damaged_table_is_named_with_what_to_do(content):
    file = cache_file(LORRIES)
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(ProjectError, match=rf"{file.name}.*delete it"):
        find_table(LORRIES)


def lorry_flows(tmp_path):
    return routes(
        tmp_path,
        LORRIES.xml("mix")
        + '<route id="all" edges="before middle after"/>'
        + '<flow id="f" type="mix" route="all" begin="0" end="600" vehsPerHour="1500" departLane="free"/>',
    )


@pytest.mark.sumo
def test_other_traffic_without_a_table_is_warned_about_with_what_to_type(start, road, tmp_path):
    network = road(3)
    sumo = start("libsumo", network, lorry_flows(tmp_path))
    asked = roads.incident(start_s=5, capacity_left=0.4)
    with (
        pytest.warns(InjectionWarning, match="this traffic differs.*mean.*scenariogen calibrate --sumocfg"),
        inject(sumo, roads.scenario(asked), network=network) as injection,
    ):
        sumo.simulationStep()
    assert injection.capacity_table == shipped_table().name


@pytest.mark.sumo
def test_other_traffic_with_a_table_is_looked_up_there_and_the_nearest_share_is_said(start, road, tmp_path):
    network = road(3)
    keep_table(fake_table(LORRIES, factor=0.9))
    sumo = start("libsumo", network, lorry_flows(tmp_path))
    high = capacity.reachable(RoadClass.MOTORWAY, 3, 1)[1]
    asked = [roads.incident(start_s=5, capacity_left=share, duration_s=60) for share in (0.4, high)]
    with (
        pytest.warns(InjectionWarning, match=f"incident 1: .*between .* and {0.9 * high:.2f} .*will be left"),
        inject(sumo, roads.scenario(asked[0], asked[1]), network=network) as injection,
    ):
        while sumo.simulation.getTime() < 20:
            sumo.simulationStep()
        first = injection.report()[0]
    assert "measured with" in injection.capacity_table
    shipped = capacity.stretch_speed_mps(RoadClass.MOTORWAY, 3, 1, 0.4, roads.MOTORWAY_MPS)
    assert first.stretch_speed_mps > shipped + 1.0  # less is left at the same speed, so more speed is needed


@pytest.mark.sumo
def test_default_traffic_is_looked_up_in_the_shipped_table_without_a_word(start, road, tmp_path, recwarn):
    network = road(2)
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=2, per_lane_veh_h=300))
    with inject(sumo, roads.scenario(roads.incident(start_s=5, capacity_left=0.3)), network=network) as injection:
        sumo.simulationStep()
    assert injection.capacity_table == shipped_table().name and injection.warnings == ()
    assert not [each for each in recwarn if issubclass(each.category, InjectionWarning)]


@pytest.mark.sumo
def test_a_mix_of_weak_brakes_saturates_the_rig_and_leaves_what_its_own_table_says():
    """SUMO's full insertion checks let EIDM cars in at a third of the flow that they can drive."""
    eidm = make_traffic([(1, {"carFollowModel": "EIDM", "accel": "1.1", "decel": "2.0"})])
    road_class, limit = RoadClass.STREET, 50 / 3.6
    content = calibrate(seeds=(1,), roads=[(road_class, 1)], traffic=eidm)
    table = CapacityTable("this", content)
    (row,) = table.rows
    assert row["free_veh_h"] > 1500
    speed = table.stretch_speed_mps(road_class, 1, 0, 0.6, limit)
    with Rig(1, limit, eidm) as rig:
        free = summarise([rig.free_discharge(seed=seed) for seed in (11, 12)])
        left = summarise([rig.discharge((), [speed], seed=seed)[0] for seed in (11, 12)])
    assert abs(left.veh_h / free.veh_h - 0.6) < 0.06


@pytest.mark.sumo
def test_steps_of_half_a_second_count_the_same_minutes():
    with Rig(1, 50 / 3.6, Traffic(step_s=0.5)) as rig:
        minutes = rig.free_discharge(seed=1)
    assert len(minutes) == 8 and 20 < minutes.mean() < 40


def test_lanes_are_blocked_from_either_side():
    assert blocked_lanes(4, 1, "left") == (3,) and blocked_lanes(3, 0, "right") == ()


@pytest.mark.sumo
@pytest.mark.filterwarnings("error::scenariogen.injection.InjectionWarning")  # of options that rigs set
def test_before_a_signal_a_lane_costs_the_less_the_farther_away_it_is_blocked():
    close, middle, far = (each.measured for each in stop_line_losses(seeds=(1,), lanes=(2,)) if each.asked is None)
    assert 0.40 < close < 0.55 and 0.58 < middle < 0.78 and 0.90 < far < 1.0


@pytest.mark.sumo
def test_the_signal_serves_a_steady_queue():
    with SignalRig(2) as rig:
        counts = rig.per_cycle((), 0.0, seed=3)
    assert len(counts) == 20 and counts.std() < 0.1 * counts.mean()


@pytest.mark.sumo
@pytest.mark.filterwarnings("error::scenariogen.injection.InjectionWarning")  # of options that rigs set
def test_levels_at_which_traffic_on_one_side_of_inner_lanes_would_queue_are_left_out():
    """Of four lanes of a street with the second one blocked, walking speed delayed half the capacity left by 52 s."""
    row = {
        "road_class": "street",
        "lanes": 4,
        "blocked": 1,
        "inner": True,
        "free_veh_h": 7200.0,
        "speeds_mps": [1.5, 5.0, 13.9],
        "share": [0.185, 0.467, 0.62],
        "standard_error": [0.005, 0.005, 0.005],
    }
    with Rig(4, 50 / 3.6) as rig:
        trimmed = without_long_delays(rig, row, seeds=(1,))
    assert trimmed == row | {"speeds_mps": [5.0, 13.9], "share": [0.467, 0.62], "standard_error": [0.005, 0.005]}
