"""Sums of powers of singular values, with derivatives that hold where values are zero or repeated."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..linalg._polar import quick_polar_factor


def norm_of(w: Float[Array, "m n"], p: Float[Array, ""]) -> Float[Array, ""]:
    r"""The Schatten norm :math:`(\sum_r \sigma_r^p)^{1/p}`, a quasi-norm for p < 1, at any scale; 0 at zero."""
    w, unit = in_units(w)
    largest = _largest(w)
    powers = power_sum(w, p, largest)
    zero = powers == 0
    return jnp.where(zero, 0, unit * largest * jnp.where(zero, 1, powers) ** (1 / p))


def ratio_of(w: Float[Array, "m n"], p: Float[Array, ""], q: Float[Array, ""]) -> Float[Array, ""]:
    """The Schatten norm of exponent p over that of q; 0 at zero."""
    w, _ = in_units(w)
    largest = _largest(w)
    above, below = power_sum(w, p, largest), power_sum(w, q, largest)
    zero = above == 0
    # By logarithms, since each of the norms may be more than a number can hold: 100^(1/p) for 100 equal values.
    logarithm = jnp.log(jnp.where(zero, 1, above)) / p - jnp.log(jnp.where(zero, 1, below)) / q
    return jnp.where(zero, 0, jnp.exp(logarithm))


@jax.custom_jvp
def polar_of(w: Float[Array, "m n"]) -> Float[Array, "m n"]:
    """A polar factor, in float32 without a decomposition, with a derivative where values are zero or repeated too."""
    return quick_polar_factor(w)


@polar_of.defjvp
def _polar_of_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (w,), (dw,) = primals, tangents
    scaled, unit = in_units(w)
    one = jnp.ones((), w.dtype)
    # Asked for by derivatives of second order alone; where it is not, the compiler drops the decomposition.
    return polar_of(w), jax.jvp(lambda x: slope(x, one, one), (scaled,), (dw / unit,))[1]


@jax.custom_jvp
def inner_with_polar(polar: Float[Array, "m n"], w: Float[Array, "m n"]) -> Float[Array, ""]:
    r""":math:`\langle Q, W \rangle`, the nuclear norm if Q is the polar factor of W, whose gradient Q then is.

    Of all matrices of spectral norm 1, Q has the largest inner product with W, so that the value does not change to
    first order with Q; that Q itself changes with W shows in derivatives of second order.
    """
    return jnp.sum(polar * w)


@inner_with_polar.defjvp
def _inner_with_polar_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (polar, w), (_, dw) = primals, tangents
    return inner_with_polar(polar, w), jnp.sum(polar * dw)


def in_units(w: Float[Array, "m n"]) -> tuple[Float[Array, "m n"], Float[Array, ""]]:
    """A matrix in units of its largest entry, so that no power of an entry is lost, and the unit: a constant."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(w)))
    unit = jnp.where(largest > 0, largest, 1)
    return w / unit, unit


def _largest(w: Float[Array, "m n"]) -> Float[Array, ""]:
    """The largest singular value as a constant; 1 for zero. The compiler merges it with the other decompositions."""
    return jax.lax.stop_gradient(_decomposed(jax.lax.stop_gradient(w))[1][0])


@jax.custom_jvp
def power_sum(w: Float[Array, "m n"], p: Float[Array, ""], unit: Float[Array, ""]) -> Float[Array, ""]:
    r""":math:`\sum_r (\sigma_r / s)^p` over the singular values that are not zero to rounding, in a constant unit s."""
    _, s, _, kept = _decomposed(w)
    return jnp.sum(jnp.where(kept, (s / unit) ** p, 0))


@power_sum.defjvp
def _power_sum_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (w, p, unit), (dw, dp, _) = primals, tangents
    _, s, _, kept = _decomposed(w)
    powers = jnp.where(kept, (s / unit) ** p, 0)
    return power_sum(w, p, unit), jnp.sum(slope(w, p, unit) * dw) + jnp.sum(powers * jnp.log(s / unit)) * dp


@jax.custom_jvp
def slope(w: Float[Array, "m n"], p: Float[Array, ""], unit: Float[Array, ""]) -> Float[Array, "m n"]:
    r""":math:`U p \Sigma^{p - 1} V^T / s^p` over the same: its gradient, and for p = s = 1 the polar factor."""
    u, s, vt, kept = _decomposed(w)
    return (u * jnp.where(kept, p * (s / unit) ** (p - 1) / unit, 0)[None, :]) @ vt


@slope.defjvp
def _slope_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """By divided differences of the slope g of the power, an odd function: repeated values are no exception."""
    (w, p, unit), (dw, dp, _) = primals, tangents
    u, s, vt, kept = _decomposed(w)
    g = jnp.where(kept, p * (s / unit) ** (p - 1) / unit, 0)
    bend = jnp.where(kept, p * (p - 1) * (s / unit) ** (p - 2) / unit**2, 0)
    inner = u.T @ dw @ vt.T
    both, turned = (inner + inner.T) / 2, (inner - inner.T) / 2
    apart = s[:, None] - s[None, :]
    # The difference of nearly equal values is lost in rounding; the derivative between them is not.
    near = jnp.abs(apart) <= jnp.finfo(w.dtype).eps ** (1 / 3) * jnp.maximum(s[:, None], s[None, :])
    along = jnp.where(near, (bend[:, None] + bend[None, :]) / 2, (g[:, None] - g[None, :]) / jnp.where(near, 1, apart))
    total = s[:, None] + s[None, :]
    across = jnp.where(total > 0, (g[:, None] + g[None, :]) / jnp.where(total > 0, total, 1), 0)
    some = kept[:, None] & kept[None, :]
    core = jnp.where(some, along * both + across * turned, 0)
    outside = jnp.where(kept, g / s, 0)  # what turns the singular vectors out of their span
    left = dw @ vt.T - u @ inner
    right = u.T @ dw - inner @ vt
    moved = u @ core @ vt + (left * outside[None, :]) @ vt + (u * outside[None, :]) @ right
    # Between values that are zero: g is linear for p = 2, flat above, and has no derivative below.
    moved += jnp.where(p == 2, 2 / unit**2, 0) * (dw - left @ vt - u @ (u.T @ dw))
    by_p = (u * jnp.where(kept, (1 / p + jnp.log(s / unit)) * g, 0)[None, :]) @ vt
    # Not by u, g and vt, whose own derivatives do not exist everywhere, for those who differentiate once more.
    return slope(w, p, unit), moved + by_p * dp


def _decomposed(w: Float[Array, "m n"]) -> tuple[Array, Array, Array, Array]:
    """The singular value decomposition, and which values are kept.

    Those that are zero to rounding give way to ones, and their vectors to zeros.
    """
    u, s, vt = jnp.linalg.svd(w, full_matrices=False)
    cut = 10 * max(w.shape) * float(jnp.finfo(w.dtype).eps)  # as for the polar factor
    kept = ~(s <= cut * s[:1])  # so that values that are not numbers stay, and are seen
    return u * kept[None, :].astype(w.dtype), jnp.where(kept, s, 1), vt * kept[:, None].astype(w.dtype), kept
