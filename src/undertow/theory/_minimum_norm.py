"""The solution of smallest Euclidean norm."""

from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float

from ..problems import Problem
from ._affine_set import AffineSet, affine_set
from ._dual_newton import independent_rows
from ._errors import Infeasible, Unsolved


def minimum_norm(problem: Problem) -> Float[np.ndarray, "..."]:
    r"""The least-squares solution of smallest l2 norm, :math:`A^+ b`.

    Plain gradient flow (and gradient descent) from zero ends here, because it never leaves the row space of A. For
    matrix completion these are the observed entries and zeros.

    Parameters
    ----------
    problem
        One whose points of zero error are an affine set: it has ``equations``.

    Returns
    -------
    w of the shape of the problem, NumPy float64. Where no w has zero error, the smallest of those with least error.

    Raises
    ------
    TypeError
        If the points of zero error of the problem are not known to be an affine set.
    Unsolved
        If the solution is beyond the range of float64.

    References
    ----------
    Gunasekar, Lee, Soudry, Srebro. Characterizing Implicit Bias in Terms of Optimization Geometry. ICML 2018,
    Section 2.

    Examples
    --------
    >>> import undertow as ut
    >>> minimum_norm(ut.problems.LeastSquares([[1.0, 2.0]], [5.0])).round(6).tolist()
    [1.0, 2.0]
    """
    equations = affine_set(problem)
    if not isinstance(equations.matrix, np.ndarray):
        return (equations.matrix.T @ equations.b).reshape(equations.shape)
    try:
        rows, coordinates = independent_rows(equations)
    except Infeasible:
        return _least_squares(equations.matrix, equations.b).reshape(equations.shape)
    return (rows.T @ coordinates).reshape(equations.shape)


def _least_squares(A: Float[np.ndarray, "m d"], b: Float[np.ndarray, " m"]) -> Float[np.ndarray, " d"]:
    """The smallest of the points of least error, where no error is zero.

    The units of an equation are its weight here. Householder's method with pivoting, from the largest row on, has
    errors that are small against each row by itself, not against the largest one alone.

    References
    ----------
    Cox, Higham. Stability of Householder QR Factorization for Weighted Least Squares Problems. 1998.
    """
    largest = np.max(np.abs(A), axis=1)
    # Rows of zeros say nothing here. What solves the others in their own units spans the same space.
    A, b, largest = A[largest > 0], b[largest > 0], largest[largest > 0]
    if not largest.size:
        return np.zeros(A.shape[1])
    rows, _ = independent_rows(AffineSet(A, np.zeros_like(b), A.shape[1:]))
    order = np.argsort(-largest)
    scale, size = float(largest.max()), float(np.max(np.abs(b))) or 1.0
    factors: Any = scipy.linalg.qr((A[order] / scale) @ rows.T, mode="economic", pivoting=True)
    q, r, pivots = factors
    coordinates = np.zeros(len(rows))
    coordinates[pivots] = scipy.linalg.solve_triangular(r, q.T @ (b[order] / size))
    w = rows.T @ coordinates
    with np.errstate(over="ignore"):
        w = w * (size / scale) if np.isfinite(size / scale) else w * size / scale
    if not np.all(np.isfinite(w)):
        raise Unsolved("problem: the point of least error is beyond the range of float64")
    return w
