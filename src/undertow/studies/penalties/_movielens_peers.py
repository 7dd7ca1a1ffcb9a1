"""Other ways to predict ratings that can be run here: without descent, or without this study's penalties."""

import warnings

import numpy as np
from sklearn.decomposition import non_negative_factorization
from sklearn.exceptions import ConvergenceWarning

from ...estimators import Settings, complete
from ._movielens_methods import Split, Table, biases, errors

Pair = tuple[float, float]
"""Test errors: of the predictions, and of the same clamped."""


def by_a_constant(table: Table, split: Split, constant: float | None = None) -> Pair:
    """One number for all; the mean of the known ratings where none is given."""
    mean = float(table.ratings[split.known].mean())
    return errors(table, split.test, np.full(table.shape, mean if constant is None else constant))


def by_biases(table: Table, split: Split) -> Pair:
    """Mean, user and film biases by ridge regression of weight 5."""
    return errors(table, split.test, biases(table, split.known))


def by_early_stopping(table: Table, split: Split) -> Pair:
    """Biases and an early-stopped factorization without a penalty: what ``estimators.RatingPredictor`` does."""
    i, j, ratings = (x[split.known] for x in table[1:])
    found = complete(i, j, ratings, table.shape, Settings(), clip=False)
    return errors(table, split.test, found.block(slice(None)))


def by_nonnegative_factors(table: Table, split: Split, ranks: tuple[int, ...], sweeps: int) -> Pair:
    """NMF of scikit-learn, which knows no holes: they are filled with its own last predictions, sweep by sweep.

    Zhang, Wang, Ford, Makedon. Learning from Incomplete Ratings Using Non-negative Matrix Factorization. SDM 2006
    (the procedure of expectation and maximization). Rank and sweeps are chosen on the validation ratings.
    """
    best = (np.inf, 0, 0)
    for rank in ranks:
        path = _nonnegative(table, split.fitted, split.validation, rank, sweeps)
        least = min(range(sweeps), key=lambda k: path[k][0])
        best = min(best, (path[least][0], rank, least))
    _, rank, least = best
    return _nonnegative(table, split.known, split.test, rank, least + 1)[least]


def _nonnegative(table: Table, fitted: np.ndarray, held: np.ndarray, rank: int, sweeps: int) -> list[Pair]:
    rows, columns, ratings = (x[fitted] for x in table[1:])
    filled = np.full(table.shape, ratings.mean())
    rng = np.random.default_rng(0)
    size = np.sqrt(ratings.mean() / rank)
    left, right = (size * (1 + 0.1 * rng.random(shape)) for shape in ((table.shape[0], rank), (rank, table.shape[1])))
    path = []
    for _ in range(sweeps):
        filled[rows, columns] = ratings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # some updates a sweep, on purpose
            left, right, _ = non_negative_factorization(
                filled,
                left,
                right,
                n_components=rank,  # pyright: ignore[reportArgumentType] - its default alone is a word
                init="custom",
                max_iter=5,
                tol=0,
            )
        filled = left @ right
        path.append(errors(table, held, filled))
    return path
