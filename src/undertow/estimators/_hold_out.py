"""How good a completion is, on entries that it has not seen, beside the simplest predictors."""

import dataclasses
import warnings
from typing import Any

import numpy as np
from sklearn.base import clone

from .._numpy_errors import usual_errors
from ..training._progress import Report
from ._columns import Columns
from ._completion import Settings, StoppingPoint, check_size, complete, fit_effects, root_mean_square
from ._imputer import LowRankImputer
from ._ratings import RatingPredictor


@dataclasses.dataclass(frozen=True)
class HeldOutErrors:
    """Root-mean-square errors on the same held-out entries, in the units of the values.

    Attributes
    ----------
    mean
        Of predicting the mean.
    effects
        Of mean + row effect + column effect (for ratings: user and item biases).
    completion
        Of the completion.
    test_size, train_size
        How many entries were held out, and how many fitted.
    unseen
        Held-out entries whose row or column had no fitted entry.
    n_iter
        Steps of descent.
    stopping_point
        Where they stopped, for a fit of all entries.
    """

    mean: float
    effects: float
    completion: float
    test_size: int
    train_size: int
    unseen: int
    n_iter: int
    stopping_point: StoppingPoint


@usual_errors
def held_out_errors(
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    settings: Settings,
    *,
    test_fraction: float = 0.1,
    seed: int = 0,
    clip: bool = True,
    progress: bool | Report = False,
) -> HeldOutErrors:
    """Hold out a random part of the entries, fit the rest, and compare with the baselines on the same split.

    Everything is chosen on the fitted part, the stopping time too; ``clip`` keeps the predictions of all three within
    the range of the fitted values.

    Raises
    ------
    ValueError
        If fewer than two entries are left to fit, or one is larger than 1e100.

    Examples
    --------
    >>> import numpy as np
    >>> i, j = np.divmod(np.arange(200), 10)
    >>> errors = held_out_errors(i, j, (i + 1.0) * (j + 1.0), (20, 10), Settings(width=10))
    >>> errors.completion < errors.effects < errors.mean
    True
    """
    check_size(values)
    test, rest = split_at_random("values", len(values), test_fraction, seed)
    found = complete(rows[rest], columns[rest], values[rest], shape, settings, clip=clip, progress=progress)
    effects = fit_effects(rows[rest], columns[rest], values[rest], shape, settings.ridge)
    low, high = (values[rest].min(), values[rest].max()) if clip else (-np.inf, np.inf)

    def error(prediction: np.ndarray) -> float:
        return root_mean_square(np.clip(prediction, low, high) - values[test])

    seen_row = np.isin(rows[test], rows[rest])
    seen_column = np.isin(columns[test], columns[rest])
    return HeldOutErrors(
        mean=error(np.full(len(test), values[rest].mean())),
        effects=error(effects.at(rows[test], columns[test])),
        completion=error(found.at(rows[test], columns[test])),
        test_size=len(test),
        train_size=len(rest),
        unseen=int((~(seen_row & seen_column)).sum()),
        n_iter=found.n_iter,
        stopping_point=found.stopping_point,
    )


@dataclasses.dataclass(frozen=True)
class RatingErrors:
    """Root-mean-square errors on the same held-out ratings, in their units.

    Attributes
    ----------
    mean, biases, predictor
        Of predicting the mean; of user and item biases; of the predictor.
    kept
        The share of what the factors add to the biases that was kept.
    test_size, train_size
        How many ratings were held out, and how many fitted.
    unseen
        Held-out ratings whose user or item had none that was fitted.
    """

    mean: float
    biases: float
    predictor: float
    kept: float
    test_size: int
    train_size: int
    unseen: int


