"""Imputers, cross-validated over the entries of a table."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from .._numpy_errors import usual_errors
from ._columns import Columns
from ._imputer import LowRankImputer
from ._tensor_input import check_indices_of, observed_entries
from ._validation import check_vector

KEPT = 1e-5
"""By how much an entry that was given may have changed in the completed table, in units of its column."""


class EntryRegressor(RegressorMixin, BaseEstimator):
    """An imputer as a regressor whose samples are entries of a table, so that scikit-learn's tools split the entries.

    Its X are positions (row, column), its y the entries there: a fit completes the table that has these entries and
    holes elsewhere, a prediction reads the completed table. ``KFold(5, shuffle=True)``, ``cross_val_score`` and
    ``GridSearchCV`` then hide entries, not rows, and a search is over the imputer itself (``imputer``) or what belongs
    to it (``imputer__rank``).

    Parameters
    ----------
    imputer : estimator or None
        Any that fills the NaN of a table by ``fit_transform`` and leaves the other entries and all columns as they are;
        it is cloned. None: a ``LowRankImputer``. Its ``keep_empty_features`` is set, its ``add_indicator`` is not.
    shape : tuple of two int or None
        Of the table. None: as large as the positions; then a fold that lacks the last row or column cannot be asked
        for it.

    Attributes
    ----------
    imputer_
        The fitted imputer.
    completed_ : ndarray
        The completed table.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.impute import SimpleImputer
    >>> from sklearn.model_selection import GridSearchCV, KFold
    >>> rng = np.random.default_rng(0)
    >>> table = np.outer(rng.normal(size=40), [1.0, 20.0, 300.0])
    >>> table[rng.random(table.shape) < 0.2] = np.nan
    >>> seen = ~np.isnan(table)
    >>> grid = {"imputer": [SimpleImputer(), LowRankImputer()]}
    >>> folds = KFold(4, shuffle=True, random_state=0)
    >>> search = GridSearchCV(EntryRegressor(shape=table.shape), grid, cv=folds)
    >>> search.fit(np.argwhere(seen), table[seen]).best_params_
    {'imputer': LowRankImputer()}
    >>> search.best_estimator_.completed_.shape
    (40, 3)
    """

    def __init__(self, imputer: Any = None, *, shape: tuple[int, int] | None = None):
        self.imputer = imputer
        self.shape = shape

    @usual_errors
    def fit(self, X: Any, y: Any) -> "EntryRegressor":
        """Complete the table whose entries at ``X`` (n x 2) are ``y`` (n).

        Raises
        ------
        TypeError, ValueError
            If ``X`` is not n x 2 integers from 0, below ``shape`` where that is given, a position stands twice, an
            entry is not finite, or the imputer changes entries that were given, drops columns, or leaves holes.
        """
        seen = observed_entries(X, y, self.shape)
        if len(seen.shape) != 2:
            raise ValueError(f"X: expected positions (row, column) in a table, found {len(seen.shape)} indices a row")
        validate_data(self, X, skip_check_array=True)
        table = np.full(seen.shape, np.nan)
        table[tuple(seen.indices.T)] = seen.values
        imputer: Any = LowRankImputer() if self.imputer is None else clone(self.imputer)
        for name, value in (("keep_empty_features", True), ("add_indicator", False)):
            if name in imputer.get_params():
                imputer.set_params(**{name: value})
        completed = np.asarray(imputer.fit_transform(table))
        columns = Columns(table, ~np.isnan(table))
        _check_completed(imputer, completed, table, np.maximum(columns.unit, np.abs(columns.mean)))
        self.imputer_, self.completed_, self._columns = imputer, completed, columns
        return self

    @usual_errors
    def predict(self, X: Any) -> np.ndarray:
        """Entries of the completed table at ``X`` (n x 2); those that were fitted are as they were given.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If ``X`` is not n x 2 positions in the table.
        """
        check_is_fitted(self, "completed_")
        return self.completed_[tuple(check_indices_of("X", X, self.completed_.shape).T)]

    @usual_errors
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of the variance around the column means that is explained, each column in units of its own.

        0 where the entries are predicted as well as by the means of the columns that were fitted, 1 at best. Columns of
        which fewer than two distinct entries were fitted do not count.

        Raises
        ------
        TypeError, ValueError
            As ``predict``; if ``y`` (n) is not finite numbers, or no entry is in a column that counts.
        """
        found = self.predict(X)
        truth = check_vector("y", y, len(found))
        weight = (
            np.ones(len(found)) if sample_weight is None else check_vector("sample_weight", sample_weight, len(found))
        )
        column = check_indices_of("X", X, self.completed_.shape)[:, 1]
        unit, mean = self._columns.unit[column], self._columns.mean[column]
        some = unit > 0
        if not some.any():
            raise ValueError("X: expected entries of columns that vary where they were fitted, found none")
        left, all_ = (
            float(np.sum((weight * ((guess - truth) / np.where(some, unit, 1)) ** 2)[some])) for guess in (found, mean)
        )
        return 1 - left / all_ if all_ > 0 else float(left == 0)


def _check_completed(imputer: Any, completed: np.ndarray, table: np.ndarray, unit: np.ndarray) -> None:
    if completed.shape != table.shape:
        raise ValueError(
            f"imputer: expected one that keeps all {table.shape[1]} columns, found {completed.shape[1]} from {imputer}"
        )
    if np.isnan(completed).any():
        raise ValueError(f"imputer: expected one that fills every hole, found NaN from {imputer}")
    changed = np.argwhere(np.abs(completed - table) > KEPT * unit)
    if changed.size:
        place = tuple(changed[0].tolist())
        raise ValueError(
            f"imputer: expected one that leaves given entries as they are, found {completed[place]:g} for "
            f"{table[place]:g} at {place} from {imputer}; undo what a step before it does to the columns"
        )
