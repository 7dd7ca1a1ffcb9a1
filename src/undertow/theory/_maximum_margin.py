"""The separating predictor of least norm, which is the one of largest margin, with its proof."""

import numpy as np
from jaxtyping import Float

from .._validation import check_choice
from ..problems import Classification, Problem
from ._errors import NotUnique, Unsolved
from ._margin_cones import least_cone
from ._margin_l2 import least_l2
from ._margin_linear import least_linear
from ._margin_rows import DUAL, MarginRows, Solution, margin_rows
from ._separation import check_twins, classification, not_separable

GAP = 1e-7
"""Largest relative gap between the norm of w and what its weights prove to be the least."""
EXACT = 1e-12
"""Gap of a solution that no other can better."""


def maximum_margin(
    problem: Problem, norm: str = "l2", *, free_intercept: bool = False, ties: str = "raise"
) -> Float[np.ndarray, "..."]:
    r"""The predictor of least norm that has all margins at least 1: :math:`\arg\min \{ \|w\| : m(w) \ge 1 \}`.

    Its direction is that of largest margin, ``min m(w) / norm(w)``, which is one over its norm. Steepest descent in a
    norm, on a loss that reaches zero at infinity only, ends in that direction: gradient flow and descent in the l2
    norm, coordinate descent in l1, sign descent in l-infinity, and spectral descent in the spectral norm.

    The l2 norm is a quadratic program, solved on its support to rounding by nonnegative least squares (its dual), or
    by an interior-point method (Clarabel) where that fails; l1 and l-infinity are linear programs (HiGHS), solved for
    afresh at the vertex; spectral and nuclear norm are semidefinite programs (Clarabel, by the dual), for some tens of
    rows and columns. The answer is proved by weights :math:`a \ge 0` of the rows :math:`r_n` of the margins: whatever
    has margins at least 1 has a norm of at least :math:`\sum_n a_n / \|\sum_n a_n r_n\|_*`.

    Parameters
    ----------
    problem
        A ``Classification``, of two classes or more.
    norm
        "l1", "l2", "linf" (of the entries of w, whatever its shape), "frobenius" (l2 by its name for matrices), or, for
        matrices, "spectral" or "nuclear".
    free_intercept
        Whether the intercept of a problem with ``intercept=True`` is left out of the norm, as support vector machines
        have it. Where it is not, it counts as any entry of w, as it does for the flow: another margin, and another w.
        With classes, whose intercepts matter by their differences only, free ones add up to zero.
    ties
        What is done in l1 and l-infinity where w is not unique: "raise", or "any": return one of several. The l2 norm
        has one w. In the spectral and nuclear norm there may be several, and one is returned without a word.

    Returns
    -------
    w of the shape of the problem, NumPy float64. Its norm is the least to a relative 1e-7 (to rounding but for the
    spectral and nuclear norm), and its margins are at least 1, to 1e-14 of the product of norms of w and the point.

    Raises
    ------
    TypeError, ValueError
        If the problem is no classification, JAX is tracing its points, an option is unknown, w is no matrix as the norm
        asks, or there is no intercept to be free.
    NotSeparable
        If no w has all margins positive. It carries the proof: weights with which the margins add up to zero. Equal
        points with different labels are named before anything is solved.
    NotUnique
        If there are several minimizers in l1 or l-infinity and ``ties`` is "raise"; it carries two of them. Ties are
        decided to a relative tolerance of 1e-7.
    Unsolved
        If the proof is not reached, as where the numbers span more than float64 can take.

    References
    ----------
    Cortes, Vapnik. Support-Vector Networks. Machine Learning 20, 1995 (the l2 norm, with a free intercept). Gunasekar,
    Lee, Soudry, Srebro. Characterizing Implicit Bias in Terms of Optimization Geometry. ICML 2018, Theorem 5 (steepest
    descent in any norm).

    Examples
    --------
    >>> import undertow as ut
    >>> problem = ut.problems.Classification([[2.0, 1.0], [-1.0, -2.0], [3.0, 3.0]], [1, -1, 1])
    >>> maximum_margin(problem).round(6).tolist()
    [0.333333, 0.333333]
    >>> import numpy as np
    >>> classes = ut.problems.Classification(np.eye(3), [0, 1, 2])
    >>> maximum_margin(classes, "spectral").round(6).tolist()
    [[0.666667, -0.333333, -0.333333], [-0.333333, 0.666667, -0.333333], [-0.333333, -0.333333, 0.666667]]
    """
    problem = classification(problem)
    check_choice("norm", norm, tuple(DUAL))
    check_choice("ties", ties, ("raise", "any"))
    rows = checked_rows(problem, norm, free_intercept=free_intercept)
    return rows.predictor(solved(problem, rows, norm, ties)[0])


def checked_rows(problem: Classification, norm: str, *, free_intercept: bool) -> MarginRows:
    """The rows of a problem that has such a norm, and may have a predictor."""
    if not isinstance(free_intercept, bool):
        raise TypeError(f"free_intercept: expected True or False, found {free_intercept!r}")
    if free_intercept and not problem.intercept:
        raise ValueError("free_intercept: expected a problem with intercept=True, found one without")
    if norm in ("spectral", "nuclear") and len(problem.shape) != 2:
        raise ValueError(
            f"norm: expected one of l1, l2 and linf where w is no matrix (its shape is {problem.shape}), found {norm!r}"
        )
    check_twins(problem)
    if problem.separation in ("overlap", "quasi-complete"):
        error = not_separable(problem)
        if error is not None:
            raise error
    return margin_rows(problem, free_intercept=free_intercept)


def solved(problem: Classification, rows: MarginRows, norm: str, ties: str = "any") -> tuple[Solution, float]:
    """The solution of least norm and its gap; raises where there is none, or none is proved."""
    if len(rows.shape) == 2 and min(rows.shape) == 1 and norm in ("spectral", "nuclear"):
        norm = "frobenius"
    if not rows.shape[-1]:
        raise ValueError("free_intercept: expected a feature beside the intercept, found none")
    other = None
    if norm in ("l1", "linf"):
        candidates, other = least_linear(rows, norm, other=ties == "raise")
    else:
        candidates = least_l2(rows) if norm in ("l2", "frobenius") else [least_cone(rows, norm)]
    solution, gap = None, np.inf
    for candidate in candidates:
        proved, its_gap = rows.proved(norm, candidate)
        if its_gap < gap:
            solution, gap = proved, its_gap
        if gap <= EXACT:
            break
    if solution is None or not gap <= GAP:
        raise not_separable(problem) or Unsolved(
            f"problem: the {norm} norm of the predictor found is above what its weights prove to be the least by "
            f"{gap:.2g} of it, more than {GAP:g}"
        )
    if other is not None:
        pair = (rows.predictor(solution), rows.predictor(other))
        raise NotUnique(
            f"problem: its largest margin in the {norm} norm is attained by more than one w; ties='any' asks for one "
            "of them",
            pair,
        )
    return solution, gap
