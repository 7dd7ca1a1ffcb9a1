"""SoftImpute: the least sum of squares and nuclear norm, by thresholded singular value decompositions."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from .._validation import Numbers, check_array, check_integer, check_number
from ..problems import MatrixCompletion
from ..theory import Unsolved
from ._newton import Point, descend, point
from ._observed import Left, Matrix, Observed, Right, leading, observed, spectral_norm

GROWTH = 10
"""The rank at most doubles in a step, and grows by this much: descent at low rank first, which is cheap."""
AIM = 1e-2
"""What Newton's method is to leave of the gradient, relative to that of the penalty, in units of the last gap."""
NEWTON_STEPS = 30
LEVEL = 0.1
"""From one weight to the next on the way down to a small one."""
ROUGH = 0.03
"""Relative gap at those on the way."""
SMALLEST_START = 1e-12
"""Singular values of a start below this share of the largest are rounding."""


@dataclasses.dataclass(frozen=True)
class Iterate:
    """Where the iteration is, in units of the problem, its objective, and how far at most that is from the least."""

    at: Point
    objective: float
    gap: float


def soft_impute(
    problem: MatrixCompletion,
    weight: float,
    *,
    start: Numbers | None = None,
    rtol: float = 1e-6,
    max_steps: int = 200,
) -> Matrix:
    r"""The matrix of least :math:`\frac12 |P_\Omega(M - Z)|_F^2 + \lambda |Z|_*`.

    These are sums over the observed entries, not means. The problem's own ``normalization`` has no say: under a mean
    over m entries, the same matrix has the least loss plus ``2 * weight / m`` times nuclear norm. As the weight
    vanishes, Z tends to :func:`undertow.theory.minimum_nuclear_norm`; it is zero from the largest singular value of
    :math:`P_\Omega(M)` upwards.

    A step fills what is not observed from Z and lowers the singular values of the result by the weight, down to zero,
    as in the source. Newton's method on the factors of what remains then takes the place of the many steps in which
    the rank stays as it is. The objective falls in each. The end is certified: the residual :math:`P_\Omega(M - Z)`,
    scaled to a spectral norm of at most the weight, bounds the least objective from below.

    Parameters
    ----------
    problem
        Its entries and their places; the shape is (rows, columns).
    weight
        :math:`\lambda`, above 0, in units of the entries.
    start
        A matrix to begin at, such as the result at a larger weight; zero where left out.
    rtol
        Duality gap at the end, relative to the objective.
    max_steps
        Most singular value decompositions at a weight; on the way from zero to a small weight there are others, each a
        tenth of the last.

    Returns
    -------
    Z, NumPy float64, whole. Where there is more than one minimizer, one of them. Beyond 2^24
    entries the matrix is made at the end only, and decompositions are of a sparse matrix plus one of low rank.

    Raises
    ------
    TypeError, ValueError
        If the problem is none of matrix completion, ``start`` has another shape, or an option is out of range.
    Unsolved
        If the gap is not reached: within ``max_steps``, or because the weight is so small beside the entries that it
        is lost in their rounding.

    References
    ----------
    Mazumder, Hastie, Tibshirani. Spectral Regularization Algorithms for Learning Large Incomplete Matrices. JMLR 2010,
    Algorithm 1. Boumal, Absil. RTRMC: A Riemannian Trust-Region Method for Low-Rank Matrix Completion. NeurIPS 2011
    (Newton's method between the steps).

    Examples
    --------
    >>> import undertow as ut
    >>> problem = ut.problems.MatrixCompletion((2, 2), rows=[0, 1], columns=[0, 1], values=[3.0, 2.0])
    >>> soft_impute(problem, 1.0).round(6).tolist()
    [[2.0, 0.0], [0.0, 1.0]]
    """
    check_number("weight", weight, 0, exclusive=True)
    return _path(problem, [weight], start, rtol, max_steps)[0]


def soft_impute_path(
    problem: MatrixCompletion,
    weights: Sequence[float] | Float[np.ndarray, " weights"],
    *,
    rtol: float = 1e-6,
    max_steps: int = 200,
) -> list[Matrix]:
    """The results of :func:`soft_impute` at several weights, from the largest down, each the start of the next.

    Parameters
    ----------
    problem, rtol, max_steps
        As there.
    weights
        Above 0, in any order.

    Returns
    -------
    A matrix a weight, in the order of ``weights``.

    Raises
    ------
    TypeError, ValueError, Unsolved
        As there; ValueError if there is no weight.

    Examples
    --------
    >>> import undertow as ut
    >>> problem = ut.problems.MatrixCompletion((2, 2), rows=[0, 1], columns=[0, 1], values=[3.0, 2.0])
    >>> [Z.round(6).tolist() for Z in soft_impute_path(problem, [1.0, 2.5])]
    [[[2.0, 0.0], [0.0, 1.0]], [[0.5, 0.0], [0.0, 0.0]]]
    """
    given = [float(x) for x in np.asarray(check_array("weights", weights, dimensions=1), np.float64)]
    if not given:
        raise ValueError("weights: expected at least one, found none")
    for position, weight in enumerate(given):
        check_number(f"weights[{position}]", weight, 0, exclusive=True)
    return _path(problem, given, None, rtol, max_steps)


