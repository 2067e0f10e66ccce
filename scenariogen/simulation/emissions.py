"""What the vehicles of a run emit, as SUMO computes it in each step from speed, acceleration and slope.

By the emission class of each vehicle's type; SUMO's default is a petrol car of Euro 4 of the Handbook Emission Factors
for Road Transport (HBEFA 4). Vehicles emit from their departure on, also while they stand; what waits to enter emits
nothing. Our own blocking vehicles have the class that emits nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from scenariogen.errors import ProjectError, SimulationError
from scenariogen.simulation.staging import EMISSIONS
from scenariogen.simulation.xmlfiles import children
from scenariogen.written import cut_short

_KG_PER_MG = 1e-6


@dataclass(frozen=True, kw_only=True)
class Emissions:
    """All vehicles of a run together, in kilograms: carbon dioxide, nitrogen oxides, particles."""

    co2_kg: float
    nox_kg: float
    pmx_kg: float


def read_emissions(folder: Path) -> Emissions:
    """Of a closed run that was asked for emissions. Raises ``SimulationError`` where it wrote none, or not to the end,
    and ``OSError`` where it could not, since the disk is full."""
    path = folder / EMISSIONS
    if not path.is_file():
        raise SimulationError(f"{path} is missing: the simulator wrote no emissions")
    mg = dict.fromkeys(("CO2", "NOx", "PMx"), 0.0)
    try:
        for _, interval in children(path):
            for edge in interval.findall("edge"):
                for name in mg:
                    mg[name] += float(edge.get(f"{name}_abs", 0.0))
    except ProjectError as error:
        raise cut_short(path) from error
    return Emissions(co2_kg=mg["CO2"] * _KG_PER_MG, nox_kg=mg["NOx"] * _KG_PER_MG, pmx_kg=mg["PMx"] * _KG_PER_MG)
