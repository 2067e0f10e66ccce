"""Departures scaled by entry: what is asked against what departs, and files that stay as they are."""

from collections import Counter
from xml.etree.ElementTree import fromstring, parse

import pytest

from scenariogen.errors import SimulationError
from scenariogen.simulation.catalog import find_network
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.dummy import DummySimulator
from scenariogen.simulation.project import SumoProject, open_project
from scenariogen.simulation.scaling import DemandIndex, deviations, scaling_account, write_scaled
from scenariogen.simulation.staging import CONFIGURATION, Staging
from scenariogen.simulation.study import study_window
from scenariogen.simulation.sumo import SumoSimulator
from scenariogen.simulation.xmlfiles import children
from tests.simulation.small import PLAIN, small_project, vehicle, window
from tests.support import resco

MANY = 400


def request(folder, whole=None, **others) -> RunRequest:
    return RunRequest(window=whole or window(600), seed=3, folder=folder, **others)


def scaled(project: SumoProject, target, asked: dict[str, float], seed: int = 3):
    """The root of the project's only route file with departures scaled."""
    path = write_scaled(project.route_files[0], target, asked, DemandIndex.of(project), seed)
    return parse(path).getroot()


def ids(root, tag="vehicle") -> list[str]:
    return [element.get("id", "") for element in root.iter(tag)]


def departed(project: SumoProject, whole, folder, **others) -> Counter:
    """Vehicles by first edge that SUMO knows of until the window's end."""
    found: Counter = Counter()
    simulator = SumoSimulator(project, project_outputs=False)
    with simulator.open(request(folder, whole, **others)) as run:
        while run.time_s < whole.end_s:
            run.step()
            for each in run.loaded_ids():
                found[run.connection.vehicle.getRoute(each)[0]] += 1
    return found


# Files


@pytest.fixture
def many(tmp_path):
    """Vehicles from ab and from bu in turn, one that waits, a bus, and one that a person rides with."""
    text = PLAIN + '<route id="named" edges="bu ud dc cd"/>'
    for number in range(MANY):
        text += f'<vehicle id="m{number}" type="plain" depart="{number}"><route edges="ab bc"/></vehicle>'
        text += f'<vehicle id="n{number}" type="plain" depart="{number}" route="named"/>'
    text += '<vehicle id="bus" type="plain" line="7" depart="500"><route edges="ab bc"/></vehicle>'
    text += '<trip id="zone" type="plain" depart="500" fromJunction="a" toJunction="d"/>'
    text += '<vehicle id="taken" type="plain" depart="501"><route edges="ab bc"/></vehicle>'
    text += '<person id="p" depart="502"><ride from="ab" to="bc" lines="taken"/></person>'
    return small_project(tmp_path / "p", text)


def test_vehicles_are_dropped_and_doubled_by_entry(many, tmp_path):
    root = scaled(many, tmp_path / "x.xml", {"ab": 0.3, "bu": 1.6})
    by_letter = Counter(name[0] for name in ids(root))
    assert by_letter["m"] == pytest.approx(0.3 * MANY, abs=4 * (MANY * 0.21) ** 0.5)
    assert by_letter["n"] == pytest.approx(1.6 * MANY, abs=4 * (MANY * 0.24) ** 0.5)
    assert len(set(ids(root))) == len(ids(root))
    departs = [float(each.get("depart", "")) for each in root if each.tag in ("vehicle", "trip", "person")]
    assert departs == sorted(departs), "SUMO drops what is out of order"


def test_the_draw_is_the_vehicles_own(many, tmp_path):
    """More demand only adds vehicles, and another seed drops others."""
    less, more = (set(ids(scaled(many, tmp_path / "x.xml", {"ab": d}))) for d in (0.3, 0.8))
    assert less < more
    assert set(ids(scaled(many, tmp_path / "x.xml", {"ab": 0.3}, seed=4))) != less


