"""OptSpace: trimming, a spectral start, and descent on the column and row spaces of given rank."""

import numpy as np

from .._validation import check_integer, check_number
from ..problems import MatrixCompletion
from ..theory import Unsolved
from ._newton import Point, descend, point
from ._observed import Left, Matrix, Observed, Right, leading, observed

STEPS_AT_ONCE = 5
"""Newton steps between two looks at the gradient on the spaces."""
ENDLESS = 1e4
"""Norm of the matrix, in units of that of its entries scaled to its size, above which it is growing without end."""


def optspace(problem: MatrixCompletion, rank: int, *, rtol: float = 1e-9, max_steps: int = 500) -> Matrix:
    r"""A matrix :math:`X S Y^T` of given rank by descent on :math:`\min_S \frac12 |P_\Omega(M - X S Y^T)|_F^2`.

    X and Y have orthonormal columns: they stand for a column and a row space. The start leaves out rows and columns
    with more than twice the average number of entries, which would dominate its spectrum, and takes the leading
    singular vectors of what is left, with singular values scaled by rows x columns / entries. From there the loss
    falls, by Newton steps in a trust region instead of the source's gradient steps, until the gradient on both spaces
    vanishes; without the source's optional penalty on incoherence. Sums, not means, whatever the problem's
    ``normalization``.

    Parameters
    ----------
    problem
        Its entries and their places; the shape is (rows, columns).
    rank
        From 1 to the smaller side. The method is known to recover matrices whose rank is given; nothing is guessed.
    rtol
        Of the gradient on the two spaces at the best core, :math:`|R Y S^T|_F` and :math:`|R^T X S|_F` with residual R,
        relative to the sum of squares of the observed entries.
    max_steps
        Most Newton steps.

    Returns
    -------
    X S Y^T, NumPy float64. A stationary point, reached by descent: the problem is not convex, and it may not be the
    least. It is exact where enough entries of a matrix of this rank are seen: of the order of rank x side x log(side).

    Raises
    ------
    TypeError, ValueError
        If the problem is none of matrix completion, or an option is out of range.
    Unsolved
        If the gradient does not vanish within ``max_steps``, or the matrix grows beyond 1e4 times what the entries let
        expect: where too few are seen, the least loss may be that of no matrix of this rank, but of a sequence without
        end.

    References
    ----------
    Keshavan, Montanari, Oh. Matrix Completion from a Few Entries. IEEE Transactions on Information Theory 2010,
    Section I.

    Examples
    --------
    >>> import undertow as ut
    >>> rows, columns = [0, 0, 1, 1, 2], [0, 1, 0, 2, 1]
    >>> problem = ut.problems.MatrixCompletion((3, 3), rows, columns, values=[1.0, 2.0, 2.0, 6.0, 6.0])
    >>> optspace(problem, 1).round(6).tolist()
    [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 9.0]]
    """
    check_integer("rank", rank, 1)
    check_number("rtol", rtol, 0, exclusive=True)
    check_integer("max_steps", max_steps, 1)
    seen = observed(problem)
    if rank > min(seen.shape):
        raise ValueError(f"rank: expected at most the smaller side {min(seen.shape)}, found {rank}")
    if not np.any(seen.values):
        return np.zeros(seen.shape)
    here = point(seen, 0.0, *spectral_start(seen, rank))
    expected = float(np.linalg.norm(seen.values)) * np.sqrt(seen.shape[0] * seen.shape[1] / seen.values.size)
    slope = size = np.inf
    for step in range(0, max_steps + 1, STEPS_AT_ONCE):
        slope, size = _slope(seen, here), float(np.linalg.norm(here.singular))
        if size > ENDLESS * expected:
            break
        if slope <= rtol:
            return here.left @ here.right.T * seen.unit
        here = descend(seen, 0.0, here, 0.0, max(min(STEPS_AT_ONCE, max_steps - step), 1))
    raise Unsolved(
        f"rank: no stationary point of rank {rank} was found to rtol = {rtol:g} within max_steps = {max_steps}: "
        f"relative gradient {slope:.2g}, norm {size / expected:.2g} times that of the entries, extrapolated"
    )


def spectral_start(seen: Observed, rank: int) -> tuple[Left, Right]:
    """Of the entries in rows and columns of at most twice the average count; factors of equal size."""
    n, d = seen.shape
    row, column = np.bincount(seen.rows, minlength=n), np.bincount(seen.columns, minlength=d)
    m = seen.values.size
    kept = (row[seen.rows] <= 2 * m / n) & (column[seen.columns] <= 2 * m / d)
    u, s, v = leading(seen, np.where(kept, seen.values, 0.0), np.zeros((n, 0)), np.zeros((d, 0)), rank)
    # Where the entries that are left span less than the rank, the others start small: at zero they would stay.
    s = np.maximum(s, 1e-3 * s[0] if s[0] > 0 else 1.0) * (n * d / m)
    return u * np.sqrt(s), v * np.sqrt(s)


def _slope(seen: Observed, here: Point) -> float:
    """Of the gradient on the spaces; ``left`` and ``right`` are X and Y times the root of the diagonal core."""
    matrix, root = seen.matrix(here.residual), np.sqrt(here.singular)
    size = max(np.linalg.norm(matrix @ (here.right * root)), np.linalg.norm(matrix.T @ (here.left * root)))
    return float(size / np.vdot(seen.values, seen.values))
