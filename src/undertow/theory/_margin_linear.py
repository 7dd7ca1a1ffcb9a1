"""Separating predictors of least l1 or l-infinity norm, by linear programs."""

from typing import Any

import numpy as np
import scipy.sparse
from scipy.optimize import linprog

from ._errors import Unsolved
from ._margin_l2 import dense, even_columns, lstsq
from ._margin_rows import DUAL, MarginRows, Solution, norm_of

TOLERANCE = 1e-10
"""Feasibility asked of the solver, primal and dual, on rows of norm 1."""
TIGHT = 1e-7
"""Share of the largest up to which a weight, or what is missing to a bound, counts as none."""


def least_linear(rows: MarginRows, norm: str, *, other: bool) -> tuple[tuple[Solution, ...], Solution | None]:
    """What the linear program gives, solved for afresh on its support and as found; and another solution, if asked."""
    found = _linear_program(rows, norm)
    if found is None:
        return (), None
    return (_on_support(rows, norm, found), found), _other(rows, norm, found) if other else None


def _linear_program(rows: MarginRows, norm: str) -> Solution | None:
    n, d = rows.U.shape
    f = rows.F.shape[1]
    # Columns of even size: the solver takes entries below 1e-9 for none.
    scale = even_columns(rows.U)
    U: Any = scipy.sparse.csr_array(rows.U) @ scipy.sparse.diags_array(scale)
    F = scipy.sparse.csr_array(rows.F)
    if norm == "l1":
        # One unknown for each sign, so that every one is nonnegative.
        cost = np.concatenate([scale, scale]) / np.max(scale)
        blocks = [[-U, U]]
        lower = np.zeros(2 * d)
        right = -rows.b
    else:
        unit = scipy.sparse.eye_array(d)
        bound = scipy.sparse.csr_array(-1 / scale[:, None])
        cost = np.concatenate([np.zeros(d), [1.0]])
        blocks = [[-U, None], [unit, bound], [-unit, bound]]
        lower = np.concatenate([np.full(d, -np.inf), [0.0]])
        right = np.concatenate([-rows.b, np.zeros(2 * d)])
    if f:
        blocks = [[*row, -F if i == 0 else None] for i, row in enumerate(blocks)]
        cost, lower = np.concatenate([cost, np.zeros(f)]), np.concatenate([lower, np.full(f, -np.inf)])
    found = _solve(
        cost, scipy.sparse.block_array(blocks).tocsc(), right, np.stack([lower, np.full_like(lower, np.inf)], 1)
    )
    if found is None:
        return None
    x_size = found.x.size - f
    x = found.x[:x_size]
    w = (x[:d] - x[d:] if norm == "l1" else x[:d]) * scale
    return Solution(w, found.x[x_size:], np.maximum(-found.ineqlin.marginals[:n], 0))


def _solve(cost: Any, A: Any, b: Any, bounds: Any, A_eq: Any = None, b_eq: Any = None) -> Any:
    options = {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE}
    found = linprog(cost, A_ub=A, b_ub=b, A_eq=A_eq, b_eq=b_eq, bounds=bounds, method="highs-ds", options=options)
    return found if found.status == 0 else None


def _on_support(rows: MarginRows, norm: str, found: Solution) -> Solution:
    """The vertex, to rounding: what the rows of margin 1 say about the entries at no bound."""
    w, c = found.w, found.free
    slack = rows.U @ w + rows.F @ c - rows.b
    tight = np.flatnonzero(slack <= TOLERANCE * 10 * np.hypot(np.linalg.norm(w), np.linalg.norm(c)))
    largest = float(np.max(np.abs(w), initial=0))
    d = w.size
    if norm == "l1":
        directions = np.eye(d)[:, np.abs(w) > 1e-12 * largest]
    else:
        inside = np.abs(w) < largest * (1 - 1e-10)
        directions = np.column_stack([np.where(inside, 0, np.sign(w)), np.eye(d)[:, inside]])
    table = np.hstack([dense(rows.U[tight]) @ directions, rows.F[tight]])
    step = lstsq(table, -slack[tight])
    inner = directions.shape[1]
    return Solution(w + directions @ step[:inner], c + step[inner:], found.weights)


def _other(rows: MarginRows, norm: str, found: Solution) -> Solution | None:
    r"""Another solution, or None where there is none.

    With the dual weights a of one solution, all have margin 1 where :math:`a_n > 0`, and are aligned to
    :math:`g = U^T a`: in l1, w has the sign of g and lives where :math:`|g_j|` is largest; in l-infinity, :math:`|w_j|`
    is largest, with the sign of g, where :math:`g_j \ne 0`. That face is one point if the equations have independent
    columns; else a linear function, drawn at random, is largest and smallest at different points of it.
    """
    proved, _ = rows.proved(norm, found)
    w, c, a = proved.w, proved.free, proved.weights
    g = rows.U.T @ a / norm_of(DUAL[norm], rows.U.T @ a, rows.shape)
    size = norm_of(norm, w, rows.shape)
    largest = float(np.max(np.abs(w)))
    if norm == "l1":
        moves = np.abs(g) >= 1 - TIGHT
        fixed = np.zeros_like(w)
        lower, upper = np.where(g > 0, 0, -2 * size)[moves], np.where(g > 0, 2 * size, 0)[moves]
    else:
        moves = np.abs(g) <= TIGHT * np.max(np.abs(g))
        fixed = np.where(moves, 0, size * np.sign(g))
        lower, upper = np.full(np.count_nonzero(moves), -size), np.full(np.count_nonzero(moves), size)
    tight = a > TIGHT * np.max(a)
    columns = scipy.sparse.csr_array(rows.U)[:, moves]
    held = np.hstack([columns[tight].toarray(), rows.F[tight]])
    if held.shape[0] >= held.shape[1] and (held.shape[1] == 0 or np.linalg.matrix_rank(held) == held.shape[1]):
        return None
    room = max(size, float(np.max(np.abs(c), initial=0)))
    bounds = np.concatenate([np.stack([lower, upper], 1), np.stack([c - 2 * room, c + 2 * room], 1)]) / room
    right = (rows.b - rows.U @ fixed) / room
    table: Any = scipy.sparse.hstack([columns, scipy.sparse.csr_array(rows.F)]).tocsr()
    direction = np.random.default_rng(0).normal(size=table.shape[1])
    ends = [
        _solve(sign * direction, -table[~tight], -right[~tight], bounds, table[tight], right[tight]) for sign in (1, -1)
    ]
    if any(end is None for end in ends):
        raise Unsolved("problem: whether its predictor is the only one was not decided; ties='any' leaves that open")
    points = []
    for end in ends:
        x = room * end.x
        point = fixed.copy()
        point[moves] = x[: np.count_nonzero(moves)]
        points.append(Solution(point, x[np.count_nonzero(moves) :], a))
    apart = [float(np.max(np.abs(np.concatenate([p.w - w, p.free - c])))) for p in points]
    farther = int(np.argmax(apart))
    return points[farther] if apart[farther] > TIGHT * max(largest, room * 1e-3) else None
