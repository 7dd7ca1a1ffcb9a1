r"""The clock of a mode, :math:`\int x^{e}\,dv` over :math:`v = \log(x / (1 - x))`, and its inverse.

The integrand is positive and smooth on a scale of 1 (of 1 / e where e is large), so that Gauss's rule on short pieces
gives it to rounding, wherever it starts and ends: there is no difference of large numbers in it.
"""

import math

import numpy as np
from jaxtyping import Float

from ._errors import Unsolved

ARRIVED = 40.0
"""v at which x is 1 to rounding."""
PIECES = 100_000
"""Most pieces of the way."""
NODES, WEIGHTS = (array / 2 for array in np.polynomial.legendre.leggauss(20))
"""Of Gauss's rule on an interval of length 1, about its middle."""


def clock(exponent: float, first: float, length: float) -> float:
    """The integral from v = first to v = first + length, over its integrand at the first."""
    ways = _pieces(exponent, length)
    return float(np.sum(_integrals(exponent, first, ways[:-1], ways[1:])))


def inverse_clock(exponent: float, first: float, aims: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The v at which the integral from ``first`` on, over its integrand there, is as long as each of ``aims``."""
    ways = _pieces(exponent, max(ARRIVED - first, 1.0))
    passed = np.concatenate([[0.0], np.cumsum(_integrals(exponent, first, ways[:-1], ways[1:]))])
    piece = np.minimum(np.searchsorted(passed, aims, side="right") - 1, ways.size - 2)
    left, rest = ways[piece], aims - passed[piece]
    low, high = left, ways[piece + 1]
    for _ in range(60):
        middle = (low + high) / 2
        later = _integrals(exponent, first, left, middle) > rest
        low, high = np.where(later, low, middle), np.where(later, middle, high)
    return first + (low + high) / 2


def _pieces(exponent: float, length: float) -> Float[np.ndarray, " n"]:
    """Ends of pieces of the way, counted from where it begins."""
    count = max(1.0, math.ceil(length * max(1.0, abs(exponent))))
    if not count <= PIECES:
        raise Unsolved(f"depth: a mode of so steep a power ({exponent:g}) is not followed")
    return np.linspace(0.0, length, int(count) + 1)


@np.errstate(over="ignore", under="ignore")  # further than any time
def _integrals(
    exponent: float, first: float, left: Float[np.ndarray, " n"], right: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Over pieces of the way."""
    v = first + (left + right)[:, None] / 2 + (right - left)[:, None] * NODES
    log_x = -np.logaddexp(0.0, -v)
    return (right - left) * (np.exp(exponent * (log_x + np.logaddexp(0.0, -first))) @ WEIGHTS)
