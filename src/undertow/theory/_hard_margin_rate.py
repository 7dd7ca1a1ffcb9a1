"""How gradient flow on separable points approaches its direction: the coefficient of log t, and the constant next."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linprog

from ..problems import Problem
from ._errors import Unsolved
from ._margin_l2 import dense, lstsq
from ._maximum_margin import checked_rows, solved
from ._separation import by_points, classification

TIE = 1e-9
"""Share of the norm of w (for a point of norm 1), or of the largest dual, up to which a difference counts as none."""
NEWTON = 100
"""Most steps of Newton's method for the constant."""


class HardMarginRate(NamedTuple):
    """Gradient flow on separable points: ``w(t) = w_hat log t + w_tilde + ...``; see ``hard_margin_rate``."""

    w_hat: Float[np.ndarray, "..."]
    margin: float
    duals: Float[np.ndarray, "..."]
    support: Bool[np.ndarray, "..."]
    degenerate: bool
    w_tilde: Float[np.ndarray, "..."] | None
    basis: Float[np.ndarray, "r ..."]
    spans: bool


def hard_margin_rate(problem: Problem) -> HardMarginRate:
    r"""Gradient flow on w, on separable points: :math:`w(t) = \hat w \log t + \rho(t)`, and its constants.

    :math:`\hat w` is ``maximum_margin(problem)``, of which :math:`\hat w = \sum_n a_n r_n` with :math:`a \ge 0` and the
    rows :math:`r_n` of the margins (:math:`y_n x_n` for two classes). The loss decays as
    :math:`t \, L(t) \to |\hat w|^2 = 1/\gamma^2` for the sum, and at the same rate for the mean. Exponential and
    logistic loss have the same constants; gradient descent has them at t = step size times steps.

    Generically all rows of margin 1, the support, have positive duals. Then :math:`\rho` converges, and what it
    converges to is known within the span V of the support: :math:`\tilde w`, by
    :math:`\exp(-r_n \cdot \tilde w) = a_n` (:math:`N a_n` for the mean of N points). The part of :math:`\rho` that is
    orthogonal to all rows is that of w(0), for ever. What is left, within the span of the rows and orthogonal to V, is
    moved by the other points at the rate :math:`t^{-r_n \cdot \hat w}`, which is integrable: it converges, to a
    vector on which the whole path has its say, and which nothing here gives. If V holds all rows (``spans``) there is
    nothing left, and :math:`\rho \to \tilde w` plus the part of w(0) orthogonal to the points.

    The error of the direction decays as :math:`|w/|w| - \gamma \hat w| \log t \to \gamma |P \rho(\infty)|`, with P the
    projection orthogonal to :math:`\hat w`.

    Parameters
    ----------
    problem
        A ``Classification``. An intercept is counted in the norm, as the flow does.

    Returns
    -------
    A named tuple ``HardMarginRate``:

    w_hat
        Of the shape of the problem, exact to rounding times the condition of the support.
    margin
        The largest margin :math:`\gamma = 1/|\hat w|` in the l2 norm.
    duals
        The :math:`a_n`, of shape (points,), or (points, classes) where labels are classes (for a point and another
        class, and zero for its own). Where the support is linearly dependent and they are not unique: those that the
        flow finds, :math:`\exp(-r_n \cdot \tilde w)`.
    support
        Which margins are 1, to 1e-9 of the norms of w and the point; of the shape of the duals.
    degenerate
        Whether a row of the support has dual zero (below 1e-9 of the largest) in every choice of duals. Then
        :math:`\rho` need not converge; it may grow as log log t.
    w_tilde
        The constant within V, or None in the degenerate case.
    basis
        An orthonormal basis of V, one element a row: of shape ``(dimension, *shape)``, that of w last.
    spans
        Whether V holds all rows of the margins.

    Raises
    ------
    TypeError
        If the problem is no classification, or JAX is tracing its points.
    NotSeparable
        If the points cannot be separated; it carries the proof.
    Unsolved
        If the certificate of ``maximum_margin`` is not reached, or the constant not found.

    References
    ----------
    Soudry, Hoffer, Nacson, Gunasekar, Srebro. The Implicit Bias of Gradient Descent on Separable Data. JMLR 19, 2018,
    Theorems 3, 4 and 9.

    Examples
    --------
    >>> import undertow as ut
    >>> rate = hard_margin_rate(ut.problems.Classification([[1.0, 0.2], [0.2, 1.0], [-2.0, -1.5]], [1, 1, -1]))
    >>> rate.w_hat.round(6).tolist(), round(rate.margin, 6), rate.degenerate, rate.spans
    ([0.833333, 0.833333], 0.848528, False, True)
    >>> rate.w_tilde.round(6).tolist()
    [0.303869, 0.303869]
    """
    problem = classification(problem)
    rows = checked_rows(problem, "l2", free_intercept=False)
    solution, _ = solved(problem, rows, "l2")
    w = solution.w
    size = float(np.linalg.norm(w))
    support = rows.U @ w - rows.b <= TIE * size
    U, b = dense(rows.U[support]), rows.b[support]
    _, singular, right = np.linalg.svd(U, full_matrices=False)
    basis = right[singular > TIE * singular[0]]
    # exp(-r . w_tilde) = N a, in these units: p = a * unit * sizes, which add the unit rows up to w.
    unit = -np.log(rows.unit) - np.log(rows.sizes[support])
    points = float(np.log(problem.points)) if problem.normalization == "mean" else 0.0
    independent = basis.shape[0] == U.shape[0]
    p = solution.weights[support] if independent else _inner_weights(U, w)
    degenerate = bool(np.min(p) <= TIE * np.max(p))
    constant = None
    if not degenerate:
        x = lstsq(U, -b * (np.log(p) + unit + points))
        if not independent:
            x, p = _constant(U @ basis.T, b, basis @ w, unit + points, basis @ x)
            x = x @ basis
        constant = (x / rows.unit).reshape(problem.shape)
    duals = np.zeros(support.size)
    duals[support] = np.exp(np.log(np.maximum(p, 1e-300)) + unit) * (p > 0)
    outside = rows.U - (rows.U @ basis.T) @ basis
    return HardMarginRate(
        rows.predictor(solution),
        float(rows.unit / size),
        by_points(problem, duals),
        by_points(problem, support.astype(float)) > 0,
        degenerate,
        constant,
        basis.reshape(-1, *problem.shape),
        bool(np.max(np.abs(outside)) <= TIE),
    )


