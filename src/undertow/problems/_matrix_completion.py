"""Matrix completion: fit the observed entries; the others are what the bias decides."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._validation import Numbers, check_array, check_indices, check_shape
from ..linalg import EntryPattern, axes_of
from ._base import ObservedEntries, check_normalization, normalized
from ._equations import Equations, entries, weight_of

DENSE_SIZE = 250_000
"""Up to this many entries the whole matrix costs less than a sparse layout of it."""
DENSE_SHARE = 0.06
"""Beyond that, the whole matrix is formed where more than this share of it is observed (measured on two cores)."""


class MatrixCompletion(ObservedEntries):
    r"""Completion of a matrix from some of its entries: loss :math:`\frac1m \sum_{(i,j)} (W_{ij} - M_{ij})^2`.

    Time and memory of the loss grow with the m observed entries, not with rows x columns.

    Parameters
    ----------
    shape
        (rows, columns).
    rows, columns
        Where the observed entries are, counted from 0; no pair twice. m integers each.
    values
        The observed entries. They are kept in the order of rows, then columns.
    truth
        The whole matrix where it is known; used by probes only, never by the loss.
    normalization
        "mean" (the default, as written above), "half_mean", "sum" or "half_sum" over the m observed entries.

    Raises
    ------
    TypeError, ValueError
        If there is no observed entry, lengths differ, an index is out of range, a pair stands twice, a value is not
        finite, ``truth`` does not have the given shape, or ``normalization`` is unknown.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> problem = MatrixCompletion((2, 2), rows=[0, 1], columns=[1, 0], values=[1.0, 1.0])
    >>> float(problem.loss(jnp.zeros((2, 2))))
    1.0
    """

    shape: tuple[int, int] = eqx.field(static=True)
    indices: tuple[Int[Array, " m"], Int[Array, " m"]] | EntryPattern
    values: Float[Array, " m"]
    truth: Float[Array, "rows columns"] | None
    normalization: str = eqx.field(static=True)
    observed: int = eqx.field(static=True)
    counts: Float[Array, " m"] | None

    def __init__(
        self,
        shape: tuple[int, int],
        rows: Numbers,
        columns: Numbers,
        values: Numbers,
        truth: Numbers | None = None,
        normalization: str = "mean",
    ):
        n, d = check_shape("shape", shape, dimensions=2)
        self.shape = (n, d)
        i, j = check_indices("rows", rows, n), check_indices("columns", columns, d)
        self.values = check_array("values", values, dimensions=1)
        sizes = {"rows": i.size, "columns": j.size, "values": self.values.size}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{size} {name}" for name, size in sizes.items())
            raise ValueError(f"rows, columns, values: expected equal lengths, found {found}")
        if i.size == 0:
            raise ValueError("values: expected at least one observed entry, found none")
        check_distinct(i, j, d)
        order = np.lexsort((j, i))
        i, j, self.values = i[order], j[order], self.values[order]
        sparse = n * d > DENSE_SIZE and i.size < DENSE_SHARE * n * d
        self.indices = EntryPattern(i, j, (n, d)) if sparse else (jnp.asarray(i), jnp.asarray(j))
        self.truth = None if truth is None else check_array("truth", truth, dimensions=2)
        if self.truth is not None and self.truth.shape != self.shape:
            raise ValueError(f"truth: expected shape {self.shape}, found {self.truth.shape}")
        self.normalization = check_normalization(normalization)
        self.observed, self.counts = i.size, None

    @property
    def rows(self) -> Int[Array, " m"]:
        """Rows of the observed entries, in ascending order."""
        return axes_of(self.indices)[0]

    @property
    def columns(self) -> Int[Array, " m"]:
        """Columns of the observed entries, in the order of ``rows``."""
        return axes_of(self.indices)[1]

    def loss_of_entries(self, entries: Float[Array, " m"]) -> Float[Array, ""]:
        return normalized(entries - self.values, self.normalization, self.counts, self.observed)

    @property
    def terms(self) -> int:
        """The observed entries."""
        return self.observed

    def part(self, positions: Int[Array, " k"], counts: Float[Array, " k"]) -> "MatrixCompletion":
        return eqx.tree_at(
            lambda p: (p.indices, p.values, p.counts),
            self,
            (tuple(axis[positions] for axis in axes_of(self.indices)), self.values[positions], counts),
            is_leaf=lambda x: x is None,
        )

    def equations(self) -> Equations:
        n, d = self.shape
        where = np.asarray(self.rows, np.int64) * d + np.asarray(self.columns)
        return entries(where, self.values, n * d, weight_of(self.normalization, where.size))


def check_distinct(rows: np.ndarray, columns: np.ndarray, width: int) -> None:
    """Raise where a pair (row, column) stands twice."""
    flat = rows.astype(np.int64) * width + columns
    order = np.argsort(flat, kind="stable")
    again = np.flatnonzero(np.diff(flat[order]) == 0)
    if again.size:
        first, second = order[again[0]], order[again[0] + 1]
        raise ValueError(
            f"rows, columns: expected every entry once, found ({rows[first]}, {columns[first]}) "
            f"at positions {first} and {second}"
        )
