"""Explicit penalties: what is minimized beside the loss, as a function of w or of the parameters."""

from .._public import public_names as _public_names
from ._base import OnParameters as OnParameters
from ._base import Penalty as Penalty
from ._base import Sum as Sum
from ._function import Function as Function
from ._norms import L1 as L1
from ._norms import L2 as L2
from ._nuclear import Nuclear as Nuclear
from ._nuclear import NuclearFrobeniusRatio as NuclearFrobeniusRatio
from ._schatten import SchattenQuasiNorm as SchattenQuasiNorm
from ._schatten import SchattenRatio as SchattenRatio

__all__ = [
    "L1",
    "L2",
    "Function",
    "Nuclear",
    "NuclearFrobeniusRatio",
    "OnParameters",
    "Penalty",
    "SchattenQuasiNorm",
    "SchattenRatio",
    "Sum",
]

__dir__ = _public_names(__name__)
