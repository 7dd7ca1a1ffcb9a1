"""Functions of the singular values of w."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import linalg
from .._validation import check_integer, check_number
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..problems import Problem
from ._base import Probe


class _Spectral(Probe):
    """A function of the singular values of a matrix w."""

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        if len(parameterization.shape) != 2:
            raise ValueError(f"{self.name}: expected w to be a matrix, found shape {parameterization.shape}")

    @abc.abstractmethod
    def of(self, singular_values: Float[Array, " r"]) -> Array:
        """The value, from the singular values in descending order."""

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Array:
        return self.of(jnp.linalg.svd(parameterization(params), compute_uv=False))


class SingularValues(_Spectral):
    """The singular values of w, in descending order.

    Parameters
    ----------
    count
        How many of the largest to keep; all where left out.

    Raises
    ------
    TypeError, ValueError
        If ``count`` is not a positive integer.

    Examples
    --------
    >>> SingularValues(count=10).name
    'singular_values'
    """

    count: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.count is not None:
            check_integer("count", self.count, 1)

    @property
    def name(self) -> str:
        return "singular_values"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, " k"]:
        return singular_values[: self.count]


class EffectiveRank(_Spectral):
    """Effective rank of w: the exponential of the entropy (nats) of the normalized singular values.

    References
    ----------
    Roy, Vetterli. The effective rank: a measure of effective dimensionality. EUSIPCO 2007.

    Examples
    --------
    >>> EffectiveRank().name
    'effective_rank'
    """

    @property
    def name(self) -> str:
        return "effective_rank"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, ""]:
        return linalg.effective_rank(singular_values)


class StableRank(_Spectral):
    """Stable rank of w: squared Frobenius norm over squared spectral norm.

    Examples
    --------
    >>> StableRank().name
    'stable_rank'
    """

    @property
    def name(self) -> str:
        return "stable_rank"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, ""]:
        return linalg.stable_rank(singular_values)


class NuclearNorm(_Spectral):
    """Nuclear norm of w: the sum of its singular values.

    Examples
    --------
    >>> NuclearNorm().name
    'nuclear_norm'
    """

    @property
    def name(self) -> str:
        return "nuclear_norm"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, ""]:
        return jnp.sum(singular_values)


class SchattenNorm(_Spectral):
    r"""Schatten norm :math:`(\sum_i \sigma_i^p)^{1/p}` of w; a quasi-norm for p < 1.

    Parameters
    ----------
    p
        Exponent, > 0.

    Raises
    ------
    TypeError, ValueError
        If ``p`` is not a positive number.

    Examples
    --------
    >>> SchattenNorm(0.5).name
    'schatten_0.5'
    """

    p: float = eqx.field(static=True, converter=lambda p: float(check_number("p", p, 0, exclusive=True)))

    @property
    def name(self) -> str:
        return f"schatten_{self.p:g}"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, ""]:
        return jnp.sum(singular_values**self.p) ** (1 / self.p)
