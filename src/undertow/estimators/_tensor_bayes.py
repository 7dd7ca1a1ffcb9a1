"""A sum of outer products through the observed entries of a tensor, by variational Bayes from small initialization.

Every factor's rows are Gaussian given the other factors, and found in closed form one factor after the other: an
average over the factors that fit in place of one of them. Uncertain rows count for less in the products, which keeps
components down that the entries do not call for, as small initialization does under gradient descent: the more factors
a component is made of, the harder it has to be called for.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from ._tensor_sums import BLOCK, Entries

NOISE = 0.1, 1.0
"""Variance of the noise at the start, in that of the entries, for many components and for few: with the larger, those
that are not called for at first die before they fit, and hardly more are left than an exact sum of products has."""
LEAST_NOISE = 1e-12
VARIANCE = 0.01
"""Of a latent number at the start."""
GAIN = 1e-3
"""The share by which the error has to fall to count as an improvement."""
ALIVE = 1e-2
"""Least size of a component, in the deviation of the entries, to be counted in the rank."""


@dataclasses.dataclass(frozen=True)
class Products:
    """Factors: ``means`` (length x R, one for each axis), ``seconds`` their second moments, and the noise's variance.

    Second moments are those of pairs r <= s, in the order of ``numpy.triu_indices``: (length x R(R+1)/2). ``precision``
    (R) is that of the prior; with ``learn``, of each component, from how large its factors are.
    """

    means: tuple[np.ndarray, ...]
    seconds: tuple[np.ndarray, ...]
    noise: float
    precision: np.ndarray
    learn: bool

    @property
    def rank(self) -> int:
        """Components."""
        return self.means[0].shape[1]

    def improved(self, entries: Entries) -> "Products":
        """After one pass over the factors; entries are in units of their size."""
        means, seconds, rank = list(self.means), list(self.seconds), self.rank
        upper = np.triu_indices(rank)
        twice = np.where(upper[0] == upper[1], 1.0, 2.0)
        gram, right = np.empty(0), np.empty(0)
        for axis in range(len(means)):
            gram = entries.sums(axis, seconds, weighted=False)
            right = entries.sums(axis, means, weighted=True)
            mean, second = np.empty_like(right), np.empty_like(gram)
            step = max(1, BLOCK // max(1, rank**2))
            for start in range(0, len(gram), step):
                rows = slice(start, start + step)
                precision = np.empty((len(gram[rows]), rank, rank))
                precision[:, upper[0], upper[1]] = precision[:, upper[1], upper[0]] = gram[rows] / self.noise
                precision[:, range(rank), range(rank)] += self.precision
                covariance = np.linalg.inv(precision)
                mean[rows] = np.einsum("irs,is->ir", covariance, right[rows] / self.noise)
                second[rows] = mean[rows][:, upper[0]] * mean[rows][:, upper[1]] + covariance[:, upper[0], upper[1]]
            means[axis], seconds[axis] = mean, second
        left = float(entries.values @ entries.values) - 2 * float(np.sum(means[-1] * right))
        left += float(np.sum((seconds[-1] * gram) @ twice))
        prior = self.precision
        if self.learn:
            diagonal = upper[0] == upper[1]
            prior = sum(map(len, means)) / np.sum([second[:, diagonal].sum(0) for second in seconds], axis=0)
        noise = max(left / len(entries.values), LEAST_NOISE)
        return Products(tuple(means), tuple(seconds), noise, prior, self.learn)

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Expected entries at ``indices`` (m x N)."""
        return self._sum(self.means, np.ones(self.rank), indices)

    def variance_at(self, indices: np.ndarray) -> np.ndarray:
        """Variances of these entries, the noise included."""
        upper = np.triu_indices(self.rank)
        squares = self._sum(self.seconds, np.where(upper[0] == upper[1], 1.0, 2.0), indices)
        return np.maximum(squares - self.at(indices) ** 2, 0) + self.noise

    @staticmethod
    def _sum(tables: tuple[np.ndarray, ...], weights: np.ndarray, indices: np.ndarray) -> np.ndarray:
        out = np.empty(len(indices))
        step = max(1, BLOCK // max(1, len(weights)))
        for start in range(0, len(indices), step):
            piece = indices[start : start + step]
            rows = tables[0][piece[:, 0]]
            for axis in range(1, len(tables)):
                rows *= tables[axis][piece[:, axis]]
            out[start : start + step] = rows @ weights
        return out

    def sizes(self) -> np.ndarray:
        """Root mean square over all entries of each component."""
        return np.prod([np.sqrt(np.mean(mean**2, axis=0)) for mean in self.means], axis=0)

    def alive(self) -> np.ndarray:
        """Which components there are, the largest first."""
        sizes = self.sizes()
        order = np.argsort(-sizes, kind="stable")
        return order[sizes[order] > ALIVE]


def start(shape: tuple[int, ...], rank: int, seed: int, *, few: bool = False) -> Products:
    """Random factors whose products are together as large as the entries, and well known; with ``few`` for few of them.

    There are ``rank`` components, or as many as there can be.
    """
    rank = min(rank, math.prod(shape) // max(shape))
    draws = np.random.default_rng(seed)
    upper = np.triu_indices(rank)
    means = tuple(rank ** (-0.5 / len(shape)) * draws.standard_normal((length, rank)) for length in shape)
    seconds = tuple(mean[:, upper[0]] * mean[:, upper[1]] + VARIANCE * (upper[0] == upper[1]) for mean in means)
    return Products(means, seconds, NOISE[few], np.ones(rank), few)


@dataclasses.dataclass(frozen=True)
class Search:
    """How far a fit should go: what was found on held-out entries.

    Attributes
    ----------
    model
        Where the error was least.
    steps
        After how many iterations.
    found
        What was expected of the held-out entries there.
    path
        Mean square held-out error before the first iteration, as of zero, and after each.
    """

    model: Products
    steps: int
    found: np.ndarray
    path: np.ndarray


def search(
    model: Products,
    entries: Entries,
    indices: np.ndarray,
    truth: np.ndarray,
    *,
    patience: int,
    limit: int,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Search:
    """Iterate until the error on held-out entries has not fallen for ``patience`` iterations."""
    path, least, best = [float(np.mean(truth**2))], np.inf, Search(model, 0, np.zeros(len(truth)), np.empty(0))
    for step in range(1, limit + 1):
        model = model.improved(entries)
        found = model.at(indices)
        path.append(float(np.mean((found - truth) ** 2)))
        if path[-1] < least * (1 - GAIN):
            least, best = path[-1], Search(model, step, found, best.path)
        elif step - best.steps >= patience:
            break
        progress(step / limit)
    return dataclasses.replace(best, path=np.array(path))
