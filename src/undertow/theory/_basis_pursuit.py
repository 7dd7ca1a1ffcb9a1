"""The solution of smallest l1 norm, by linear programs."""

import math
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
from jaxtyping import Float
from scipy.optimize import linprog

from .._validation import check_choice
from ..problems import Problem
from ._affine_set import SOLVABLE, AffineSet, affine_set
from ._dual_newton import ACCEPTED, independent_rows, project
from ._errors import Infeasible, NotUnique, Unsolved

TIGHT = 1e-7
"""A dual constraint within this distance of equality counts as an equality, and a mass below this share as none."""
TOLERANCE = 1e-10
"""Feasibility asked of the solver, primal and dual, on a problem scaled to entries of order 1."""
REFINEMENTS = 5
"""Most rounds in which what is left of the equations is solved for: each takes ten digits more."""
ROUNDING = 1e-14
"""Relative error of an equation that no other support can better."""


def basis_pursuit(problem: Problem, nonnegative: bool = False, ties: str = "raise") -> Float[np.ndarray, "..."]:
    r"""The solution of smallest l1 norm, :math:`\arg\min \{ |w|_1 : A w = b \}`, also over :math:`w \ge 0`.

    Diagonal linear networks (``SignedPower``, and ``Power`` over the nonnegative w) of depth at least 2 end here as
    the initialization vanishes. A linear program, solved by HiGHS to a vertex, which is then solved for afresh on its
    support. Uniqueness is decided, not hoped for: with the dual solution y, every minimizer lives on the entries E
    with :math:`|A_i^T y| = 1`, with their signs; it is the only one if :math:`A_E` has independent columns, and else
    a second linear program looks for mass off the support. The units of the equations, and that of w, do not matter.

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
    Unsolved
        If the solver gives up, or what it gives fails the check: every equation is to hold to 1e-9 of what is added up
        in it, or to rounding, and the dual is to allow no smaller norm, to 1e-7.

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
    check_choice("ties", ties, ("raise", "entropy"))
    equations = affine_set(problem)
    kind = "nonnegative " if nonnegative else ""
    if not isinstance(equations.matrix, np.ndarray):
        if nonnegative and np.any(equations.b < 0):
            raise Infeasible("problem: no nonnegative w solves its equations A w = b; they give a negative entry")
        return (equations.matrix.T @ equations.b).reshape(equations.shape)
    unit = equations.with_unit_rows()
    scale = float(np.max(np.abs(unit.b), initial=0))
    if scale == 0:
        return np.zeros(equations.shape)
    # The units of the equations first, then that of w: what the solver sees is of order 1.
    A, b = scipy.sparse.csc_array(unit.matrix), unit.b / scale
    d = math.prod(equations.shape)
    # One column for each sign, so that every unknown is nonnegative and costs 1.
    columns: Any = A if nonnegative else scipy.sparse.csc_array(scipy.sparse.hstack([A, -A]))
    solution = _vertex(columns, b)
    if solution is None:
        _check_feasible(unit, nonnegative=nonnegative)
        raise Unsolved(f"problem: the linear program found no {kind}w, though its equations have one to rounding")
    x, dual = solution
    _check_optimal(columns, b, x, dual)
    face = np.flatnonzero(columns.T @ dual >= 1 - TIGHT)
    face = np.union1d(face, np.flatnonzero(x))
    other = other_point(columns[:, face], b, x[face])
    if other is not None:
        if ties == "entropy":
            x = _fill(x.size, face, _most_entropy(columns[:, face], b))
            _check_optimal(columns, b, x, dual)
        else:
            points = [_signed(point, d).reshape(equations.shape) * scale for point in (x, _fill(x.size, face, other))]
            raise NotUnique(
                f"problem: the smallest l1 norm {np.sum(x) * scale:.6g} is attained by more than one w, for one on "
                f"{np.count_nonzero(points[0])} and for another on {np.count_nonzero(points[1])} entries; "
                "ties='entropy' asks for the one of largest entropy",
                (points[0], points[1]),
            )
    return _signed(x, d).reshape(equations.shape) * scale


def _vertex(A: Any, b: Float[np.ndarray, " m"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]] | None:
    """The x of smallest sum over ``A x = b``, ``x >= 0``, at a vertex, and its dual; None where there is no x.

    What is below the solver's tolerance is solved for again, in its own scale (Gleixner, Steffy, Wolter. Iterative
    Refinement for Linear Programming. INFORMS J. Comput. 2016).
    """
    cost = np.ones(A.shape[1])
    solution = _linear_program(cost, A, b)
    if solution is None:
        return None
    x, dual = solution
    x = _on_support(A, b, x)
    for _ in range(REFINEMENTS):
        error = b - A @ x
        size = float(np.max(np.abs(error)))
        if size == 0 or np.max(_errors(A, b, x)) <= SOLVABLE:
            break
        lower = -x / size
        solution = _linear_program(cost, A, error / size, lower=lower)
        if solution is None:
            break
        step, dual = solution
        x = _on_support(A, b, np.where(step <= lower, 0, np.maximum(x + size * step, 0)))
    return x, dual


def _errors(A: Any, b: Float[np.ndarray, " m"], x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """Of each equation, relative to what is added up in it."""
    terms = abs(A) @ x + np.abs(b)
    return np.abs(b - A @ x) / np.where(terms > 0, terms, 1)


def _check_optimal(A: Any, b: Float[np.ndarray, " m"], x: Float[np.ndarray, " n"], dual: np.ndarray) -> None:
    """Raise Unsolved where x does not solve its equations, or where the dual allows a smaller sum."""
    rounding = 1e-14 * np.max(x)
    error = float(np.max(np.where(np.abs(b - A @ x) > rounding, _errors(A, b, x), 0)))
    excess = float(np.max(A.T @ dual)) - 1
    gap = abs(float(np.sum(x) - b @ dual)) / float(np.sum(x))
    if not (error <= SOLVABLE and excess <= TIGHT and gap <= TIGHT):
        raise Unsolved(
            f"problem: the linear program ended with a relative error of {error:.2g} in its equations, {excess:.2g} "
            f"in its dual constraints and a duality gap of {gap:.2g}; its numbers span more than float64 can take"
        )


def _check_feasible(unit: AffineSet, *, nonnegative: bool) -> None:
    """Raise Infeasible where the least error of the equations is none of rounding."""
    independent_rows(unit)
    if nonnegative:
        b = unit.b / np.max(np.abs(unit.b))
        _, gap = scipy.optimize.nnls(unit.dense, b)
        if gap > SOLVABLE * np.linalg.norm(b):
            raise Infeasible(
                f"problem: no nonnegative w solves its equations A w = b; the least relative error is {gap:.3g}"
            )


def _linear_program(
    cost: Float[np.ndarray, " n"],
    A: Any,
    b: Float[np.ndarray, " m"],
    upper: Float[np.ndarray, " n"] | None = None,
    lower: Float[np.ndarray, " n"] | None = None,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]] | None:
    """A minimizer of ``cost @ x`` over ``A x = b``, ``lower <= x <= upper``, with its dual; None where there is no x.

    The bounds are 0 and infinity where they are left out.
    """
    n = cost.size
    bounds = np.stack([np.zeros(n) if lower is None else lower, np.full(n, np.inf) if upper is None else upper], axis=1)
    options = {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE}
    result = linprog(cost, A_eq=A, b_eq=b, bounds=bounds, method="highs-ds", options=options)
    if result.status == 2:
        return None
    if result.status != 0:
        raise Unsolved(f"problem: the linear program was not solved: {result.message}")
    return result.x, result.eqlin.marginals


def _on_support(A: Any, b: Float[np.ndarray, " m"], x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The vertex, to rounding: solved for on its support, of independent columns."""
    best, error = x, float(np.max(_errors(A, b, x)))
    for share in (TOLERANCE, 0.0):
        support = np.flatnonzero(x > share * x.max(initial=0))
        values = np.linalg.lstsq(A[:, support].toarray(), b)[0]
        refined = _fill(x.size, support, values)
        if np.all(values >= 0) and (after := float(np.max(_errors(A, b, refined)))) < error:
            best, error = refined, after
        if error <= ROUNDING:
            break
    return best


