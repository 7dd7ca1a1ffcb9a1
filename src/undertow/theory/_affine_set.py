"""Where the error is zero: the affine set ``{w : A w = b}`` of a problem, as numbers."""

import dataclasses
import math
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float

from ..problems import Problem
from ._errors import Infeasible, Unsolved

SOLVABLE = 1e-9
"""Equations whose least-squares residual is above this share of their right-hand side have no solution."""


@dataclasses.dataclass(frozen=True)
class AffineSet:
    """The set ``{w : matrix @ w.ravel() == b}``, and the loss whose zeros it is.

    The gradient of the loss is ``weight * matrix.T @ (matrix @ w.ravel() - b)`` if the weight is known. A sparse
    matrix picks entries: its rows are orthonormal.
    """

    matrix: Float[np.ndarray, "m d"] | scipy.sparse.csr_array
    b: Float[np.ndarray, " m"]
    shape: tuple[int, ...]
    weight: float | None = None

    @property
    def dense(self) -> Float[np.ndarray, "m d"]:
        """The matrix with its zeros."""
        return self.matrix if isinstance(self.matrix, np.ndarray) else self.matrix.toarray()

    def with_unit_rows(self) -> "AffineSet":
        """Equations that say the same, with rows of norm 1: their units do not matter. Rows of zeros are left out.

        Raises Infeasible where a row of zeros has another right-hand side.
        """
        if not isinstance(self.matrix, np.ndarray):
            return self
        largest = np.max(np.abs(self.matrix), axis=1)
        said = largest > 0
        if np.any(self.b[~said] != 0):
            row = int(np.flatnonzero(~said & (self.b != 0))[0])
            raise Infeasible(
                f"problem: no w solves its equations A w = b, which contradict each other; row {row} of A is zero, and "
                "b there is not"
            )
        # The largest entry first: squares of entries may be beyond the range of numbers.
        rows, largest = self.matrix[said] / largest[said, None], largest[said]
        norms = np.linalg.norm(rows, axis=1)
        with np.errstate(over="ignore"):
            b = self.b[said] / largest / norms
        if not np.all(np.isfinite(b)):
            raise Unsolved("problem: a solution of its equations A w = b is beyond the range of float64")
        return AffineSet(rows / norms[:, None], b, self.shape)


def affine_set(problem: Problem) -> AffineSet:
    """The zero-error set of a problem; raises TypeError where it does not say that it has one."""
    if not isinstance(problem, Problem):
        raise TypeError(f"problem: expected an undertow.problems.Problem, found {type(problem).__name__}")
    equations = problem.equations()
    kind = type(problem).__name__
    if equations is None:
        raise TypeError(
            "problem: expected one whose points of zero error are an affine set, which its method `equations` gives, "
            f"found {kind}"
        )
    matrix: Any = equations.matrix
    matrix = _picking(matrix) if scipy.sparse.issparse(matrix) else np.asarray(matrix, np.float64)
    b = np.asarray(equations.b, np.float64)
    size = math.prod(problem.shape)
    if matrix.ndim != 2 or b.shape != matrix.shape[:1] or matrix.shape[1] != size:
        raise ValueError(
            f"problem: expected equations A w = b with A of shape (m, {size}) and b of shape (m,), found shapes "
            f"{matrix.shape} and {b.shape} from the method `equations` of {kind}"
        )
    if not (np.all(np.isfinite(matrix if isinstance(matrix, np.ndarray) else matrix.data)) and np.all(np.isfinite(b))):
        raise ValueError(f"problem: expected equations A w = b of finite numbers, found others from {kind}")
    return AffineSet(matrix, b, tuple(problem.shape), equations.weight)


def _picking(matrix: Any) -> Float[np.ndarray, "m d"] | scipy.sparse.csr_array:
    """A sparse matrix as it is where every row picks an entry of its own, else with its zeros."""
    rows: Any = scipy.sparse.csr_array(matrix).astype(np.float64)
    m = rows.shape[0]
    ones = rows.nnz == m and np.all(np.diff(rows.indptr) == 1) and np.all(rows.data == 1)
    return rows if ones and np.unique(rows.indices).size == m else rows.toarray()
