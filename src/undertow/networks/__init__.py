"""Autoencoders as parameterizations: their networks, the linear layers between, and what is watched of codes."""

from .._public import public_names as _public_names
from ._architectures import MNIST32 as MNIST32
from ._architectures import Architecture as Architecture
from ._architectures import Color64 as Color64
from ._architectures import Dense as Dense
from ._architectures import Shapes32 as Shapes32
from ._autoencoder import AE as AE
from ._autoencoder import Autoencoder as Autoencoder
from ._autoencoder import Weights as Weights
from ._convolution import Convolution as Convolution
from ._convolution import TransposedConvolution as TransposedConvolution
from ._irmae import IRMAE as IRMAE
from ._probes import CodeEffectiveRank as CodeEffectiveRank
from ._probes import CodeParticipationRatio as CodeParticipationRatio
from ._probes import CodeRank as CodeRank
from ._probes import CodeVariances as CodeVariances
from ._probes import HeldOutReconstruction as HeldOutReconstruction
from ._probes import variances as variances
from ._vae import VAE as VAE

__all__ = [
    "AE",
    "IRMAE",
    "MNIST32",
    "VAE",
    "Architecture",
    "Autoencoder",
    "CodeEffectiveRank",
    "CodeParticipationRatio",
    "CodeRank",
    "CodeVariances",
    "Color64",
    "Convolution",
    "Dense",
    "HeldOutReconstruction",
    "Shapes32",
    "TransposedConvolution",
    "Weights",
    "variances",
]

__dir__ = _public_names(__name__)
