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


def clock(exponent: float, first: float, last: float) -> float:
    """The integral from v = first to v = last, over its integrand at the first."""
    edges = _edges(exponent, first, last)
    return float(np.sum(_integrals(exponent, edges[:-1], edges[1:], first)))


def inverse_clock(exponent: float, first: float, aims: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The v at which the integral from ``first`` on, over its integrand there, is as long as each of ``aims``."""
    edges = _edges(exponent, first, max(ARRIVED, first + 1))
    passed = np.concatenate([[0.0], np.cumsum(_integrals(exponent, edges[:-1], edges[1:], first))])
    piece = np.minimum(np.searchsorted(passed, aims, side="right") - 1, edges.size - 2)
    left, rest = edges[piece], aims - passed[piece]
    low, high = left, edges[piece + 1]
    for _ in range(60):
        middle = (low + high) / 2
        later = _integrals(exponent, left, middle, first) > rest
        low, high = np.where(later, low, middle), np.where(later, middle, high)
    return (low + high) / 2


def _edges(exponent: float, first: float, last: float) -> Float[np.ndarray, " n"]:
    count = math.ceil((last - first) * max(1.0, abs(exponent))) or 1
    if count > PIECES:
        raise Unsolved(f"depth: a mode of so steep a power ({exponent:g}) is not followed")
    return np.linspace(first, last, count + 1)


@np.errstate(over="ignore", under="ignore")  # further than any time
def _integrals(
    exponent: float, left: Float[np.ndarray, " n"], right: Float[np.ndarray, " n"], first: float
) -> Float[np.ndarray, " n"]:
    v = (left + right)[:, None] / 2 + (right - left)[:, None] * NODES
    log_x = -np.logaddexp(0.0, -v)
    return (right - left) * (np.exp(exponent * (log_x + np.logaddexp(0.0, -first))) @ WEIGHTS)
