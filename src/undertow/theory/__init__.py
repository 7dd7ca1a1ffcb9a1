"""What theory predicts: exact limits, implied potentials and closed-form dynamics, by means that train nothing.

Numbers come back as NumPy arrays in float64, whatever the precision of the problem.
"""

from .._public import public_names as _public_names
from ._basis_pursuit import basis_pursuit as basis_pursuit
from ._bregman_projection import bregman_projection as bregman_projection
from ._component_velocity import ComponentVelocity as ComponentVelocity
from ._component_velocity import component_velocity as component_velocity
from ._conservation_laws import conservation_laws as conservation_laws
from ._discrete_limit import discrete_limit as discrete_limit
from ._errors import Infeasible as Infeasible
from ._errors import NotAMirrorFlow as NotAMirrorFlow
from ._errors import NotSeparable as NotSeparable
from ._errors import NotUnique as NotUnique
from ._errors import Unsolved as Unsolved
from ._greedy_low_rank_learning import GreedyPath as GreedyPath
from ._greedy_low_rank_learning import greedy_low_rank_learning as greedy_low_rank_learning
from ._hard_margin_rate import HardMarginRate as HardMarginRate
from ._hard_margin_rate import hard_margin_rate as hard_margin_rate
from ._hidden_entry import hidden_entry_bound as hidden_entry_bound
from ._hidden_entry import hidden_entry_rank_bound as hidden_entry_rank_bound
from ._hidden_entry_flow import HiddenEntryFlow as HiddenEntryFlow
from ._hidden_entry_flow import hidden_entry_flow as hidden_entry_flow
from ._implied_potential import implied_potential as implied_potential
from ._label_noise_limit import label_noise_limit as label_noise_limit
from ._limit import limit as limit
from ._maximum_margin import maximum_margin as maximum_margin
from ._minimum_norm import minimum_norm as minimum_norm
from ._minimum_nuclear_norm import minimum_nuclear_norm as minimum_nuclear_norm
from ._saddle_to_saddle import SaddlePath as SaddlePath
from ._saddle_to_saddle import saddle_to_saddle as saddle_to_saddle
from ._saxe_modes import saxe_modes as saxe_modes
from ._scalar_modes import incremental_threshold as incremental_threshold
from ._scalar_modes import mode_time as mode_time
from ._separation import Separation as Separation
from ._separation import separation as separation
from ._single_constraint import single_constraint_path as single_constraint_path
from ._singular_value_velocity import end_to_end_velocity as end_to_end_velocity
from ._singular_value_velocity import singular_value_velocity as singular_value_velocity
from ._two_layer_dynamics import TwoLayerPath as TwoLayerPath
from ._two_layer_dynamics import two_layer_dynamics as two_layer_dynamics

__all__ = [
    "ComponentVelocity",
    "GreedyPath",
    "HardMarginRate",
    "HiddenEntryFlow",
    "Infeasible",
    "NotAMirrorFlow",
    "NotSeparable",
    "NotUnique",
    "SaddlePath",
    "Separation",
    "TwoLayerPath",
    "Unsolved",
    "basis_pursuit",
    "bregman_projection",
    "component_velocity",
    "conservation_laws",
    "discrete_limit",
    "end_to_end_velocity",
    "greedy_low_rank_learning",
    "hard_margin_rate",
    "hidden_entry_bound",
    "hidden_entry_flow",
    "hidden_entry_rank_bound",
    "implied_potential",
    "incremental_threshold",
    "label_noise_limit",
    "limit",
    "maximum_margin",
    "minimum_norm",
    "minimum_nuclear_norm",
    "mode_time",
    "saddle_to_saddle",
    "saxe_modes",
    "separation",
    "single_constraint_path",
    "singular_value_velocity",
    "two_layer_dynamics",
]

__dir__ = _public_names(__name__)
