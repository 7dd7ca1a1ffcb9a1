"""The path of the diagonal linear network as its initialization vanishes: from saddle to saddle."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from .._repr import shown
from .._validation import Numbers, check_array, check_number
from ..problems import Problem
from ._affine_set import affine_set
from ._basis_pursuit import other_point
from ._errors import NotUnique, Unsolved

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


def saddle_to_saddle(
    problem: Problem,
    depth: float = 2,
    sizes: tuple[Numbers | None, Numbers | None] | None = None,
    exponents: tuple[Numbers | None, Numbers | None] | None = None,
) -> SaddlePath:
    r"""The exact path of gradient flow for :math:`w = u^N - v^N` from a start of size alpha, as alpha tends to 0.

    While w rests, the halves of each entry grow by the integral :math:`s_i = -\int_0^\tau \partial_i \ell(w)\,d\tau`
    alone. In a time of its own, :math:`\tau = t / \log(1/\alpha)` at depth 2 and :math:`\tau = \alpha^{N-2} t` at depth
    :math:`N > 2`, u gets to size 1 at :math:`s_i = p_i`, and v at :math:`s_i = -q_i`:

    =========  ================================================  =========================================
    depth      start                                             :math:`p_i`, and so :math:`q_i`
    =========  ================================================  =========================================
    2          :math:`u_i = \alpha^{e_i}`, of given exponents    :math:`e_i / 2`
    N > 2      :math:`u_i = \alpha c_i`, of given sizes          :math:`c_i^{-(N - 2)} / (N (N - 2))`
    =========  ================================================  =========================================

    Until then w rests. When an entry arrives there the flow jumps to the point of least loss among the w with

    .. math:: w_i \ge 0 \text{ where } s_i = p_i, \quad w_i \le 0 \text{ where } s_i = -q_i, \quad
              w_i = 0 \text{ where } -q_i < s_i < p_i.

    Entries may return to zero. Where zero error can be reached the path ends at the least
    :math:`\sum_i p_i \max(w_i, 0) + q_i \max(-w_i, 0)`: basis pursuit, if all start alike, and then the points are the
    same at every depth. At finite alpha the jumps are late or early, and smooth, by a share of order
    :math:`1 / \log(1 / \alpha)` at depth 2 and of a power of alpha beyond.

    Parameters
    ----------
    problem
        One with ``equations`` whose loss is a multiple of the sum of squares of their errors, and so says; its
        normalization sets the clock.
    depth
        N, at least 2.
    sizes
        At depth above 2: u and v at the start, over alpha, each a number above 0 or an array of them, of the shape of
        the problem, or None: a half that is 0 and stays so, as v of :math:`w = u^N`. Left out: 1 and 1. (At depth 2
        sizes move jumps by a share of 1 / log(1 / alpha) only.)
    exponents
        At depth 2: the powers of alpha that u and v are at the start, in the same form.

    Returns
    -------
    times, in units of :math:`\log(1/\alpha)` or :math:`\alpha^{-(N - 2)}` of flow time, and points of the shape of the
    problem; NumPy float64.

    Raises
    ------
    TypeError, ValueError
        If the points of zero error of the problem are not known to be an affine set, or its loss is not known to be
        a multiple of the sum of squares; if ``depth`` is below 2, ``sizes`` or ``exponents`` are no pair, have another
        shape, are out of their bounds, or are given at a depth at which they do not say how a half grows.
    NotUnique
        If a point of least loss is not unique, as where two columns of A are equal.
    Unsolved
        If the path does not end within 10,000 jumps, or is beyond the range of float64.

    References
    ----------
    Pesme, Flammarion. Saddle-to-Saddle Dynamics in Diagonal Linear Networks. NeurIPS 2023, Algorithm 1 and Theorem 2
    (depth 2, u = v = alpha). arXiv:2607.12332, 2026 (asymmetric and deep networks). The thresholds are those at which
    :math:`\dot u = -N u^{N-1} \partial \ell`, which is solved by an integral, leaves the size of its start.

    Examples
    --------
    >>> import undertow as ut
    >>> problem = ut.problems.PointTarget([2.0, -1.0])
    >>> path = saddle_to_saddle(problem)
    >>> path.times.tolist()
    [0.0, 0.25, 0.5]
    >>> path.points.tolist()
    [[0.0, 0.0], [2.0, 0.0], [2.0, -1.0]]

    Three layers, of which v starts four times as large as u: -1 is learned before 2.

    >>> saddle_to_saddle(problem, depth=3, sizes=(1.0, 4.0)).points.tolist()
    [[0.0, 0.0], [0.0, -1.0], [2.0, -1.0]]
    """
    equations = affine_set(problem)
    b, weight = equations.b, equations.weight
    if weight is None:
        raise TypeError("problem: expected one whose equations come with the weight of the sum of squares in its loss")
    upper, lower = _thresholds(depth, sizes, exponents, equations.shape)
    if not isinstance(equations.matrix, np.ndarray):
        where = equations.matrix.indices
        return _one_by_one(where, b, weight, equations.shape, np.where(b > 0, upper[where], lower[where]))
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
        # Where a half is 0 nothing arrives.
        moving = (velocity != 0) & np.isfinite(np.where(velocity > 0, upper, lower))
        if not np.any(moving):
            return _in_units(times, points, equations.shape, steepest, scale)
        waits = np.full_like(w, np.inf)
        ahead = np.where(velocity > 0, upper, lower)[moving] - integral[moving] * np.sign(velocity[moving])
        waits[moving] = ahead / np.abs(velocity[moving])
        wait = float(waits.min())
        integral = integral + wait * velocity
        above, below = integral >= upper * (1 - ZERO), integral <= -lower * (1 - ZERO)
        integral = np.where(above, upper, np.where(below, -lower, integral))
        signs = above.astype(float) - below
        w = _least_loss(A, b, signs, equations.shape, scale / steepest)
        times.append(times[-1] + wait)
        points.append(w)
    raise Unsolved(f"problem: its path does not end within {JUMPS} jumps")


def _thresholds(
    depth: float, sizes: Any, exponents: Any, shape: tuple[int, ...]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """The integrals of minus the gradient at which u and, with the other sign, v get to size 1; infinite: never."""
    N = float(check_number("depth", depth, 2))
    if N == 2:
        if sizes is not None:
            raise ValueError(
                "sizes: expected none at depth 2, where a factor of alpha moves no jump as alpha tends to 0; starts of "
                f"other powers of alpha are exponents; found {sizes!r}"
            )
        p, q = _pair("exponents", exponents, shape)
        return p / 2, q / 2
    if exponents is not None:
        raise ValueError(
            f"exponents: expected none at depth {N:g}, where a half of another power of alpha grows in a time of "
            f"another order; starts of other multiples of alpha are sizes; found {exponents!r}"
        )
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        p, q = (x ** -(N - 2) / (N * (N - 2)) for x in _pair("sizes", sizes, shape))
    known = [x for x, half in zip((p, q), sizes or (1, 1), strict=True) if half is not None]
    if any(np.any(x == 0) or np.any(np.isinf(x)) for x in known):
        raise Unsolved(f"sizes: the times in which they grow at depth {N:g} are beyond the range of float64")
    return p, q


def _pair(name: str, given: Any, shape: tuple[int, ...]) -> list[Float[np.ndarray, " d"]]:
    """That of u and that of v, flat; of a half that is zero what never grows."""
    given = (1.0, 1.0) if given is None else given
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise TypeError(f"{name}: expected a pair, for u and for v, found {given!r}")
    halves = []
    for half in given:
        if half is None:
            halves.append(np.full(shape, 0.0 if name == "sizes" else np.inf).ravel())
            continue
        with jax.enable_x64(True):
            x = np.asarray(check_array(name, half), np.float64)
        if x.shape not in ((), shape):
            raise ValueError(
                f"{name}: expected numbers, or arrays of the shape of the problem, {shape}, found {x.shape}"
            )
        if not np.all(x > 0):
            raise ValueError(f"{name}: expected numbers above 0, or None for a half that is 0, found {x.min():g}")
        halves.append(np.broadcast_to(x, shape).ravel())
    return halves


def _one_by_one(
    where: np.ndarray,
    b: Float[np.ndarray, " m"],
    weight: float,
    shape: tuple[int, ...],
    thresholds: Float[np.ndarray, " m"],
) -> SaddlePath:
    """Where the equations give entries, each jumps to its value at a time of its own."""
    with np.errstate(divide="ignore", over="ignore"):
        times = thresholds / weight / np.abs(b)
    moving = (b != 0) & np.isfinite(thresholds)
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