@usual_errors
def rating_errors(
    predictor: RatingPredictor,
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    *,
    test_fraction: float = 0.1,
    seed: int = 0,
    progress: bool | Report = False,
) -> RatingErrors:
    """Hold out a random part of the ratings, fit the rest, and compare with the biases on the same split.

    Everything is chosen on the fitted part.

    Parameters
    ----------
    predictor
        It is cloned.
    rows, columns, values
        Positions of users and items, and the ratings.
    test_fraction
        The share that is held out.
    seed
        Of the choice.

    Raises
    ------
    ValueError
        If fewer than two ratings are left to fit, or one is larger than 1e100.

    Examples
    --------
    >>> import numpy as np
    >>> i, j = np.divmod(np.arange(200), 10)
    >>> errors = rating_errors(RatingPredictor(), i, j, i + 1.0 + j)
    >>> errors.biases < 0.2 * errors.mean
    True
    """
    check_size(values)
    test, rest = split_at_random("values", len(values), test_fraction, seed)
    pairs = np.stack([rows, columns], axis=1)
    model: Any = clone(predictor)
    model.set_params(unseen="bias").fit(pairs[rest], values[rest], progress=progress)
    seen = np.isin(rows[test], rows[rest]) & np.isin(columns[test], columns[rest])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that none is known
        found = model.predict(pairs[test])
    biases = dataclasses.replace(model.model_, kept=0.0).at(*model.codes(pairs[test]))
    mean = np.full(len(test), values[rest].mean())

    def error(guess: np.ndarray) -> float:
        return root_mean_square(guess - values[test])

    return RatingErrors(
        mean=error(mean),
        biases=error(biases),
        predictor=error(found),
        kept=model.kept_,
        test_size=len(test),
        train_size=len(rest),
        unseen=int((~seen).sum()),
    )


@dataclasses.dataclass(frozen=True)
class ColumnErrors:
    """Root-mean-square errors of a completed matrix on held-out entries, by column, in the units of the column.

    Attributes
    ----------
    counts
        How many entries of each column were held out.
    columns, means
        Of the completion, and of the mean of the column; NaN where none was held out.
    overall, mean_overall
        The same over all columns, each in units of its standard deviation; constant columns are left out.
    test_size, train_size
        How many entries were held out, and how many fitted.
    """

    counts: np.ndarray
    columns: np.ndarray
    means: np.ndarray
    overall: float
    mean_overall: float
    test_size: int
    train_size: int


@usual_errors
def column_errors(
    imputer: LowRankImputer,
    X: np.ndarray,
    *,
    test_fraction: float = 0.1,
    seed: int = 0,
    progress: bool | Report = False,
) -> ColumnErrors:
    """Hold out a random part of the entries of a matrix, let an imputer fill them in, and compare with column means.

    Parameters
    ----------
    imputer
        A ``LowRankImputer``; it is cloned, and keeps all columns.
    X
        The matrix, NaN in its holes.
    test_fraction
        The share of the observed entries that is held out.
    seed
        Of the choice.

    Raises
    ------
    ValueError
        If fewer than two entries are left to fit.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.outer(rng.normal(size=40), [1.0, 20.0, 300.0])
    >>> errors = column_errors(LowRankImputer(), X)
    >>> bool((errors.columns < 0.2 * errors.means).all())
    True
    """
    X = np.asarray(X, float)
    places = np.flatnonzero(~np.isnan(X))
    test, rest = split_at_random("X", len(places), test_fraction, seed)
    hidden = np.zeros(X.shape, bool)
    hidden.flat[places[test]] = True
    given = np.where(hidden, np.nan, X)
    whole: Any = clone(imputer)
    whole.set_params(keep_empty_features=True, add_indicator=False)
    guess = np.asarray(whole.fit_transform(given, progress=progress))
    seen = Columns(given, ~np.isnan(given))
    some = hidden & (seen.unit > 0)
    unit = np.where(seen.unit > 0, seen.unit, 1)

    def overall(error: np.ndarray) -> float:
        return root_mean_square((error / unit)[some]) if some.any() else float("nan")

    return ColumnErrors(
        counts=hidden.sum(0),
        columns=_by_column(guess - X, hidden),
        means=_by_column(seen.mean - X, hidden),
        overall=overall(guess - X),
        mean_overall=overall(seen.mean - X),
        test_size=len(test),
        train_size=len(rest),
    )


def split_at_random(argument: str, count: int, test_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of what is held out and of the rest, at random."""
    order = np.random.default_rng(seed).permutation(count)
    held = max(1, round(test_fraction * count))
    if count - held < 2:
        raise ValueError(f"{argument}: expected at least 2 entries beside {held} held out, found {count - held}")
    return order[:held], order[held:]


def _by_column(difference: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    return np.array(
        [root_mean_square(d[h]) if h.any() else np.nan for d, h in zip(difference.T, hidden.T, strict=True)]
    )
