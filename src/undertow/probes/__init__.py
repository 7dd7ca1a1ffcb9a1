"""What is watched along the way: functions of problem, parameterization and parameters."""

from .._public import public_names as _public_names
from ._base import Probe as Probe
from ._components import ComponentAlignment as ComponentAlignment
from ._components import ComponentNorms as ComponentNorms
from ._curvature import HessianEigenvalues as HessianEigenvalues
from ._curvature import Sharpness as Sharpness
from ._entries import Balancedness as Balancedness
from ._entries import DistanceTo as DistanceTo
from ._entries import Entry as Entry
from ._entries import FrobeniusNorm as FrobeniusNorm
from ._entries import Function as Function
from ._hessian_spectrum import HessianTrace as HessianTrace
from ._hessian_spectrum import SpectralDensity as SpectralDensity
from ._losses import GradientNorm as GradientNorm
from ._losses import LogLoss as LogLoss
from ._losses import Loss as Loss
from ._losses import ReconstructionError as ReconstructionError
from ._losses import TestError as TestError
from ._margins import DirectionError as DirectionError
from ._margins import Margin as Margin
from ._matricizations import MatricizationRanks as MatricizationRanks
from ._singular_vectors import SingularVectorAlignment as SingularVectorAlignment
from ._singular_vectors import SingularVectors as SingularVectors
from ._spectra import Determinant as Determinant
from ._spectra import DistanceFromRank as DistanceFromRank
from ._spectra import EffectiveRank as EffectiveRank
from ._spectra import NuclearNorm as NuclearNorm
from ._spectra import SchattenNorm as SchattenNorm
from ._spectra import SingularValues as SingularValues
from ._spectra import StableRank as StableRank

__all__ = [
    "Balancedness",
    "ComponentAlignment",
    "ComponentNorms",
    "Determinant",
    "DirectionError",
    "DistanceFromRank",
    "DistanceTo",
    "EffectiveRank",
    "Entry",
    "FrobeniusNorm",
    "Function",
    "GradientNorm",
    "HessianEigenvalues",
    "HessianTrace",
    "LogLoss",
    "Loss",
    "Margin",
    "MatricizationRanks",
    "NuclearNorm",
    "Probe",
    "ReconstructionError",
    "SchattenNorm",
    "Sharpness",
    "SingularValues",
    "SingularVectorAlignment",
    "SingularVectors",
    "SpectralDensity",
    "StableRank",
    "TestError",
]

__dir__ = _public_names(__name__)
