"""What is drawn of an incident, where and for how long; and the window with a picture of it."""

import math
import struct
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from scenariogen.errors import SimulationError
from scenariogen.injection import inject
from scenariogen.injection.connection import Link
from scenariogen.injection.drawing import (
    BLOCKED_COLOUR,
    LABEL_PARAMETER,
    SLOWED_COLOUR,
    Drawing,
    line_length_m,
    part_of_line,
    strip,
)
from scenariogen.injection.drawing_effects import LIMIT_COLOUR
from scenariogen.injection.replay import ReplaySimulator, require_display
from scenariogen.scenarios.effects import (
    EFFECTS as KINDS_OF_EFFECTS,
)
from scenariogen.scenarios.effects import (
    Closure,
    DemandSurge,
    DetectorOutage,
    Rubbernecking,
    SignalFailure,
    SpeedLimit,
    Weather,
)
from scenariogen.scenarios.records import LanesReopen
from scenariogen.simulation import display
from scenariogen.simulation.contract import RunRequest
from tests.cli.runner import scenariogen
from tests.injection import roads
from tests.simulation import small

BACKENDS = ("libsumo", "traci")
PREFIX = "scenariogen.drawn."


def drawn_of(sumo) -> dict[str, list[tuple[float, float]]]:
    names = [name for name in sumo.polygon.getIDList() if name.startswith(PREFIX)]
    return {name.removeprefix(PREFIX): list(sumo.polygon.getShape(name)) for name in names}


@pytest.mark.sumo
@pytest.mark.parametrize("backend", BACKENDS)
def test_shapes_lie_where_the_vehicles_stand_and_go_with_them(start, road, tmp_path, backend):
    network = road(3)
    sumo = start(backend, network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=600))
    incident = roads.incident(start_s=60, duration_s=60, lanes=(0, 1), capacity_left=0.2, position_m=300.0)
    scenario = roads.scenario(incident)
    seen: dict[float, dict] = {}
    with inject(sumo, scenario, network=network):
        drawing = Drawing(Link(sumo), network, scenario.incidents)
        while sumo.simulation.getTime() < 130:
            sumo.simulationStep()
            now = sumo.simulation.getTime()
            drawing.update(now)
            seen[now] = drawn_of(sumo)
            if now == 100:
                fronts = {lane: sumo.vehicle.getPosition(f"incident.0.{lane}") for lane in (0, 1)}
                colours = {name: tuple(sumo.polygon.getColor(PREFIX + name)) for name in seen[now]}
                label = sumo.poi.getParameter(PREFIX + "0.label", LABEL_PARAMETER)
                assert sumo.poi.getIDList().count(PREFIX + "0.label") == 1
    assert not seen[59.0]
    assert set(seen[100.0]) >= {"0.blocked.0", "0.blocked.1", "0.slowed.middle_0", "0.slowed.middle_2"}
    for lane, (x, y) in fronts.items():
        outline = seen[100.0][f"0.blocked.{lane}"]
        assert min(point[0] for point in outline) < x < max(point[0] for point in outline)
        assert min(point[1] for point in outline) < y < max(point[1] for point in outline)
    assert colours["0.blocked.0"] == BLOCKED_COLOUR
    assert colours["0.slowed.middle_2"] == SLOWED_COLOUR
    for words in ("obstruction", "lanes 0, 1", "capacity left 0.20"):
        assert words in label
    assert not seen[122.0]
    assert not [name for name in sumo.poi.getIDList() if name.startswith(PREFIX)]


@pytest.mark.sumo
def test_a_lane_that_is_open_again_is_no_longer_red(start, road, tmp_path):
    network = road(3)
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=600))
    asked = replace(
        roads.incident(start_s=60, duration_s=60, lanes=(0, 1), capacity_left=0.2, position_m=300.0),
        detection_s=10.0, response_s=10.0, clearance_s=60.0,
    )  # fmt: skip
    scenario = replace(roads.scenario(asked), lanes_reopen=LanesReopen.ONE_BY_ONE)
    red: dict[float, set[str]] = {}
    with inject(sumo, scenario, network=network) as injection:
        drawing = Drawing(Link(sumo), network, scenario.incidents)
        while sumo.simulation.getTime() < 145:
            sumo.simulationStep()
            drawing.update(sumo.simulation.getTime())
            red[sumo.simulation.getTime()] = {name for name in drawn_of(sumo) if ".blocked." in name}
        (reopened, opened_s), *_ = injection.report()[0].reopened
    assert 80 < opened_s < 140
    assert red[opened_s - 2] == {"0.blocked.0", "0.blocked.1"}
    assert red[opened_s + 2] == {f"0.blocked.{1 - reopened}"}
    assert not red[142.0]