def test_what_cannot_be_scaled_stays_and_is_said(many, tmp_path):
    root = scaled(many, tmp_path / "x.xml", {"ab": 0.0, "*": 0.0})
    assert ids(root) == ["bus", "taken"] and ids(root, "trip") == ["zone"] and ids(root, "person") == ["p"]
    account = scaling_account(many, ("ab",))
    assert account.by_entry == {"ab": MANY, "*": MANY} and account.persons == 1
    text = "\n".join(account.words)
    for part in ("public transport", "person's ride", "in a zone, at a junction", "1 persons"):
        assert part in text


def test_entries_that_are_not_named_follow_the_others(many, tmp_path):
    assert not any(name[0] == "n" for name in ids(scaled(many, tmp_path / "x.xml", {"ab": 2.0, "*": 0.0})))
    assert sum(name[0] == "n" for name in ids(scaled(many, tmp_path / "x.xml", {"ab": 2.0}))) == MANY


@pytest.mark.parametrize(
    ("flow", "factor", "expected"),
    [
        ('begin="0" end="60" vehsPerHour="100"', 1.5, [{"vehsPerHour": "150.0"}]),
        ('begin="0" end="60" period="10"', 2.0, [{"period": "5.0"}]),
        ('begin="0" end="60" period="exp(0.2)"', 0.5, [{"period": "exp(0.1)"}]),
        ('begin="0" end="60" probability="0.2"', 1.5, [{"probability": repr(0.2 * 1.5)}]),
        ('begin="0" end="60" probability="0.6"', 2.5, [{"probability": "0.75"}, {"probability": "0.75", "id": "f+1"}]),
        ('begin="0" end="60" number="10"', 0.5, [{"number": "5"}]),
        ('begin="0" number="10" period="4"', 2.0, [{"number": "20", "period": "2.0"}]),
        ('begin="0" end="60" number="10"', 0.0, []),
    ],
)
def test_flows_are_scaled_by_their_rate(tmp_path, flow, factor, expected):
    project = small_project(tmp_path / "p", f'<flow id="f" {flow} from="ab" to="cd"/>')
    found = list(scaled(project, tmp_path / "x.xml", {"ab": factor}).iter("flow"))
    assert len(found) == len(expected)
    for element, values in zip(found, expected, strict=True):
        assert {name: element.get(name) for name in values} == values


def test_a_distribution_has_an_entry_where_its_routes_share_it(tmp_path):
    routes = (
        '<routeDistribution id="same"><route id="r1" edges="ab bc" probability="1"/>'
        '<route id="r2" edges="ab bu" probability="1"/></routeDistribution>'
        '<routeDistribution id="mixed" routes="r1 other"/><route id="other" edges="bc cd"/>'
    )
    project = small_project(tmp_path / "p", PLAIN + routes + vehicle("v", 0))
    index = DemandIndex.of(project)
    assert index.routes["same"] == "ab" and index.routes["mixed"] is None
    assert index.entry(fromstring('<vehicle id="x" route="same~2"/>'))[0] == "ab"


def test_ids_that_are_taken_are_not_taken_twice(tmp_path):
    project = small_project(tmp_path / "p", PLAIN + vehicle("v", 0) + vehicle("v+1", 1))
    with pytest.raises(SimulationError, match=r'vehicles called "v\+1"'):
        scaled(project, tmp_path / "x.xml", {"ab": 2.0})


def test_a_scale_that_is_no_scale_is_refused(tmp_path):
    with pytest.raises(SimulationError, match="entry ab is nan"):
        deviations(request(tmp_path, entry_scales={"ab": float("nan")}))


def test_one_scale_for_all_leaves_the_run_as_it_is(many, tmp_path):
    """Also where it is written entry by entry: the same configuration, and no copy of the demand."""
    texts = []
    for name, scales in (("plain", {}), ("same", {"ab": 1.2, "*": 1.2})):
        folder = tmp_path / name
        Staging(many, None, True).write(request(folder, demand_scale=1.2, entry_scales=scales))
        texts.append((folder / CONFIGURATION).read_text().replace(str(folder), ""))
        assert not list(folder.rglob("scaled-*"))
    assert texts[0] == texts[1]


