"""Functions of the singular values of w."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import linalg
from .._validation import check_integer, check_number
from ..parameterizations import DeepMatrix, Parameterization
from ..parameterizations._base import Params
from ..problems import Problem
from ._base import Probe, check_matrix


class _Spectral(Probe):
    """A function of the singular values of a matrix w."""

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        check_matrix(self.name, parameterization)

    @abc.abstractmethod
    def of(self, singular_values: Float[Array, " r"]) -> Array:
        """The value, from the singular values in descending order."""

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Array:
        return self.of(jnp.linalg.svd(parameterization(params), compute_uv=False))


class Determinant(Probe):
    """The determinant of w, or of its leading block.

    The sign is conserved along gradient flow from balanced factors of depth 2 at least.

    Parameters
    ----------
    size
        Of the leading block (first rows and columns); the whole of w where left out.

    Raises
    ------
    TypeError, ValueError
        If ``size`` is not a positive integer; before a run, if w is not a square matrix, or has no such block.

    Examples
    --------
    >>> Determinant().name
    'determinant'
    """

    size: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.size is not None:
            check_integer("size", self.size, 1)

    @property
    def name(self) -> str:
        return "determinant" if self.size is None else f"determinant_{self.size}"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        shape = parameterization.shape
        if len(shape) != 2 or (self.size is None and shape[0] != shape[1]):
            raise ValueError(f"determinant: expected w to be a square matrix, found shape {shape}")
        if self.size is not None and self.size > min(shape):
            raise ValueError(f"size: expected at most {min(shape)} for shape {shape}, found {self.size}")

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        if (
            self.size is None
            and isinstance(parameterization, DeepMatrix)
            and parameterization.width == parameterization.shape[0]
        ):
            # Of factors that are far from singular each, where the product is singular but for rounding.
            return jnp.prod(jnp.stack([jnp.linalg.det(factor) for factor in params]))
        return jnp.linalg.det(parameterization(params)[: self.size, : self.size])


class DistanceFromRank(_Spectral):
    r"""Frobenius distance of w from the nearest matrix of a given rank: :math:`(\sum_{i > r} \sigma_i^2)^{1/2}`.

    Parameters
    ----------
    rank
        r, at least 0.

    Raises
    ------
    TypeError, ValueError
        If ``rank`` is not an integer of at least 0.

    References
    ----------
    Eckart, Young. The approximation of one matrix by another of lower rank. Psychometrika 1936.

    Examples
    --------
    >>> DistanceFromRank(1).name
    'distance_from_rank_1'
    """

    rank: int = eqx.field(static=True, converter=lambda rank: check_integer("rank", rank, 0))

    @property
    def name(self) -> str:
        return f"distance_from_rank_{self.rank}"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, ""]:
        return jnp.sqrt(jnp.sum(singular_values[self.rank :] ** 2))


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
