"""Factor analysis of a table with holes: fitted from small loadings by expectation-maximization, stopped early.

A row is ``mean + loadings @ factors + noise`` with independent standard normal factors, and noise of a variance for
each column. From loadings near zero every iteration multiplies a direction by how much of the data it explains, so
that factors come up one after another, as in a factorization under gradient descent; how many iterations are made is
what keeps the rank low, and held-out entries choose it.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float

BLOCK = 1 << 21
"""Entries of covariances that are held at a time."""
PRIOR = 1.0
"""Precision of the loadings, in units of the table: an observation's worth that they are zero."""
LEAST_NOISE = 1e-6
"""Of a column, in its own variance."""
START = 0.1
"""Size of the loadings at the start."""
GAIN = 1e-4
"""The share by which the error has to fall to count as an improvement."""

Table = Float[np.ndarray, "n p"]
Seen = Bool[np.ndarray, "n p"]


@dataclasses.dataclass(frozen=True)
class FactorModel:
    """What was fitted: ``mean`` (p), ``loadings`` (p x r) and the variances ``noise`` (p)."""

    mean: np.ndarray
    loadings: np.ndarray
    noise: np.ndarray

    def blocks(self, count: int) -> Iterator[slice]:
        """Rows in pieces whose covariances fit into memory."""
        step = max(1, BLOCK // max(1, self.loadings.shape[1] ** 2))
        return (slice(start, start + step) for start in range(0, count, step))

    def factors(self, table: Table, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """Means (n x r) and covariances (n x r x r) of the factors of rows, given their seen entries.

        Entries of ``table`` that are not seen must be finite, and have no say.
        """
        loadings, rank = self.loadings, self.loadings.shape[1]
        weight = seen / self.noise
        squares = (loadings[:, :, None] * loadings[:, None, :]).reshape(len(loadings), rank * rank)
        precision = (weight @ squares).reshape(len(table), rank, rank) + np.eye(rank)
        covariance = np.linalg.inv(precision)
        return np.einsum("nrs,ns->nr", covariance, (weight * (table - self.mean)) @ loadings), covariance

    def expected(self, table: Table, seen: Seen) -> tuple[Table, Table]:
        """Means and variances of all entries, noise included, given the seen ones of their row."""
        means, variances = np.empty(table.shape), np.empty(table.shape)
        rank = self.loadings.shape[1]
        squares = (self.loadings[:, :, None] * self.loadings[:, None, :]).reshape(len(self.loadings), rank * rank)
        for rows in self.blocks(len(table)):
            factors, covariance = self.factors(table[rows], seen[rows])
            means[rows] = self.mean + factors @ self.loadings.T
            variances[rows] = covariance.reshape(len(factors), rank * rank) @ squares.T + self.noise
        return means, variances

    def improved(self, table: Table, seen: Seen) -> "FactorModel":
        """After one iteration of expectation-maximization."""
        columns, rank = self.loadings.shape
        second, first = np.zeros((columns, rank * rank)), np.zeros((columns, rank))
        with_factors = np.zeros((columns, rank))
        for rows in self.blocks(len(table)):
            factors, covariance = self.factors(table[rows], seen[rows])
            moments = factors[:, :, None] * factors[:, None, :] + covariance
            weight = seen[rows].astype(float)
            second += weight.T @ moments.reshape(len(factors), rank * rank)
            first += weight.T @ factors
            with_factors += (weight * table[rows]).T @ factors
        count, total = seen.sum(0), np.where(seen, table, 0).sum(0)
        # Every column is regressed on the factors and a constant.
        gram = np.zeros((columns, rank + 1, rank + 1))
        gram[:, :rank, :rank] = second.reshape(columns, rank, rank)
        gram[:, :rank, rank] = gram[:, rank, :rank] = first
        gram[:, rank, rank] = count
        right = np.concatenate([with_factors, total[:, None]], axis=1)
        held = gram.copy()
        held[:, range(rank), range(rank)] += PRIOR * self.noise[:, None]
        held[:, rank, rank] += 1e-3  # a column of which nothing is seen has mean zero
        weights = np.linalg.solve(held, right[:, :, None])[:, :, 0]
        left = np.where(seen, table * table, 0).sum(0) - 2 * np.einsum("pk,pk->p", weights, right)
        left += np.einsum("pk,pkl,pl->p", weights, gram, weights, optimize=True)
        noise = np.maximum((left + LEAST_NOISE) / (count + 1e-3), LEAST_NOISE)
        return FactorModel(weights[:, rank], weights[:, :rank], noise)


def start(columns: int, rank: int, seed: np.random.Generator) -> FactorModel:
    """Loadings near zero, of a table of mean 0 and variance 1."""
    return FactorModel(np.zeros(columns), START * seed.standard_normal((columns, rank)), np.ones(columns))


@dataclasses.dataclass(frozen=True)
class Search:
    """How far a fit should go: what was found on held-out entries.

    Attributes
    ----------
    path
        Mean square held-out error after each iteration, and before the first.
    steps
        The iteration at which it was least; 0 where none was better than the mean.
    truth, expected, variance
        The held-out entries, and what was expected of them there.
    """

    path: np.ndarray
    steps: int
    truth: np.ndarray
    expected: np.ndarray
    variance: np.ndarray


def search(
    model: FactorModel,
    table: Table,
    seen: Seen,
    held_out: Seen,
    *,
    patience: int,
    limit: int,
    progress: Callable[[float], None],
) -> Search:
    """Iterate until the error on the held-out entries has not fallen for ``patience`` iterations."""
    truth, nothing = table[held_out], np.zeros(int(held_out.sum()))
    best = Search(np.empty(0), 0, truth, nothing, np.ones_like(nothing))
    path = [float(np.mean(truth**2))]
    least = path[0]
    rows = held_out.any(1)
    within = held_out[rows]
    for step in range(1, limit + 1):
        model = model.improved(table, seen)
        means, variances = model.expected(table[rows], seen[rows])
        found = means[within]
        path.append(float(np.mean((found - truth) ** 2)))
        if path[-1] < least * (1 - GAIN):
            least = path[-1]
            best = Search(best.path, step, truth, found, variances[within])
        elif step - best.steps >= patience:
            break
        progress(step / limit)
    return dataclasses.replace(best, path=np.array(path))
