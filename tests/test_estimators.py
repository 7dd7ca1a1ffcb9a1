"""The estimators, as scikit-learn users expect them."""

import numpy as np
import pytest
from completion_tables import effects_only, low_rank, seen
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from undertow.estimators import RatingPredictor, _ratings


@pytest.fixture
def no_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ratings, "complete", effects_only)


# RatingPredictor --------------------------------------------------------------------------------

PAIRS = [["ann", "x"], ["ann", "y"], ["bob", "x"], ["bob", "z"], ["eve", "y"], ["eve", "z"]]
RATINGS = [5.0, 4.0, 3.0, 2.0, 4.0, 1.0]


def test_parameters() -> None:
    # It stores what it is given and checks nothing but, in these tests, its kind.
    given = {name: type(value)(-1000) for name, value in RatingPredictor().get_params().items()}
    model = RatingPredictor(**given)
    assert vars(model) == given
    assert all(model.get_params()[name] is value for name, value in given.items())
    model = RatingPredictor(width=7).set_params(depth=3, clip=True)
    copy = clone(model)
    assert copy is not model
    assert copy.get_params() == model.get_params()
    with pytest.raises(ValueError, match="Invalid parameter 'dpeth'"):
        model.set_params(dpeth=3)


BAD_PARAMETERS = [
    *[("depth", value) for value in (1, 2.0, "2", None, True)],
    *[("width", value) for value in (0, 1.5)],
    *[(name, value) for name in ("scale", "speed") for value in (0, -1, np.nan, np.inf, "1", None)],
    *[("ridge", value) for value in (-1, np.nan)],
    *[("validation_fraction", value) for value in (0, 0.6, -0.1, np.nan)],
    *[("patience", 0), ("max_iter", 0), ("max_iter", 10**9), ("clip", "no"), ("clip", None)],
    *[("random_state", value) for value in (-1, None, 0.5, 2**32)],
]


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
def test_bad_parameters_are_refused_by_fit(name: str, value) -> None:
    model = RatingPredictor()
    with pytest.raises((ValueError, TypeError), match=f"^{name}: "):
        model.set_params(**{name: value}).fit(PAIRS, RATINGS)
    assert not hasattr(model, "completion_")


def test_ratings_are_predicted() -> None:
    rng = np.random.default_rng(4)
    i, j, holes = seen()
    truth = 3 + low_rank()
    pairs = np.stack([i + 100, j], axis=1)
    before = pairs.copy(), truth.copy()
    model = RatingPredictor(width=30, ridge=0.1, max_iter=500, clip=False)
    assert model.fit(pairs, truth[i, j]) is model
    np.testing.assert_array_equal(pairs, before[0])
    np.testing.assert_array_equal(truth, before[1])
    assert model.n_features_in_ == 2
    assert model.n_iter_ > 0
    assert model.validation_path_.shape[1] == 3
    assert model.validation_path_[0, 0] == 0
    asked = np.stack([holes[0] + 100, holes[1]], axis=1)
    assert model.score(asked, truth[holes]) > 0.9
    # The parts that are shown give the predictions.
    parts = model.mean_ + model.user_effects_[i] + model.item_effects_[j]
    parts += np.einsum("ek,ek->e", model.user_factors_[i], model.item_factors_[j])
    np.testing.assert_allclose(model.predict(pairs), parts, rtol=1e-10)
    order = rng.permutation(len(pairs))
    np.testing.assert_array_equal(model.predict(pairs[order]), model.predict(pairs)[order])


@pytest.mark.usefixtures("no_descent")
@pytest.mark.parametrize(
    ("make", "unknown"),
    [
        (lambda pairs: pairs, ["zoe", "x"]),
        (lambda pairs: [tuple(pair) for pair in pairs], ["zoe", "x"]),
        (np.array, ["zoe", "x"]),
        (lambda pairs: np.array(pairs, object), ["zoe", "x"]),
        (lambda pairs: [[len(pair[0]) + ord(pair[0][0]), ord(pair[1])] for pair in pairs], [-1, ord("x")]),
        (lambda pairs: np.array([[ord(u[0]), ord(v)] for u, v in pairs]), [10**9, ord("x")]),
        (lambda pairs: np.array([[float(ord(u[0])), float(ord(v))] for u, v in pairs]), [0.5, float(ord("x"))]),
        (lambda pairs: [[u, ord(v)] for u, v in pairs], ["zoe", ord("x")]),
        (lambda pairs: np.array([[u, ord(v)] for u, v in pairs], object), ["zoe", ord("x")]),
        (lambda pairs: [[2**63 + ord(u[0]), 2**53 + ord(v)] for u, v in pairs], [2**63, 2**53 + ord("x")]),
    ],
    ids=["lists", "tuples", "text", "object", "int-lists", "ints", "floats", "mixed", "mixed-object", "large"],
)
def test_ids_of_every_kind(make, unknown) -> None:
    model = RatingPredictor(ridge=0.1).fit(make(PAIRS), RATINGS)
    expected = RatingPredictor(ridge=0.1).fit(PAIRS, RATINGS)
    np.testing.assert_allclose(model.predict(make(PAIRS)), expected.predict(PAIRS))
    # An unknown user counts as an average one: the mean and the item's effect.
    np.testing.assert_allclose(model.predict([unknown]), model.mean_ + model.item_effects_[0])


