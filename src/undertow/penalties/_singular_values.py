"""Sums of powers of singular values, with derivatives that hold where values are zero or repeated."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def norm_of(w: Float[Array, "m n"], p: Float[Array, ""]) -> Float[Array, ""]:
    r"""The Schatten norm :math:`(\sum_r \sigma_r^p)^{1/p}`, a quasi-norm for p < 1, at any scale; 0 at zero."""
    w, unit = _in_units(w)
    return unit * _root(power_sum(w, p), p)


def ratio_of(w: Float[Array, "m n"], p: Float[Array, ""], q: Float[Array, ""]) -> Float[Array, ""]:
    """The Schatten norm of exponent p over that of q; 0 at zero."""
    w, _ = _in_units(w)
    above, below = _root(power_sum(w, p), p), _root(power_sum(w, q), q)
    return above / jnp.where(below > 0, below, 1)


def _in_units(w: Float[Array, "m n"]) -> tuple[Float[Array, "m n"], Float[Array, ""]]:
    """A matrix in units of its largest entry, so that no power of an entry is lost, and the unit: a constant."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(w)))
    unit = jnp.where(largest > 0, largest, 1)
    return w / unit, unit


def _root(powers: Array, p: Array) -> Array:
    positive = powers > 0
    return jnp.where(positive, jnp.where(positive, powers, 1) ** (1 / p), 0)


@jax.custom_jvp
def power_sum(w: Float[Array, "m n"], p: Float[Array, ""]) -> Float[Array, ""]:
    r""":math:`\sum_r \sigma_r^p` over the singular values that are not zero to rounding."""
    _, s, _, kept = _decomposed(w)
    return jnp.sum(jnp.where(kept, s**p, 0))


@power_sum.defjvp
def _power_sum_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (w, p), (dw, dp) = primals, tangents
    _, s, _, kept = _decomposed(w)
    powers = jnp.where(kept, s**p, 0)
    return jnp.sum(powers), jnp.sum(slope(w, p) * dw) + jnp.sum(powers * jnp.log(s)) * dp


@jax.custom_jvp
def slope(w: Float[Array, "m n"], p: Float[Array, ""]) -> Float[Array, "m n"]:
    r""":math:`U p \Sigma^{p - 1} V^T` over the same: the gradient of the sum, for p = 1 the polar factor."""
    u, s, vt, kept = _decomposed(w)
    return (u * jnp.where(kept, p * s ** (p - 1), 0)[None, :]) @ vt


@slope.defjvp
def _slope_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """By divided differences of g(s) = p s^(p - 1), which is odd: repeated values are no exception."""
    (w, p), (dw, dp) = primals, tangents
    u, s, vt, kept = _decomposed(w)
    g = jnp.where(kept, p * s ** (p - 1), 0)
    bend = jnp.where(kept, p * (p - 1) * s ** (p - 2), 0)
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
    return (u * g[None, :]) @ vt, moved + (u * jnp.where(kept, (1 / p + jnp.log(s)) * g, 0)[None, :]) @ vt * dp


def _decomposed(w: Float[Array, "m n"]) -> tuple[Array, Array, Array, Array]:
    """The singular value decomposition, and which values are kept.

    Those that are zero to rounding give way to ones, and their vectors to zeros.
    """
    u, s, vt = jnp.linalg.svd(w, full_matrices=False)
    cut = 10 * max(w.shape) * float(jnp.finfo(w.dtype).eps)  # as for the polar factor
    kept = s > cut * s[:1]
    return u * kept[None, :].astype(w.dtype), jnp.where(kept, s, 1), vt * kept[:, None].astype(w.dtype), kept
