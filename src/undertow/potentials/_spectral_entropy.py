"""The von Neumann entropy of symmetric positive definite matrices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Bool, Float

from ._base import Potential
from ._entropy import relative_entropy
from ._remainders import log_ratio


class SpectralEntropy(Potential):
    r"""Negative von Neumann entropy :math:`\mathrm{tr}(W \log W - W)` in nats; gradient :math:`\log W`.

    Of symmetric positive definite matrices; on commuting ones it is ``Entropy`` of the eigenvalues. From small
    multiples of the identity, mirror descent on underdetermined measurements tends to the smallest trace. The
    divergence is :math:`\mathrm{tr}(X \log X - X \log Z - X + Z)`, finite for singular X.

    Notes
    -----
    An array of more than two dimensions is a stack of matrices, and counts as the block-diagonal one. Only the
    symmetric part of an argument counts, except for ``contains``, which wants it symmetric (to rounding).
    Derivatives of first order are exact where eigenvalues coincide too; those of the gradient's derivative are not.

    References
    ----------
    Tsuda, Raetsch, Warmuth. Matrix Exponentiated Gradient Updates. JMLR 2005.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> SpectralEntropy().inverse_gradient(jnp.zeros((2, 2))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    @property
    def domain(self) -> str:
        return "symmetric positive definite"

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return _value(_square(w))

    def gradient(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return _log(_square(w))

    def inverse_gradient(self, dual: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return _exp(_square(dual))

    def contains(self, w: Float[Array, "..."]) -> Bool[Array, ""]:
        w = _square(w)
        skew = jnp.max(jnp.abs(w - w.mT))
        rounding = 100 * w.shape[-1] * jnp.finfo(w.dtype).eps * jnp.max(jnp.abs(w))
        return jnp.all(jnp.linalg.eigvalsh(w) > 0) & (skew <= rounding)

    def divergence(self, x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, ""]:
        return _divergence(_square(x), _square(z))


def _square(w: Array) -> Array:
    if w.ndim < 2 or w.shape[-1] != w.shape[-2]:
        raise ValueError(f"w: expected square matrices, found shape {w.shape}")
    return w


def _symmetric(w: Array) -> Array:
    return (w + w.mT) / 2


def _conjugate(u: Array, middle: Array) -> Array:
    return u @ middle @ u.mT


def _entrywise(u: Array, values: Array) -> Array:
    """The matrix with eigenvectors ``u`` and the given eigenvalues, symmetric to the last bit."""
    return _symmetric((u * values[..., None, :]) @ u.mT)


def _derivative(w: Array, change: Array, function: Callable, quotients: Callable) -> tuple[Array, Array]:
    """A function of a symmetric matrix and its derivative, by divided differences (Daletskii and Krein)."""
    eigenvalues, u = jnp.linalg.eigh(w)
    shape = (*eigenvalues.shape, eigenvalues.shape[-1])
    divided = quotients(
        jnp.broadcast_to(eigenvalues[..., :, None], shape), jnp.broadcast_to(eigenvalues[..., None, :], shape)
    )
    return _entrywise(u, function(eigenvalues)), _conjugate(u, divided * _conjugate(u.mT, _symmetric(change)))


@jax.custom_jvp
def _exp(s: Array) -> Array:
    eigenvalues, u = jnp.linalg.eigh(s)
    return _entrywise(u, jnp.exp(eigenvalues))


@_exp.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    def quotients(a: Array, b: Array) -> Array:
        # (e^a - e^b) / (a - b)
        gap = jnp.abs(a - b)
        factor = jnp.where(gap > 0, -jnp.expm1(-gap) / jnp.where(gap > 0, gap, 1), 1)
        return jnp.exp(jnp.maximum(a, b)) * factor

    return _derivative(*primals, *tangents, jnp.exp, quotients)


@jax.custom_jvp
def _log(w: Array) -> Array:
    eigenvalues, u = jnp.linalg.eigh(w)
    return _entrywise(u, jnp.log(eigenvalues))


@_log.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    def quotients(a: Array, b: Array) -> Array:
        apart = a != b
        return jnp.where(apart, log_ratio(a, b) / jnp.where(apart, a - b, 1), 1 / a)

    return _derivative(*primals, *tangents, jnp.log, quotients)


@jax.custom_jvp
def _value(w: Array) -> Array:
    eigenvalues = _nonnegative(jnp.linalg.eigvalsh(w))
    return jnp.sum(jnp.where(eigenvalues < 0, jnp.inf, xlogy(eigenvalues, eigenvalues) - eigenvalues))


@_value.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (w,), (change,) = primals, tangents
    return _value(w), jnp.vdot(_log(w), change)


@jax.custom_jvp
def _divergence(x: Array, z: Array) -> Array:
    """Every pair of eigenvalues, weighted by how their vectors overlap: a sum without cancellation."""
    a, u = jnp.linalg.eigh(x)
    b, v = jnp.linalg.eigh(z)
    overlap = (u.mT @ v) ** 2
    a, b = (jnp.broadcast_to(e, overlap.shape) for e in (_nonnegative(a)[..., :, None], b[..., None, :]))
    return jnp.where(jnp.min(a) < 0, jnp.inf, jnp.sum(overlap * relative_entropy(jnp.maximum(a, 0), b)))


@_divergence.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, z), (change_x, change_z) = primals, tangents
    slope_x = jnp.vdot(_log(x) - _log(z), change_x)
    slope_z = jnp.vdot(jax.jvp(_log, (z,), (change_z,))[1], z - x)
    return _divergence(x, z), slope_x + slope_z


def _nonnegative(eigenvalues: Array) -> Array:
    """Without the negative ones that are rounding: those of a singular matrix."""
    size = jnp.max(jnp.abs(eigenvalues), axis=-1, keepdims=True)
    rounding = 10 * eigenvalues.shape[-1] * jnp.finfo(eigenvalues.dtype).eps * size
    return jnp.where(jnp.abs(eigenvalues) <= rounding, jnp.maximum(eigenvalues, 0), eigenvalues)
