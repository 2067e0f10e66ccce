"""Weather: everybody drives slower and keeps more distance.

Speed and capacity factors are those of the Highway Capacity Manual at a free-flow speed of 70 mi/h (its defaults for
weather in reliability analysis). Speeds: every lane's limit is the factor times what it was when the weather came, so
that a lower limit that a policy sets stays in force. Capacity: each vehicle type's headway τ is solved so that the
saturated discharge v / (length + gap + (τ + δ)·v) at the lower speed is the capacity factor times that at the usual
one:

    τ' = (τ + δ)/c - δ + (length + gap)/v · (1/c - 1/f)

with c and f the factors of capacity and speed, v the lower of the type's top speed and the network's mean limit
(weighted by lane length), and δ what a vehicle of SUMO's default model loses besides (2,260 instead of 2,890 vehicles
an hour and lane at 110 km/h). Where the lower speed alone takes more than the factor asks for, τ stays as it is.
Measured so on roads of 1 to 3 lanes, the discharge is within 0.02 of what is asked; without δ it is up to 0.04 above.

Types are found by the vehicles that have them, later ones too: SUMO's list of types also names distributions of types,
and each question about one of those is answered by a member drawn at random, with the simulation's random numbers. A
type is treated once a vehicle of it departs, or, where a vehicle's type was changed on the way, within a second (five
over TraCI). Private types of single vehicles are treated alike. A private type that SUMO copied from
one whose headway is ours (rounded to its ``--precision``) has that one's own as its base, and gets it back.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from scenariogen.injection.attributes import LANE_SPEED, TYPE_TAU
from scenariogen.injection.effects.contract import ActiveEffect
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.effects import Weather, WeatherKind

PRIVATE = "@"
"""SUMO names the private type of vehicle v, copied from type t, ``t@v``."""
LOST_S = 0.35
"""δ: 3,600 / 2,260 s less (7.5 m / 30.6 m/s + 1 s), measured with SUMO 1.28, default type, steps of 1 s."""
_SCAN_S = 1.0
_SCAN_BY_SOCKET_S = 5.0
"""How often all vehicles are asked for their types. In between, those that departed in a step are."""
_NOT_ON_ROADS = frozenset(
    {
        "pedestrian", "wheelchair", "tram", "rail_urban", "rail", "rail_electric", "rail_fast", "subway", "cable_car",
        "ship", "container", "aircraft", "drone",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WeatherFactors:
    """Factors on free-flow speed and on capacity."""

    speed: float
    capacity: float


FACTORS: dict[WeatherKind, WeatherFactors] = {
    WeatherKind.RAIN: WeatherFactors(speed=0.93, capacity=0.91),
    WeatherKind.HEAVY_RAIN: WeatherFactors(speed=0.92, capacity=0.84),
    WeatherKind.LIGHT_SNOW: WeatherFactors(speed=0.87, capacity=0.95),
    WeatherKind.HEAVY_SNOW: WeatherFactors(speed=0.83, capacity=0.74),
    WeatherKind.SEVERE_COLD: WeatherFactors(speed=0.93, capacity=0.91),
    WeatherKind.LOW_VISIBILITY: WeatherFactors(speed=0.94, capacity=0.90),
    WeatherKind.VERY_LOW_VISIBILITY: WeatherFactors(speed=0.92, capacity=0.88),
    WeatherKind.MINIMAL_VISIBILITY: WeatherFactors(speed=0.92, capacity=0.90),
    WeatherKind.ICE: WeatherFactors(speed=0.83, capacity=0.74),
}
"""HCM 7th edition, defaults at 70 mi/h; rain is its medium rain. Ice is not in it: heavy snow's, our assumption."""


