"""Entries that wait: small now, and large one day.

Near a saddle of products an entry follows u' = r u, at a rate that the large entries set, whatever its own size is. It
may have fallen to 1e-100 before it grows, and when it is there again hangs on how far it fell. An absolute tolerance
above it sees nothing of that: neither the error of steps too long for it, nor that anything happens at all.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..parameterizations._base import Params
from ._base import tree_norm
from ._flow_solver import size_of

ALIKE = 0.1
"""Rates are one up to this share. Those of rounding differ by their own size from step to step."""


def resolved(
    error: Params,
    rounding: Float[Array, ""] | None,
    before: Params,
    after: Params,
    increments: Any,
    time: Float[Array, ""],
    h: Float[Array, ""],
    rtol: float,
    atol: Float[Array, ""],
) -> tuple[Params, Bool[Array, ""]]:
    """The error of a step of h until a time, without its rounding and such that entries that wait count by ``rtol``.

    They do while one of them grows that is small beside the others, and in less time than the run has taken: at a
    minimum nothing does, and what falls for good may be as wrong as it likes. Also whether they do.
    """
    small = rtol * tree_norm(before) / math.sqrt(size_of(before))
    share = None
    if rounding is not None:
        size = tree_norm(error)
        share = jnp.where(size > rounding, 1 - rounding / jnp.where(size > 0, size, 1), 0)

    def rates(y0: Array, y1: Array, k: Array) -> tuple[Array, Array]:
        first, last = _ratio(k[0], y0), _ratio(k[-1], y1)  # of the entry, wherever the step has brought it
        return first, jnp.abs(last - first) <= ALIKE * jnp.abs(first)

    def grows(y0: Array, y1: Array, k: Array) -> Array:
        first, steady = rates(y0, y1, k)
        enough = _ratio(h, time).astype(k.dtype)
        return jnp.any(steady & (first > enough) & (jnp.abs(y0) < small.astype(y0.dtype)))

    def counted(error: Array, y0: Array, y1: Array, k: Array) -> Array:
        _, steady = rates(y0, y1, k)
        asked = rtol * jnp.maximum(jnp.abs(y0), jnp.abs(y1))
        waits = matters & steady & (asked > jnp.finfo(asked.dtype).tiny)
        alone = error * (1 + atol.astype(asked.dtype) / jnp.where(waits, asked, 1))
        rest = error if share is None else jnp.where(jnp.isfinite(error), share.astype(error.dtype) * error, error)
        return jnp.where(waits, alone, rest)

    matters = jnp.any(jnp.stack(jax.tree.leaves(jax.tree.map(grows, before, after, increments))))
    return jax.tree.map(counted, error, before, after, increments), matters


def grows_steadily(after: Params, before: Params, velocity: Params, time: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether an entry of whatever size has grown over a time at the rate that it has at the end of it."""

    def one(x: Array, y: Array, v: Array) -> Array:
        growth, expected = jnp.log(jnp.maximum(_ratio(x, y), 1)), _ratio(v, x) * time.astype(x.dtype)
        return jnp.any((growth > 0.01) & (jnp.abs(growth - expected) <= ALIKE * growth))

    return jnp.any(jnp.stack(jax.tree.leaves(jax.tree.map(one, after, before, velocity))))


def _ratio(a: Array, b: Array) -> Array:
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))
