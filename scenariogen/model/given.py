"""Conditions on incidents: ``capacity_left<=0.5 & kind==crash`` as a set A of incidents, and what it takes of each.

Clauses joined by ``&`` hold together; several values of one clause, ``kind==crash,breakdown``, are alternatives.

A is a product over (edge, kind, lanes) and capacity left. Its probability under the marks is a table plus a difference
of two CDF values, so conditional draws need no rejection.
"""

import math
import re
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scenariogen.errors import ConditionError, Problems
from scenariogen.incidents.records import KINDS
from scenariogen.network import RoadClass, RoadNetwork

_CLAUSE = re.compile(r"^\s*(?P<name>[a-z_]+)\s*(?P<sign><=|>=|==|=|<|>)\s*(?P<value>[^\s&]+)\s*$")
_NAMES = "capacity_left, lanes_blocked, kind, road_class, edge"


@dataclass(frozen=True)
class Given:
    """A parsed condition. ``value`` is set for an exact capacity left strictly between 0 and 1."""

    text: str = ""
    low: float = 0.0
    high: float = 1.0
    with_zero: bool = True
    with_one: bool = True
    value: float | None = None
    blocked: tuple[tuple[str, int], ...] = ()
    kinds: frozenset[str] = field(default=frozenset(KINDS))
    classes: frozenset[str] = field(default=frozenset(RoadClass))
    edges: frozenset[str] | None = None


def parse_given(text: str, network: RoadNetwork) -> Given:
    """Read a condition; clauses are joined by ``&``. A ``ConditionError`` lists every fault."""
    problems = Problems(f"condition {text!r}")
    found: dict = {"blocked": []}
    given = Given(text=text.strip())
    if not given.text:
        return given
    bounds = {"low": 0.0, "high": 1.0, "with_zero": True, "with_one": True}
    for clause in given.text.split("&"):
        match = _CLAUSE.match(clause)
        if match is None:
            problems.add(f"cannot read {clause.strip()!r}; write for example capacity_left<=0.5 (names: {_NAMES})")
            continue
        name, sign, value = match["name"], match["sign"].replace("==", "="), match["value"].strip("'\"")
        if name == "capacity_left":
            _capacity_clause(sign, value, bounds, found, problems)
        elif name == "lanes_blocked":
            if value.isdecimal():
                found["blocked"].append((sign, int(value)))
            else:
                problems.add(f"lanes_blocked is compared with {value!r}, expected a whole number")
        elif name in ("kind", "road_class", "edge") and sign == "=":
            found.setdefault(name, []).append(_values(name, value, network, problems))
        else:
            problems.add(f"cannot use {clause.strip()!r}; names are {_NAMES}, the last three with == only")
    exact = found.get("value")
    if exact is not None and any(exact == bound for bound in found.get("strict", ())):
        problems.add(f"no capacity_left is {exact:g} and at the same time less or more than that")
    if bounds["low"] > bounds["high"]:
        problems.add(f"no capacity_left is at least {bounds['low']:g} and at most {bounds['high']:g}")
    chosen = {name: frozenset.intersection(*found[name]) for name in ("kind", "road_class", "edge") if name in found}
    for name, values in chosen.items():
        if not values and not problems:
            problems.add(f"no {name} is all of what is asked for; alternatives are separated by commas: {name}==A,B")
    problems.raise_as(ConditionError)
    return Given(
        text=given.text,
        value=found.get("value"),
        blocked=tuple(found["blocked"]),
        kinds=chosen.get("kind", frozenset(KINDS)),
        classes=chosen.get("road_class", frozenset(RoadClass)),
        edges=chosen.get("edge"),
        **bounds,
    )


def _values(name: str, text: str, network: RoadNetwork, problems: Problems) -> frozenset[str]:
    """The alternatives of a clause, an unknown one being a problem. The id of an edge may itself hold a comma."""
    values = [text] if name == "edge" and text in network.edges else text.split(",")
    choices = {"kind": [k.value for k in KINDS], "road_class": [c.value for c in RoadClass]}.get(name, network.edges)
    for value in values:
        if value not in choices:
            unknown = f"{name} {value!r} is unknown, expected one of {', '.join(choices)}"
            problems.add(network.unknown_edge(value) if name == "edge" else unknown)
    return frozenset(values)


def _capacity_clause(sign: str, text: str, bounds: dict, found: dict, problems: Problems) -> None:
    try:
        number = float(text)
    except ValueError:
        problems.add(f"capacity_left is compared with {text!r}, expected a number")
        return
    if math.isnan(number):
        problems.add("capacity_left is compared with nan, expected a number")
        return
    if sign == "=":
        if not 0 <= number <= 1:
            problems.add(f"capacity_left=={number:g} has probability zero: the share lies between 0 and 1")
            return
        bounds.update(low=max(bounds["low"], number), high=min(bounds["high"], number))
        bounds["with_zero"] &= number == 0
        bounds["with_one"] &= number == 1
        if 0 < number < 1:
            found["value"] = number
        return
    if sign in "<>":
        found.setdefault("strict", []).append(number)
    if sign in ("<", "<="):
        if number < 0 or (number == 0 and sign == "<"):
            problems.add(f"capacity_left{sign}{number:g} has probability zero: the share lies between 0 and 1")
        bounds["high"] = min(bounds["high"], number)
        bounds["with_one"] &= number > 1 or (number == 1 and sign == "<=")
    else:
        if number > 1 or (number == 1 and sign == ">"):
            problems.add(f"capacity_left{sign}{number:g} has probability zero: the share lies between 0 and 1")
        bounds["low"] = max(bounds["low"], number)
        bounds["with_zero"] &= number < 0 or (number == 0 and sign == ">=")


def allowed_table(given: Given, network: RoadNetwork, lanes: tuple[tuple[tuple[int, ...], ...], ...]) -> Tensor:
    """Which (edge, kind, option) a condition allows, capacity apart; bool."""
    width = max(1, max(len(options) for options in lanes))
    out = torch.zeros((len(lanes), len(KINDS), width), dtype=torch.bool)
    compare = {
        "<=": int.__le__, ">=": int.__ge__, "=": int.__eq__, "<": int.__lt__, ">": int.__gt__
    }  # fmt: skip
    kinds = torch.tensor([kind.value in given.kinds for kind in KINDS])
    for row, edge_id in enumerate(network.edge_ids):
        edge = network.edges[edge_id]
        if edge.road_class.value not in given.classes or (given.edges is not None and edge_id not in given.edges):
            continue
        for column, option in enumerate(lanes[row]):
            if all(compare[sign](len(option), number) for sign, number in given.blocked):
                out[row, :, column] = kinds
    return out
