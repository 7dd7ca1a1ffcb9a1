"""Autonomous ordinary differential equations, to the last digits."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

RTOL = 1e-12
"""Relative error of a step, in float64; a hundred roundings where the precision is lower."""
MAX_STEPS = 1000
"""A solution that takes more steps counts as none."""

_TABLEAU = diffrax.Dopri8.tableau
_STAGES = len(_TABLEAU.b_sol)
_A = np.zeros((_STAGES, _STAGES))
for _stage, _weights in enumerate(_TABLEAU.a_lower):
    _A[_stage + 1, : len(_weights)] = _weights


def integrate(
    field: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    y: Float[Array, " n"],
    time: float,
    noise: Callable[[Float[Array, " n"]], Float[Array, " n"]],
) -> tuple[Float[Array, " n"], Bool[Array, ""]]:
    """The solution of ``dy/dt = field(y)`` after this time, and whether there is one.

    Dormand's and Prince's method of order 8, by the coefficients of ``diffrax.Dopri8``. The loop is our own because
    every map that a user writes is compiled anew: this one evaluates ``field`` in one place, and compiles in a third
    of the time. A step is held to the largest relative error, not to a mean: small entries are to be exact too. No
    error below ``noise(y)`` counts, the rounding of y that is known from the problem: no step is short enough for it.
    """
    dtype = y.dtype
    rtol = max(RTOL, 100 * float(jnp.finfo(dtype).eps))
    a, b, e = (jnp.asarray(x, dtype) for x in (_A, _TABLEAU.b_sol, _TABLEAU.b_error))
    end = jnp.asarray(time, dtype)

    def going(carry: tuple[Any, ...]) -> Bool[Array, ""]:
        t, _, h, count = carry
        # A solution that blows up, or comes to where the field does, is followed until its time stands still.
        return (t < end) & (count < MAX_STEPS) & (t + h > t)

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        t, y, h, count = carry
        last = t + h >= end
        h = jnp.where(last, end - t, h)
        slopes = jnp.zeros((_STAGES, y.size), dtype)
        slopes = jax.lax.fori_loop(0, _STAGES, lambda i, k: k.at[i].set(field(y + h * (a[i] @ k))), slopes)
        new = y + h * (b @ slopes)
        scale = noise(y) + rtol * jnp.maximum(jnp.abs(y), jnp.abs(new))
        error = jnp.max(jnp.abs(h * (e @ slopes)) / scale)
        accepted = error <= 1  # not where it is NaN
        factor = jnp.where(jnp.isfinite(error), jnp.clip(0.9 * error ** (-1 / 8), 0.1, 10), 0.1)
        later = jnp.where(last, end, t + h)
        return jnp.where(accepted, later, t), jnp.where(accepted, new, y), h * factor, count + 1

    start = (jnp.zeros((), dtype), y, end / 1000, jnp.zeros((), jnp.int32))
    t, y, _, _ = jax.lax.while_loop(going, step, start)
    return y, (t >= end) & jnp.all(jnp.isfinite(y))
