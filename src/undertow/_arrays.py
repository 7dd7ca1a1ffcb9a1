"""Arrays that are made outside of compiled programs without compiling anything for their shape.

Every operation of `jax.numpy` on an array of a new shape is compiled, even `jnp.asarray` of a NumPy array, and to
compile the smallest takes longer than a short run. What is done to a problem's data or to a start once is done here.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._validation import is_traced

LEAST_DRAWN = 64
"""Normal numbers that are drawn at least, so that small shapes share one program."""


def placed(x: Any, dtype: Any = None) -> Array:
    """A JAX array of the values of ``x``, which is not traced, in a type that JAX has; a copy of a NumPy array."""
    found = np.array(x, dtype)
    return jax.device_put(found.astype(jax.dtypes.canonicalize_dtype(found.dtype), copy=False))


def full(shape: tuple[int, ...], value: Any) -> Float[Array, "..."]:
    """An array of one number, in the process's floating type."""
    if is_traced(value):
        return jnp.full(shape, value, dtype=jnp.result_type(float))
    return placed(np.full(shape, np.asarray(value)), jnp.result_type(float))


def normal(key: Array, shape: tuple[int, ...], deviation: Any = 1.0) -> Float[Array, "..."]:
    """What ``deviation * jax.random.normal(key, shape)`` draws, to the bit.

    JAX counts the numbers that it draws through (its option ``jax_threefry_partitionable``), so that fewer are the
    first of more: a power of two is drawn, and shapes share programs.
    """
    counts = jax.config.jax_threefry_partitionable and str(jax.random.key_impl(key)) == "threefry2x32"  # pyright: ignore[reportAttributeAccessIssue]
    if not counts or is_traced(key) or is_traced(deviation):
        return deviation * jax.random.normal(key, shape)
    size = math.prod(shape)
    drawn = np.asarray(jax.random.normal(key, (max(LEAST_DRAWN, 1 << max(size - 1, 0).bit_length()),)))
    return placed(np.asarray(deviation, drawn.dtype) * drawn[:size].reshape(shape))
