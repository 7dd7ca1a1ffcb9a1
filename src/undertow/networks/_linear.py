"""Square linear layers in a row: what the implicit bias of deep matrices acts through."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import normal

KINDS = ("free", "shared", "fixed", "nonlinear")
INITIALIZATIONS = ("uniform", "lecun", "orthogonal")

Matrices = tuple[Float[Array, "n n"], ...]


def draw_matrices(key: Array, size: int, count: int, initialization: str) -> Matrices:
    """So many independent matrices, n x n."""
    keys = jax.random.split(key, max(count, 1))[:count]
    if initialization == "uniform":
        bound = size**-0.5
        return tuple(jax.random.uniform(k, (size, size), minval=-bound, maxval=bound) for k in keys)
    if initialization == "lecun":
        return tuple(normal(k, (size, size), size**-0.5) for k in keys)
    orthogonal = jax.nn.initializers.orthogonal()
    return tuple(orthogonal(k, (size, size), jnp.result_type(float)) for k in keys)


def through(matrices: Matrices, code: Float[Array, " n"], kind: str) -> Float[Array, " n"]:
    """A code through the matrices, the first one first."""
    for number, matrix in enumerate(matrices):
        if kind == "nonlinear" and number:
            code = jax.nn.relu(code)
        code = matrix @ code
    return code


def product(matrices: Matrices) -> Float[Array, "n n"]:
    """The last times ... times the first."""
    return functools.reduce(lambda below, above: above @ below, matrices)