def other_point(A: Any, b: Float[np.ndarray, " m"], x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"] | None:
    """Another point of the polytope ``{x >= 0 : A x = b}`` than its point x, or None where x is the only one."""
    dense = A if isinstance(A, np.ndarray) else A.toarray()
    # Columns of norm 1, and a sum of 1: the units of the entries do not matter.
    norms = np.linalg.norm(dense, axis=0)
    norms = np.where(norms > 0, norms, 1)
    total = float(norms @ x)
    if total == 0:
        return None
    dense, b, x = dense / norms, b / total, x * norms / total
    if x.size <= dense.shape[0] and np.linalg.matrix_rank(dense) == x.size:
        return None
    # Where the support has independent columns another point has mass off it; else one is a step along the support.
    on = x > 0
    if np.linalg.matrix_rank(dense[:, on]) < np.count_nonzero(on):
        step = np.zeros_like(x)
        step[on] = np.linalg.svd(dense[:, on])[2][-1]
        return (x + 0.5 * np.min(x[on] / np.max(np.abs(step))) * step) * total / norms
    solution = _linear_program(-np.where(on, 0.0, 1.0), dense, b, np.full_like(x, 2.0))
    if solution is None:
        raise Unsolved("problem: whether its solution is the only one was not decided; the linear programs differ")
    other = solution[0]
    return other * total / norms if np.sum(other[~on]) > TIGHT else None


def _most_entropy(A: Any, b: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
    """The point of largest entropy of the face ``{x >= 0 : A x = b}``, on which the sum of x is constant."""
    # Entries that are zero all over the face would be at the edge of the domain of the entropy: which are not? The
    # cone over the face holds a point that is at least 1 in each entry where it can be positive: x = t + rest, t <= 1.
    n = A.shape[1]
    cone: Any = scipy.sparse.csc_array(scipy.sparse.hstack([A, A, -b[:, None]]))
    upper = np.concatenate([np.ones(n), np.full(n, np.inf), [np.inf]])
    solution = _linear_program(np.concatenate([-np.ones(n), np.zeros(n + 1)]), cone, b * 0, upper)
    if solution is None:
        raise Unsolved("problem: the entries that can be positive were not found; the linear programs differ")
    positive = np.flatnonzero(solution[0][:n] > 0.5)
    dense = A[:, positive].toarray()
    said = np.any(dense != 0, axis=1)  # the others are zero to rounding on both sides
    rows, coordinates = independent_rows(AffineSet(dense[said], b[said], (positive.size,)))
    found = project(np.exp, lambda z, rows: np.exp(z), rows, coordinates, np.zeros(positive.size))
    if not found.residual <= ACCEPTED:
        raise found.unsolved()
    return _fill(n, positive, found.w)


def _fill(size: int, where: np.ndarray, values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " n"]:
    """Zeros but for these entries."""
    full = np.zeros(size)
    full[where] = values
    return full


def _signed(x: Float[np.ndarray, " n"], d: int) -> Float[np.ndarray, " d"]:
    """From one nonnegative unknown for each sign to one unknown."""
    return x if x.size == d else x[:d] - x[d:]
