"""States that are saved and loaded while a scenario happens.

A state holds the values in force, rounded, and the vehicles that stand for incidents; it knows nothing of what was
there before. Loaded into the same simulation all of that is taken back; into another one it stays, which is warned of.
"""

import warnings

from scenariogen.injection.blockers import Blockers
from scenariogen.injection.connection import Link
from scenariogen.injection.records import InjectionWarning
from scenariogen.injection.stretch import SlowStretches
from scenariogen.injection.values import Ledger
from scenariogen.units import clock_text


def warn_of_saving(link: Link, stretches: SlowStretches, ledger: Ledger, blockers: Blockers) -> None:
    """Where something is in force: the owner of the simulation is about to save its state."""
    if stretches or len(ledger) or blockers.present:
        warnings.warn(
            f"the state saved at {clock_text(link.time_s())} holds what the scenario has in force: loaded into this "
            "simulation it is taken back, into another one it stays. Save before the first start or after the last end",
            InjectionWarning,
            stacklevel=4,
        )


def take_back_loaded(link: Link, stretches: SlowStretches, ledger: Ledger, blockers: Blockers) -> None:
    """A state was loaded that may hold what was in force when it was saved."""
    rounding = 0.51 * 10.0 ** -int(link.option("save-state.precision"))
    ledger.take_back_loaded(rounding)
    stretches.take_back_loaded(rounding)
    blockers.take_back_loaded()
