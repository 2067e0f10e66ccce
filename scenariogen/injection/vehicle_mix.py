"""The traffic that a capacity table holds for: vehicle types with their shares, step length, SUMO's driving options.

Two traffics *differ materially* where what the vehicles are like on average, weighted by their shares, differs by more
than the tolerances below, where a car-following model, a lane-change setting or any other attribute that changes how
they drive has a share that differs by more than 0.05, or where the step length or a driving option differs. On an open
lane q = v / (v·tau + length + minGap), so the share left at speed v of what passes at the limit V is
(tau + L/V) / (tau + L/v): within the tolerances of L and tau it moves by less than 0.01, the table's own error.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from xml.sax.saxutils import quoteattr

from scenariogen.errors import ProjectError

DEFAULT_STEP_S = 1.0
SHARE_TOLERANCE = 0.05
MEAN_TOLERANCES = {
    "space": 0.35,  # m; length and minGap together
    "tau": 0.05,  # s
    "sigma": 0.1,
    "accel": 0.4,  # m/s²
    "decel": 0.6,
    "maxSpeed": 3.0,  # m/s; nobody is taken to be able to do more than 40
    "speedFactor": 0.03,
    "speedDev": 0.03,
}
_FASTEST_MPS = 40.0

_LIKE_CAR = {"length": 5.0, "minGap": 2.5, "tau": 1.0, "sigma": 0.5, "accel": 2.6, "decel": 4.5, "maxSpeed": 55.56,
             "speedFactor": 1.0, "speedDev": 0.1}  # fmt: skip
CLASS_DEFAULTS: dict[str, dict[str, float]] = {
    "passenger": {},
    **{name: {} for name in ("private", "vip", "hov", "evehicle", "custom1", "custom2")},
    **{name: {"speedDev": 0.0} for name in ("authority", "army", "ignoring")},
    "emergency": {"length": 6.5, "speedDev": 0.0},
    "taxi": {"speedDev": 0.05},
    "bus": {"length": 12.0, "accel": 1.2, "decel": 4.0, "maxSpeed": 27.78, "speedDev": 0.0},
    "coach": {"length": 14.0, "accel": 2.0, "decel": 4.0, "maxSpeed": 27.78, "speedDev": 0.05},
    "delivery": {"length": 6.5, "speedDev": 0.05},
    "truck": {"length": 7.1, "accel": 1.3, "decel": 4.0, "maxSpeed": 36.11, "speedDev": 0.05},
    "trailer": {"length": 16.5, "accel": 1.1, "decel": 4.0, "maxSpeed": 36.11, "speedDev": 0.05},
    "motorcycle": {"length": 2.2, "accel": 6.0, "decel": 10.0},
    "moped": {"length": 2.1, "accel": 1.1, "decel": 7.0, "maxSpeed": 16.67},
}
"""What SUMO 1.28 gives a type of that class where it says nothing else; a test compares this with the simulator. Other
classes (bicycles, pedestrians, rail, ships) do not drive on car lanes and are left out of a mix."""

_NOT_DRIVING = frozenset({
    "id", "color", "probability", "guiShape", "imgFile", "osgFile", "emissionClass", "personCapacity", "scale",
    "containerCapacity", "boardingDuration", "loadingDuration", "personNumber", "boardingFactor", "loadingFactor",
    "height", "width", "parkingBadges", "vClass", "mass", "timeToTeleport", "timeToTeleportBidi", "maneuverAngleTimes",
})  # fmt: skip
"""Attributes of a type that do not change how its vehicles drive."""


@dataclass(frozen=True, kw_only=True)
class VehicleType:
    """One type: what its ``<vType>`` says about driving, and its share of the vehicles (0 to 1).

    ``attributes``  names and values as SUMO reads them, sorted; of a nested ``<carFollowing-…>`` likewise
    """

    share: float
    vehicle_class: str = "passenger"
    attributes: tuple[tuple[str, str], ...] = ()

    @cached_property
    def means(self) -> dict[str, float]:
        """The numbers compared, with SUMO's defaults where the type says nothing."""
        own = dict(self.attributes)
        known = _LIKE_CAR | CLASS_DEFAULTS[self.vehicle_class]
        mean, deviation = _speed_factor(own.get("speedFactor", ""), known["speedFactor"], known["speedDev"])
        number = {name: _number(own.get(name), value) for name, value in known.items() if name != "speedFactor"}
        return {
            "space": number["length"] + number["minGap"],
            "tau": number["tau"],
            "sigma": number["sigma"],
            "accel": number["accel"],
            "decel": number["decel"],
            "maxSpeed": min(number["maxSpeed"], _FASTEST_MPS),
            "speedFactor": mean,
            "speedDev": _number(own.get("speedDev"), deviation),
        }

    @property
    def other_settings(self) -> dict[str, str]:
        """Attributes that are compared as they are written: model, lane changing, junction behaviour, …"""
        compared = {*_LIKE_CAR, "carFollowModel"}
        return {name: value for name, value in self.attributes if name not in compared}

    @property
    def model(self) -> str:
        """Car-following model; empty where the type leaves it to the simulation's option."""
        return dict(self.attributes).get("carFollowModel", "")


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Who drives, and how the simulation moves them.

    ``types``    sorted, largest share first; shares add up to 1
    ``step_s``   step length
    ``options``  SUMO options that change how vehicles drive, where they differ from SUMO's defaults
    """

    types: tuple[VehicleType, ...] = (VehicleType(share=1.0),)
    step_s: float = DEFAULT_STEP_S
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that name this traffic exactly."""
        return hashlib.sha256(json.dumps(self.as_record(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def model(self) -> str:
        """Car-following model of types that name none."""
        return self.options.get("default.carfollowmodel", "Krauss")

    def as_record(self) -> dict:
        """Plain values for JSON; :func:`traffic_from_record` reads them."""
        return {
            "types": [{"share": t.share, "vehicle_class": t.vehicle_class, "attributes": dict(t.attributes)}
                      for t in self.types],
            "step_s": self.step_s,
            "options": dict(sorted(self.options.items())),
        }  # fmt: skip

    def mean(self, name: str) -> float:
        """A number of :data:`MEAN_TOLERANCES`, averaged over the vehicles."""
        return sum(each.share * each.means[name] for each in self.types)

    def setting_shares(self) -> dict[str, float]:
        """Share of the vehicles with each car-following model and each other setting that some type has."""
        shares: dict[str, float] = {}
        for each in self.types:
            settings = {f"{name}={value}" for name, value in each.other_settings.items()}
            for setting in {f"carFollowModel={each.model or self.model}", *settings}:
                shares[setting] = shares.get(setting, 0.0) + each.share
        return shares

    def differences(self, other: "Traffic") -> tuple[str, ...]:
        """Why this traffic differs materially from another one, a line each; empty where it does not."""
        found = []
        if abs(self.step_s - other.step_s) > 1e-9:
            found.append(f"step length {self.step_s:g} s, not {other.step_s:g}")
        for name in sorted({*self.options, *other.options} - {"default.carfollowmodel"}):
            mine, theirs = (each.options.get(name, "as SUMO's default") for each in (self, other))
            if mine != theirs:
                found.append(f"option {name} {mine}, not {theirs}")
        for name, tolerance in MEAN_TOLERANCES.items():
            mine, theirs = self.mean(name), other.mean(name)
            if abs(mine - theirs) > tolerance:
                found.append(f"mean {_NAMES[name]} {mine:.3g}, not {theirs:.3g}")
        mine, theirs = self.setting_shares(), other.setting_shares()
        for setting in sorted({*mine, *theirs}):
            a, b = mine.get(setting, 0.0), theirs.get(setting, 0.0)
            if abs(a - b) > SHARE_TOLERANCE:
                found.append(f"{setting} for {a:.0%} of the vehicles, not {b:.0%}")
        return tuple(found)

    def xml(self, name: str) -> str:
        """The types as a ``<vTypeDistribution>`` of that id."""
        inner = "".join(
            f'<vType id="{name}.{number}" probability="{each.share:.6f}" vClass={quoteattr(each.vehicle_class)}'
            + "".join(f" {key}={quoteattr(value)}" for key, value in each.attributes)
            + "/>"
            for number, each in enumerate(self.types)
        )
        return f'<vTypeDistribution id="{name}">{inner}</vTypeDistribution>'

    def __str__(self) -> str:
        kinds = ", ".join(f"{each.share:.0%} {each.vehicle_class}" for each in self.types[:4])
        more = f" and {len(self.types) - 4} more" if len(self.types) > 4 else ""
        models = "/".join(sorted({each.model or self.model for each in self.types}))
        return (
            f"{kinds}{more}; {models}, tau {self.mean('tau'):.2f} s, length and gap {self.mean('space'):.1f} m, "
            f"steps of {self.step_s:g} s"
        )


_NAMES = {
    "space": "length and gap (m)",
    "tau": "tau",
    "sigma": "sigma",
    "accel": "acceleration",
    "decel": "deceleration",
    "maxSpeed": "maximum speed",
    "speedFactor": "speed factor",
    "speedDev": "deviation of the speed factor",
}

DEFAULT_TRAFFIC = Traffic()
"""SUMO's default car at steps of one second: what the shipped table was measured with."""


def make_traffic(
    weights: Iterable[tuple[float, Mapping[str, str]]],
    *,
    step_s: float = DEFAULT_STEP_S,
    options: Mapping[str, str] | None = None,
) -> Traffic:
    """A traffic from vehicle counts and the attributes of their ``<vType>``.

    Types that drive alike are taken together, those that do not use car lanes and those below half a per cent left
    out. Shares are rounded to whole per cents, so that the same demand with a vehicle more is the same traffic.
    """
    merged: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for weight, raw in weights:
        vehicle_class = raw.get("vClass", "passenger")
        if vehicle_class in CLASS_DEFAULTS and weight > 0:
            kept = tuple(sorted((name, value) for name, value in raw.items() if name not in _NOT_DRIVING))
            merged[vehicle_class, kept] = merged.get((vehicle_class, kept), 0.0) + weight
    total = sum(merged.values())
    per_cent = {key: round(100 * weight / total) for key, weight in merged.items()} if total else {}
    whole = sum(per_cent.values())
    if not whole:
        return Traffic(step_s=step_s, options=dict(options or {}))
    types = [
        VehicleType(share=round(count / whole, 6), vehicle_class=vehicle_class, attributes=attributes)
        for (vehicle_class, attributes), count in per_cent.items()
        if count
    ]
    types.sort(key=lambda each: (-each.share, each.vehicle_class, each.attributes))
    return Traffic(types=tuple(types), step_s=step_s, options=dict(options or {}))


def traffic_from_record(record: Mapping) -> Traffic:
    """The inverse of :meth:`Traffic.as_record`."""
    types = tuple(
        VehicleType(
            share=each["share"],
            vehicle_class=each["vehicle_class"],
            attributes=tuple(sorted(each["attributes"].items())),
        )
        for each in record["types"]
    )
    return Traffic(types=types, step_s=record["step_s"], options=dict(record["options"]))


def _speed_factor(text: str, mean: float, deviation: float) -> tuple[float, float]:
    """Mean and deviation of ``1.1``, ``norm(1,0.1)`` or ``normc(1,0.1,0.2,2)``."""
    match = re.fullmatch(r"\s*normc?\(([^)]*)\)\s*", text)
    if match:
        parts = match[1].split(",")
        return _number(parts[0], mean), _number(parts[1] if len(parts) > 1 else None, deviation)
    return (_number(text, mean), deviation) if text else (mean, deviation)


def _number(text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        return float(text)
    except ValueError:
        raise ProjectError(f"a vehicle type says {text!r}, expected a number") from None
