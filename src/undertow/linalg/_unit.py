"""Vectors of length one."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._polar import of_order_one


def of_unit_length(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """``x`` over its Euclidean norm, be it huge or tiny; zero stays zero."""
    x = of_order_one(x)
    length = jnp.linalg.norm(x)
    return x / jnp.where(length > 0, length, 1)
