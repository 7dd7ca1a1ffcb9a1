"""What theory predicts: exact limits, implied potentials and closed-form dynamics, by means that train nothing.

Numbers come back as NumPy arrays in float64, whatever the precision of the problem.
"""

from ._basis_pursuit import basis_pursuit as basis_pursuit
from ._bregman_projection import bregman_projection as bregman_projection
from ._errors import Infeasible as Infeasible
from ._errors import NotAMirrorFlow as NotAMirrorFlow
from ._errors import NotUnique as NotUnique
from ._implied_potential import implied_potential as implied_potential
from ._limit import limit as limit
from ._minimum_norm import minimum_norm as minimum_norm
from ._saddle_to_saddle import SaddlePath as SaddlePath
from ._saddle_to_saddle import saddle_to_saddle as saddle_to_saddle
from ._scalar_modes import incremental_threshold as incremental_threshold
from ._scalar_modes import mode_time as mode_time
from ._single_constraint import single_constraint_path as single_constraint_path

__all__ = [
    "Infeasible",
    "NotAMirrorFlow",
    "NotUnique",
    "SaddlePath",
    "basis_pursuit",
    "bregman_projection",
    "implied_potential",
    "incremental_threshold",
    "limit",
    "minimum_norm",
    "mode_time",
    "saddle_to_saddle",
    "single_constraint_path",
]
