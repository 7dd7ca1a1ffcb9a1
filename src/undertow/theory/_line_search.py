"""The search along a line on which a convex function falls, by its derivative."""

import math
from collections.abc import Callable

TRIALS = 200
"""Most evaluations of one line search; a step may have to shrink or grow by hundreds of orders of magnitude."""
EDGE = 1e-12
"""How near the edge of what is finite, relative to the step, the end of a step is looked for."""


def line_search(slope: Callable[[float], float], start: float) -> tuple[float, bool]:
    """The length at which the derivative, which grows with the length, has fallen to half of that at the start.

    The length, and whether it came so far: not where the derivative is infinite before. By derivatives, not values:
    the values of a convex function differ by less than their rounding long before its minimum.
    """
    if not start < 0:
        return 0.0, True
    low, high, low_slope, high_slope = 0.0, math.inf, start, math.inf
    length = 1.0
    for trial in range(TRIALS):
        new = slope(length)
        if abs(new) <= 0.5 * abs(start):
            return length, True
        if new < 0:
            low, low_slope = length, new
        else:
            high, high_slope = length, new
        if math.isinf(high):
            length = 4 * length
        elif low == 0:
            length = length / (4 if trial < 4 else 100)
        elif high > 2 * low:
            length = math.sqrt(low * high)
        elif math.isfinite(high_slope):
            share = low_slope / (low_slope - high_slope)
            length = low + min(max(share, 0.1), 0.9) * (high - low)
        elif high - low > EDGE * high:
            length = (low + high) / 2
        else:
            break
        if not low < length < high:
            break
    return low, False
