"""Where the error is zero: the affine set ``{w : A w = b}`` of a problem, as numbers."""

import dataclasses

import numpy as np
import scipy.sparse
from jaxtyping import Float

from ..problems import LeastSquares, LineTarget, MatrixCompletion, MatrixSensing, PointTarget, Problem

SOLVABLE = 1e-9
"""Equations whose least-squares residual is above this share of their right-hand side have no solution."""


@dataclasses.dataclass(frozen=True)
class AffineSet:
    """The set ``{w : matrix @ w.ravel() == b}``, and the loss whose zeros it is.

    The gradient of the loss is ``weight * matrix.T @ (matrix @ w.ravel() - b)``. A sparse matrix picks entries: its
    rows are orthonormal.
    """

    matrix: Float[np.ndarray, "m d"] | scipy.sparse.csr_array
    b: Float[np.ndarray, " m"]
    shape: tuple[int, ...]
    weight: float

    @property
    def dense(self) -> Float[np.ndarray, "m d"]:
        """The matrix with its zeros."""
        return self.matrix if isinstance(self.matrix, np.ndarray) else self.matrix.toarray()


def affine_set(problem: Problem) -> AffineSet:
    """The zero-error set of a problem; raises TypeError where it is not known to be affine."""
    if isinstance(problem, LeastSquares):
        m, _ = problem.A.shape
        weight = {"half_sum": 1, "sum": 2, "half_mean": 1 / m, "mean": 2 / m}[problem.normalization]
        return AffineSet(np.asarray(problem.A, np.float64), np.asarray(problem.b, np.float64), problem.shape, weight)
    if isinstance(problem, MatrixSensing):
        m = problem.values.size
        weight = {"half_sum": 1, "sum": 2, "half_mean": 1 / m, "mean": 2 / m}[problem.normalization]
        matrix = np.asarray(problem.matrices, np.float64).reshape(m, -1)
        return AffineSet(matrix, np.asarray(problem.values, np.float64), problem.shape, weight)
    if isinstance(problem, LineTarget):
        normal = np.asarray(problem.normal, np.float64)
        offset = np.asarray(problem.offset, np.float64)
        return AffineSet(normal[None, :], -offset[None], problem.shape, float(1 / (normal @ normal)))
    if isinstance(problem, PointTarget):
        target = np.asarray(problem.target, np.float64).ravel()
        return AffineSet(picking(np.arange(target.size), target.size), target, problem.shape, 1.0)
    if isinstance(problem, MatrixCompletion):
        rows, columns = problem.shape
        m = problem.values.size
        weight = {"half_sum": 1, "sum": 2, "half_mean": 1 / m, "mean": 2 / m}[problem.normalization]
        where = np.asarray(problem.rows, np.int64) * columns + np.asarray(problem.columns)
        return AffineSet(picking(where, rows * columns), np.asarray(problem.values, np.float64), problem.shape, weight)
    raise TypeError(
        "problem: expected one whose points of zero error are an affine set (LeastSquares, LineTarget, PointTarget, "
        f"MatrixCompletion, MatrixSensing), found {type(problem).__name__}"
    )


def picking(entries: np.ndarray, size: int) -> scipy.sparse.csr_array:
    """The matrix that picks these entries of a vector."""
    m = entries.size
    return scipy.sparse.csr_array((np.ones(m), entries, np.arange(m + 1)), shape=(m, size))
