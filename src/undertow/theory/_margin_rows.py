"""The margins of a classification as rows in units of their own, and the proof that a predictor is of least norm."""

import dataclasses
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Float

from ..problems import Classification

ROUNDING = 1e-14
"""Share of the norm of w by which the margin of a row of norm 1 may be off."""

DUAL = {
    "l1": "linf",
    "l2": "l2",
    "linf": "l1",
    "spectral": "nuclear",
    "nuclear": "spectral",
    "frobenius": "frobenius",
}
"""The dual of every norm."""


def norm_of(norm: str, w: Float[np.ndarray, " d"], shape: tuple[int, ...]) -> float:
    """A norm of the vector or matrix whose entries are w."""
    if w.size == 0:
        return 0.0
    match norm:
        case "l1":
            return float(np.sum(np.abs(w)))
        case "linf":
            return float(np.max(np.abs(w)))
        case "spectral":
            return float(np.linalg.norm(w.reshape(shape), 2))
        case "nuclear":
            return float(np.linalg.norm(w.reshape(shape), "nuc"))
        case _:
            return float(np.linalg.norm(w))


@dataclasses.dataclass(frozen=True)
class Solution:
    """A predictor and the weights that are to prove it of least norm."""

    w: Float[np.ndarray, " d"]
    free: Float[np.ndarray, " f"]
    weights: Float[np.ndarray, " rows"]


@dataclasses.dataclass(frozen=True)
class MarginRows:
    r"""The constraints ``U w + F c >= b``: what is counted in the norm, w, and what is not, c.

    A row :math:`r_n` of margins is divided by its norm :math:`s_n`, and w multiplied by the least of these, so that
    the right sides :math:`b_n = \min_m s_m / s_n` are at most 1, whatever the units of the points.

    Attributes
    ----------
    U, F, b
        The constraints; ``U`` as the problem gives it, dense or sparse.
    shape
        Of w.
    sizes
        The norms of the rows of margins.
    unit, free_unit
        By what w and c are divided to be those of the problem.
    free
        How c gives the intercepts: a matrix of one row an intercept.
    """

    U: Any
    F: Float[np.ndarray, "rows f"]
    b: Float[np.ndarray, " rows"]
    shape: tuple[int, ...]
    sizes: Float[np.ndarray, " rows"]
    unit: float
    free_unit: float
    free: Float[np.ndarray, "intercepts f"]

    def predictor(self, solution: Solution) -> Float[np.ndarray, "..."]:
        """W of the shape of the problem, in its units."""
        w = (solution.w / self.unit).reshape(self.shape)
        if not self.free.size:
            return w
        intercepts = self.free @ (solution.free / self.free_unit)
        return np.concatenate([w, intercepts.reshape((*self.shape[:-1], 1))], axis=-1)

    def proved(self, norm: str, solution: Solution) -> tuple[Solution, float]:
        r"""The solution, just long enough for all margins to be 1, and the relative gap of its norm to a lower bound.

        For weights :math:`a \ge 0` with :math:`F^T a = 0` and any predictor with :math:`U w + F c \ge b`,
        :math:`b^T a \le \langle U^T a, w \rangle \le \|U^T a\|_* \|w\|`. The gap is infinite where nothing is proved.
        """
        w, c, a = solution.w, solution.free, np.maximum(solution.weights, 0)
        products = self.U @ w + self.F @ c
        products = products + ROUNDING * float(np.hypot(np.linalg.norm(w), np.linalg.norm(c)))
        if not np.all(np.isfinite(products)) or np.min(products) <= 0 or not np.any(a):
            return solution, np.inf
        length = max(1.0, float(np.max(self.b / products)))
        w, c = w * length, c * length
        size = norm_of(norm, w, self.shape)
        missed = float(np.abs(self.F.T @ a) @ np.abs(c))
        bound = float(self.b @ a - missed) / max(norm_of(DUAL[norm], self.U.T @ a, self.shape), 1e-300)
        return Solution(w, c, a), 1 - bound / size if size > 0 else np.inf


def margin_rows(problem: Classification, *, free_intercept: bool) -> MarginRows:
    """The rows of a problem; with its intercepts apart where they are free."""
    R = problem.rows()
    d = problem.shape[-1]
    shape = (*problem.shape[:-1], d - 1) if free_intercept else problem.shape
    unit, F, free = 1.0, np.zeros((R.shape[0], 0)), np.zeros((0, 0))
    if free_intercept:
        last = np.arange(R.shape[1]) % d == d - 1
        columns = R[:, last]
        # Only the differences of intercepts matter: those that add up to zero.
        free = np.ones((1, 1)) if problem.classes is None else scipy.linalg.null_space(np.ones((1, problem.classes)))
        F = np.asarray(columns @ free)
        R = R[:, ~last]
        unit = float(abs(R).max()) or 1.0
        R = R / unit
    dense = isinstance(R, np.ndarray)
    # By the largest entry first: squares of huge and tiny numbers are none.
    largest = np.max(np.abs(R), axis=1) if dense else abs(R).max(axis=1).toarray().ravel()
    largest = np.maximum(largest, np.max(np.abs(F), axis=1, initial=0))
    largest = np.where(largest > 0, largest, 1)
    R, F = _divided(R, largest), F / largest[:, None]
    squares = np.sum(R * R, axis=1) if dense else np.asarray(R.multiply(R).sum(axis=1)).ravel()
    norms = np.sqrt(squares + np.sum(F * F, axis=1))
    norms = np.where(norms > 0, norms, 1)
    sizes = largest * norms
    least = float(np.min(sizes))
    return MarginRows(_divided(R, norms), F / norms[:, None], least / sizes, shape, sizes, unit * least, least, free)


def _divided(R: Any, by: Float[np.ndarray, " rows"]) -> Any:
    if isinstance(R, np.ndarray):
        return R / by[:, None]
    return scipy.sparse.csr_array(scipy.sparse.diags_array(1 / by) @ R)
