"""Differences that cancel if they are written down as they are defined."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

NEAR = 0.5
"""Up to here the series is summed; beyond, the difference loses no more than a digit."""
TERMS = 14
"""Of the series: 0.5^15 * 2 / 17! is below the rounding of float64."""


def exp_remainder(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``exp(x) - 1 - x``, to rounding for every x."""
    near = jnp.abs(x) < NEAR
    small, large = jnp.where(near, x, 0), jnp.where(near, NEAR, x)
    series = jnp.full_like(x, 1 / math.factorial(TERMS + 2))
    for k in range(TERMS + 1, 1, -1):
        series = series * small + 1 / math.factorial(k)
    return jnp.where(near, small * small * series, jnp.expm1(large) - large)


def sinh_remainder(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``sinh(x) - x``, to rounding for small x."""
    return (exp_remainder(x) - exp_remainder(-x)) / 2


def log_ratio(x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``log(x / z)`` for positive x and z, to rounding where x is near z too."""
    near = jnp.abs(x - z) < NEAR * z
    step = jnp.where(near, x - z, 0) / z
    return jnp.where(near, jnp.log1p(step), jnp.log(jnp.where(near, z, x)) - jnp.log(z))
