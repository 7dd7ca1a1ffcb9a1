"""Columns of a table with holes, each in units of its own."""

import numpy as np

ROUNDING = 1e-13
"""A column whose deviation is below this share of its mean is constant."""


class Columns:
    """Mean and standard deviation of the observed entries of each column, and the way there and back.

    A column is divided by a power of two near its largest entry first, so that neither tiny nor huge numbers get lost.
    Of a constant column the unit is 0: what is not observed is its value. An ``empty`` column has none: mean and unit
    are 0.
    """

    def __init__(self, matrix: np.ndarray, seen: np.ndarray):
        count = seen.sum(0)
        self.empty = count == 0
        many = np.maximum(count, 1)
        self.low = np.where(self.empty, 0, np.where(seen, matrix, np.inf).min(0))
        self.high = np.where(self.empty, 0, np.where(seen, matrix, -np.inf).max(0))
        self._exponents = np.frexp(np.maximum(np.abs(self.low), np.abs(self.high)))[1]
        scaled = np.ldexp(np.where(seen, matrix, 0), -self._exponents)
        # From an entry on, so that a constant column is left without a rounding error.
        anchor = np.ldexp(self.low, -self._exponents)
        centre = anchor + np.where(seen, scaled - anchor, 0).sum(0) / many
        deviation = np.sqrt((np.where(seen, scaled - centre, 0) ** 2).sum(0) / many)
        constant = deviation <= ROUNDING * np.abs(centre)
        self._centre, self._deviation = centre, np.where(constant, 0, deviation)
        self.mean, self.unit = np.ldexp(centre, self._exponents), np.ldexp(self._deviation, self._exponents)

    def standardized(self, matrix: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """In these units, less the means; 0 where nothing was observed, and in constant columns."""
        scaled = np.ldexp(np.where(seen, matrix, 0), -self._exponents) - self._centre
        spread = np.where(self._deviation > 0, self._deviation, 1)
        return np.where(seen & (self._deviation > 0), scaled / spread, 0)
