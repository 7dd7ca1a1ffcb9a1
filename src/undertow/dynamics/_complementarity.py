"""Semidefinite complementarity, inside a compiled program.

Of symmetric matrices: X >= 0 with M = A + B[X] >= 0 and <X, M> = 0, where B is symmetric and positive semidefinite.
Both are functions of one matrix Z = X - M, its positive and its negative part; and with a parameter mu their smooth
versions with X M = mu, the central path of the same problem. Newton's method follows Z along it as mu goes to zero,
and begins near the end where it is given an X that nearly solves it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

ITERATIONS = 100
"""Newton steps at most; a dozen from nothing and three from a neighbor are usual."""


class Solution(NamedTuple):
    """What solves a problem: X, and how much is missing from M = A + B[X], as a share of its terms."""

    X: Float[Array, "k k"]
    error: Float[Array, ""]


def pairs(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the upper triangle, column after column: the first m (m + 1) / 2 are among the first m."""
    columns, rows = np.tril_indices(k)
    return rows, columns


def to_vector(X: Float[Array, "k k"]) -> Float[Array, " p"]:
    """The entries of a symmetric matrix, such that inner products stay as they are."""
    rows, columns = pairs(X.shape[0])
    return X[rows, columns] * weights(X.shape[0]).astype(X.dtype)


def to_matrix(x: Float[Array, " p"], k: int) -> Float[Array, "k k"]:
    """The symmetric matrix of such a vector."""
    rows, columns = pairs(k)
    x = x / weights(k).astype(x.dtype)
    return jnp.zeros((k, k), x.dtype).at[rows, columns].set(x).at[columns, rows].set(x)


def weights(k: int) -> np.ndarray:
    """How much the entries of the triangle count: 1 on the diagonal, the root of 2 beside it."""
    rows, columns = pairs(k)
    return np.where(rows == columns, 1.0, np.sqrt(2.0))


def solve(A: Float[Array, "k k"], B: Float[Array, "p p"], near: Float[Array, "k k"]) -> Solution:
    """X, for A and for B as an operator on ``to_vector(X)``, from an X that may be near.

    Where there is no solution, as where A is negative and B is zero, what comes is not finite.
    """
    k, eps = A.shape[0], float(jnp.finfo(A.dtype).eps)
    unit, size = _or_one(jnp.max(jnp.abs(A))), _or_one(jnp.max(jnp.abs(jnp.diag(B))))
    # In units in which A and B are of order one.
    # Where B does not decide, as between directions that do not interact, X is the least.
    raised = eps**0.6
    a, b = to_vector(A) / unit, B / size + raised * jnp.eye(B.shape[0], dtype=B.dtype)
    units = jax.vmap(lambda e: to_matrix(e, k))(jnp.eye(a.size, dtype=a.dtype))

    def parts(Z: Array, mu: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Eigenvectors, X, the slopes of its eigenvalues, and what is missing from M, as it is and as a share."""
        z, Q = jnp.linalg.eigh(Z)
        root = jnp.sqrt(z**2 + 4 * mu)
        large = (jnp.abs(z) + root) / 2
        x = jnp.where(z > 0, large, mu / _or_one(large))
        slopes = (1 + (z[:, None] + z[None, :]) / _or_one(root[:, None] + root[None, :])) / 2
        X = (Q * x[None, :]) @ Q.T
        given, asked = to_vector(X - Z), b @ to_vector(X)
        missing = given - a - asked
        return Q, X, slopes, missing, _length(missing) / (1 + _length(given) + _length(asked))

    def newton(Z: Array, mu: Array) -> Array:
        Q, _, slopes, missing, _ = parts(Z, mu)
        frame = jax.vmap(lambda E: to_vector(Q @ E @ Q.T))(units)
        d = slopes[pairs(k)]
        jacobian = jnp.diag(1 - d) + (frame @ b @ frame.T) * d[None, :]
        return Z + to_matrix(frame.T @ jnp.linalg.solve(jacobian, frame @ missing), k)

    def going(carry: tuple) -> Bool[Array, ""]:
        _, mu, error, last, count = carry
        # At the end of the path, until rounding stops it.
        falls = (error > 10 * eps) & (error < 0.5 * last)
        return ((mu > 0) | falls) & (count < ITERATIONS)

    def step(carry: tuple) -> tuple:
        Z, mu, last, _, count = carry
        Z = newton(Z, mu)
        *_, missing, error = parts(Z, mu)
        last = jnp.where(mu > 0, jnp.inf, last)
        # Down the path once it is reached, faster the nearer its end. Full steps: shorter ones, by what is missing, got
        # stuck in a third of badly scaled problems, and these in one of 1200.
        lower = jnp.minimum(0.1 * mu, mu**1.5)
        lower = jnp.where(lower < eps**2, 0, lower)
        return Z, jnp.where(_length(missing) <= 0.3 * jnp.sqrt(mu), lower, mu), error, last, count + 1

    zero = jnp.zeros((), A.dtype)
    X = near * (size / unit)
    Z = X - to_matrix(a + b @ to_vector(X), k)
    error = parts(Z, zero)[-1]
    # A positive A is solved by zero, with no step at all.
    free, usable = jnp.linalg.eigvalsh(A)[0] >= 0, error < 0.1
    Z, mu = jnp.where(usable, Z, 0), jnp.where(usable, error**2, 1)
    mu = jnp.where(free | (mu < eps**2), 0, mu).astype(A.dtype)
    start = (Z, mu, jnp.where(free, 0, error), jnp.full_like(error, jnp.inf), jnp.zeros((), jnp.int32))
    Z, _, error, _, _ = jax.lax.while_loop(going, step, start)
    X = parts(Z, zero)[1]
    # One that lives on what B was raised by is none.
    X = jnp.where(raised * jnp.max(jnp.abs(X)) < 1e-3, X, jnp.nan)
    return Solution(jnp.where(free, 0, X * (unit / size)), error)


def _length(x: Array) -> Array:
    return jnp.sqrt(x @ x)


def _or_one(x: Array) -> Array:
    return jnp.where(x == 0, 1, x)
