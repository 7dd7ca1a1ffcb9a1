"""SoftImpute by alternating ridge regressions of two factors."""

import numpy as np
from jaxtyping import Float

from .._validation import check_integer, check_number
from ..problems import MatrixCompletion
from ..theory import Unsolved
from ..theory._anderson import Anderson
from ._newton import Both, balanced
from ._observed import Matrix, Observed, leading, observed, spectral_norm

CHECKED = 10
"""Sweeps between two looks at the gradient."""
SMALL = 1e-6
"""A singular value below this share of the largest is one that the factors make no use of."""


def soft_impute_als(
    problem: MatrixCompletion, weight: float, rank: int, *, rtol: float = 1e-7, max_steps: int = 20_000
) -> Matrix:
    r"""The product of least :math:`\frac12 |P_\Omega(M - A B^T)|_F^2 + \frac\lambda2 (|A|_F^2 + |B|_F^2)`.

    Sums over the observed entries, not means, whatever the problem's ``normalization``. Over all factors of a product
    the penalty is least at its nuclear norm, so that this is :func:`soft_impute` as soon as ``rank`` is at least that
    of its result; below, the rank is a constraint, and a local minimum is what comes back.

    A sweep fills what is not observed from A B^T and regresses the filled matrix on A for B, then once more on B for
    A; Anderson's extrapolation makes long steps of many. A sweep costs (entries + rows + columns x rank) x rank; beyond
    250,000 entries the whole matrix is made for the start and at the end only, or where a sweep has to leave a saddle.

    Parameters
    ----------
    problem
        Its entries and their places; the shape is (rows, columns).
    weight
        :math:`\lambda`, above 0, in units of the entries.
    rank
        Columns of A and B, from 1 to the smaller side.
    rtol
        Norm of the gradient at the end, relative to that of its penalty :math:`\lambda (A, B)`.
    max_steps
        Most sweeps.

    Returns
    -------
    A B^T, NumPy float64, whole: rows x columns numbers.

    Raises
    ------
    TypeError, ValueError
        If the problem is none of matrix completion, or an option is out of range.
    Unsolved
        If the gradient does not vanish within ``max_steps``, as for weights that are small beside the entries.

    References
    ----------
    Hastie, Mazumder, Lee, Zadeh. Matrix Completion and Low-Rank SVD via Fast Alternating Least Squares. JMLR 2015,
    Algorithm 3.1 and Theorem 2.

    Examples
    --------
    >>> import undertow as ut
    >>> problem = ut.problems.MatrixCompletion((2, 2), rows=[0, 1], columns=[0, 1], values=[3.0, 2.0])
    >>> soft_impute_als(problem, 1.0, rank=2).round(6).tolist()
    [[2.0, 0.0], [0.0, 1.0]]
    """
    check_number("weight", weight, 0, exclusive=True)
    check_integer("rank", rank, 1)
    check_number("rtol", rtol, 0, exclusive=True)
    check_integer("max_steps", max_steps, 1)
    seen = observed(problem)
    if rank > min(seen.shape):
        raise ValueError(f"rank: expected at most the smaller side {min(seen.shape)}, found {rank}")
    with np.errstate(over="ignore", under="ignore"):
        scaled = float(np.clip(float(weight) / seen.unit, 1e-300, 1e150))
    n, d = seen.shape
    u, s, v = leading(seen, seen.values, np.zeros((n, 0)), np.zeros((d, 0)), rank)
    if s[0] <= scaled:
        return np.zeros(seen.shape)
    s = np.maximum(s - scaled, 1e-3 * (s[0] - scaled))  # a column of zeros would stay one
    both = _solve(seen, scaled, np.concatenate([u * np.sqrt(s), v * np.sqrt(s)]), rtol, max_steps)
    return both[:n] @ both[n:].T * seen.unit


def _solve(seen: Observed, weight: float, both: Both, rtol: float, max_steps: int) -> Both:
    anderson, size = Anderson(), np.inf
    for step in range(max_steps):
        if step % CHECKED == 0:
            size = _gradient(seen, weight, both)
            if size <= rtol:
                way_out = _way_out(seen, weight, both)
                if way_out is None:
                    return both
                anderson, both = Anderson(), way_out
        both = anderson.next(both, sweep(seen, weight, both) - both)
    raise Unsolved(
        f"weight: no stationary point at {weight * seen.unit:g} was found to rtol = {rtol:g} within max_steps = "
        f"{max_steps}: relative gradient {size:.2g}"
    )


def sweep(seen: Observed, weight: float, both: Both) -> Both:
    """New factors: ridge regressions of the filled matrix on the left one, then on the right one."""
    left, right = both[: seen.shape[0]], both[seen.shape[0] :]
    right = _regress(seen.matrix(seen.values - seen.at(left, right)).T @ left, left, right, weight)
    left = _regress(seen.matrix(seen.values - seen.at(left, right)) @ right, right, left, weight)
    return np.concatenate([left, right])


def _regress(
    image: Float[np.ndarray, "a k"], known: Float[np.ndarray, "b k"], before: Float[np.ndarray, "a k"], weight: float
) -> Float[np.ndarray, "a k"]:
    """(residual @ known + before @ gram) @ inverse(gram + weight), the filled matrix left as its two parts."""
    values, turn = np.linalg.eigh(known.T @ known)
    values = np.maximum(values, 0)
    return ((image @ turn + (before @ turn) * values) / (values + weight)) @ turn.T


def _gradient(seen: Observed, weight: float, both: Both) -> float:
    """Relative to that of the penalty."""
    left, right = both[: seen.shape[0]], both[seen.shape[0] :]
    matrix = seen.matrix(seen.values - seen.at(left, right))
    gradient = weight * both - np.concatenate([matrix @ right, matrix.T @ left])
    return float(np.linalg.norm(gradient) / (weight * max(float(np.linalg.norm(both)), 1e-300)))


def _way_out(seen: Observed, weight: float, both: Both) -> Both | None:
    """From a saddle: where columns are not made use of and the residual has a singular value above the weight."""
    left, right, singular = balanced(both[: seen.shape[0]], both[seen.shape[0] :])
    residual = seen.values - seen.at(left, right)
    if singular[-1] > SMALL * singular[0] or spectral_norm(seen, residual, left, right) <= weight * (1 + SMALL):
        return None
    u, s, v = leading(seen, residual, left, right, int(np.count_nonzero(singular > SMALL * singular[0])) + 1)
    kept = np.maximum(s - weight, 0)
    columns = np.zeros_like(both)
    columns[:, : s.size] = np.concatenate([u * np.sqrt(kept), v * np.sqrt(kept)])
    return columns
