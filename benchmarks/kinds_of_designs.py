"""Data of many kinds for sparse regression: dense, grouped, decaying, heavy-tailed, binary, small, in much noise."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

FRESH = 2000
"""Rows on which the predicted signal is compared with the true one."""

Rows = Callable[[int, int, np.random.Generator], np.ndarray]
Coefficients = Callable[[int, np.random.Generator], np.ndarray]


class Drawn(NamedTuple):
    """A table (n x p), its responses (n,), fresh rows and the signal there."""

    X: np.ndarray
    y: np.ndarray
    fresh: np.ndarray
    signal: np.ndarray


class Kind(NamedTuple):
    """n rows of p columns, coefficients, and noise whose variance is that of the signal over ``ratio``.

    ``tail`` is the degrees of freedom of the noise, Gaussian where it is infinite.
    """

    n: int
    p: int
    ratio: float
    rows: Rows
    coefficients: Coefficients
    tail: float = np.inf

    def draw(self, name: str, seed: int) -> Drawn:
        """Data of this kind; another name, other data."""
        rng = np.random.default_rng([seed, *name.encode()])
        both = self.rows(self.n + FRESH, self.p, rng)
        signal = both @ self.coefficients(self.p, rng)
        noise = rng.standard_t(self.tail, self.n) if np.isfinite(self.tail) else rng.standard_normal(self.n)
        # Of all rows: of the few that are fitted, the variance may be far from what it is.
        y = signal[: self.n] + np.sqrt(signal.var() / self.ratio) * noise
        return Drawn(both[: self.n], y, both[self.n :], signal[self.n :])


def normal(n: int, p: int, rng: np.random.Generator) -> np.ndarray:
    """Independent normal columns."""
    return rng.standard_normal((n, p))


def correlated(rho: float) -> Rows:
    """Normal, columns i and j with correlation rho^|i - j|."""

    def rows(n: int, p: int, rng: np.random.Generator) -> np.ndarray:
        X = rng.standard_normal((n, p))
        for j in range(1, p):
            X[:, j] = rho * X[:, j - 1] + np.sqrt(1 - rho**2) * X[:, j]
        return X

    return rows


def binary(n: int, p: int, rng: np.random.Generator) -> np.ndarray:
    """Columns of 0 and 1, the share of ones between 5 and 50%."""
    return (rng.random((n, p)) < rng.uniform(0.05, 0.5, p)).astype(float)


def heavy_tailed(n: int, p: int, rng: np.random.Generator) -> np.ndarray:
    """Student's t with 3 degrees of freedom."""
    return rng.standard_t(3, (n, p))


def log_normal(n: int, p: int, rng: np.random.Generator) -> np.ndarray:
    """Log-normal columns, all of them skewed."""
    return rng.lognormal(size=(n, p))


