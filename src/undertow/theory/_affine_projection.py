"""The nearest point of zero error, and whether points of zero error can be positive semidefinite at all."""

from collections.abc import Callable

import numpy as np
import scipy.linalg
from jaxtyping import Float

from ._affine_set import SOLVABLE, AffineSet
from ._dual_newton import independent_rows
from ._errors import Infeasible

Matrix = Float[np.ndarray, "rows columns"]

INDEPENDENT = 1e-4
"""A row whose part across the rows before it is below this share of it calls for a factorization that can take it."""


@np.errstate(over="ignore", invalid="ignore")  # a Gram matrix out of range has no factor, and is done without
def affine_projection(equations: AffineSet, *, symmetric: bool) -> Callable[[Matrix], Matrix]:
    """The map from a matrix to the nearest one with zero error (and symmetric, from a symmetric one).

    What it takes from a matrix is a combination of the measurements, symmetrized where ``symmetric``. Raises
    Infeasible where the equations contradict each other.
    """
    if not isinstance(equations.matrix, np.ndarray):
        return _entries(equations, symmetric=symmetric)
    A, b = equations.matrix, equations.b
    if symmetric:
        stack = A.reshape(-1, *equations.shape)
        turned = stack.transpose(0, 2, 1)
        if not np.array_equal(stack, turned):
            A = ((stack + turned) / 2).reshape(A.shape)
    # Scaled to rows of norm 1 through the Gram matrix: A may be large, and is not copied.
    sizes = np.sqrt(np.einsum("ij,ij->i", A, A))
    if 0 < sizes.size <= equations.matrix.shape[1] and np.all(sizes > 0):
        gram = A @ A.T
        gram /= sizes[:, None]
        gram /= sizes[None, :]
        lower = _cholesky(gram)
        if lower is not None:

            def project(matrix: Matrix) -> Matrix:
                flat = matrix.ravel()
                gap = (A @ flat - b) / sizes
                steps = scipy.linalg.cho_solve((lower, True), gap, check_finite=False) / sizes
                return (flat - A.T @ steps).reshape(matrix.shape)

            return project
    rows, coordinates = independent_rows(AffineSet(A, b, equations.shape))

    def project_by_orthonormal_rows(matrix: Matrix) -> Matrix:
        flat = matrix.ravel()
        return (flat - rows.T @ (rows @ flat - coordinates)).reshape(matrix.shape)

    return project_by_orthonormal_rows


def _cholesky(gram: Float[np.ndarray, "m m"]) -> Float[np.ndarray, "m m"] | None:
    """The lower factor of a matrix with ones on its diagonal; None where its rows are nearly dependent."""
    try:
        lower = scipy.linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    return lower if np.min(np.diag(lower)) > INDEPENDENT else None


def _entries(equations: AffineSet, *, symmetric: bool) -> Callable[[Matrix], Matrix]:
    """Where the equations give entries: the projection puts them there."""
    given = np.full(equations.shape, np.nan)
    given.ravel()[equations.matrix.indices] = equations.b  # pyright: ignore[reportAttributeAccessIssue] (a sparse one)
    if symmetric:
        gap = np.abs(given - given.T)
        if np.any(gap > SOLVABLE * np.linalg.norm(equations.b)):
            i, j = np.unravel_index(np.nanargmax(gap), gap.shape)
            raise Infeasible(
                f"problem: no symmetric w solves its equations, with {given[i, j]:g} at {int(i), int(j)} and "
                f"{given[j, i]:g} at {int(j), int(i)}"
            )
        given = np.where(np.isnan(given), given.T, np.where(np.isnan(given.T), given, (given + given.T) / 2))
        _check_minors(given)
    seen = ~np.isnan(given)
    values = given[seen]

    def project(matrix: Matrix) -> Matrix:
        nearest = matrix.copy()
        nearest[seen] = values
        return nearest

    return project


def _check_minors(given: Matrix) -> None:
    """Raise where given entries (NaN: not given) rule out a positive semidefinite matrix by a minor of size two.

    This finds what no multiplier can prove: zero on the diagonal beside an entry that is not zero.
    """
    given = given / (np.nanmax(np.abs(given)) or 1)
    diagonal = np.diag(given)
    products = np.outer(np.maximum(diagonal, 0), np.maximum(diagonal, 0))
    products[diagonal <= 0] = products[:, diagonal <= 0] = 0  # whatever the other one is, where it is not given
    # A minor of rank one is zero but for the rounding of both of its terms.
    excess = given**2 - products - SOLVABLE * np.maximum(products, given**2 * (products > 0))
    if np.any(diagonal < -SOLVABLE) or np.any(excess > SOLVABLE**2):
        raise Infeasible(
            "problem: no positive semidefinite w solves its equations; a minor of given entries is negative"
        )
