"""What drivers know of an incident, from whom and when, and what they make of it.

Figures that were published are defaults where they say what somebody does who knows; how many know at all depends on
the place, so that those shares are 0 until a scenario says otherwise, and signs stand where a scenario lists them:

* :data:`SIGN_COMPLIANCE`: Erke, Sagberg & Hagman, *Effects of route guidance variable message signs (VMS) on driver
  behaviour*, Transportation Research Part F 10 (2007): about every fifth vehicle changed its route at two signs on
  motorways that told of a closed road; what others found is seldom above 40 %.
* :data:`RADIO_COMPLIANCE`, :data:`RADIO_HEARD`: Lindkvist, *Motorist response to traffic reports on experienced
  incidents*, 5th World Congress on Intelligent Transport Systems (1998): about 10 % of the car commuters in Stockholm
  received reports of incidents that could affect them on their route; 17 % of those chose another one.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from scenariogen.network import RoadNetwork

SIGN_COMPLIANCE = 0.20
RADIO_COMPLIANCE = 0.17
RADIO_HEARD = 0.10
"""Published for one city in 1998, so no default: a share of 0 lets nobody hear."""
SIGN_LOOK_S = 1.0
FAST_DRIVERS = 1.3
"""Drivers who exceed a limit by up to this factor are still seen at a sign."""
_QUEUE = ("reroute_share", "reroute_after_s")


@dataclass(frozen=True, kw_only=True)
class Drivers:
    """What drivers know of an incident and do about it. Shares are 0 to 1, times seconds.

    Who stands in the queue sees it; our assumption, marked so in the glossary:

    ``reroute_share``    share of drivers who look for another way after standing for a while
    ``reroute_after_s``  how long they stand first

    The others are told, a delay after the incident's detection and until the road is clear:

    ``sign_edges``   edges with a variable message sign: who drives on one of them while it shows the message knows
    ``radio_share``  share of all drivers who hear the radio's message; 0, since it is a matter of the place
    ``navigation_share``  share of vehicles whose navigation is told; 0, since it is a matter of the place and the year
    ``..._delay_s``  seconds from the detection to the message (60, 300 and 120: our assumptions)
    ``..._compliance``  share who change their route, of those who know and for whom another one is worth while:
                     0.20 at signs and 0.17 by radio are published (see the module); for navigation 1, our assumption:
                     its share is then the share of those who follow it
    ``return_share`` share of the drivers who turned away on account of radio or navigation, and who take their old
                     route again when they are told that the road is clear, where it is still ahead; no figure is
                     published that we know of, so 0
    """

    reroute_share: float = 0.3
    reroute_after_s: float = 120.0
    sign_edges: tuple[str, ...] = ()
    sign_delay_s: float = 60.0
    sign_compliance: float = SIGN_COMPLIANCE
    radio_share: float = 0.0
    radio_delay_s: float = 300.0
    radio_compliance: float = RADIO_COMPLIANCE
    navigation_share: float = 0.0
    navigation_delay_s: float = 120.0
    navigation_compliance: float = 1.0
    return_share: float = 0.0

    @property
    def are_told(self) -> bool:
        """Whether anybody hears of an incident who does not stand in its queue."""
        return bool(
            (self.sign_edges and self.sign_compliance > 0)
            or (self.radio_share > 0 and self.radio_compliance > 0)
            or (self.navigation_share > 0 and self.navigation_compliance > 0)
        )

    def to_plain(self) -> dict[str, Any]:
        """For JSON and for hashes. Where what drivers are told has its defaults, only what those in the queue do: so
        files and keys are as they were before anybody was told anything."""
        plain = asdict(self) | {"sign_edges": list(self.sign_edges)}
        told = any(getattr(self, each.name) != each.default for each in fields(self) if each.name not in _QUEUE)
        return plain if told else {name: plain[name] for name in _QUEUE}


USUAL_DRIVERS = Drivers()


def drivers_from_plain(plain: dict[str, Any]) -> Drivers:
    """What :meth:`Drivers.to_plain` gave; what is missing or null has its default."""
    given: dict[str, Any] = {name: value for name, value in plain.items() if value is not None}
    given["sign_edges"] = tuple(given.get("sign_edges", ()))
    return Drivers(**given)


def driver_problems(drivers: Drivers, network: RoadNetwork) -> Iterator[str]:
    """Everything that is wrong with what a scenario says of its drivers, in words."""
    for each in fields(drivers):
        value = getattr(drivers, each.name)
        if each.name.endswith(("_share", "_compliance")) and not 0 <= value <= 1:
            yield f"{each.name} is {value:g}, expected 0 to 1"
        elif each.name.endswith("_s") and not (value >= 0 and math.isfinite(value)):
            yield f"{each.name} is {value:g}, expected seconds of at least 0"
    for edge in drivers.sign_edges:
        if edge not in network.edges:
            yield f"sign_edges: {network.unknown_edge(edge)}"
            continue
        length_m = network.edges[edge].length_m
        needed_m = SIGN_LOOK_S * FAST_DRIVERS * max(lane.speed_mps for lane in network.edges[edge].lanes)
        if length_m < needed_m:
            yield (
                f"sign_edges: edge {edge!r} of {length_m:.0f} m is passed in less than {SIGN_LOOK_S:g} s, so that some "
                f"drivers would not be seen: name one of at least {needed_m:.0f} m"
            )
    if len(set(drivers.sign_edges)) < len(drivers.sign_edges):
        yield "sign_edges: some edges stand there twice"
