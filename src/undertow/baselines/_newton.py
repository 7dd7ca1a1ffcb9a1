r"""Newton's method for the factors of a matrix of given rank.

The loss is :math:`\frac12 |P_\Omega(M - A B^T)|_F^2 + \frac\lambda2 (|A|_F^2 + |B|_F^2)`. A step is found by conjugate
gradients within a trust region, so that directions of negative curvature lead away from saddles; a product with the
Hessian costs (entries) x (rank). Factors are balanced, :math:`A^T A = B^T B` diagonal, before every step, which leaves
A B^T as it is, lowers the loss, and makes a diagonal preconditioner a good one.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ._observed import Entries, Left, Observed, Right

Both = Float[np.ndarray, "both k"]
"""A above B."""

MOST_PRODUCTS = 300
"""With the Hessian, in one step."""
SMALLEST = 1e-13
"""Radius of the trust region, in units of the factors, below which a step is rounding."""


@dataclasses.dataclass(frozen=True)
class Point:
    """Balanced factors and what is known there."""

    left: Left
    right: Right
    singular: Float[np.ndarray, " k"]
    residual: Entries
    gradient: Both

    @property
    def factors(self) -> tuple[Left, Right]:
        """A and B."""
        return self.left, self.right

    @property
    def both(self) -> Both:
        """A above B."""
        return np.concatenate([self.left, self.right])


def balanced(left: Left, right: Right) -> tuple[Left, Right, Float[np.ndarray, " k"]]:
    """Factors of the same product whose columns are its singular vectors times roots of its singular values."""
    q, r = np.linalg.qr(left)
    p, t = np.linalg.qr(right)
    u, s, vt = np.linalg.svd(r @ t.T)
    return (q @ u) * np.sqrt(s), (p @ vt.T) * np.sqrt(s), s


def point(seen: Observed, weight: float, left: Left, right: Right) -> Point:
    """Residual and gradient at the balanced factors of a product."""
    left, right, singular = balanced(left, right)
    residual = seen.values - seen.at(left, right)
    matrix = seen.matrix(residual)
    gradient = np.concatenate([weight * left - matrix @ right, weight * right - matrix.T @ left])
    return Point(left, right, singular, residual, gradient)


def descend(seen: Observed, weight: float, here: Point, aim: float, max_steps: int) -> Point:
    """Newton steps until the gradient is at most ``aim``, or as small as rounding lets it be.

    It is measured against that of the penalty, or of a loss of size one, in the norm of the preconditioner.
    """
    if here.left.shape[1] == 0:
        return here
    shares = np.concatenate(seen.shares())[:, None]
    rows = seen.shape[0]
    radius, first = np.inf, None
    for _ in range(max_steps):
        metric = np.maximum(shares * here.singular, 1e-12 * here.singular[0]) + weight + 1e-300
        length = float(np.sqrt(np.vdot(here.both, metric * here.both)))
        size = float(np.sqrt(np.vdot(here.gradient, here.gradient / metric)))
        size /= (weight or 1) * float(np.sqrt(np.vdot(here.both, here.both / metric)))
        first = size if first is None else first
        radius = min(radius, length)
        if size <= aim or radius <= SMALLEST * length:
            break
        step, expected, inside = _step(
            here.gradient, _hessian(seen, weight, here), metric, radius, min(0.1, np.sqrt(size / first))
        )
        da, db = step[:rows], step[rows:]
        # The loss itself changes by less than its rounding near the end; this difference of it does not suffer.
        crossed = seen.at(da, db)
        moved = seen.at(np.hstack([da, here.left]), np.hstack([here.right, db])) + crossed
        gain = float(np.vdot(here.residual, crossed) - np.vdot(moved, moved) / 2)
        gain -= float(np.vdot(here.gradient, step) + weight * np.vdot(step, step) / 2)
        if gain < 0.25 * expected:
            radius = 0.25 * float(np.sqrt(np.vdot(step, metric * step)))
        elif not inside:
            radius = 2 * radius
        if gain > 0:
            here = point(seen, weight, here.left + da, here.right + db)
    return here


def _hessian(seen: Observed, weight: float, here: Point) -> Callable[[Both], Both]:
    """Its product with a step."""
    rows = seen.shape[0]
    residual = seen.matrix(here.residual)
    residual_transposed = residual.T

    def product(step: Both) -> Both:
        da, db = step[:rows], step[rows:]
        moved = seen.matrix(seen.at(np.hstack([da, here.left]), np.hstack([here.right, db])))
        return weight * step + np.concatenate(
            [moved @ here.right - residual @ db, moved.T @ here.left - residual_transposed @ da]
        )

    return product


def _step(
    gradient: Both, hessian: Callable[[Both], Both], metric: Both, radius: float, forcing: float
) -> tuple[Both, float, bool]:
    """Of Steihaug and Toint: the step, the fall of the quadratic model, and whether it ends within the region."""
    step = np.zeros_like(gradient)
    left_over = gradient
    direction = -left_over / metric
    size = first = float(-np.vdot(left_over, direction))
    inside = True
    for _ in range(MOST_PRODUCTS):
        image = hessian(direction)
        curvature = float(np.vdot(direction, image))
        length = size / curvature if curvature > 0 else np.inf
        a = float(np.vdot(direction, metric * direction))
        b = float(np.vdot(step, metric * direction))
        c = float(np.vdot(step, metric * step)) - radius**2
        longest = (-b + np.sqrt(max(b * b - a * c, 0.0))) / a
        inside = bool(length < longest)
        length = min(length, float(longest))
        step = step + length * direction
        left_over = left_over + length * image
        if not inside:
            break
        scaled = left_over / metric
        before, size = size, float(np.vdot(left_over, scaled))
        if size <= forcing**2 * first:
            break
        direction = (size / before) * direction - scaled
    return step, float(-np.vdot(step, gradient + left_over)) / 2, inside
