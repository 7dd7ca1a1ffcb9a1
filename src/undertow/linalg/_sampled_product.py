"""Chosen entries of a product of two thin matrices, at a cost that follows the entries."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse
from jaxtyping import Array, Float, Int

from .._arrays import placed
from .._repr import shown

CHUNK = 2048
"""Entries gathered at once: the factor rows of a chunk stay in cache, ten times faster than all at once."""


class EntryPattern(eqx.Module):
    """Positions in a matrix, laid out for products along its rows and along its columns.

    Parameters
    ----------
    rows, columns
        Positions sorted by row, and by column within a row, counted from 0; concrete integers.
    shape
        (rows, columns) of the matrix.

    Raises
    ------
    ValueError
        If the positions are not sorted.

    Examples
    --------
    >>> pattern = EntryPattern([0, 1, 1], [2, 0, 1], (2, 3))
    >>> pattern.row_ends.tolist(), pattern.column_ends.tolist()
    ([0, 1, 3], [0, 1, 2, 3])
    """

    rows: Int[Array, " m"]
    columns: Int[Array, " m"]
    row_ends: Int[Array, " rows+1"]
    by_column: Int[Array, " m"]
    rows_by_column: Int[Array, " m"]
    column_ends: Int[Array, " columns+1"]
    shape: tuple[int, int] = eqx.field(static=True)

    def __repr__(self) -> str:
        return shown(self)

    def __init__(self, rows: Any, columns: Any, shape: tuple[int, int]):
        i, j = (np.asarray(x, np.int32) for x in (rows, columns))
        descents = (np.diff(i) < 0) | ((np.diff(i) == 0) & (np.diff(j) < 0))
        if descents.any():
            raise ValueError(f"rows: expected sorted positions, found a step back after {descents.argmax()}")
        order = np.lexsort((i, j)).astype(np.int32)
        self.rows, self.columns = placed(i), placed(j)
        self.by_column, self.rows_by_column = placed(order), placed(i[order])
        self.row_ends = placed(_ends(i, shape[0]))
        self.column_ends = placed(_ends(j, shape[1]))
        self.shape = shape

    @property
    def axes(self) -> tuple[Int[Array, " m"], Int[Array, " m"]]:
        """One vector of integers an axis, as for indices of any number of dimensions."""
        return self.rows, self.columns

    def matrices(self, values: Float[Array, " m"]) -> tuple[sparse.BCSR, sparse.BCSR]:
        """The sparse matrix with these entries, and its transpose."""
        matrix = sparse.BCSR((values, self.columns, self.row_ends), shape=self.shape)
        transpose = sparse.BCSR((values[self.by_column], self.rows_by_column, self.column_ends), shape=self.shape[::-1])
        return matrix, transpose


def axes_of(indices: Any) -> tuple[Int[Array, " m"], ...]:
    """One vector of integers an axis, of indices in either form: such vectors, or an ``EntryPattern``.

    Examples
    --------
    >>> [axis.tolist() for axis in axes_of(EntryPattern([0, 1], [2, 0], (2, 3)))]
    [[0, 1], [2, 0]]
    """
    return getattr(indices, "axes", indices)


def _ends(index: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(index, minlength=size))]).astype(np.int32)


@jax.custom_vjp
def sampled_product(
    left: Float[Array, "rows k"], right: Float[Array, "columns k"], pattern: EntryPattern
) -> Float[Array, " m"]:
    """The entries of ``left @ right.T`` at ``pattern``.

    Time and memory grow with the m entries times k; nothing of size rows x columns is made, forward or backward. The
    derivative is two products of a sparse matrix with a thin dense one. Reverse mode only.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> pattern = EntryPattern([0, 1], [1, 0], (2, 2))
    >>> sampled_product(jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]]), pattern).tolist()
    [4.0, 6.0]
    """
    count = pattern.rows.shape[0]
    size = min(CHUNK, count)
    chunks = tuple(jnp.pad(i, (0, -count % size)).reshape(-1, size) for i in (pattern.rows, pattern.columns))
    products = jax.lax.map(lambda at: jnp.einsum("ek,ek->e", left[at[0]], right[at[1]]), chunks)
    return products.reshape(-1)[:count]


def _forward(left: Array, right: Array, pattern: EntryPattern) -> tuple[Array, Any]:
    return sampled_product(left, right, pattern), (left, right, pattern)


def _backward(saved: Any, cotangent: Array) -> tuple[Array, Array, None]:
    left, right, pattern = saved
    matrix, transpose = pattern.matrices(cotangent)
    return matrix @ right, transpose @ left, None


sampled_product.defvjp(_forward, _backward)
