r"""One coordinate of a deep model, in closed form: when it is learned, and whether one by one.

For the entrywise power of depth N with the squared loss, each coordinate follows
:math:`\dot s = s^{2 - 2/N} (S - s)` in depth-normalized time (that of the loss divided by N^2; for the exponential, the
infinitely deep limit, the loss as it is). So do the singular values of a product of N balanced layers, in time
divided by N.
"""

import math

from scipy.optimize import brentq

from .._validation import check_number
from ._errors import Unsolved
from ._mode_clock import clock

LARGEST_LOG = 709.0
"""Of a number that float64 can hold."""
NEAR_ONE = 1e-9
"""Ratios of targets less 1 below which the times of both modes agree to nearly all digits."""


def mode_time(depth: float, target: float, start: float, level: float) -> float:
    r"""The time a mode takes from ``start`` to ``level`` on its way to ``target``.

    .. math:: t = \int_{s_0}^{s} \frac{dx}{x^{2 - 2/N} (S - x)}

    By quadrature in :math:`\log(x / |S - x|)`, to rounding at every scale. From a small start the time is
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
    Unsolved
        If the time is beyond the range of float64, or the depth so small that it is not followed.

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
    if s == s0:
        return 0.0
    # x = s / S on the way up, S / s on the way down: from below 1 up to 1 in both cases, in v = log(x / (1 - x)).
    power = 2 - 2 / depth
    up = s0 < S
    if up:
        first = math.log(s0) - math.log(S - s0)
        length = _log_ratio(s, s0) + _log_ratio(S - s0, S - s, s - s0)
    else:
        first = math.log(S) - math.log(s0 - S)
        length = _log_ratio(s0 - S, s - S, s0 - s)
    integral = clock(1 - power if up else power, first, length)
    log_time = (1 - power) * math.log(s0) - math.log(S) if up else -power * math.log(s0)
    log_time += math.log(integral) if integral > 0 else -math.inf
    if not abs(log_time) < LARGEST_LOG:
        raise Unsolved(
            f"depth: the time of a mode of depth {depth:g} from {s0:g} to {s:g} is beyond the range of float64"
        )
    return math.exp(log_time)


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
    Unsolved
        If the start is below the range of float64, as for N = 2 and a ratio near 1, or the ratio within 1e-9 of 1.

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
    too_small = Unsolved(f"ratio: the largest start for a ratio of {rho:g} is below the range of float64")
    if depth == 2:
        # log(rho) / (rho - 1) and log1p: rho may be near 1, or f near 1/2.
        log_start = (-math.log1p(rho - 1) + (rho + 1) * (math.log(f) - math.log1p(-f))) / (rho - 1)
        if log_start < -LARGEST_LOG:
            raise too_small
        return math.exp(log_start)

    if rho - 1 < NEAR_ONE:
        raise Unsolved(
            f"ratio: expected at least 1 + {NEAR_ONE:g} at depth {depth:g}; nearer, which mode leads is rounding"
        )

    def lead(log_start: float) -> float:
        """By how much the larger mode is ahead, over the time of the smaller one."""
        start = math.exp(log_start)
        later = mode_time(depth, 1.0, start, f)
        return 1.0 if later == 0 else 1.0 - mode_time(depth, rho, start, (1 - f) * rho) / later

    # From just below f the smaller mode is there at once; from far below, the larger mode is ahead.
    high = math.log(f) - 1e-9
    if lead(high) >= 0:
        return math.exp(high)  # ... unless the larger one is faster by more than that
    low = high - 1.0
    while lead(low) <= 0:
        low -= 10.0
        if low < -LARGEST_LOG:
            raise too_small
    return math.exp(float(brentq(lead, low, high, xtol=1e-13)))  # pyright: ignore[reportArgumentType]


def _check_depth(depth: float) -> float:
    if isinstance(depth, float) and math.isinf(depth) and depth > 0:
        return depth
    return float(check_number("depth", depth, 0, exclusive=True))


def _log_ratio(high: float, low: float, difference: float | None = None) -> float:
    """``log(high / low)``, to rounding where both are close, from their difference where it is known better."""
    difference = high - low if difference is None else difference
    return math.log1p(difference / low) if difference < low else math.log(high) - math.log(low)
