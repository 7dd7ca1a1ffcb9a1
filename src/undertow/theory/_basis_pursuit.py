"""The solution of smallest l1 norm, by linear programs."""

import math
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float
from scipy.optimize import linprog

from .._validation import check_choice
from ..problems import Problem
from ._affine_set import AffineSet, affine_set
from ._dual_newton import check_solved, independent_rows, project
from ._errors import Infeasible, NotUnique

TIGHT = 1e-7
"""A dual constraint within this distance of equality counts as an equality, and a mass below this share as none."""
TOLERANCE = 1e-10
"""Feasibility asked of the solver, primal and dual, on a problem scaled to entries of order 1."""


def basis_pursuit(problem: Problem, nonnegative: bool = False, ties: str = "raise") -> Float[np.ndarray, "..."]:
    r"""The solution of smallest l1 norm, :math:`\arg\min \{ |w|_1 : A w = b \}`, also over :math:`w \ge 0`.

    Diagonal linear networks (``SignedPower``, and ``Power`` over the nonnegative w) of depth at least 2 end here as
    the initialization vanishes. A linear program, solved by HiGHS to a vertex, which is then solved for afresh on its
    support. Uniqueness is decided, not hoped for: with the dual solution y, every minimizer lives on the entries E
    with :math:`|A_i^T y| = 1`, with their signs; it is the only one if :math:`A_E` has independent columns, and else
    a second linear program looks for mass off the support.

    Parameters
    ----------
    problem
        One whose points of zero error are an affine set: it has ``equations``.
    nonnegative
        Whether w is confined to nonnegative entries.
    ties
        What is done where the minimizer is not unique: "raise", or "entropy": the one of largest entropy
        :math:`-\sum_i |w_i| \log |w_i|`, which is the limit of the diagonal networks of depth 2.

    Returns
    -------
    w of the shape of the problem, NumPy float64.

    Raises
    ------
    TypeError
        If the points of zero error of the problem are not known to be an affine set.
    Infeasible
        If no w, or no nonnegative one, has zero error.
    NotUnique
        If there are several minimizers and ``ties`` is "raise"; it carries two of them. Ties are decided to a
        relative tolerance of 1e-7.
    RuntimeError
        If the solver gives up.

    References
    ----------
    Chen, Donoho, Saunders. Atomic Decomposition by Basis Pursuit. SIAM Review 43, 2001, equation (3.2).
    Zhang, Yin, Cheng. Necessary and Sufficient Conditions of Solution Uniqueness in 1-Norm Minimization. JOTA 164,
    2015, Theorem 2.1.

    Examples
    --------
    >>> import undertow as ut
    >>> basis_pursuit(ut.problems.LineTarget(-1.0, -2.0, 15.0)).round(6).tolist()
    [0.0, 7.5]
    >>> basis_pursuit(ut.problems.LineTarget(1.0, 1.0, -2.0), ties="entropy").round(6).tolist()
    [1.0, 1.0]
    """
    equations = affine_set(problem)
    check_choice("ties", ties, ("raise", "entropy"))
    scale = float(np.max(np.abs(equations.b)))
    if scale == 0:
        return np.zeros(equations.shape)
    A, b = _scaled(equations, scale)
    d = math.prod(equations.shape)
    # One column for each sign, so that every unknown is nonnegative and costs 1.
    columns: Any = A if nonnegative else scipy.sparse.csc_array(scipy.sparse.hstack([A, -A]))
    solution = _linear_program(np.ones(columns.shape[1]), columns, b)
    if solution is None:
        raise Infeasible(f"problem: no {'nonnegative ' if nonnegative else ''}w solves its equations A w = b")
    x, dual = solution
    x = _on_support(columns, b, x)
    face = np.flatnonzero(columns.T @ dual >= 1 - TIGHT)
    face = np.union1d(face, np.flatnonzero(x))
    other = other_point(columns[:, face], b, x[face])
    if other is not None:
        if ties == "entropy":
            x = _fill(x.size, face, _most_entropy(columns[:, face], b))
        else:
            points = [_signed(point, d).reshape(equations.shape) * scale for point in (x, _fill(x.size, face, other))]
            raise NotUnique(
                f"problem: the smallest l1 norm {np.sum(x) * scale:.6g} is attained by more than one w, for one on "
                f"{np.count_nonzero(points[0])} and for another on {np.count_nonzero(points[1])} entries; "
                "ties='entropy' asks for the one of largest entropy",
                (points[0], points[1]),
            )
    return _signed(x, d).reshape(equations.shape) * scale


