"""Cross-validation over entries: what is hidden, what a score is, and what is refused."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from undertow.estimators import EntryRegressor, LowRankImputer

FOLDS = KFold(4, shuffle=True, random_state=0)


def entries(seed=0, rows=60, columns=6):
    """A table of rank 1 and noise, in columns of several units, with a fifth of it missing: places and entries."""
    rng = np.random.default_rng(seed)
    units = 10.0 ** np.arange(-2, columns - 2)
    X = (
        rng.normal(size=(rows, 1)) @ rng.normal(size=(1, columns)) + 0.2 * rng.normal(size=(rows, columns)) + 5
    ) * units
    seen = rng.random(X.shape) < 0.8
    return np.argwhere(seen), X[seen], X.shape


def test_a_fold_is_hidden_and_scored_in_units_of_the_columns():
    places, values, shape = entries()
    scores = cross_val_score(EntryRegressor(SimpleImputer(), shape=shape), places, values, cv=FOLDS)
    # What means explain of the variance around themselves is nothing.
    np.testing.assert_allclose(scores, 0, atol=1e-12)
    fitted, held_out = next(FOLDS.split(places))
    model = EntryRegressor(KNNImputer(n_neighbors=3), shape=shape).fit(places[fitted], values[fitted])
    table = np.full(shape, np.nan)
    table[tuple(places[fitted].T)] = values[fitted]
    completed = KNNImputer(n_neighbors=3).fit_transform(table)
    where = tuple(places[held_out].T)
    np.testing.assert_array_equal(model.predict(places[held_out]), completed[where])
    np.testing.assert_array_equal(model.predict(places[fitted]), values[fitted])
    means, units = np.nanmean(table, axis=0)[where[1]], np.nanstd(table, axis=0)[where[1]]
    truth = values[held_out]
    expected = 1 - np.sum(((completed[where] - truth) / units) ** 2) / np.sum(((means - truth) / units) ** 2)
    assert model.score(places[held_out], truth) == pytest.approx(expected, rel=1e-10)
    weight = np.arange(len(truth)) % 2
    some = weight > 0
    assert model.score(places[held_out], truth, weight) == pytest.approx(
        model.score(places[held_out][some], truth[some])
    )


@pytest.mark.long
def test_a_search_over_imputers_and_what_belongs_to_them():
    places, values, shape = entries()
    grid = [{"imputer": [SimpleImputer(), KNNImputer()]}, {"imputer": [LowRankImputer()], "imputer__rank": [1, 3]}]
    search = GridSearchCV(EntryRegressor(shape=shape), grid, cv=FOLDS).fit(places, values)
    assert isinstance(search.best_estimator_.imputer_, LowRankImputer)
    assert search.best_score_ > 0.5
    # The best is fitted to all entries.
    table = np.full(shape, np.nan)
    table[tuple(places.T)] = values
    expected = clone(search.best_params_["imputer"]).set_params(rank=search.best_params_["imputer__rank"])
    np.testing.assert_array_equal(search.best_estimator_.completed_, expected.fit_transform(table))


def test_columns_without_entries_stay_and_do_not_count():
    places, values = np.array([[0, 0], [1, 0], [2, 0], [0, 2], [1, 2], [2, 2]]), np.array([1.0, 2, 3, 7, 7, 7])
    model = EntryRegressor(shape=(4, 4)).fit(places, values)
    assert model.completed_.shape == (4, 4)
    assert model.predict([[3, 2]]) == pytest.approx([7])
    both = model.score([[3, 0], [3, 1], [3, 2]], [2.5, 100.0, 100.0])
    assert both == model.score([[3, 0]], [2.5])
    with pytest.raises(ValueError, match=r"^X: expected entries of columns that vary"):
        model.score([[3, 1], [3, 2]], [1.0, 2.0])
    # Nothing to explain: 1 where it is met, 0 where not.
    assert EntryRegressor(SimpleImputer(), shape=(4, 4)).fit(places, values).score([[3, 0]], [2.0]) == 1
    constant = SimpleImputer(strategy="constant", fill_value=5)
    assert EntryRegressor(constant, shape=(4, 4)).fit(places, values).score([[3, 0]], [2.0]) == 0


class Whatever(BaseEstimator):
    """Returns what it is told to."""

    def __init__(self, answer):
        self.answer = answer

    def fit_transform(self, X):
        return self.answer(X)


BAD = [
    ({"imputer": make_pipeline(StandardScaler(), KNNImputer())}, ValueError, "^imputer: .*as they are, found"),
    ({"imputer": Whatever(lambda X: X)}, ValueError, "^imputer: .*fills every hole, found NaN"),
    ({"imputer": Whatever(lambda X: np.nan_to_num(X)[:, 1:])}, ValueError, "^imputer: .*keeps all 6 columns, found 5"),
    ({"shape": (60, 6, 2)}, ValueError, "^X: expected 3 indices a row"),
    ({"shape": (10, 6)}, ValueError, "^X: expected indices from 0 to 9 on axis 0"),
]


@pytest.mark.parametrize(("parameters", "kind", "message"), BAD)
def test_what_does_not_fit_is_refused(parameters, kind, message):
    places, values, _ = entries()
    with pytest.raises(kind, match=message):
        EntryRegressor().set_params(**parameters).fit(places, values)


def test_bad_entries_are_refused():
    places, values, shape = entries()
    model = EntryRegressor(SimpleImputer())
    with pytest.raises(NotFittedError):
        model.predict(places)
    with pytest.raises(ValueError, match=r"^X: expected every index once"):
        model.fit(np.vstack([places, places[:1]]), np.append(values, 0))
    with pytest.raises(ValueError, match=r"^X: expected positions \(row, column\) in a table, found 3 indices"):
        model.fit(np.column_stack([places, places[:, 0]]), values)
    with pytest.raises(TypeError, match=r"^X: expected integers"):
        model.fit(places + 0.5, values)
    with pytest.raises(ValueError, match=r"^y: expected shape"):
        model.fit(places, values[1:])
    with pytest.raises(ValueError, match=r"^X: expected indices from 0 to"):
        model.fit(places, values).predict([[shape[0], 0]])
    assert model.predict(np.empty((0, 2), int)).shape == (0,)


@pytest.mark.slow
def test_iterative_imputer_too():
    places, values, shape = entries()
    scores = cross_val_score(EntryRegressor(IterativeImputer(), shape=shape), places, values, cv=FOLDS)
    assert scores.min() > 0.5
