"""The separating predictor of least l2 norm, its support by least squares, or by a quadratic program."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse
from jaxtyping import Float

from ._cone_program import cone_program
from ._margin_rows import MarginRows, Solution

CHOICES = 50
"""Most choices of rows for least squares."""
SOME = 200
"""Rows, and some for each unknown, that are never too many to take all at once."""
FREE = 1e3
"""A free intercept is first counted as that of a feature of this size."""
ROUNDS = 20
"""Most supports that are tried."""
EVEN = 1e3
"""Ratio of the norms of the columns up to which they are left as they are."""
APART = 1e-2
"""Least ratio in the diagonal of a triangle of inner products, whose rounding is that of the ratio squared."""
VIOLATED = 1e-12
"""Share of the norm of w by which a row of norm 1 has to miss its margin to be taken into the support."""


def least_l2(rows: MarginRows) -> Iterator[Solution]:
    """What the support gives, if it does, found by least squares; after it, the end of a quadratic program."""
    U, F, b = rows.U, rows.F, rows.b
    if U.shape[0] >= U.shape[1]:
        yield from _candidates(U, F, b)
        return
    # More features than rows: w is in the span of the rows, and is looked for in a basis of it.
    most_support = Solution(np.zeros(U.shape[0]), np.zeros(F.shape[1]), np.ones(b.size))
    U = dense(U)
    triangle = _even_triangle(U)
    if triangle is not None:
        # The same basis, never formed: a tenth of the time. What rounding makes of it the proof decides.
        polished = _on_support(triangle, F, b, most_support)
        if polished is not None:
            within = scipy.linalg.solve_triangular(triangle, polished.w, lower=True, trans=1, check_finite=False)
            yield dataclasses.replace(polished, w=U.T @ within)
    basis, upper = np.linalg.qr(U.T)
    U = np.ascontiguousarray(upper.T)
    polished = _on_support(U, F, b, most_support)
    for found in itertools.chain([] if polished is None else [polished], _candidates(U, F, b)):
        yield dataclasses.replace(found, w=basis @ found.w)


def _even_triangle(U: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"] | None:
    """The lower triangle whose rows have the inner products of these, where they are far from dependent."""
    try:
        triangle = np.linalg.cholesky(U @ U.T)
    except np.linalg.LinAlgError:
        return None
    diagonal = np.diag(triangle)
    return triangle if np.min(diagonal) > APART * np.max(diagonal) else None


def _candidates(U: Any, F: Any, b: Float[np.ndarray, " rows"]) -> Iterator[Solution]:
    found = _by_least_squares(U, F, b)
    if found is not None:
        if _settled(U, F, b, found):
            yield found
        polished = _on_support(U, F, b, found)
        if polished is not None:
            yield polished
    solution = _quadratic_program(U, F, b)
    polished = _on_support(U, F, b, solution)
    if polished is not None:
        yield polished
    yield solution


def _settled(U: Any, F: Any, b: Float[np.ndarray, " rows"], found: Solution) -> bool:
    """Whether its support has its margins to rounding, so that nothing is left to solve for."""
    if F.shape[1]:
        return False
    some = found.weights > 0
    missed = np.abs(U[some] @ found.w - b[some])
    return float(np.max(missed, initial=0)) <= VIOLATED / 10 * float(np.linalg.norm(found.w))


def _by_least_squares(U: Any, F: Any, b: Float[np.ndarray, " rows"]) -> Solution | None:
    """By nonnegative least squares, on a few rows at a time: those of the support, and those that miss most.

    The norm grows from one choice of rows to the next, so that it ends. Free intercepts cost next to nothing here.
    """
    table: Any = U
    if F.shape[1]:
        apart = FREE * F
        both = isinstance(U, np.ndarray)
        table = np.hstack([U, apart]) if both else scipy.sparse.hstack([U, scipy.sparse.csr_array(apart)]).tocsr()
    n, d = table.shape
    w = np.asarray(table.sum(axis=0)).ravel()
    some = np.arange(n) if n <= 3 * d + SOME else np.argsort(table @ w)[: 2 * d + SOME // 2]
    unit = 1.0
    for _ in range(CHOICES):
        found = _least_distance(dense(table[some]), b[some], unit)
        if found is None:
            return None
        w, a, unit = found
        short = b - table @ w
        missed = np.flatnonzero(short > VIOLATED * np.linalg.norm(w))
        missed = np.setdiff1d(missed, some)
        if not missed.size:
            weights = np.zeros(n)
            weights[some] = a
            return Solution(w[: U.shape[1]], FREE * w[U.shape[1] :], weights)
        most = missed[np.argsort(-short[missed])][: d + SOME]
        some = np.union1d(some[a > 0], most)
    return None


def _least_distance(
    U: Float[np.ndarray, "k d"], b: Float[np.ndarray, " k"], unit: float
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " k"], float] | None:
    r"""The w of least l2 norm with ``U w >= b``, its weights, and one over its norm, for the next; None if not found.

    With the :math:`z \ge 0` that makes the residual :math:`(r, s) = (0, 1) - (U^T z, u b^T z)` smallest,
    :math:`w = -r / (u s)`, for any unit u; it is well determined if u is about one over the norm of w (Lawson, Hanson.
    Solving Least Squares Problems. 1974, Section 23.4).
    """
    for _ in range(10):
        table = np.vstack([U.T, unit * b])
        right = np.zeros(table.shape[0])
        right[-1] = 1
        try:
            z, _ = scipy.optimize.nnls(table, right)
        except RuntimeError:  # too many steps
            return None
        residual = right - table @ z
        share = float(residual[-1])  # 1 / (1 + u^2 |w|^2)
        if share >= 0.01:
            w, a = -residual[:-1] / (share * unit), z / (share * unit)
            size = float(np.linalg.norm(w))
            return None if size == 0 else (w, a, 1 / size)
        unit = unit / 1e3 if share < 1e-6 else unit * float(np.sqrt(share))
        if unit < 1e-14:
            return None
    return None


def dense(U: Any) -> Float[np.ndarray, "rows d"]:
    """As a NumPy array."""
    return U if isinstance(U, np.ndarray) else U.toarray()


def even_columns(U: Any) -> Float[np.ndarray, " d"]:
    """What to multiply the columns by so that they are even: 1 where they are."""
    norms = np.sqrt(np.asarray((U * U if isinstance(U, np.ndarray) else U.multiply(U)).sum(axis=0)).ravel())
    norms = np.where(norms > 0, norms, np.max(norms))
    return np.ones(norms.size) if np.max(norms) <= EVEN * np.min(norms) else np.max(norms) / norms


def _quadratic_program(U: Any, F: Any, b: Float[np.ndarray, " rows"]) -> Solution:
    """Least ``|w|^2 / 2``, by an interior-point method on columns of even size."""
    (n, d), f = U.shape, F.shape[1]
    scale = even_columns(U)
    weight = np.concatenate([(scale / np.max(scale)) ** 2, np.zeros(f)])
    A: Any = scipy.sparse.hstack(
        [-scipy.sparse.csc_array(U) @ scipy.sparse.diags_array(scale), scipy.sparse.csc_array(-F)]
    )
    P = scipy.sparse.diags_array(weight)
    x, z = cone_program(P, np.zeros(d + f), A, -b, {"nonnegative": n})
    return Solution(x[:d] * scale, x[d:], z)


def _on_support(U: Any, F: Any, b: Float[np.ndarray, " rows"], solution: Solution) -> Solution | None:
    """What the equations of the support say: the w of least norm that has its margins, and the weights that give w.

    The first support is that of the program. Rows that miss their margin are added, those of no weight left out.
    """
    a = solution.weights
    slack = np.maximum(U @ solution.w + F @ solution.free - b, 0)
    if not (np.all(np.isfinite(slack)) and np.all(np.isfinite(a)) and np.any(a > 0)):
        return None
    support = np.flatnonzero(a * max(float(np.max(slack)), float(np.max(b))) > slack * float(np.max(a)))
    for _ in range(ROUNDS):
        if support.size == 0:
            return None
        US, FS = dense(U[support]), F[support]
        w, c, weights = _independent(US, FS, b[support]) or _dependent(US, FS, b[support])
        size = float(np.hypot(np.linalg.norm(w), np.linalg.norm(c)))
        missed = np.setdiff1d(np.flatnonzero(U @ w + F @ c < b - VIOLATED * size), support)
        gives = np.linalg.norm(np.concatenate([US.T @ weights - w, FS.T @ weights])) <= 1e-10 * size
        if not missed.size and gives and np.min(weights) >= 0:
            full = np.zeros(b.size)
            full[support] = weights
            return Solution(w, c, full)
        support = np.union1d(support[weights > 0], missed)
    return None


def _independent(
    U: Float[np.ndarray, "k d"], F: Float[np.ndarray, "k f"], b: Float[np.ndarray, " k"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The least w, and its c, with ``U w + F c = b``, and the weights that give w; None for dependent rows of U."""
    if U.shape[0] > U.shape[1]:
        return None
    basis, triangle = np.linalg.qr(U.T)
    diagonal = np.abs(np.diag(triangle))
    if np.min(diagonal) <= 1e-10 * np.max(diagonal):
        return None
    solve = functools.partial(scipy.linalg.solve_triangular, triangle, check_finite=False)
    left = solve(b, trans=1)
    c = np.zeros(0)
    if F.shape[1]:
        across = solve(F, trans=1)
        c = np.linalg.lstsq(across, left)[0]
        left = left - across @ c
    return basis @ left, c, solve(left)


def _dependent(
    U: Float[np.ndarray, "k d"], F: Float[np.ndarray, "k f"], b: Float[np.ndarray, " k"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for any rows, with weights that are not negative where there are such."""
    if F.shape[1] == 0:
        w, c = lstsq(U, b), np.zeros(0)
    else:
        across = scipy.linalg.null_space(F.T)
        w = lstsq(across.T @ U, across.T @ b) if across.size else np.zeros(U.shape[1])
        c = np.linalg.lstsq(F, b - U @ w)[0]
    table, right = np.vstack([U.T, F.T]), np.concatenate([w, np.zeros(F.shape[1])])
    weights = lstsq(table, right)
    if np.min(weights) < 0:
        weights = _nonnegative(table, right)
    return w, c, weights


def lstsq(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The least solution of least squares, whatever the rank."""
    found: Any = scipy.linalg.lstsq(A, b, cond=1e-13, lapack_driver="gelsy", check_finite=False)
    return found[0]


def _nonnegative(table: np.ndarray, right: np.ndarray) -> np.ndarray:
    size = float(np.linalg.norm(right))
    try:
        return scipy.optimize.nnls(table, right / size)[0] * size
    except RuntimeError:  # it gave up: no weights
        return np.zeros(table.shape[1])
