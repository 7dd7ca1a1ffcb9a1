"""Mirror maps: strictly convex potentials on w, their gradients and Bregman divergences."""

from .._public import public_names as _public_names
from ._base import Entrywise as Entrywise
from ._base import Potential as Potential
from ._base import bregman_divergence as bregman_divergence
from ._entropy import Burg as Burg
from ._entropy import Entropy as Entropy
from ._hyperbolic_entropy import HyperbolicEntropy as HyperbolicEntropy
from ._powers import Euclidean as Euclidean
from ._powers import PNorm as PNorm
from ._separable import Separable as Separable
from ._spectral_entropy import SpectralEntropy as SpectralEntropy

__all__ = [
    "Burg",
    "Entropy",
    "Entrywise",
    "Euclidean",
    "HyperbolicEntropy",
    "PNorm",
    "Potential",
    "Separable",
    "SpectralEntropy",
    "bregman_divergence",
]

__dir__ = _public_names(__name__)