class ActiveWeather(ActiveEffect):
    """Claims the speed of every lane and the headway of every type."""

    of = Weather
    every_s = 0.0
    asked: Weather

    def apply(self, now_s: float) -> str:
        scene = self.scene
        if not any(edge.driving_lanes for edge in scene.network.edges.values()):
            return "the network has no lane for cars"
        self._factors = FACTORS[WeatherKind(self.asked.weather)]
        self._mean_mps = mean_limit_mps(scene.network)
        for lane in scene.link.lane.getIDList():
            usual = scene.ledger.base(LANE_SPEED, lane)
            scene.ledger.claim(self.owner, LANE_SPEED, lane, usual * self._factors.speed)
        self._digits = int(scene.link.option("precision"))
        self._seen: set[str] = set()
        self._treated = 0
        self._scan_every_s = _SCAN_S if scene.link.direct else _SCAN_BY_SOCKET_S
        self._scanned_s = now_s
        self._look_at(scene.link.vehicle.getLoadedIDList())
        return ""

    def update(self, now_s: float) -> None:
        """Treat the types that appeared since."""
        if now_s >= self._scanned_s + self._scan_every_s - 1e-6:
            self._scanned_s = now_s
            self._look_at(self.scene.link.vehicle.getIDList())
        else:
            self._look_at(self.scene.link.simulation.getDepartedIDList())

    def _look_at(self, vehicles: Iterable[str]) -> None:
        link, own = self.scene.link, self.scene.own()
        private: dict[str, str] = {}
        for vehicle in vehicles:
            name = link.attempt(link.vehicle.getTypeID, vehicle)[0]
            if name is None or name in self._seen or vehicle in own:
                continue
            self._seen.add(name)
            if name.endswith(f"{PRIVATE}{vehicle}"):
                private[name] = name.removesuffix(f"{PRIVATE}{vehicle}")
            else:
                self._treat(name)
        for name, original in private.items():  # after the ones that they are copies of
            self._treat(name, original)

    def counts(self) -> dict[str, int]:
        return {"vehicle_types": self._treated}

    def _treat(self, name: str, original: str = "") -> None:
        scene, ask = self.scene, self.scene.link.vehicle_type
        if ask.getVehicleClass(name) in _NOT_ON_ROADS:
            return
        tau_s = float(scene.ledger.base(TYPE_TAU, name))
        ours_s = scene.ledger.in_force(TYPE_TAU, original) if original else None
        copied = ours_s is not None and tau_s == round(ours_s, self._digits)
        if copied:
            tau_s = round(float(scene.ledger.base(TYPE_TAU, original)), self._digits)
        solved_s = headway_s(
            self._factors,
            tau_s=tau_s,
            occupied_m=float(ask.getLength(name)) + float(ask.getMinGap(name)),
            speed_mps=min(self._mean_mps, float(ask.getMaxSpeed(name))),
        )
        scene.ledger.claim(self.owner, TYPE_TAU, name, solved_s, base=tau_s if copied else None)
        self._treated += 1


def headway_s(factors: WeatherFactors, *, tau_s: float, occupied_m: float, speed_mps: float) -> float:
    """The headway at which saturated discharge falls by the capacity factor; never below ``tau_s``.

    >>> factors = WeatherFactors(speed=0.83, capacity=0.74)
    >>> v, tau = 30.0, headway_s(factors, tau_s=1.0, occupied_m=7.5, speed_mps=30.0)
    >>> round((0.83 * v / (7.5 + (tau + LOST_S) * 0.83 * v)) / (v / (7.5 + (1.0 + LOST_S) * v)), 6)
    0.74
    """
    c, f = factors.capacity, factors.speed
    return max(tau_s, (tau_s + LOST_S) / c - LOST_S + occupied_m / speed_mps * (1 / c - 1 / f))


def mean_limit_mps(network: RoadNetwork) -> float:
    """Mean speed limit of the lanes for cars, weighted by their lengths."""
    lanes = [lane for edge in network.edges.values() for lane in edge.lanes if lane.drives]
    return sum(lane.speed_mps * lane.length_m for lane in lanes) / sum(lane.length_m for lane in lanes)
