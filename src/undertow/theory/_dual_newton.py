"""Bregman projection onto an affine set, by Newton's method in as many unknowns as there are equations."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Float

from ._affine_set import SOLVABLE, AffineSet
from ._errors import Infeasible, Unsolved
from ._line_search import line_search

Vector = Float[np.ndarray, " d"]
Rows = Float[np.ndarray, "r d"] | scipy.sparse.csr_array

ITERATIONS = 500
BLOCKED = 2
"""So many steps in a row that end at the edge of the duals, and the dual objective falls for ever: no solution."""
ENDLESS = 1e16
"""What stands for an infinite curvature, in units of the largest finite one."""
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
            f"problem: no w solves it; its {equations.b.size} equations A w = b, of rank {rank}, contradict each other "
            f"with a least error of {gap * scale:.3g} (rows of A scaled to norm 1)"
        )
    return right[:rank], coordinates / singular[:rank] * scale


@dataclasses.dataclass(frozen=True)
class Projection:
    """Where ``project`` came to: the dual, its way ``nu`` there, w, and the relative residual of the equations."""

    z: Vector
    nu: Float[np.ndarray, " r"]
    w: Vector
    residual: float

    def unsolved(self) -> Unsolved:
        """What to raise where the residual is none of rounding."""
        return Unsolved(
            f"problem: no point with zero error was found to {ACCEPTED:g}; the smallest relative residual is "
            f"{self.residual:.3g}"
        )


@np.errstate(over="ignore", under="ignore", invalid="ignore")  # a step that is too long is seen as such
def project(
    point: Callable[[Vector], Vector],
    curvature: Callable[[Vector, Rows], np.ndarray],
    rows: Rows,
    b: Float[np.ndarray, " r"],
    start: Vector,
) -> Projection:
    r"""The point ``w = point(start + rows.T @ nu)`` with ``rows @ w = b``, or the nearest to it that is found.

    It minimizes the convex dual objective :math:`R^*(z + Q^T \nu) - b^T \nu` over :math:`\nu`, of gradient
    :math:`Q w - b` and Hessian :math:`Q\, \nabla^2 R^*\, Q^T`. What makes w the projection, that its dual differs from
    the start by a combination of the equations, holds all the way; what is left to check is the residual.

    Parameters
    ----------
    point
        The inverse gradient of the potential R, from dual variables to w; not finite outside of its domain.
    curvature
        The Hessian of the conjugate: at z, its diagonal where it is diagonal, else its product with ``rows.T``.
    rows, b
        Equations with orthonormal rows.
    start
        Dual variables of the start.
    """

    def at(nu: Float[np.ndarray, " r"]) -> tuple[Vector, Vector]:
        # From the start, always: what steps far too long leave of rounding would take z off its plane.
        z = start + rows.T @ nu
        return z, point(z)

    nu = np.zeros_like(b)
    z, w = at(nu)
    scale = float(np.linalg.norm(b) or np.linalg.norm(rows @ w) or 1)
    # Where each equation gives an entry, each is solved in its own scale.
    scales = scale if isinstance(rows, np.ndarray) else np.where(b == 0, scale, np.abs(b))
    best = np.inf
    stuck = blocked = 0
    for _ in range(ITERATIONS):
        residual = b - rows @ w
        size = float(np.linalg.norm(residual / scales))
        stuck = 0 if size < 0.99 * best else stuck + 1
        best = min(best, size)
        accepted = float(np.linalg.norm(residual)) <= ACCEPTED * scale
        if size <= ACCURACY or (accepted and stuck > 2) or stuck > 30 or blocked == BLOCKED:
            break
        size_of_w = np.linalg.norm(w) if isinstance(rows, np.ndarray) else np.abs(rows @ w)
        noise = 4 * np.finfo(float).eps * (scales + size_of_w)
        direction = _newton_direction(curvature(z, rows), rows, residual, noise)
        slope = functools.partial(_slope, at, rows, b, nu, direction)
        length, arrived = line_search(slope, float(-direction @ residual))
        blocked = 0 if arrived else blocked + 1
        new = nu + length * direction
        if np.array_equal(new, nu) or not np.all(np.isfinite(new)):
            break
        nu = new
        z, w = at(nu)
    return Projection(z, nu, w, float(np.linalg.norm(b - rows @ w)) / scale)


def _slope(
    at: Callable[[Vector], tuple[Vector, Vector]],
    rows: Rows,
    b: Float[np.ndarray, " r"],
    nu: Float[np.ndarray, " r"],
    direction: Float[np.ndarray, " r"],
    length: float,
) -> float:
    """The derivative of the dual objective along ``direction``, this far from nu; infinite beyond the duals."""
    w = at(nu + length * direction)[1]
    value = float(direction @ (rows @ w - b)) if np.all(np.isfinite(w)) else np.inf
    return value if np.isfinite(value) else np.inf


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def is_endless(
    point: Callable[[Vector], Vector],
    rows: Rows,
    b: Float[np.ndarray, " r"],
    start: Vector,
    nu: Float[np.ndarray, " r"],
) -> bool:
    """Whether the dual objective falls along nu as far as there are duals: then no point of the domain has zero error.

    Its derivative grows with the way gone. Where it is not negative, the way has an end, and there is an answer.
    """
    largest = float(np.max(np.abs(nu), initial=0))
    if not 0 < largest < np.inf:
        return False
    unit = nu / largest
    for power in range(1, 250, 4):
        w = point(start + rows.T @ (nu + 10.0**power * largest * unit))
        slope = float(unit @ (rows @ w - b))
        if not np.isfinite(slope):
            return True
        if slope >= 0:
            return False
    return True


def _newton_direction(
    curvature: np.ndarray, rows: Rows, residual: Float[np.ndarray, " r"], noise: Any
) -> Float[np.ndarray, " r"]:
    """The step of nu. What of the residual is mere rounding is left alone: flat directions would blow it up."""
    known = np.isfinite(curvature)
    if not np.any(curvature[known]):
        return residual  # powers at zero, of no or of endless curvature: the line search finds how far
    if not np.all(known):
        curvature = np.where(known, curvature, ENDLESS * np.max(np.abs(curvature[known])))
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
