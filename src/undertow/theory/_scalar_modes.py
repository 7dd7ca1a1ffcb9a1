r"""One coordinate of a deep model, in closed form: when it is learned, and whether one by one.

For the entrywise power of depth N with the squared loss, each coordinate follows
:math:`\dot s = s^{2 - 2/N} (S - s)` in depth-normalized time (that of the loss divided by N^2; for the exponential, the
infinitely deep limit, the loss as it is). So do the singular values of a product of N balanced layers, in time
divided by N.
"""

import math

from scipy.integrate import quad
from scipy.optimize import brentq

from .._validation import check_number


def mode_time(depth: float, target: float, start: float, level: float) -> float:
    r"""The time a mode takes from ``start`` to ``level`` on its way to ``target``.

    .. math:: t = \int_{s_0}^{s} \frac{dx}{x^{2 - 2/N} (S - x)}

    In closed form for N = 1, 2, 4 and infinity, by quadrature in log x otherwise. From a small start the time is
    log(1/s_0) / S for N = 2, and grows like a power of 1/s_0, :math:`s_0^{-(1 - 2/N)} N / ((N - 2) S)`, for N > 2.

    Parameters
    ----------
    depth
        N > 0; ``math.inf`` for the exponential.
    target
        S > 0, where the mode ends.
    start, level
        s_0 and s, both above 0 and on one side of the target; the level between the start and the target.

    Returns
    -------
    Depth-normalized time: that of gradient flow on the loss 1/2 (w - S)^2 divided by N^2, times nothing else.

    Raises
    ------
    TypeError, ValueError
        If a number is not positive, or the level does not lie between start and target.

    References
    ----------
    Gissin, Shalev-Shwartz, Daniely. The Implicit Bias of Depth: How Incremental Learning Drives Generalization. ICLR
    2020 (Section 2). Closed form for N = 2: Saxe, McClelland, Ganguli. Exact Solutions to the Nonlinear Dynamics of
    Learning in Deep Linear Neural Networks. ICLR 2014.

    Examples
    --------
    >>> round(mode_time(4, 3.0, 1e-3, 2.0), 6)
    21.044597
    """
    depth = _check_depth(depth)
    S, s0, s = (
        float(check_number(name, value, 0, exclusive=True))
        for name, value in (("target", target), ("start", start), ("level", level))
    )
    if not (s0 <= s < S or S < s <= s0):
        raise ValueError(f"level: expected a value between start = {s0:g} and target = {S:g}, found {s:g}")
    if depth == 1:
        return math.log((S - s0) / (S - s))
    if depth == 2:
        return math.log(s * (S - s0) / (s0 * (S - s))) / S
    if depth == 4:
        return _primitive_of_depth_four(s, S) - _primitive_of_depth_four(s0, S)
    if math.isinf(depth):
        return math.log(s * (s0 - S) / (s0 * (s - S))) / S**2 - (1 / s - 1 / s0) / S
    power = 2 / depth - 1
    value, _ = quad(
        lambda y: math.exp(power * y) / (S - math.exp(y)), math.log(s0), math.log(s), limit=500, epsrel=1e-11
    )
    return value


def incremental_threshold(depth: float, ratio: float, share: float = 0.05) -> float:
    r"""The largest start from which two modes are learned one after the other.

    Learning is incremental with parameter f if the mode with target S_1 = rho reaches (1 - f) S_1 before the mode with
    target S_2 = 1 reaches f S_2, both from the same start. For N = 2 the largest start is
    :math:`\rho^{-1/(\rho - 1)} (f / (1 - f))^{(\rho + 1)/(\rho - 1)}`, exponentially small in 1/(rho - 1); for N > 2 it
    is only polynomially small: the dynamical depth separation.

    Parameters
    ----------
    depth
        N >= 1; ``math.inf`` for the exponential.
    ratio
        rho > 1, of the two targets.
    share
        f, above 0 and below 1/2.

    Returns
    -------
    The start, in units of the smaller target; 0 for N = 1, where no start is small enough.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range.

    References
    ----------
    Gissin, Shalev-Shwartz, Daniely. The Implicit Bias of Depth. ICLR 2020 (Definition 1, Theorems 2 and 3).

    Examples
    --------
    >>> round(incremental_threshold(4, 2.0), 4)
    0.0112
    """
    depth = _check_depth(depth)
    if depth < 1:
        raise ValueError(f"depth: expected at least 1, found {depth:g}")
    rho = float(check_number("ratio", ratio, 1, exclusive=True))
    f = float(check_number("share", share, 0, exclusive=True))
    if f >= 0.5:
        raise ValueError(f"share: expected less than 1/2, found {f:g}")
    if depth == 1:
        return 0.0
    if depth == 2:
        return rho ** (-1 / (rho - 1)) * (f / (1 - f)) ** ((rho + 1) / (rho - 1))

    def lead(log_start: float) -> float:
        """By how much the larger mode is ahead, over the time of the smaller one."""
        start = math.exp(log_start)
        later = mode_time(depth, 1.0, start, f)
        return 1.0 if later == 0 else 1.0 - mode_time(depth, rho, start, (1 - f) * rho) / later

    # From just below f the smaller mode is there at once; from far below, the larger mode is ahead.
    high = math.log(f) - 1e-9
    low = high - 1.0
    while lead(low) <= 0:
        low -= 10.0
    return math.exp(float(brentq(lead, low, high, xtol=1e-13)))  # pyright: ignore[reportArgumentType]


def _check_depth(depth: float) -> float:
    if isinstance(depth, float) and math.isinf(depth) and depth > 0:
        return depth
    return float(check_number("depth", depth, 0, exclusive=True))


def _primitive_of_depth_four(s: float, S: float) -> float:
    root = math.sqrt(s / S)
    inverse = math.atanh(root) if s < S else math.atanh(1 / root)  # the same derivative on the other side
    return (2 / S) * (-1 / math.sqrt(s) + inverse / math.sqrt(S))
