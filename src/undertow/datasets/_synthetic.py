"""Matrices of low rank, and which of their entries are seen."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from undertow._validation import as_key, check_integer, check_number, check_shape

Key = PRNGKeyArray | UInt32[Array, "2"] | int


def low_rank_matrix(
    key: Key, shape: tuple[int, int], rank: int, frobenius_norm: float | None = None
) -> Float[Array, "rows columns"]:
    r"""A random matrix :math:`W = c\,U V^\top` of given rank, with Gaussian factors.

    Parameters
    ----------
    key : jax.random.key or int
        The source of randomness.
    shape : tuple of two int
        Rows and columns.
    rank : int
        From 1 to the smaller side.
    frobenius_norm : float or None
        The Frobenius norm of the matrix; None takes :math:`\sqrt{\text{rows} \cdot \text{columns}}`, so that
        the entries' root mean square is one.

    Returns
    -------
    array, shape (rows, columns)
        In JAX's default floating type.

    Raises
    ------
    ValueError, TypeError
        If the shape is not two positive integers, the rank does not fit, or the norm is not positive.

    References
    ----------
    S. Arora, N. Cohen, W. Hu, Y. Luo. Implicit Regularization in Deep Matrix Factorization. NeurIPS 2019
    (the synthetic matrices of its experiments).

    Examples
    --------
    >>> W = low_rank_matrix(0, (20, 30), rank=3)
    >>> int(jnp.linalg.matrix_rank(W)), round(float(jnp.mean(W**2)), 4)
    (3, 1.0)
    """
    rows, columns = check_shape("shape", shape, dimensions=2)
    rank = check_integer("rank", rank, 1)
    if rank > min(rows, columns):
        raise ValueError(f"rank: expected at most {min(rows, columns)} for shape {(rows, columns)}, found {rank}")
    if frobenius_norm is None:
        frobenius_norm = math.sqrt(rows * columns)
    check_number("frobenius_norm", frobenius_norm, 0, exclusive=True)
    left, right = jax.random.split(as_key(key))
    product = jax.random.normal(left, (rows, rank)) @ jax.random.normal(right, (columns, rank)).T
    return product * (frobenius_norm / jnp.linalg.norm(product))


def observe(key: Key, shape: tuple[int, ...], count: int) -> tuple[np.ndarray, ...]:
    """Draw ``count`` entries of an array uniformly without replacement.

    Time and memory grow with the count, not with the number of entries, as long as no more than a
    twentieth of them is drawn.

    Parameters
    ----------
    key : jax.random.key or int
        The source of randomness.
    shape : tuple of int
        The array's shape, below 2**63 entries.
    count : int
        From 1 to the number of entries.

    Returns
    -------
    tuple of int64 arrays, shape (count,)
        One array of indices per axis (rows and columns for a matrix), sorted, last axis fastest.

    Raises
    ------
    ValueError, TypeError
        If the shape holds no positive integers, or there are fewer entries than asked for.

    Examples
    --------
    >>> rows, columns = observe(0, (1_000_000, 1_000_000), 5)
    >>> rows.shape, bool((rows[:-1] <= rows[1:]).all())
    ((5,), True)
    """
    shape = check_shape("shape", shape)
    count = check_integer("count", count, 1)
    entries = math.prod(shape)
    if entries >= 2**63:
        raise ValueError(f"shape: expected below 2**63 entries, found {entries}")
    if count > entries:
        raise ValueError(f"count: expected at most {entries} for shape {shape}, found {count}")
    key = as_key(key)
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    # NumPy draws a small sample of a large range by Floyd's algorithm; JAX would permute the range.
    generator = np.random.default_rng(np.asarray(data).tolist())
    chosen = np.sort(generator.choice(entries, count, replace=False, shuffle=False))
    return tuple(np.asarray(index, np.int64) for index in np.unravel_index(chosen, shape))
