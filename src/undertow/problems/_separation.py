"""Whether linear predictors can classify all points, decided by one linear program with a certificate either way."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Float
from scipy.optimize import linprog

SEPARATIONS = ("complete", "quasi-complete", "overlap")

CERTAIN = 1e-9
"""Relative error up to which a combination of points is zero."""


class Separation(NamedTuple):
    """What a linear predictor can do on some points, and the proof: see ``undertow.theory.separation``."""

    kind: str
    w: Float[np.ndarray, "..."]
    weights: Float[np.ndarray, "..."]


def separate(rows: Any) -> Separation | None:
    r"""How the half-spaces :math:`r_n \cdot w > 0` of the rows lie; None where it cannot be told in float64.

    The linear program is :math:`\max \sum_n t_n` over :math:`r_n \cdot w \ge t_n` and :math:`0 \le t_n \le 1`. A point
    that some w puts on its right side, with none on its wrong side, has t = 1, the others 0; the dual variables of
    these are positive and add the rows up to zero.
    """
    R = scipy.sparse.csr_array(rows, dtype=np.float64)
    R, sizes = _with_unit_rows(R)
    columns = np.sqrt(np.asarray(R.multiply(R).sum(axis=0)).ravel())
    columns = np.where(columns > 0, columns, 1)
    R = scipy.sparse.csr_array(R @ scipy.sparse.diags_array(1 / columns))
    R, norms = _with_unit_rows(R)
    n, d = R.shape

    def result(kind: str, w: np.ndarray, weights: np.ndarray) -> Separation:
        return Separation(kind, w / columns, weights / (sizes * norms))

    w = _guess(R)
    if w is not None:
        return result("complete", w, np.zeros(n))
    constraint = scipy.sparse.hstack([-R, scipy.sparse.eye_array(n)]).tocsc()
    bounds = np.concatenate([np.tile([-np.inf, np.inf], (d, 1)), np.tile([0.0, 1.0], (n, 1))])
    tolerances = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}
    solved = linprog(
        np.concatenate([np.zeros(d), -np.ones(n)]),
        A_ub=constraint,
        b_ub=np.zeros(n),
        bounds=bounds,
        method="highs",
        options=tolerances,
    )
    if solved.status != 0:
        return None
    w, t = solved.x[:d], solved.x[d:]
    weights = np.maximum(-solved.ineqlin.marginals, 0)
    right = t > 0.5
    products = R @ w
    rounding = 1e-14 * max(d, 1) * float(np.max(np.abs(w), initial=0)) + 1e-8
    if np.any(products[right] < 0.5) or np.any(products[~right] < -rounding):
        return None
    weights = np.where(right, 0, weights)
    if not np.all(right):
        combination = R.T @ weights
        if np.any(weights[~right] <= 0) or np.max(np.abs(combination)) > CERTAIN * np.sum(weights):
            return None
    kind = "complete" if np.all(right) else "quasi-complete" if np.any(right) else "overlap"
    return result(kind, w, weights)


def _with_unit_rows(R: Any) -> tuple[Any, Float[np.ndarray, " n"]]:
    # By the largest entry first: squares of huge and tiny numbers are none.
    largest = abs(R).max(axis=1).toarray().ravel()
    largest = np.where(largest > 0, largest, 1)
    R = scipy.sparse.csr_array(scipy.sparse.diags_array(1 / largest) @ R)
    norms = np.sqrt(np.asarray(R.multiply(R).sum(axis=1)).ravel())
    norms = np.where(norms > 0, norms, 1)
    return scipy.sparse.csr_array(scipy.sparse.diags_array(1 / norms) @ R), largest * norms


def _guess(R: Any) -> Float[np.ndarray, " d"] | None:
    """The least squares solution of ``R w = 1`` where it separates, as it does for independent rows; else None."""
    if R.shape[0] > R.shape[1]:
        return None
    w = scipy.sparse.linalg.lsqr(R, np.ones(R.shape[0]), atol=1e-10, btol=1e-10, iter_lim=200)[0]
    return w if np.min(R @ w) > 1e-3 else None
