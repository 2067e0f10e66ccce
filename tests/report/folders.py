"""Results folders with known numbers, made with the evaluation's own classes and without any simulator."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from scenariogen.evaluation.estimate import estimate_in_detail, write_estimates
from scenariogen.evaluation.expected import expected_keys
from scenariogen.evaluation.manifest import Manifest
from scenariogen.evaluation.policy import PolicyReference
from scenariogen.evaluation.records import batch_hash, window_content
from scenariogen.evaluation.results_folder import ResultsFolder
from scenariogen.evaluation.store import load_results
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.network import Edge, Lane, RoadClass, RoadNetwork
from scenariogen.simulation.contract import EndReason
from tests.evaluation import synthetic

NASTY = "a<b>&'\"</script>"
"""An edge id that would break a page that does not escape."""


def square_network(names=("north", "east", NASTY, "west"), *, sha256="n" * 64) -> RoadNetwork:
    """Four edges around a square of 400 m."""
    corners = [(0.0, 0.0), (400.0, 0.0), (400.0, 400.0), (0.0, 400.0)]

    def edge(number: int, name: str) -> Edge:
        shape = (corners[number], corners[(number + 1) % 4])
        lanes = tuple(
            Lane(id=f"{name}_{i}", index=i, length_m=400.0, speed_mps=13.9, width_m=3.2, drives=True, shape=shape)
            for i in range(2)
        )
        return Edge(
            id=name, from_junction=str(number), to_junction=str((number + 1) % 4), length_m=400.0, speed_mps=13.9,
            road_class=RoadClass.STREET, signalised=False, lanes=lanes, successors=(names[(number + 1) % 4],),
            predecessors=(names[number - 1],), turn_angles=(1.57,),
        )  # fmt: skip

    return RoadNetwork(
        path=Path("square.net.xml"),
        sha256=sha256,
        edges={name: edge(number, name) for number, name in enumerate(names)},
        lane_links={},
        signals={},
    )


def spread_incidents(batch, edges, *, seed=0, longest_m=380.0):
    """The batch with its incidents on those edges, at different times and with different marks."""
    generator = np.random.default_rng(seed)

    def moved(incident: Incident) -> Incident:
        return replace(
            incident,
            edge=str(generator.choice(edges)),
            start_s=float(generator.uniform(300, 1500)),
            position_m=float(generator.uniform(10, longest_m)),
            kind=IncidentKind.CRASH,
            capacity_left=float(generator.uniform(0.1, 0.7)),
            clearance_s=float(generator.uniform(300, 2400)),
        )

    scenarios = tuple(replace(s, incidents=tuple(map(moved, s.incidents))) for s in batch.scenarios)
    return replace(batch, scenarios=scenarios)


def drawn_batch(n=300, *, edges=("north", "east", NASTY, "west"), **options):
    """A batch drawn for ×0.5 to ×5."""
    return spread_incidents(synthetic.counted_batch(n, **options), edges)


def given_batch(n=300, *, quantifier="any", **options):
    """A batch of days with incidents only, drawn under a condition that every incident meets."""
    batch = drawn_batch(n, **options)
    design = replace(batch.design, given="capacity_left<=1", quantifier=quantifier, free_every=0)
    hit = tuple(each for each in batch.scenarios if each.incidents)
    return replace(batch, scenarios=hit, design=design)


def hand_batch(n=3, *, edges=("north", NASTY)):
    """Scenarios that somebody wrote down."""
    return spread_incidents(synthetic.hand_batch(n), edges)


def results_folder(folder: Path, batch, delays, *, change=None, sumocfg="/no where/square.sumocfg", frequencies=None,
                   name="square") -> Path:  # fmt: skip
    """A finished evaluation. ``delays``: (batch, seeds) by policy; ``change(run)`` may alter or drop (None) a run."""
    tables = {policy: np.asarray(table) for policy, table in delays.items()}
    replicas = next(iter(tables.values())).shape[1]
    manifest = Manifest(
        project_hash=batch.project_hash,
        project_name=name,
        sumocfg=sumocfg,
        network_hash=batch.network_hash,
        batch_hash=batch_hash(batch),
        window=window_content(batch.window),
        policies=tuple(PolicyReference(name=p, spec=f"/{p}.py", sha256=p.ljust(64, "0")) for p in tables),
        replicas=replicas,
        simulator="dummy",
        sumo_version="1.28.0",
        scenariogen_version="0.1.0",
    )
    rows = {scenario.index: row for row, scenario in enumerate(batch.scenarios)}
    store = ResultsFolder(folder)
    with store.locked():
        store.begin(manifest, batch)
        for scenario, policy, replica, key in expected_keys(batch, manifest):
            delay = tables[policy.name][rows[scenario.index], replica]
            made = replace(synthetic.run(scenario, policy.name, delay, replica=replica), key=key)
            made = change(made) if change is not None else made
            if made is not None:
                store.append(made)
        store.clear_work()
        store.compact()
    found = estimate_in_detail(load_results(folder), None, frequencies)
    write_estimates(folder, [each for each in found if not each[0].estimand.startswith(("quantile_", "cvar_"))])
    return folder


def locked_up(run):
    """The same run, but the network locked up."""
    return replace(run, end_reason=EndReason.LOCKED_UP, locked_up=True, locked_up_at_s=900.0)


def crossing_delays(batch, *, seed=1):
    """A policy that is better without incidents and worse with many, and one the other way round."""
    return {
        "no_control": synthetic.delays(batch, seed=seed, cost=3.0),
        "max_pressure": synthetic.delays(batch, seed=seed, factor=1.3, cost=1.2),
    }