def in_groups(n: int, p: int, rng: np.random.Generator) -> np.ndarray:
    """Groups of five columns that share a factor, correlated by 0.9."""
    factors = np.repeat(rng.standard_normal((n, p // 5)), 5, axis=1)
    return np.sqrt(0.9) * factors + np.sqrt(0.1) * rng.standard_normal((n, p))


def one_hot(n: int, p: int, rng: np.random.Generator) -> np.ndarray:
    """Factors of ten levels each, a column a level."""
    levels = rng.integers(0, 10, (n, p // 10))
    return (levels[:, :, None] == np.arange(10)).reshape(n, p).astype(float)


def in_units(n: int, p: int, rng: np.random.Generator) -> np.ndarray:
    """Normal columns in units from 1e-6 to 1e6."""
    return rng.standard_normal((n, p)) * 10.0 ** np.linspace(-6, 6, p)


def dense(p: int, rng: np.random.Generator) -> np.ndarray:
    """All of them, normal."""
    return rng.standard_normal(p)


def decaying(power: float) -> Coefficients:
    """k^-power with random signs, in random places."""

    def coefficients(p: int, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(np.arange(1.0, p + 1) ** -power) * rng.choice([-1.0, 1.0], p)

    return coefficients


def laplace(p: int, rng: np.random.Generator) -> np.ndarray:
    """All of them, by Laplace's law: many small ones, some large."""
    return rng.laplace(size=p)


def few(count: int, units: bool = False) -> Coefficients:
    """``count`` of 1 or -1 in random places; with ``units``, per those of ``in_units``."""

    def coefficients(p: int, rng: np.random.Generator) -> np.ndarray:
        w = np.zeros(p)
        w[rng.choice(p, count, replace=False)] = rng.choice([-1.0, 1.0], count)
        return w / 10.0 ** np.linspace(-6, 6, p) if units else w

    return coefficients


def group(count: int) -> Coefficients:
    """All five columns of each of ``count`` groups: 1."""

    def coefficients(p: int, rng: np.random.Generator) -> np.ndarray:
        chosen = np.isin(np.arange(p // 5), rng.choice(p // 5, count, replace=False))
        return np.repeat(chosen, 5).astype(float)

    return coefficients


def level(p: int, rng: np.random.Generator) -> np.ndarray:
    """One level of each of three factors."""
    w = np.zeros(p)
    chosen = rng.choice(p // 10, 3, replace=False)
    w[10 * chosen + rng.integers(0, 10, 3)] = rng.choice([-1.0, 1.0], 3) * rng.uniform(1, 2, 3)
    return w


KINDS = {
    "dense, 50 x 20, SNR 1": Kind(50, 20, 1, normal, dense),
    "dense, 50 x 20, SNR 5": Kind(50, 20, 5, normal, dense),
    "dense, 200 x 100, SNR 1": Kind(200, 100, 1, normal, dense),
    "dense, 200 x 100, SNR 3": Kind(200, 100, 3, normal, dense),
    "dense, 100 x 200, SNR 3": Kind(100, 200, 3, normal, dense),
    "dense, binary columns, 200 x 50, SNR 1": Kind(200, 50, 1, binary, dense),
    "dense, heavy-tailed columns, 200 x 50, SNR 1": Kind(200, 50, 1, heavy_tailed, dense),
    "dense, 15 x 5, SNR 2": Kind(15, 5, 2, normal, dense),
    "decay k^-0.5, 200 x 100, SNR 2": Kind(200, 100, 2, normal, decaying(0.5)),
    "decay k^-0.5, log-normal columns, 200 x 100, SNR 2": Kind(200, 100, 2, log_normal, decaying(0.5)),
    "decay 1/k, 200 x 100, SNR 2": Kind(200, 100, 2, normal, decaying(1)),
    "decay k^-2, 200 x 100, SNR 2": Kind(200, 100, 2, normal, decaying(2)),
    "Laplace coefficients, 200 x 50, SNR 2": Kind(200, 50, 2, normal, laplace),
    "5 of 200, 100 rows, SNR 1": Kind(100, 200, 1, normal, few(5)),
    "5 of 200, 100 rows, SNR 0.3": Kind(100, 200, 0.3, normal, few(5)),
    "3 of 50, 30 rows, SNR 2": Kind(30, 50, 2, normal, few(3)),
    "half of 40, 100 rows, SNR 2": Kind(100, 40, 2, normal, few(20)),
    "5 of 100, correlation 0.9, 100 rows, SNR 3": Kind(100, 100, 3, correlated(0.9), few(5)),
    "groups, 1 of 20, 60 rows, SNR 3": Kind(60, 100, 3, in_groups, group(1)),
    "groups, 3 of 20, 100 rows, SNR 3": Kind(100, 100, 3, in_groups, group(3)),
    "one-hot columns, 200 x 100, SNR 3": Kind(200, 100, 3, one_hot, level),
    "heavy tails in columns and noise, 5 of 100, 100 rows, SNR 3": Kind(100, 100, 3, heavy_tailed, few(5), 3),
    "5 of 60, columns of 1e-6 to 1e6, 100 rows, SNR 5": Kind(100, 60, 5, in_units, few(5, units=True)),
    "hardly a signal, 5 of 50, 100 rows, SNR 0.05": Kind(100, 50, 0.05, normal, few(5)),
}
