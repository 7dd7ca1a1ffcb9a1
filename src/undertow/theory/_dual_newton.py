"""Bregman projection onto an affine set, by Newton's method in as many unknowns as there are equations."""

import math
from collections.abc import Callable

import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Float

from ._affine_set import SOLVABLE, AffineSet
from ._errors import Infeasible, Unsolved

Vector = Float[np.ndarray, " d"]
Rows = Float[np.ndarray, "r d"] | scipy.sparse.csr_array

ITERATIONS = 500
TRIALS = 200
"""Most evaluations of one line search; a step may have to shrink or grow by hundreds of orders of magnitude."""
BLOCKED = 2
"""So many steps in a row that end at the edge of the duals, and the dual objective falls for ever: no solution."""
EDGE = 1e-12
"""How near the edge of the duals, relative to the step, the end of a step is looked for."""
ACCURACY = 1e-13
"""Aim of the relative residual of the equations."""
ACCEPTED = 1e-10
"""Relative residual that is good enough where rounding allows no better."""


def independent_rows(equations: AffineSet) -> tuple[Rows, Float[np.ndarray, " r"]]:
    """Equations with orthonormal rows that say the same; raises Infeasible where they contradict each other."""
    unit = equations.with_unit_rows()
    if not isinstance(unit.matrix, np.ndarray):
        return unit.matrix, unit.b
    left, singular, right = np.linalg.svd(unit.matrix, full_matrices=False)
    rank = int(np.sum(singular > max(unit.matrix.shape) * np.finfo(float).eps * singular[:1]))
    scale = np.max(np.abs(unit.b), initial=0) or 1.0
    b = unit.b / scale
    coordinates = left[:, :rank].T @ b
    gap = float(np.linalg.norm(b - left[:, :rank] @ coordinates))
    if gap > SOLVABLE * np.linalg.norm(b):
        raise Infeasible(
            f"problem: no w solves its {equations.b.size} equations A w = b, of rank {rank}: they contradict each other, "
            f"and the least error is {gap * scale:.3g} (rows of A scaled to norm 1)"
        )
    return right[:rank], coordinates / singular[:rank] * scale


@np.errstate(over="ignore", under="ignore", invalid="ignore")  # a step that is too long is seen as such
def project(
    point: Callable[[Vector], Vector],
    curvature: Callable[[Vector, Rows], np.ndarray],
    rows: Rows,
    b: Float[np.ndarray, " r"],
    z: Vector,
) -> tuple[Vector, Vector, float]:
    r"""The point ``w = point(z + rows.T @ nu)`` with ``rows @ w = b``, or the nearest to it that is found.

    It minimizes the convex dual objective :math:`R^*(z + Q^T \nu) - b^T \nu` over :math:`\nu`, of gradient
    :math:`Q w - b` and Hessian :math:`Q\, \nabla^2 R^*\, Q^T`.

    Parameters
    ----------
    point
        The inverse gradient of the potential R, from dual variables to w; not finite outside of its domain.
    curvature
        The Hessian of the conjugate: at z, its diagonal where it is diagonal, else its product with ``rows.T``.
    rows, b
        Equations with orthonormal rows.
    z
        Dual variables of the start.

    Returns
    -------
    The dual variables, w, and the relative residual of the equations, which ``check_solved`` judges.
    """
    w = point(z)
    scale = float(np.linalg.norm(b) or np.linalg.norm(rows @ w) or 1)
    best = np.inf
    stuck = blocked = 0
    for _ in range(ITERATIONS):
        residual = b - rows @ w
        size = float(np.linalg.norm(residual)) / scale
        stuck = 0 if size < 0.99 * best else stuck + 1
        best = min(best, size)
        if size <= ACCURACY or (size <= ACCEPTED and stuck > 2) or stuck > 30 or blocked == BLOCKED:
            break
        noise = 4 * np.finfo(float).eps * (scale + np.linalg.norm(w))
        step = rows.T @ _newton_direction(curvature(z, rows), rows, residual, noise)
        new_z, w, arrived = _line_search(point, z, w, step, rows, b)
        blocked = 0 if arrived else blocked + 1
        if np.array_equal(new_z, z) or not np.all(np.isfinite(new_z)):
            break
        z = new_z
    return z, w, float(np.linalg.norm(b - rows @ w)) / scale


def check_solved(residual: float) -> None:
    """Raise Unsolved where a residual that ``project`` came to is none of rounding."""
    if not residual <= ACCEPTED:
        raise Unsolved(
            f"problem: no point with zero error was found to {ACCEPTED:g}; the smallest relative residual is "
            f"{residual:.3g}"
        )


def _newton_direction(
    curvature: np.ndarray, rows: Rows, residual: Float[np.ndarray, " r"], noise: float
) -> Float[np.ndarray, " r"]:
    """The step of nu. What of the residual is mere rounding is left alone: flat directions would blow it up."""
    if curvature.ndim == 1 and not isinstance(rows, np.ndarray):
        # Rows that pick entries: every equation has its own curvature.
        values, vectors = rows @ curvature, None
    elif curvature.ndim == 1:
        # Through the square root: the curvatures of sparse solutions span more than float64 has digits.
        half = np.sqrt(curvature)[:, None] * rows.T
        _, singular, vt = scipy.linalg.svd(half, full_matrices=False, lapack_driver="gesvd")
        values, vectors = singular**2, vt.T
    else:
        product = rows @ curvature
        values, vectors = np.linalg.eigh((product + product.T) / 2)
    values = np.maximum(values, max(1e-30 * values.max(), 1e-280))
    coordinates = residual if vectors is None else vectors.T @ residual
    steps = np.where(np.abs(coordinates) > noise, coordinates, 0) / values
    return steps if vectors is None else vectors @ steps


def _line_search(
    point: Callable[[Vector], Vector], z: Vector, w: Vector, step: Vector, rows: Rows, b: Float[np.ndarray, " r"]
) -> tuple[Vector, Vector, bool]:
    """Along ``step`` to where the derivative of the dual objective has fallen to half: it grows with the way gone.

    The dual, w, and whether it came so far: not where w stops to be finite before. By derivatives, not values: the
    values of a potential differ by less than their rounding long before the end.
    """
    direction = rows @ step  # the step of nu, since the rows are orthonormal

    def slope(w: Vector) -> float:
        value = float(direction @ (rows @ w - b)) if np.all(np.isfinite(w)) else np.inf
        return value if np.isfinite(value) else np.inf

    start = slope(w)
    if not start < 0:
        return z, w, True
    low, high, low_slope, high_slope = 0.0, np.inf, start, np.inf
    best_z, best_w = z, w
    length = 1.0
    for trial in range(TRIALS):
        new_z = z + length * step
        new_w = point(new_z)
        new = slope(new_w)
        if abs(new) <= 0.5 * abs(start):
            return new_z, new_w, True
        if new < 0:
            low, low_slope, best_z, best_w = length, new, new_z, new_w
        else:
            high, high_slope = length, new
        if not np.isfinite(high):
            length = 4 * length
        elif low == 0:
            length = length / (4 if trial < 4 else 100)
        elif high > 2 * low:
            length = math.sqrt(low * high)
        elif np.isfinite(high_slope):
            share = low_slope / (low_slope - high_slope)
            length = low + min(max(share, 0.1), 0.9) * (high - low)
        elif high - low > EDGE * high:
            length = (low + high) / 2
        else:
            break
        if not low < length < high:
            break
    return best_z, best_w, False
