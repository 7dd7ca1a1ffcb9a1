"""Which of many fits count, and how much: stopping times, initializations, thresholds and folds, averaged."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ._diagonal_flow import Folds
from ._standardized import Standardized

TEMPERATURE = 5.0
"""Of the weights of stopping times, in units of the noise variance over n: from 4 on, the weighted mean is as good as
the best of them but for a term of order 1 / n (Leung and Barron 2006)."""
IGNORED = 1e-3
"""Stopping times whose weight is below this share of the largest are left out."""
THRESHOLD_TEMPERATURE = 4.0
"""Of the weights of thresholds, in the same units."""
THRESHOLDS = np.concatenate([[0.0], np.geomspace(0.01, 0.5, 18), [1.0]])
"""What a coefficient has to exceed to count, in units of the largest; 1 leaves none."""
NEARLY_ALL = 0.75
"""Fits of folds count where they are fitted to at least this share of the rows; others are further from the truth."""
KEPT = 0.7
"""A coefficient is kept where it passes with more than this share of the fits and thresholds."""


def shares_of_times(errors: list[np.ndarray], n: float) -> list[np.ndarray]:
    """Exponential weights of all samples of all flows, by their held-out errors; they sum to 1.

    The flows share alike before their errors count, however many samples they have.
    """
    least = min(e.min() for e in errors)
    shares = [x / len(x) for x in _exponential(errors, least, n, TEMPERATURE)]
    largest = max(s.max() for s in shares)
    shares = [np.where(s < IGNORED * largest, 0, s) for s in shares]
    total = sum(s.sum() for s in shares)
    return [s / total for s in shares]


class Thresholds(NamedTuple):
    """Shares of the largest coefficient, each with its weight; the weights sum to 1."""

    values: Float[np.ndarray, " thresholds"]
    weights: Float[np.ndarray, " thresholds"]

    @property
    def best(self) -> float:
        """The one that counts most, the largest of these."""
        return float(self.values[np.flatnonzero(self.weights == self.weights.max())[-1]])


def weighed_thresholds(problem: Standardized, folds: Folds, w: Float[np.ndarray, "p folds"], n: float) -> Thresholds:
    """Exponential weights of all thresholds, by their errors on the same held-out rows."""
    rows = problem.rows
    fitted, held_out = (np.asarray(mask, np.float64)[:rows] for mask in (folds.fitted, folds.held_out))
    fitted = fitted[:, :-1]
    w = w[:, :-1]
    sizes, largest = np.abs(w), np.abs(w).max(0)
    table, target = problem.table, problem.y[:rows, None].astype(np.float64)
    errors = []
    for threshold in THRESHOLDS:
        kept = np.where(sizes > threshold * largest, w, 0.0)
        near = np.flatnonzero(kept.any(1))
        residual = target - table[:, near] @ kept[near]
        if folds.intercept:
            residual = residual - (residual * fitted).sum(0) / fitted.sum(0)
        errors.append((residual**2 * held_out).sum() / held_out.sum())
    (weights,) = _exponential([np.array(errors)], min(errors), n, THRESHOLD_TEMPERATURE)
    return Thresholds(THRESHOLDS, weights / weights.sum())


def combined(
    w: Float[np.ndarray, "p folds"], thresholds: Thresholds, folds: Folds, unexplained: float
) -> Float[np.ndarray, " p"]:
    """The fit to all rows and the mean of the folds, over the thresholds; few of whose entries are not zero."""
    sizes = np.asarray(folds.fitted, np.float64).sum(0)
    near = sizes[:-1] >= NEARLY_ALL * sizes[-1]
    noise = min(unexplained, 1.0) if near.any() else 0.0
    shares = np.append(noise * near / max(near.sum(), 1), 1 - noise)
    largest = np.abs(w).max(0)
    frequency = np.zeros(w.shape)
    for threshold, weight in zip(*thresholds, strict=True):
        frequency += weight * (np.abs(w) > threshold * largest)
    return np.where(frequency @ shares > KEPT, (w * frequency) @ shares, 0.0)


def _exponential(errors: list[np.ndarray], least: float, n: float, temperature: float) -> list[np.ndarray]:
    # Where the least error is 0, those that reach it share the weight.
    excess = [(e - least) / least if least > 0 else np.where(e > 0, np.inf, 0.0) for e in errors]
    return [np.exp(-n / temperature * e) for e in excess]
