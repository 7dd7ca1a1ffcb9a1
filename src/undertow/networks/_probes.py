"""What is watched of codes and of data that training does not see.

The spectrum of codes is that of their covariance: variances, in descending order, whose square roots are lengths.
"""

import abc
import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import linalg
from .._validation import check_number
from ..objective import sum_over_pieces
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..probes import Probe
from ..probes._base import check_label
from ..problems import Problem
from ..problems._chunked_rows import ChunkedRows, Rows
from ..problems._reconstruction import as_rows, piece_of, rows_of
from ._autoencoder import Autoencoder
from ._pieces import dtype_of, encode_rows


def variances(codes: Float[Array, "m n"]) -> Float[Array, " n"]:
    """The singular values of the covariance of codes (over m - 1), in descending order.

    Parameters
    ----------
    codes
        One a row.

    Raises
    ------
    ValueError
        If there are not two rows at least.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> variances(jnp.array([[1.0, 0.0], [-1.0, 0.0]])).tolist()
    [2.0, 0.0]
    """
    if codes.ndim != 2 or len(codes) < 2:
        raise ValueError(f"codes: expected two rows at least, found shape {codes.shape}")
    centered = codes - codes.mean(axis=0, keepdims=True)
    return jnp.linalg.svd(centered.T @ centered / (len(codes) - 1), compute_uv=False)


class _OfCodes(Probe):
    """A function of the variances of codes: of the data that is trained with, or of ``X``."""

    X: eqx.AbstractVar[Rows | None]

    @abc.abstractmethod
    def of(self, variances: Float[Array, " n"]) -> Array:
        """The value, from variances in descending order."""

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        phi = _autoencoder(self.name, parameterization)
        if self.X is not None and len(phi.check_rows("X", self.X)) < 2:
            raise ValueError("X: expected two rows at least, found one")

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Array:
        phi = _autoencoder(self.name, parameterization)
        return self.of(variances(encode_rows(phi, params, phi.X if self.X is None else self.X)))


class CodeVariances(_OfCodes):
    """Variances of the codes along their principal directions, in descending order: the spectrum of a latent space.

    Singular values of the covariance, as the papers plot them; their square roots are the lengths.

    Parameters
    ----------
    X
        Rows to encode; those that are trained with where left out.

    Raises
    ------
    TypeError, ValueError
        If ``X`` is not finite; before a run, if the network cannot take it, or what is trained is no autoencoder.

    References
    ----------
    Jing, Zbontar, LeCun. Implicit Rank-Minimizing Autoencoder. NeurIPS 2020.

    Examples
    --------
    >>> CodeVariances().name
    'code_variances'
    """

    X: Rows | None = eqx.field(default=None, converter=lambda X: None if X is None else as_rows("X", X))

    @property
    def name(self) -> str:
        return "code_variances"

    def of(self, variances: Float[Array, " n"]) -> Float[Array, " n"]:
        return variances


class CodeRank(_OfCodes):
    """Numerical rank of the covariance of codes: how many variances exceed a share of the largest.

    Parameters
    ----------
    threshold
        The share, from 0 to 1, of variances: 1e-2 is a tenth of the length.
    X
        Rows to encode; those that are trained with where left out.

    Raises
    ------
    TypeError, ValueError
        If ``threshold`` is not from 0 to 1, or ``X`` not finite; before a run, if the network cannot take it, or what
        is trained is no autoencoder.

    Examples
    --------
    >>> CodeRank(1e-2).name
    'code_rank_0.01'
    """

    threshold: float = eqx.field(
        static=True, default=1e-2, converter=lambda x: float(check_number("threshold", x, 0, maximum=1))
    )
    X: Rows | None = eqx.field(default=None, converter=lambda X: None if X is None else as_rows("X", X))

    @property
    def name(self) -> str:
        return f"code_rank_{self.threshold:g}"

    def of(self, variances: Float[Array, " n"]) -> Array:
        return linalg.numerical_rank(variances, self.threshold)


class CodeEffectiveRank(_OfCodes):
    """Effective rank of codes: the exponential of the entropy (nats) of their normalized variances.

    Parameters
    ----------
    X
        Rows to encode; those that are trained with where left out.

    Raises
    ------
    TypeError, ValueError
        If ``X`` is not finite; before a run, if the network cannot take it, or what is trained is no autoencoder.

    References
    ----------
    Roy, Vetterli. The effective rank: a measure of effective dimensionality. EUSIPCO 2007.

    Examples
    --------
    >>> CodeEffectiveRank().name
    'code_effective_rank'
    """

    X: Rows | None = eqx.field(default=None, converter=lambda X: None if X is None else as_rows("X", X))

    @property
    def name(self) -> str:
        return "code_effective_rank"

    def of(self, variances: Float[Array, " n"]) -> Float[Array, ""]:
        return linalg.effective_rank(variances)


class CodeParticipationRatio(_OfCodes):
    r"""Participation ratio of codes, :math:`(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2` of their variances.

    Parameters
    ----------
    X
        Rows to encode; those that are trained with where left out.

    Raises
    ------
    TypeError, ValueError
        If ``X`` is not finite; before a run, if the network cannot take it, or what is trained is no autoencoder.

    Examples
    --------
    >>> CodeParticipationRatio().name
    'code_participation_ratio'
    """

    X: Rows | None = eqx.field(default=None, converter=lambda X: None if X is None else as_rows("X", X))

    @property
    def name(self) -> str:
        return "code_participation_ratio"

    def of(self, variances: Float[Array, " n"]) -> Float[Array, ""]:
        return linalg.participation_ratio(variances)


class HeldOutReconstruction(Probe):
    """Mean square, over rows and numbers, of what the network makes of other data less that data.

    Without noise, and of squares whatever the loss is, so that kinds of networks can be compared.

    Parameters
    ----------
    X
        Rows that are not trained with.
    label
        Name of the probe, where several are watched.

    Raises
    ------
    TypeError, ValueError
        If ``X`` is not finite or ``label`` not a name; before a run, if the network cannot take ``X``, or what is
        trained is no autoencoder.

    Examples
    --------
    >>> import numpy as np
    >>> HeldOutReconstruction(np.zeros((10, 64))).name
    'held_out_reconstruction'
    """

    X: Rows = eqx.field(converter=lambda X: as_rows("X", X))
    label: str = eqx.field(static=True, default="held_out_reconstruction")

    def __check_init__(self) -> None:
        check_label(self.label)

    @property
    def name(self) -> str:
        return self.label

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        _autoencoder(self.name, parameterization).check_rows("X", self.X)

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        return _mean_square(_autoencoder(self.name, parameterization), params, self.X)


def _mean_square(phi: Autoencoder, params: Any, X: Rows) -> Float[Array, ""]:
    dtype = dtype_of(params)

    def piece(X: Rows, positions: Array, counts: Array) -> Array:
        rows = rows_of(X, positions, dtype)
        codes = encode_rows(phi, params, rows)
        made = eqx.filter_vmap(lambda code: phi.row_of(params, code))(codes)
        return jnp.vdot(counts.astype(dtype), ((made - rows) ** 2).reshape(len(rows), -1).sum(axis=1))

    chunk = X.chunk if isinstance(X, ChunkedRows) else None
    return sum_over_pieces(len(X), min(len(X), piece_of(X.shape)), piece, X, chunk) / math.prod(X.shape)


def _autoencoder(name: str, parameterization: Parameterization) -> Autoencoder:
    if not isinstance(parameterization, Autoencoder):
        raise ValueError(f"{name}: expected an autoencoder, found {type(parameterization).__name__}")
    return parameterization