def test_included_demand_is_scaled_and_the_projects_files_stay(tmp_path):
    project = small_project(tmp_path / "p", PLAIN + vehicle("v", 0))
    file = project.route_files[0]
    (file.parent / "more.rou.xml").write_text(f"<routes>{vehicle('w', 5)}</routes>")
    file.write_text(file.read_text().replace("</routes>", '<include href="more.rou.xml"/></routes>'))
    before = {path: path.read_bytes() for path in file.parent.rglob("*") if path.is_file()}
    again = open_project(project.sumocfg)
    Staging(again, None, True).write(request(tmp_path / "run", entry_scales={"ab": 2.0}))
    copy = next((tmp_path / "run").rglob("scaled-*"))
    assert ids(parse(copy).getroot()) == ["v", "v+1", "w", "w+1"]
    assert {path: path.read_bytes() for path in file.parent.rglob("*") if path.is_file()} == before


# Runs


def test_the_dummys_entry_is_the_head_of_its_chain(tmp_path):
    def loaded(**others) -> int:
        with DummySimulator().open(request(tmp_path / "run", **others)) as run:
            count = 0
            while run.time_s < 600:
                run.step()
                count += len(run.loaded_ids())
            return count

    plain = loaded(demand_scale=1.0)
    assert loaded(demand_scale=1.0, entry_scales={"a": 2.0}) == pytest.approx(2 * plain, abs=2)
    assert loaded(demand_scale=2.0, entry_scales={"*": 1.0}) == plain
    assert loaded(demand_scale=1.0, entry_scales={"b": 2.0}) == plain


SCALES = (0.6, 1.5, 0.9, 1.2, 1.9, 0.4, 1.0, 1.1)
NETWORK = 1.1


@pytest.mark.sumo
def test_single_vehicles_depart_as_often_as_was_asked(tmp_path):
    """Trips of cologne8: every entry within four standard deviations of the draws and two vehicles.

    SUMO scales by counting through all vehicles, so what it takes from one entry is not even: that is the binomial
    term of the network's scale.
    """
    project = open_project(resco("cologne8"))
    whole = study_window(project, horizon_s=1800)
    plain = departed(project, whole, tmp_path / "plain")
    scales = dict(zip([entry for entry, _ in plain.most_common(8)], SCALES, strict=True))
    found = departed(project, whole, tmp_path / "x", demand_scale=NETWORK, entry_scales=scales | {"*": NETWORK})
    for entry, scale in scales.items():
        d = scale / NETWORK
        variance = plain[entry] * (d % 1 * (1 - d % 1) * NETWORK**2 + d * (NETWORK % 1) * (1 - NETWORK % 1))
        assert found[entry] == pytest.approx(scale * plain[entry], abs=4 * variance**0.5 + 2), entry
    rest = plain.total() - sum(plain[entry] for entry in scales)
    left = found.total() - sum(found[entry] for entry in scales)
    assert left == pytest.approx(NETWORK * rest, abs=4 * (rest * 0.09) ** 0.5 + 2)


@pytest.mark.sumo
def test_flows_depart_as_often_as_was_asked(tmp_path):
    """Poisson flows of the corridor: counts within four standard deviations of what their rates say."""
    project = open_project(find_network("corridor"))
    whole = study_window(project, horizon_s=1800)
    index, expected = DemandIndex.of(project), Counter()
    for _, element in children(project.route_files[0]):
        if element.tag == "flow":
            begin_s, end_s = float(element.get("begin", "")), float(element.get("end", ""))
            rate = float(element.get("period", "").removeprefix("exp(").removesuffix(")"))
            lasting_s = max(0.0, min(end_s, whole.end_s) - max(begin_s, whole.begin_s))
            expected[index.entry(element)[0]] += rate * lasting_s  # type: ignore[assignment]
    scales = dict(zip([entry for entry, _ in expected.most_common(8)], SCALES, strict=False))
    assert len(scales) >= 6
    found = departed(project, whole, tmp_path / "x", demand_scale=NETWORK, entry_scales=scales | {"*": NETWORK})
    for entry, scale in scales.items():
        mean = scale * expected[entry]
        assert found[entry] == pytest.approx(mean, abs=4 * mean**0.5 + 2), entry
