"""Energy of a launch: its events, each at a price.

Prices come from named sets of published constants, none of which is the truth for this design. What is claimed of them
are ratios between runs, and only where all sets agree on the sign (`compare`); never joules. Energy that depends on the
data (toggles) is out of scope: an operand of zero costs what any other does.
"""

from estimator.energy.actions import CLASSES, Action, actions_of
from estimator.energy.compare import Verdict, compare
from estimator.energy.constants import CONSTANTS, SETS, Constant, ConstantSet, EnergyError, load_set, named_sets
from estimator.energy.energy import Energy, energy_of
from estimator.energy.prices import Prices, load_prices, read_ert, write_ert

__all__ = [
    "CLASSES",
    "CONSTANTS",
    "SETS",
    "Action",
    "Constant",
    "ConstantSet",
    "Energy",
    "EnergyError",
    "Prices",
    "Verdict",
    "actions_of",
    "compare",
    "energy_of",
    "load_prices",
    "load_set",
    "named_sets",
    "read_ert",
    "write_ert",
]
