"""How the fitted object is written in terms of what is trained: ``w = phi(params)``."""

from .._public import public_names as _public_names
from ._base import Parameterization as Parameterization
from ._base import Params as Params
from ._biased import Biased as Biased
from ._deep_matrix import DeepMatrix as DeepMatrix
from ._exponential import Exponential as Exponential
from ._function import Function as Function
from ._gram import Gram as Gram
from ._hadamard import Hadamard as Hadamard
from ._identity import Identity as Identity
from ._linear_convolution import LinearConvolution as LinearConvolution
from ._polar import Polar as Polar
from ._power import Power as Power
from ._signed_power import SignedPower as SignedPower

__all__ = [
    "Biased",
    "DeepMatrix",
    "Exponential",
    "Function",
    "Gram",
    "Hadamard",
    "Identity",
    "LinearConvolution",
    "Parameterization",
    "Params",
    "Polar",
    "Power",
    "SignedPower",
]

__dir__ = _public_names(__name__)