EFFECTS = (
    SpeedLimit(start_s=20, duration_s=40, limit_mps=30 / 3.6, edges=("wc",)),
    Closure(start_s=20, duration_s=40, edges=("sc",), classes=("truck",)),
    Weather(start_s=20, duration_s=40, weather="heavy_snow"),
    SignalFailure(start_s=20, duration_s=40, signal="c"),
    DemandSurge(start_s=20, duration_s=40, factor=1.5, entries=("nc",)),
    DetectorOutage(start_s=20, duration_s=40, lanes=("ec_0",)),
    Rubbernecking(start_s=20, duration_s=40, edge="ce", position_m=200, capacity_left=0.6),
)


@pytest.mark.sumo
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_effect_is_drawn_where_it_is_at_its_time_and_says_what_it_is(start, signal_road, backend):
    assert {type(effect) for effect in EFFECTS} == set(KINDS_OF_EFFECTS.values())
    sumo = start(backend, signal_road)
    drawing = Drawing(Link(sumo), signal_road, (), EFFECTS)
    seen: dict[float, dict] = {}
    while sumo.simulation.getTime() < 65:
        sumo.simulationStep()
        now = sumo.simulation.getTime()
        drawing.update(now)
        seen[now] = drawn_of(sumo)
        if now == 40:
            assert tuple(sumo.polygon.getColor(f"{PREFIX}effect.0.0")) == LIMIT_COLOUR
            labels = [sumo.poi.getParameter(f"{PREFIX}effect.{n}.label", LABEL_PARAMETER) for n in range(len(EFFECTS))]
            places = [sumo.poi.getPosition(f"{PREFIX}effect.{n}.label") for n in range(len(EFFECTS))]
    assert not seen[19.0] and not seen[60.0]
    assert not [name for name in sumo.poi.getIDList() if name.startswith(PREFIX)]
    parts = Counter(int(name.split(".")[1]) for name in seen[40.0])
    assert parts == {0: 2, 1: 2, 3: 8, 4: 2, 5: 1, 6: 2}  # weather is a label alone
    says = ("limit 30 km/h", "closed for truck", "heavy snow", "signal c off", "demand x 1.5")
    says += ("detectors: no data", "drivers look")
    assert all(words in label and "00:00:20 to 00:01" in label for words, label in zip(says, labels, strict=True))
    lane = sumo.lane.getShape("wc_0")
    limited = [point for name in ("effect.0.0", "effect.0.1") for point in seen[40.0][name]]
    assert all(min(a[0] for a in lane) - 1 < x < max(a[0] for a in lane) + 1 for x, _ in limited)
    assert len(set(places)) == len(EFFECTS)


@pytest.mark.sumo
def test_drawing_changes_nothing_for_traffic(start, road, tmp_path):
    network = road(2)
    scenario = roads.scenario(roads.incident(start_s=40, duration_s=80, capacity_left=0.35))

    def positions(draw: bool) -> dict[str, float]:
        sumo = start("libsumo", network, roads.flows(tmp_path, lanes=2, per_lane_veh_h=900))
        with inject(sumo, scenario, network=network):
            drawing = Drawing(Link(sumo), network, scenario.incidents if draw else ())
            while sumo.simulation.getTime() < 110:
                sumo.simulationStep()
                drawing.update(sumo.simulation.getTime())
            assert bool(drawing.standing) == draw
            return {vehicle: sumo.vehicle.getDistance(vehicle) for vehicle in sumo.vehicle.getIDList()}

    first = positions(False)
    import libsumo

    libsumo.close()
    assert positions(True) == first


@pytest.mark.sumo
def test_an_incident_that_does_not_come_is_not_drawn(start, road, tmp_path):
    network = road(2)
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=2, per_lane_veh_h=300))
    drawing = Drawing(Link(sumo), network, [roads.incident(start_s=10, duration_s=30)])  # nobody injects it
    while sumo.simulation.getTime() < 30:
        sumo.simulationStep()
        drawing.update(sumo.simulation.getTime())
    assert not drawing.standing
    assert not drawn_of(sumo)


