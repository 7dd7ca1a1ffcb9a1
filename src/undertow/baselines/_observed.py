"""The observed entries of a completion problem, as numbers of size one, and products with the matrix they make."""

import dataclasses
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Float, Int
from scipy.sparse.linalg import ArpackError, LinearOperator, svds

from ..problems import MatrixCompletion
from ..theory import Unsolved

Matrix = Float[np.ndarray, "rows columns"]
Left = Float[np.ndarray, "rows k"]
Right = Float[np.ndarray, "columns k"]
Entries = Float[np.ndarray, " m"]
Triples = tuple[Float[np.ndarray, "rows found"], Float[np.ndarray, " found"], Float[np.ndarray, "columns found"]]
"""Left singular vectors, singular values from the largest down, right singular vectors."""

DENSE = 250_000
"""Up to this many entries the whole matrix costs less than a sparse layout of it."""
GRAM = 2**24
"""Up to this many it is made for singular values, from the smaller Gram matrix; beyond, Lanczos' method finds them."""
CHUNK = 2**15
"""Numbers gathered at once: the factor rows of a chunk stay in cache."""


@dataclasses.dataclass(frozen=True)
class Observed:
    """Where the observed entries are, in order of rows, and their values in units of ``unit``, at most 1 in size."""

    rows: Int[np.ndarray, " m"]
    columns: Int[np.ndarray, " m"]
    row_ends: Int[np.ndarray, " ends"]
    values: Entries
    shape: tuple[int, int]
    unit: float

    @property
    def dense(self) -> bool:
        """Whether the whole matrix is small enough to be worked with."""
        return self.shape[0] * self.shape[1] <= DENSE

    def at(self, left: Left, right: Right) -> Entries:
        """The observed entries of ``left @ right.T``; where that is large, it is not made."""
        if self.dense:
            return (left @ right.T)[self.rows, self.columns]
        found = np.empty(self.values.size)
        size = max(CHUNK // max(left.shape[1], 1), 1)
        for first in range(0, found.size, size):
            part = slice(first, first + size)
            found[part] = np.einsum("ek,ek->e", left[self.rows[part]], right[self.columns[part]])
        return found

    def matrix(self, values: Entries) -> Any:
        """The matrix with these values at the observed entries and zeros elsewhere; sparse where it is large."""
        if self.dense:
            whole = np.zeros(self.shape)
            whole[self.rows, self.columns] = values
            return whole
        return scipy.sparse.csr_array((values, self.columns, self.row_ends), shape=self.shape)

    def shares(self) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " columns"]]:
        """The share of each row, and of each column, that is observed."""
        n, d = self.shape
        return np.bincount(self.rows, minlength=n) / d, np.bincount(self.columns, minlength=d) / n


def observed(problem: MatrixCompletion) -> Observed:
    """The entries of a problem; raises where it is none of completion, or a part of one."""
    if not isinstance(problem, MatrixCompletion):
        raise TypeError(f"problem: expected an undertow.problems.MatrixCompletion, found {type(problem).__name__}")
    if problem.counts is not None:
        raise ValueError("problem: expected a whole one, found a part of one, whose entries are counted")
    rows, columns = (np.asarray(axis, np.int32) for axis in (problem.rows, problem.columns))
    values = np.asarray(problem.values, np.float64)
    if not np.all(np.isfinite(values)):
        raise ValueError("problem: expected finite values, found others")
    largest = float(np.max(np.abs(values)))
    # A power of two: scaling is exact, and squares stay within the range of numbers.
    unit = float(2.0 ** min(max(np.ceil(np.log2(largest)), -1021), 1023)) if largest > 0 else 1.0
    ends = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=problem.shape[0]))]).astype(np.int32)
    return Observed(rows, columns, ends, values / unit, problem.shape, unit)


def leading(seen: Observed, values: Entries, left: Left, right: Right, count: int) -> Triples:
    """Leading singular triples, largest first, of these values at the observed entries plus ``left @ right.T``."""
    matrix = seen.matrix(values)
    size = seen.shape[0] * seen.shape[1]
    if size > GRAM and 3 * count < min(seen.shape):
        return _lanczos(
            lambda x: matrix @ x + left @ (right.T @ x), lambda x: matrix.T @ x + right @ (left.T @ x), seen, count
        )
    whole = (matrix if seen.dense else matrix.toarray()) + left @ right.T
    if seen.dense or 3 * count >= min(seen.shape):
        u, s, vt = np.linalg.svd(whole, full_matrices=False)
        return u[:, :count], s[:count], vt[:count].T
    if whole.shape[0] > whole.shape[1]:
        v, s, u = _gram(whole.T, count)
        return u, s, v
    return _gram(whole, count)


def _gram(wide: Matrix, count: int) -> Triples:
    """Left singular vectors from the Gram matrix, all that belongs to them to all digits afterwards."""
    rows = wide.shape[0]
    _, vectors = scipy.linalg.eigh(wide @ wide.T, subset_by_index=[rows - count, rows - 1], check_finite=False)
    u, s, vt = np.linalg.svd(vectors.T @ wide, full_matrices=False)
    return vectors @ u, s, vt.T


def _lanczos(forward: Any, backward: Any, seen: Observed, count: int) -> Triples:
    operator: Any = LinearOperator(seen.shape, matvec=forward, rmatvec=backward, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).standard_normal(min(seen.shape))
    accuracy: Any = 1e-9
    try:
        found: Any = svds(operator, k=count, v0=start, tol=accuracy)
    except ArpackError as error:
        raise Unsolved(f"problem: singular values were not found ({error})") from None
    u, s, vt = found
    order = np.argsort(s)[::-1]
    return u[:, order], s[order], vt[order].T


def spectral_norm(seen: Observed, values: Entries, left: Left, right: Right) -> float:
    """The largest singular value of these values at the observed entries, or a bound from above.

    Where the values are the residual of a stationary ``left @ right.T``, whose columns are singular vectors, the
    weight is among their singular values as often as its rank says. Lanczos' method does not tell such from one
    another, so that it looks at what is across them only; the norm is that of the two by two norms of the blocks.
    """
    matrix = seen.matrix(values)
    if seen.dense:
        return float(np.linalg.norm(matrix, 2))
    rows, columns = seen.shape
    if rows * columns <= GRAM:
        gram = (matrix @ matrix.T if rows <= columns else matrix.T @ matrix).toarray()
        last = gram.shape[0] - 1
        return float(np.sqrt(scipy.linalg.eigh(gram, eigvals_only=True, subset_by_index=[last, last])[0]))
    u, v = (x / np.maximum(np.linalg.norm(x, axis=0), 1e-300) for x in (left, right))
    images, preimages = matrix @ v, matrix.T @ u
    core = u.T @ images

    def forward(x: Any) -> Any:
        image = matrix @ (x - v @ (v.T @ x))
        return image - u @ (u.T @ image)

    def backward(y: Any) -> Any:
        image = matrix.T @ (y - u @ (u.T @ y))
        return image - v @ (v.T @ image)

    blocks = np.zeros((2, 2))
    blocks[1, 1] = _lanczos(forward, backward, seen, 1)[1][0]
    if u.shape[1]:
        blocks[0, 0], blocks[1, 0], blocks[0, 1] = (
            np.linalg.norm(x, 2) for x in (core, images - u @ core, preimages - v @ core.T)
        )
    return float(np.linalg.norm(blocks, 2))