def _path(
    problem: MatrixCompletion, weights: Sequence[float], start: Numbers | None, rtol: float, max_steps: int
) -> list[Matrix]:
    check_number("rtol", rtol, 0, exclusive=True)
    check_integer("max_steps", max_steps, 1)
    seen = observed(problem)
    left, right = _factors(start, seen)
    level = None if start is None else 0.0
    found: dict[float, Matrix] = {}
    for weight in sorted(set(weights), reverse=True):
        with np.errstate(over="ignore", under="ignore"):
            scaled = float(np.clip(float(weight) / seen.unit, 1e-300, 1e150))
        if level is None:
            level = spectral_norm(seen, seen.values, left, right)
        # A smaller weight makes a narrower valley, which is crooked: Newton's method follows it from wider ones.
        while LEVEL * level > scaled:
            level = LEVEL * level
            left, right = _solve(seen, level, left, right, ROUGH, max_steps).factors
        left, right = _solve(seen, scaled, left, right, rtol, max_steps).factors
        level = scaled
        found[weight] = left @ right.T * seen.unit
    return [found[weight] for weight in weights]


def _factors(start: Numbers | None, seen: Observed) -> tuple[Left, Right]:
    """Of the start, in units of the problem."""
    if start is None:
        return np.zeros((seen.shape[0], 0)), np.zeros((seen.shape[1], 0))
    matrix = np.asarray(check_array("start", start, dimensions=2), np.float64)
    if matrix.shape != seen.shape:
        raise ValueError(f"start: expected shape {seen.shape}, found {matrix.shape}")
    u, s, vt = np.linalg.svd(matrix / seen.unit, full_matrices=False)
    kept = np.count_nonzero(s > SMALLEST_START * s[0])
    return u[:, :kept] * np.sqrt(s[:kept]), vt[:kept].T * np.sqrt(s[:kept])


def _solve(seen: Observed, weight: float, left: Left, right: Right, rtol: float, max_steps: int) -> Point:
    """The iteration to its end, in units of the problem."""
    last: Any = None
    for step, iterate in enumerate(iterates(seen, weight, left, right)):
        last = iterate
        if iterate.gap <= rtol:
            return iterate.at
        if step == max_steps:
            break
    raise Unsolved(
        f"weight: the least objective at {weight * seen.unit:g} was not found to rtol = {rtol:g} within max_steps = "
        f"{max_steps}: relative duality gap {last.gap:.2g}"
    )


def iterates(seen: Observed, weight: float, left: Left, right: Right) -> Iterator[Iterate]:
    """The start, and without end what each step makes of it."""
    here = point(seen, weight, left, right)
    limit = min(seen.shape)
    while True:
        iterate = _look(seen, weight, here)
        yield iterate
        rank = here.singular.size
        count = min(max(2 * rank, rank + GROWTH), limit)
        u, s, v = leading(seen, here.residual, here.left, here.right, count)
        kept = np.count_nonzero(s > weight)
        root = np.sqrt(s[:kept] - weight)
        here = point(seen, weight, u[:, :kept] * root, v[:, :kept] * root)
        here = descend(seen, weight, here, AIM * iterate.gap, NEWTON_STEPS)


def _look(seen: Observed, weight: float, here: Point) -> Iterate:
    """The objective and the gap: the dual is <Y, M> - |Y|^2 / 2 of Y at the observed entries, |Y| <= weight."""
    squares = float(here.residual @ here.residual)
    objective = squares / 2 + weight * float(np.sum(here.singular))
    if squares == 0:
        return Iterate(here, objective, 0.0 if objective == 0 else 1.0)
    along = float(here.residual @ seen.values)
    largest = weight / spectral_norm(seen, here.residual, here.left, here.right)
    factor = float(np.clip(along / squares, -largest, largest))
    bound = factor * along - factor**2 * squares / 2
    return Iterate(here, objective, (objective - bound) / objective)