def test_a_strip_has_the_area_of_its_line():
    line = [(0.0, 0.0), (30.0, 0.0), (30.0, 40.0)]
    part = part_of_line(line, 10.0, 60.0)
    assert line_length_m(part) == pytest.approx(50.0)
    outline = strip(part_of_line(line, 5.0, 25.0), 3.0)
    area = 0.5 * abs(sum(x * v - u * y for (x, y), (u, v) in zip(outline, outline[1:] + outline[:1], strict=True)))
    assert area == pytest.approx(60.0)
    assert all(math.isfinite(value) for point in strip([(1.0, 1.0), (1.0, 1.0)], 3.0) for value in point)


def test_without_a_display_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(display.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(SimulationError, match="--screenshot"):
        require_display(None)
    monkeypatch.setattr(display.shutil, "which", lambda name: None)
    with pytest.raises(SimulationError, match="apt-get install xvfb"):
        require_display(tmp_path / "x.png")
    monkeypatch.setenv("DISPLAY", ":7")
    require_display(None)


def colours_in_the_middle(path: Path) -> set[tuple[int, int, int]]:
    """All colours in the middle ninth of a PNG of 8 bit RGB or RGBA without interlacing."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, pixels, header = 8, b"", (0, 0, 0, 0)
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            header = struct.unpack(">IIBB", body[:10])
        pixels += body if kind == b"IDAT" else b""
        at += length + 12
    width, height, depth, colour = header
    assert (depth, colour in (2, 6)) == (8, True)
    size = 3 if colour == 2 else 4
    raw, row = zlib.decompress(pixels), bytearray(width * size)
    found = set()
    for line in range(height):
        begin = line * (width * size + 1)
        method, values = raw[begin], bytearray(raw[begin + 1 : begin + 1 + width * size])
        for place in range(len(values)):
            left = values[place - size] if place >= size else 0
            up, corner = row[place], row[place - size] if place >= size else 0
            values[place] = (values[place] + _predicted(method, left, up, corner)) & 255
        row = values
        if height / 3 < line < height * 2 / 3:
            columns = range(width // 3 * size, width * 2 // 3 * size, size)
            found |= {tuple(values[place : place + 3]) for place in columns}
    return found


def _predicted(method: int, left: int, up: int, corner: int) -> int:
    """The filters of PNG (ISO/IEC 15948, 9.2)."""
    if method == 4:
        guess = left + up - corner
        return min((left, up, corner), key=lambda value: abs(guess - value))
    return (0, left, up, (left + up) // 2)[method]


@pytest.mark.sumo
@pytest.mark.skipif(not display.has_display() and display.shutil.which(display.XVFB) is None, reason="no Xvfb here")
def test_the_picture_shows_red_and_amber_and_the_window_is_gone_afterwards(tmp_path):
    flow = '<flow id="f" type="plain" begin="0" end="600" period="5"><route edges="ab bc cd"/></flow>'
    project = small.small_project(tmp_path / "city", small.PLAIN + flow)
    before = small.fingerprint(tmp_path / "city")
    incident = roads.incident(edge="bc", start_s=40, duration_s=60, capacity_left=0.4)
    scenario, target = roads.scenario(incident), tmp_path / "pictures" / "one.png"
    simulator = ReplaySimulator(project, scenario, screenshot=target)
    request = RunRequest(window=small.window(120.0), seed=1, folder=tmp_path / "run")
    with simulator.open(request) as run, inject(run.connection, scenario, network=project.network()):
        while run.time_s < 110:
            run.step()
            assert target.exists() == (simulator.picture_of == 0)
    assert simulator.picture_of == 0
    colours = colours_in_the_middle(target)
    assert BLOCKED_COLOUR[:3] in colours
    assert any(red > 230 and 150 < green < 230 and blue < 160 for red, green, blue in colours)
    assert small.fingerprint(tmp_path / "city") == before
    assert [path.name for path in target.parent.iterdir()] == ["one.png"]


def test_a_picture_is_a_png(tmp_path):
    result = scenariogen(
        "run", "--network", "corridor", "--scenarios", tmp_path / "none.json", "--screenshot", tmp_path / "x.jpg"
    )
    assert result.exit_code == 2
    assert "ends in .png" in result.stderr