def _scaled(equations: AffineSet, scale: float) -> tuple[scipy.sparse.csc_array, Float[np.ndarray, " m"]]:
    """Equations for w / scale with rows of norm 1; rows of zeros stay."""
    A = scipy.sparse.csc_array(equations.matrix)
    sizes = np.sqrt((A * A).sum(axis=1))
    sizes = np.where(sizes > 0, sizes, 1)
    return scipy.sparse.csc_array(scipy.sparse.diags_array(1 / sizes) @ A), equations.b / (scale * sizes)


def _linear_program(
    cost: Float[np.ndarray, " n"], A: Any, b: Float[np.ndarray, " m"], upper: Float[np.ndarray, " n"] | None = None
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]] | None:
    """A minimizer of ``cost @ x`` over ``A x = b``, ``0 <= x <= upper``, with its dual; None where there is no x."""
    bounds = (0, None) if upper is None else np.stack([np.zeros_like(upper), upper], axis=1)
    options = {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE}
    result = linprog(cost, A_eq=A, b_eq=b, bounds=bounds, method="highs-ds", options=options)
    if result.status == 2:
        return None
    if result.status != 0:
        raise RuntimeError(f"the linear program was not solved: {result.message}")
    return result.x, result.eqlin.marginals


def _on_support(A: Any, b: Float[np.ndarray, " m"], x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The vertex, to rounding: solved for on its support, of independent columns."""
    support = np.flatnonzero(x > TOLERANCE * x.max())
    values = np.linalg.lstsq(A[:, support].toarray(), b)[0]
    refined = _fill(x.size, support, values)
    better = np.linalg.norm(A @ refined - b) <= np.linalg.norm(A @ x - b)
    return refined if better and np.all(values >= 0) else x


def other_point(A: Any, b: Float[np.ndarray, " m"], x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"] | None:
    """Another point of the polytope ``{x >= 0 : A x = b}`` than its point x, or None where x is the only one."""
    dense = A if isinstance(A, np.ndarray) else A.toarray()
    if x.size <= A.shape[0] and np.linalg.matrix_rank(dense) == x.size:
        return None
    # Where the support has independent columns another point has mass off it; else one is a step along the support.
    on = x > 0
    if np.linalg.matrix_rank(dense[:, on]) < np.count_nonzero(on):
        step = np.zeros_like(x)
        step[on] = np.linalg.svd(dense[:, on])[2][-1]
        return x + 0.5 * np.min(x[on] / np.max(np.abs(step))) * step
    solution = _linear_program(-np.where(on, 0.0, 1.0), A, b, np.full_like(x, 2 * np.sum(x)))
    if solution is None:
        raise RuntimeError("the linear program contradicts the one before it")
    other = solution[0]
    return other if np.sum(other[~on]) > TIGHT * np.sum(x) else None


def _most_entropy(A: Any, b: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
    """The point of largest entropy of the face ``{x >= 0 : A x = b}``, on which the sum of x is constant."""
    # Entries that are zero all over the face would be at the edge of the domain of the entropy: which are not? The
    # cone over the face holds a point that is at least 1 in each entry where it can be positive: x = t + rest, t <= 1.
    n = A.shape[1]
    cone: Any = scipy.sparse.csc_array(scipy.sparse.hstack([A, A, -b[:, None]]))
    upper = np.concatenate([np.ones(n), np.full(n, np.inf), [np.inf]])
    solution = _linear_program(np.concatenate([-np.ones(n), np.zeros(n + 1)]), cone, b * 0, upper)
    if solution is None:
        raise RuntimeError("the linear program contradicts the one before it")
    positive = np.flatnonzero(solution[0][:n] > 0.5)
    rows, coordinates = independent_rows(AffineSet(A[:, positive].toarray(), b, (positive.size,)))
    _, x, residual = project(np.exp, lambda z, rows: np.exp(z), rows, coordinates, np.zeros(positive.size))
    check_solved(residual)
    return _fill(n, positive, x)


def _fill(size: int, where: np.ndarray, values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " n"]:
    """Zeros but for these entries."""
    full = np.zeros(size)
    full[where] = values
    return full


def _signed(x: Float[np.ndarray, " n"], d: int) -> Float[np.ndarray, " d"]:
    """From one nonnegative unknown for each sign to one unknown."""
    return x if x.size == d else x[:d] - x[d:]
