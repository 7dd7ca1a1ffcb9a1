"""The directions in which descent is least stable: of the preconditioned Hessian, and how they change along the way.

The subspace is improved here, since it is nearly right from the step before: JAX's LOBPCG multiplies four blocks a
round where this does one, and goes on until all directions have converged, those that nothing asks for too.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._complementarity import pairs, weights

DENSE = 64
"""Parameters up to which the Hessian is formed."""
ROUNDS = 100
"""By how many blocks of residuals a subspace is improved at most."""

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
    loss: Loss, x: Float[Array, " n"], diagonal: Float[Array, "..."], near: Float[Array, "k n"], least: float
) -> Directions:
    """Those of P with this diagonal (or one number), as many as are given to begin with.

    The first is exact to rounding, and so are those with values above ``least``. Of few parameters, all are; of many,
    a subspace is improved by its residuals until then (block Rayleigh-Ritz: a block, since many are equal at the edge).
    """
    root = jnp.sqrt(diagonal)
    _, pullback = jax.vjp(jax.grad(loss), x)

    def product(V: Float[Array, "j n"]) -> Float[Array, "j n"]:
        return jax.vmap(lambda v: pullback(v / root)[0] / root)(V)

    k, n = near.shape
    if n <= max(DENSE, 2 * k):
        H = product(jnp.eye(n, dtype=x.dtype))
        values, vectors = jnp.linalg.eigh((H + H.T) / 2)
        return Directions(values[::-1][:k], vectors.T[::-1][:k] / root[None], jnp.asarray(n, jnp.int32))

    def best(V: Array, HV: Array) -> tuple[Array, Array, Array]:
        """The k largest Ritz values in a space of orthonormal V, and their vectors and products."""
        values, turn = jnp.linalg.eigh((V @ HV.T + HV @ V.T) / 2)
        turn = turn.T[::-1][:k]
        return values[::-1][:k], turn @ V, turn @ HV

    def rough(carry: tuple) -> Array:
        (values, V, HV), rounds = carry
        residuals = jnp.linalg.norm(HV - values[:, None] * V, axis=1)
        asked = (values > least) | (jnp.arange(k) == 0)
        return jnp.any(asked & (residuals > tolerance * jnp.abs(values[0]))) & (rounds < ROUNDS)

    def improve(carry: tuple) -> tuple:
        (values, V, HV), rounds = carry
        R = HV - values[:, None] * V
        R = R / jnp.maximum(jnp.linalg.norm(R, axis=1, keepdims=True), jnp.finfo(x.dtype).tiny)
        for _ in range(2):  # a residual that is rounding has to be made orthogonal again
            R = jnp.linalg.qr((R - (R @ V.T) @ V).T)[0].T
        return best(jnp.concatenate([V, R]), jnp.concatenate([HV, product(R)])), rounds + 1

    # An eigenvalue is as exact as the square of this.
    tolerance = 1e-4
    V = jnp.linalg.qr((near * root[None]).T)[0].T
    (values, V, _), rounds = jax.lax.while_loop(rough, improve, (best(V, product(V)), jnp.zeros((), jnp.int32)))
    return Directions(values, V / root[None], k * (rounds + 1))


def curvature_gradients(
    loss: Loss, x: Float[Array, " n"], vectors: Float[Array, "k n"], count: Int[Array, ""]
) -> Float[Array, "p n"]:
    """The gradients of u^T H(x) v for all pairs of the first ``count`` vectors, zero for others.

    Rows and their weights are those of ``to_vector``.
    """
    k = vectors.shape[0]
    rows, _ = pairs(k)

    def with_one(j: Array, found: Float[Array, "p n"]) -> Float[Array, "p n"]:
        _, pullback = jax.vjp(lambda x: hessian_product(loss, x, vectors[j]), x)

        def with_both(i: Array, found: Float[Array, "p n"]) -> Float[Array, "p n"]:
            return found.at[j * (j + 1) // 2 + i].set(pullback(vectors[i])[0])

        return jax.lax.fori_loop(0, j + 1, with_both, found)

    found = jax.lax.fori_loop(0, count, with_one, jnp.zeros((rows.size, x.size), x.dtype))
    return found * weights(k).astype(x.dtype)[:, None]
