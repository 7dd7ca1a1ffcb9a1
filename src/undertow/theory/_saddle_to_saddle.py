"""The path of the diagonal linear network as its initialization vanishes: from saddle to saddle."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from .._repr import shown
from ..problems import Problem
from ._affine_set import affine_set
from ._basis_pursuit import other_point
from ._errors import NotUnique, Unsolved

THRESHOLD = 0.5
"""The integral of a gradient, over log(1 / alpha), at which an entry of u^2 - v^2 gets from alpha to size 1."""
ZERO = 1e-10
"""A gradient below this share of what is added up in it is rounding."""


JUMPS = 10_000
"""Most jumps of a path."""


class SaddlePath(NamedTuple):
    """A path that rests in a point and jumps to the next.

    It is at ``points[j]`` from ``times[j]`` to ``times[j + 1]``, and at the last point for ever after. ``times[0]`` is
    0 and ``points[0]`` the origin.
    """

    times: Float[np.ndarray, " jumps+1"]
    points: Float[np.ndarray, "jumps+1 ..."]

    def __repr__(self) -> str:
        return shown(self)


def saddle_to_saddle(problem: Problem) -> SaddlePath:
    r"""The exact path of gradient flow for :math:`w = u^2 - v^2` from u = v = alpha, as alpha tends to 0.

    In the time :math:`\tau = t / \log(1/\alpha)` the flow of ``SignedPower(shape, depth=2)`` becomes a jump process.
    It rests while the integral :math:`s_i = -\int_0^\tau \partial_i \ell(w)\,d\tau` of every entry at zero is between
    -1/2 and 1/2. When one arrives there the flow jumps to the point of least loss among the w with

    .. math:: w_i \ge 0 \text{ where } s_i = \tfrac12, \quad w_i \le 0 \text{ where } s_i = -\tfrac12, \quad
              w_i = 0 \text{ where } |s_i| < \tfrac12.

    Entries may return to zero. Where zero error can be reached the path ends at basis pursuit. At finite alpha the
    jumps are late or early, and smooth, by a share of order 1 / log(1 / alpha).

    Parameters
    ----------
    problem
        One with ``equations`` whose loss is a multiple of the sum of squares of their errors, and so says; its
        normalization sets the clock.

    Returns
    -------
    times, in units of :math:`\log(1/\alpha)` of flow time, and points of the shape of the problem; NumPy float64.

    Raises
    ------
    TypeError
        If the points of zero error of the problem are not known to be an affine set, or its loss is not known to be
        a multiple of the sum of squares.
    NotUnique
        If a point of least loss is not unique, as where two columns of A are equal.
    Unsolved
        If the path does not end within 10,000 jumps, or is beyond the range of float64.

    References
    ----------
    Pesme, Flammarion. Saddle-to-Saddle Dynamics in Diagonal Linear Networks. NeurIPS 2023, Algorithm 1 and Theorem 2.

    Examples
    --------
    >>> import undertow as ut
    >>> path = saddle_to_saddle(ut.problems.PointTarget([2.0, -1.0]))
    >>> path.times.tolist()
    [0.0, 0.25, 0.5]
    >>> path.points.tolist()
    [[0.0, 0.0], [2.0, 0.0], [2.0, -1.0]]
    """
    equations = affine_set(problem)
    b, weight = equations.b, equations.weight
    if weight is None:
        raise TypeError("problem: expected one whose equations come with the weight of the sum of squares in its loss")
    if not isinstance(equations.matrix, np.ndarray):
        return _one_by_one(equations.matrix.indices, b, weight, equations.shape)
    # In units of the largest coefficient and right-hand side: times and points scale with them.
    steepest, scale = float(np.max(np.abs(equations.matrix))) or 1.0, float(np.max(np.abs(b))) or 1.0
    A, b = equations.matrix / steepest, b / scale
    w = np.zeros(A.shape[1])
    integral = np.zeros_like(w)
    times, points = [0.0], [w]
    for _ in range(JUMPS):
        velocity = weight * (A.T @ (b - A @ w))
        terms = weight * (np.abs(A).T @ (np.abs(b) + np.abs(A) @ np.abs(w)))
        velocity[(w != 0) | (np.abs(velocity) <= ZERO * terms)] = 0
        if not np.any(velocity):
            return _in_units(times, points, equations.shape, steepest, scale)
        moving = velocity != 0
        waits = np.full_like(w, np.inf)
        waits[moving] = (THRESHOLD - integral[moving] * np.sign(velocity[moving])) / np.abs(velocity[moving])
        wait = float(waits.min())
        integral = integral + wait * velocity
        arrived = np.abs(integral) >= THRESHOLD * (1 - ZERO)
        integral = np.where(arrived, THRESHOLD * np.sign(integral), integral)
        w = _least_loss(A, b, np.where(arrived, np.sign(integral), 0), equations.shape, scale / steepest)
        times.append(times[-1] + wait)
        points.append(w)
    raise Unsolved(f"problem: its path does not end within {JUMPS} jumps")


def _one_by_one(where: np.ndarray, b: Float[np.ndarray, " m"], weight: float, shape: tuple[int, ...]) -> SaddlePath:
    """Where the equations give entries, each jumps to its value at a time of its own."""
    with np.errstate(divide="ignore", over="ignore"):
        times = THRESHOLD / weight / np.abs(b)
    moving = b != 0
    found = np.unique(times[moving])
    points = np.zeros((found.size + 1, math.prod(shape)))
    points[1:, where] = np.where((times <= found[:, None]) & moving, b, 0)
    return _in_units([0.0, *found], list(points), shape, 1.0, 1.0)


def _in_units(
    times: list[Any], points: list[np.ndarray], shape: tuple[int, ...], steepest: float, scale: float
) -> SaddlePath:
    """The path of the problem itself, from that in units of its largest coefficient and right-hand side."""
    with np.errstate(over="ignore"):
        found = SaddlePath(np.array(times) / steepest / scale, np.stack(points).reshape(-1, *shape) / steepest * scale)
    if not (np.all(np.isfinite(found.times)) and np.all(np.isfinite(found.points))):
        raise Unsolved("problem: its path is beyond the range of float64")
    return found


def _least_loss(
    A: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, " m"],
    signs: Float[np.ndarray, " d"],
    shape: tuple[int, ...],
    unit: float,
) -> Float[np.ndarray, " d"]:
    """The point of least loss whose entries have these signs, or are zero; ``unit`` is that of w."""
    free = np.flatnonzero(signs)
    columns = A[:, free] * signs[free]
    x, _ = nnls(columns, b)
    support = np.flatnonzero(x)
    # To rounding, which the gradient of entries on the support shows.
    refined = np.zeros_like(x)
    refined[support] = np.linalg.lstsq(columns[:, support], b)[0]
    x = refined if np.all(refined >= 0) else x
    w, other = np.zeros(A.shape[1]), np.zeros(A.shape[1])
    w[free] = np.where(x > 0, x * signs[free], 0)  # no -0
    # Entries with a gradient at zero are zero in every point of least loss, which all give the same prediction.
    gradient = columns.T @ (columns @ x - b)
    loose = np.flatnonzero((x > 0) | (gradient <= ZERO * np.max(np.abs(columns.T @ b))))
    found = other_point(columns[:, loose], columns @ x, x[loose])
    if found is not None:
        other[free[loose]] = found * signs[free[loose]]
        raise NotUnique(
            f"problem: the point of least loss on the entries {free.tolist()} is not unique, and where the path jumps "
            "is not decided by its equations",
            (w.reshape(shape) * unit, other.reshape(shape) * unit),
        )
    return w