def _inner_weights(U: Float[np.ndarray, "k d"], w: Float[np.ndarray, " d"]) -> Float[np.ndarray, " k"]:
    """Weights that add the rows up to w, the least of them as large as can be."""
    k = U.shape[0]
    size = float(np.linalg.norm(w))
    equations = np.hstack([U.T, np.sum(U.T, axis=1, keepdims=True)])  # the weights are t plus what is nonnegative
    cost = np.concatenate([np.zeros(k), [-1.0]])
    found = linprog(cost, A_eq=equations, b_eq=w / size, method="highs-ds")
    if found.status != 0:
        raise Unsolved("problem: whether all points of least margin have positive duals was not decided")
    return (found.x[:k] + found.x[k]) * size


def _constant(
    U: Float[np.ndarray, "k r"],
    b: Float[np.ndarray, " k"],
    w: Float[np.ndarray, " r"],
    unit: Float[np.ndarray, " k"],
    x: Float[np.ndarray, " r"],
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " k"]]:
    """The x at which p = exp(-U x / b - unit) adds the rows up to w, and p: a strictly convex function is least there.

    Newton's method on that function, ``b . p + w . x``.
    """

    def weights(x: Float[np.ndarray, " r"]) -> Float[np.ndarray, " k"]:
        with np.errstate(over="ignore"):
            return np.exp(-(U @ x) / b - unit)

    def value(x: Float[np.ndarray, " r"]) -> float:
        return float(b @ weights(x) + w @ x)

    for _ in range(NEWTON):
        p = weights(x)
        gradient = w - U.T @ p
        if np.linalg.norm(gradient) <= 1e-13 * np.linalg.norm(w):
            return x, p
        step = np.linalg.solve((U.T * (p / b)) @ U, -gradient)
        slope, length, here = float(gradient @ step), 1.0, value(x)
        # Near the end the decrease is rounding: a full step is then right.
        while length > 1e-10 and not value(x + length * step) <= here + 0.1 * length * slope + 1e-14 * abs(here):
            length /= 2
        x = x + length * step
    p = weights(x)
    if not np.linalg.norm(w - U.T @ p) <= TIE * np.linalg.norm(w):
        raise Unsolved("problem: the constant of its rate was not found by Newton's method")
    return x, p
