"""Directions of steepest descent: of norm 1, with the largest inner product with a gradient."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..linalg._polar import of_order_one, polar_factor_of
from ..linalg._unit import of_unit_length
from ..parameterizations._base import Params

OF_MATRICES = ("spectral", "nuclear")
NORMS = ("l1", "l2", "linf", *OF_MATRICES)


def steepest(norm: str, gradient: Params, orthogonalization: str) -> Params:
    """The direction in one of the ``NORMS``; zero for a gradient of zero."""
    if norm == "linf":
        return jax.tree.map(jnp.sign, gradient)
    if norm == "spectral":
        return jax.tree.map(lambda g: polar_factor_of(g, orthogonalization), gradient)
    if norm == "nuclear":
        return _of_the_largest_singular_value(gradient)
    flat, unravel = ravel_pytree(gradient)
    return unravel(_coordinate(flat) if norm == "l1" else of_unit_length(flat))


def _coordinate(flat: Float[Array, " n"]) -> Float[Array, " n"]:
    largest = jnp.argmax(jnp.abs(flat))
    return jnp.zeros_like(flat).at[largest].set(jnp.sign(flat[largest]))


def _of_the_largest_singular_value(gradient: Params) -> Params:
    leaves, structure = jax.tree.flatten(gradient)
    pairs, values = zip(*map(_top, leaves), strict=True)
    first = jnp.argmax(jnp.stack(values))
    moved = [jnp.where(first == number, pair, jnp.zeros_like(pair)) for number, pair in enumerate(pairs)]
    return jax.tree.unflatten(structure, moved)


def _top(matrix: Float[Array, "m n"]) -> tuple[Float[Array, "m n"], Float[Array, ""]]:
    """The product of the top singular pair, or zero, and the singular value."""
    largest = jnp.max(jnp.abs(matrix))
    u, s, vt = jnp.linalg.svd(of_order_one(matrix), full_matrices=False)
    return jnp.sign(s[0]) * u[:, :1] @ vt[:1], s[0] * largest
