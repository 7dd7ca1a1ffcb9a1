"""Gradient flow of entrywise powers under one linear equation: the whole path in closed form."""

import math

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from .._validation import Numbers, check_array, check_integer
from ._errors import Unsolved
from ._scalar_modes import _check_depth


def single_constraint_path(
    depth: float, start: Numbers, normal: Numbers, offset: float, *, points: int = 400
) -> Float[np.ndarray, "n d"]:
    r"""The path of gradient flow for ``w = u^depth`` from ``start`` to the hyperplane ``normal @ w = offset``.

    The loss is any function of the residual a.w - c alone, such as `LineTarget`. The flow is a mirror flow whose dual
    variable moves along a, so that with p = 2 / N - 1

    .. math:: w_i(\tau)^p = w_i(0)^p + p \tau a_i, \qquad w_i(\tau) = w_i(0) e^{\tau a_i} \text{ for } N = 2,

    and it ends where the hyperplane is met: at the Bregman projection of the start on it. Nothing is integrated.

    Parameters
    ----------
    depth
        N > 0; ``math.inf`` for the exponential.
    start
        w(0), shape (d,), positive entries.
    normal, offset
        a, shape (d,), and c.
    points
        How many points the path has after the start, an even number; they crowd at both ends, where a path of high
        depth turns.

    Returns
    -------
    Shape (n, d) with n = points + 1, from the start to the end point.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed, or the flow reaches the boundary w_i = 0 of its domain before the hyperplane.
    Unsolved
        If the path is beyond what float64 can follow: its end is checked against the hyperplane.

    References
    ----------
    Gunasekar, Lee, Soudry, Srebro. Characterizing Implicit Bias in Terms of Optimization Geometry. ICML 2018.

    Examples
    --------
    >>> single_constraint_path(2, [0.01, 0.01], [1.0, 2.0], 15.0)[-1].round(6).tolist()
    [0.271373, 7.364314]
    """
    power = 2.0 / _check_depth(depth) - 1.0
    if check_integer("points", points, 2) % 2:
        raise ValueError(f"points: expected an even number, found {points}")
    w, a = np.asarray(check_array("start", start), float), np.asarray(check_array("normal", normal), float)
    if w.ndim != 1 or w.shape != a.shape:
        raise ValueError(f"normal: expected a vector as long as start, found shapes {a.shape} and {w.shape}")
    if w.min() <= 0:
        raise ValueError(f"start: expected positive entries, found {w.min():g}")

    # In units of the start and of the normal: powers are soon beyond the range of numbers.
    largest, steepest = float(w.max()), float(np.max(np.abs(a)))
    if steepest == 0:
        raise ValueError("normal: expected one that is not zero, found zeros alone")
    w, a = w / largest, a / steepest
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        path = _path(w, a, offset / largest / steepest, power, points)
    # Counted by what is added up: the terms of a.w may cancel.
    gap = float(a @ path[-1]) - offset / largest / steepest
    path = path * largest
    if not (np.all(np.isfinite(path)) and abs(gap) <= 1e-9 * (np.abs(a) @ path[-1] / largest)):
        raise Unsolved("start: the path from here to the hyperplane is beyond what float64 can follow")
    return path


def _path(
    w: Float[np.ndarray, " d"], a: Float[np.ndarray, " d"], offset: float, power: float, points: int
) -> Float[np.ndarray, "n d"]:
    def at(tau: float) -> np.ndarray:
        if power == 0:
            return w * np.exp(tau * a)
        return (w**power + power * tau * a) ** (1.0 / power)

    gap = offset - float(a @ w)
    sign = math.copysign(1.0, gap)
    # The farthest tau at which every entry is still positive and finite.
    slopes = -power * a * sign
    bound = min((w[slopes > 0] ** power / slopes[slopes > 0]).tolist(), default=math.inf)
    far = 1.0
    while far < bound and sign * (offset - float(a @ at(sign * min(far, bound / 2)))) > 0:
        far *= 2.0
    far = min(far, bound * (1 - 1e-15))
    if gap != 0 and sign * (offset - float(a @ at(sign * far))) > 0:
        if power < 0 and math.isfinite(bound):  # where an entry tends to infinity, and the hyperplane is on the way
            raise Unsolved("start: the hyperplane is so far from it that float64 cannot follow the path there")
        raise ValueError("start: the flow from here reaches the boundary of its domain before it meets the hyperplane")
    end = 0.0 if gap == 0 else brentq(lambda tau: offset - float(a @ at(tau)), 0.0, sign * far, xtol=1e-300)
    half = np.geomspace(1e-6, 0.5, points // 2)
    shares = np.concatenate([[0.0], half, 1.0 - half[-2::-1], [1.0]])
    path = np.array([at(share * end) for share in shares])
    path[0] = w
    return path
