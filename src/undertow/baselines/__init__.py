"""What other methods make of the same problem: the minimizers and stationary points that the literature compares with.

Functions of a ``MatrixCompletion``. Matrices come back as NumPy arrays in float64, whatever the precision of the
problem, and with their optimality checked: where it cannot be shown, ``theory.Unsolved`` is raised. The completion of
least nuclear norm is ``theory.minimum_nuclear_norm``.
"""

from .._public import public_names as _public_names
from ._optspace import optspace as optspace
from ._soft_impute import soft_impute as soft_impute
from ._soft_impute import soft_impute_path as soft_impute_path
from ._soft_impute_als import soft_impute_als as soft_impute_als

__all__ = ["optspace", "soft_impute", "soft_impute_als", "soft_impute_path"]

__dir__ = _public_names(__name__)
