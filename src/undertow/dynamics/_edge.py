"""The directions in which descent is least stable: of the preconditioned Hessian, and how they change along the way."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard
from jaxtyping import Array, Float, Int

from ._complementarity import pairs, weights

DENSE = 64
"""Parameters up to which the Hessian is formed."""

Loss = Callable[[Float[Array, " n"]], Float[Array, ""]]


class Directions(NamedTuple):
    """Eigenpairs H v = value P v of the largest values, with v^T P v = 1, and how many products they took."""

    values: Float[Array, " k"]
    vectors: Float[Array, "k n"]
    products: Int[Array, ""]


def hessian_product(loss: Loss, x: Float[Array, " n"], v: Float[Array, " n"]) -> Float[Array, " n"]:
    """H v. Twice in reverse: sparse problems have a derivative of their own, which forward ones cannot enter."""
    return jax.vjp(jax.grad(loss), x)[1](v)[0]


def directions(
    loss: Loss, x: Float[Array, " n"], diagonal: Float[Array, "..."], near: Float[Array, "k n"], tolerance: float
) -> Directions:
    """Those of P with this diagonal (or one number), as many as are given to begin with."""
    root = jnp.sqrt(diagonal)
    _, pullback = jax.vjp(jax.grad(loss), x)

    def product(V: Float[Array, "n j"]) -> Float[Array, "n j"]:
        return jax.vmap(lambda v: pullback(v / root)[0] / root, 1, 1)(V)

    count, n = near.shape
    if n <= max(DENSE, 5 * count):
        H = product(jnp.eye(n, dtype=x.dtype))
        values, vectors = jnp.linalg.eigh((H + H.T) / 2)
        return Directions(values[::-1][:count], vectors.T[::-1][:count] / root, jnp.asarray(n, jnp.int32))
    # Its own tolerance is a multiple of what rounding makes.
    found: Any = lobpcg_standard(product, (near * root).T, m=100, tol=tolerance / (10 * n))
    values, vectors, rounds = found
    products = count * (4 * rounds + 2)
    return Directions(values, vectors.T / root, jnp.asarray(products, jnp.int32))


def curvature_gradients(
    loss: Loss, x: Float[Array, " n"], vectors: Float[Array, "k n"], count: Int[Array, ""]
) -> Float[Array, "p n"]:
    """The gradients of u^T H(x) v for all pairs of the first ``count`` vectors, zero for others.

    Rows and their weights are those of ``to_vector``.
    """
    k = vectors.shape[0]
    rows, columns = pairs(k)

    def with_one(j: Array, found: Float[Array, "k k n"]) -> Float[Array, "k k n"]:
        _, pullback = jax.vjp(lambda x: hessian_product(loss, x, vectors[j]), x)
        return found.at[j].set(jax.vmap(lambda v: pullback(v)[0])(vectors))

    found = jax.lax.fori_loop(0, count, with_one, jnp.zeros((k, *vectors.shape), x.dtype))
    return found[columns, rows] * weights(k).astype(x.dtype)[:, None]
