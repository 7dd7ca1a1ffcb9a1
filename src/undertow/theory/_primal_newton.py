"""Bregman projection by Newton's method in w itself, where duals do not tell points apart."""

from collections.abc import Callable

import numpy as np
import scipy.linalg
from jaxtyping import Float

from ._errors import Unsolved
from ._line_search import line_search

Vector = Float[np.ndarray, " d"]

ITERATIONS = 2000
ACCURACY = 1e-13
"""Aim of the share of the gradient that no equation explains."""
ACCEPTED = 1e-9
"""Share that is good enough where rounding allows no better."""


@np.errstate(over="ignore", under="ignore", invalid="ignore")  # a step that is too long is seen as such
def project_in_w(
    gradient: Callable[[Vector], Vector],
    curvature: Callable[[Vector], Vector],
    rows: Float[np.ndarray, "r d"],
    b: Float[np.ndarray, " r"],
    dual: Vector,
    w: Vector,
) -> Vector:
    r"""The w of ``rows @ w = b`` at which ``gradient(w) - dual`` is a combination of the rows, from one that is near.

    For potentials that are flat where w is small, such as high powers: duals that differ by less than rounding then
    belong to very different w.

    Parameters
    ----------
    gradient, curvature
        Of an entrywise potential that is finite everywhere.
    rows, b
        Equations with orthonormal rows.
    dual
        Of the point that is projected.
    w
        Where to start; it need not solve the equations.

    Raises
    ------
    Unsolved
        If more than 1e-9 of the gradient is explained by no equation in the end.
    """
    free = scipy.linalg.null_space(rows)
    w = _onto(rows, b, w)
    best, error, stuck = w, np.inf, 0
    for _ in range(ITERATIONS):
        pull = gradient(w) - dual
        along = free.T @ pull
        now = float(np.linalg.norm(along) / np.linalg.norm(pull)) if np.any(pull) else 0.0
        stuck = 0 if now < 0.99 * error else stuck + 1
        if now < error:
            best, error = w, now
        if error <= ACCURACY or stuck > 30 or not np.isfinite(now):
            break
        half = np.sqrt(curvature(w))[:, None] * free
        if not np.all(np.isfinite(half)):
            break
        _, singular, right = scipy.linalg.svd(half, full_matrices=False, lapack_driver="gesvd")
        values = np.maximum(singular**2, max(1e-30 * singular.max() ** 2, 1e-280))
        step = free @ (-right.T @ ((right @ along) / values))

        def slope(length: float, w: np.ndarray = w, step: np.ndarray = step) -> float:
            value = float(step @ (gradient(w + length * step) - dual))
            return value if np.isfinite(value) else np.inf

        length, _ = line_search(slope, float(step @ pull))
        w = _onto(rows, b, w + length * step)
    if not error <= ACCEPTED:
        raise Unsolved(
            f"problem: the nearest point with zero error was not found; of its gradient, {error:.2g} is explained by "
            "no equation"
        )
    return best


def _onto(rows: Float[np.ndarray, "r d"], b: Float[np.ndarray, " r"], w: Vector) -> Vector:
    """The nearest solution of the equations."""
    return w + rows.T @ (b - rows @ w)