@pytest.mark.usefixtures("no_descent")
def test_ids_are_exact() -> None:
    pairs = [[2**60, "007"], [2**60 + 1, "7"], [2**60, "a\0"], [2**60 + 1, "a"]]
    model = RatingPredictor().fit(pairs, [1, 2, 3, 4])
    assert model.users_.tolist() == [2**60, 2**60 + 1]
    assert model.items_.tolist() == ["007", "7", "a", "a\0"]
    assert len(set(model.predict(pairs).tolist())) == 4


@pytest.mark.usefixtures("no_descent")
def test_data_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(PAIRS, columns=["user", "item"]).assign(item=[1, 2, 1, 3, 2, 3])
    before = frame.copy()
    model = RatingPredictor().fit(frame, pandas.Series(RATINGS))
    pandas.testing.assert_frame_equal(frame, before)
    assert model.feature_names_in_.tolist() == ["user", "item"]
    expected = RatingPredictor().fit([[u, k] for u, k in frame.itertuples(index=False)], RATINGS)
    np.testing.assert_array_equal(model.predict(frame), expected.predict([list(row) for row in frame.to_numpy()]))
    categories = frame.astype("category")
    np.testing.assert_array_equal(RatingPredictor().fit(categories, RATINGS).predict(categories), model.predict(frame))
    with pytest.raises(ValueError, match="feature names"):  # the columns are swapped
        model.predict(frame[["item", "user"]])


BAD_PAIRS = [
    (PAIRS, RATINGS[:-1], ValueError, r"^y: expected shape \(6,\), found \(5,\)"),
    (PAIRS, [RATINGS], ValueError, "^y: expected shape"),
    (PAIRS, None, ValueError, "^y: expected shape|^y: "),
    (PAIRS, [*RATINGS[:-1], np.nan], ValueError, "^y: expected finite numbers, found nan"),
    (PAIRS, [*RATINGS[:-1], -np.inf], ValueError, "^y: expected finite numbers, found -inf"),
    (PAIRS, [*RATINGS[:-1], "good"], TypeError, "^y: expected numbers"),
    ([*PAIRS[:-1], PAIRS[0]], RATINGS, ValueError, r"^X: .* once, found \(ann, x\) in rows 0 and 5"),
    (PAIRS[0], RATINGS, ValueError, r"^X: expected n rows of \(user, item\), found shape \(2,\)"),
    ([[*pair, 1] for pair in PAIRS], RATINGS, ValueError, r"^X: .*found shape \(6, 3\)"),
    ([], [], ValueError, "^X: expected n rows"),
    (np.empty((0, 2)), [], ValueError, "^X: expected at least one pair"),
    ([[1.0, np.nan], [2.0, 1.0]], [1, 2], ValueError, "^X: expected item ids, found NaN"),
    ([["a", None], ["b", "c"]], [1, 2], TypeError, "^X: expected item ids .* found NoneType and text"),
    ([["a", np.nan], ["b", "c"]], [1, 2], TypeError, "^X: expected item ids .* found number and text"),
    ([[1, "a"], ["1", "b"]], [1, 2], TypeError, "^X: expected user ids .* found number and text"),
    ([[True, "a"], [False, "b"]], [1, 2], TypeError, "^X: expected user ids .* found bool"),
    (PAIRS[:1], RATINGS[:1], ValueError, "at least 2 entries"),
]


@pytest.mark.parametrize(("pairs", "ratings", "kind", "message"), BAD_PAIRS)
def test_bad_ratings_are_refused(pairs, ratings, kind, message: str) -> None:
    with pytest.raises(kind, match=message):
        RatingPredictor().fit(pairs, ratings)


@pytest.mark.usefixtures("no_descent")
def test_bad_pairs_are_refused() -> None:
    with pytest.raises(NotFittedError):
        RatingPredictor().predict(PAIRS)
    model = RatingPredictor().fit(PAIRS, RATINGS)
    with pytest.raises(ValueError, match=r"^X: expected n rows"):
        model.predict(["ann", "x"])
    with pytest.raises(TypeError, match=r"^X: expected the kind of user ids that was fitted \(text\), found number"):
        model.predict([[1, "x"]])
    with pytest.warns(UserWarning, match=r"^X: none of these users and items was fitted, as of \('1', '2'\)"):
        np.testing.assert_allclose(model.predict([["1", "2"], ["3", "4"]]), model.mean_)
    with pytest.raises(TypeError, match=r"^X: .* item ids"):
        model.predict([["ann", 2.0]])


@pytest.mark.usefixtures("no_descent")
def test_rating_predictor_in_a_grid_search() -> None:
    i, j, _ = seen()
    pairs, ratings = np.stack([i, j], axis=1), 3 + np.add.outer(np.arange(40.0), np.arange(30.0))[i, j]
    folds = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(make_pipeline(RatingPredictor()), {"ratingpredictor__ridge": [0.1, 1000.0]}, cv=folds)
    search.fit(pairs, ratings)
    assert search.best_params_ == {"ratingpredictor__ridge": 0.1}  # additive data want no shrinkage
    assert search.best_score_ > 0.9
