"""The estimators, as scikit-learn users expect them."""

import uuid

import numpy as np
import pytest
from completion_tables import low_rank, rms, seen
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline

from undertow.estimators import RatingPredictor, rating_errors
from undertow.estimators._variational import SMALL, _inverse

# RatingPredictor --------------------------------------------------------------------------------

PAIRS = [["ann", "x"], ["ann", "y"], ["bob", "x"], ["bob", "z"], ["eve", "y"], ["eve", "z"]]
RATINGS = [5.0, 4.0, 3.0, 2.0, 4.0, 1.0]


def test_parameters() -> None:
    # It stores what it is given and checks nothing but, in these tests, its kind.
    given = {
        name: -1000 if value is None else type(value)(-1000) for name, value in RatingPredictor().get_params().items()
    }
    model = RatingPredictor(**given)
    assert vars(model) == given
    assert all(model.get_params()[name] is value for name, value in given.items())
    model = RatingPredictor(rank=7).set_params(members=3, clip=False)
    copy = clone(model)
    assert copy is not model
    assert copy.get_params() == model.get_params()
    with pytest.raises(ValueError, match="Invalid parameter 'dpeth'"):
        model.set_params(dpeth=3)


BAD_PARAMETERS = [
    *[(name, value) for name in ("rank", "max_iter") for value in (0, 1.5, "2", None, True)],
    *[("members", value) for value in (0, 1.5, "2", True)],
    *[("validation_fraction", value) for value in (0, 0.6, -0.1, np.nan)],
    *[(name, value) for name in ("clip", "who_rated_what") for value in ("no", None)],
    *[("unseen", value) for value in ("mean", None)],
    *[("random_state", value) for value in (-1, 0.5, 2**32, "seed")],
]


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
def test_bad_parameters_are_refused_by_fit(name: str, value) -> None:
    model = RatingPredictor()
    with pytest.raises((ValueError, TypeError), match=f"^{name}: "):
        model.set_params(**{name: value}).fit(PAIRS, RATINGS)
    assert not hasattr(model, "model_")


def test_ratings_are_predicted() -> None:
    rng = np.random.default_rng(4)
    i, j, holes = seen()
    truth = 3 + low_rank()
    pairs = np.stack([i + 100, j], axis=1)
    before = pairs.copy(), truth.copy()
    model = RatingPredictor(clip=False)
    assert model.fit(pairs, truth[i, j]) is model
    np.testing.assert_array_equal(pairs, before[0])
    np.testing.assert_array_equal(truth, before[1])
    assert model.n_features_in_ == 2
    assert 0.9 < model.kept_ <= 1
    asked = np.stack([holes[0] + 100, holes[1]], axis=1)
    assert model.score(asked, truth[holes]) > 0.9
    order = rng.permutation(len(pairs))
    np.testing.assert_allclose(model.predict(pairs[order]), model.predict(pairs)[order], rtol=1e-12)


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
    model = RatingPredictor().fit(make(PAIRS), RATINGS)
    expected = RatingPredictor().fit(PAIRS, RATINGS)
    np.testing.assert_allclose(model.predict(make(PAIRS)), expected.predict(PAIRS))
    # An unknown user counts as an average one: between the mean and what the known ones make of the item.
    least, most = sorted((model.mean_, RATINGS[0]))
    assert least <= model.predict([unknown])[0] <= most


def test_ids_are_exact() -> None:
    pairs = [[2**60, "007"], [2**60 + 1, "7"], [2**60, "a\0"], [2**60 + 1, "a"]]
    model = RatingPredictor().fit(pairs, [1, 2, 3, 4])
    assert model.users_.tolist() == [2**60, 2**60 + 1]
    assert model.items_.tolist() == ["007", "7", "a", "a\0"]
    assert len(set(model.predict(pairs).tolist())) == 4


def test_integers_of_other_types_are_the_same_ids() -> None:
    pairs = np.array([[5, 2], [5, 1], [3, 2], [4, 1], [3, 1]])
    model = RatingPredictor().fit(pairs.astype(np.int32), [1, 2, 3, 4, 5])
    # Those that come later stand after the others, whatever their order.
    model.partial_fit(np.array([[1, 2], [2, 1]], np.int16), [3, 4])
    assert model.users_.tolist() == [3, 4, 5, 1, 2]
    asked = np.array([[2, 1], [5, 2], [7, 2], [0, 1], [1, 9]])
    for dtype in (np.int64, np.int8, np.uint64, ">i4", float, object):
        users, items = model.codes(asked.astype(dtype))
        assert users.tolist() == [4, 2, -1, -1, 3]
        assert items.tolist() == [0, 1, 1, 0, -1]
    # Numbers that only differ beyond 53 bits, one side with a sign.
    model = RatingPredictor().fit(np.array([[2**63 + 1, 0], [2**63 + 3, 0], [2**63 + 1, 1]], np.uint64), [1, 2, 3])
    assert model.codes(np.array([[2**63 + 3, 0], [2**63 + 2, 1]], np.uint64))[0].tolist() == [1, -1]
    assert model.codes(np.array([[2**62, 0]]))[0].tolist() == [-1]


@pytest.mark.parametrize("dimension", range(1, SMALL + 2))
def test_inverses_of_many_small_matrices(dimension: int) -> None:
    A = np.random.default_rng(0).standard_normal((50, dimension, dimension + 2))
    A = A @ A.transpose(0, 2, 1) + np.eye(dimension)
    np.testing.assert_allclose(_inverse(A), np.linalg.inv(A), rtol=1e-9, atol=1e-12)


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
    (PAIRS, None, ValueError, "^y: expected a rating for each pair, found None"),
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
    (PAIRS[:1], RATINGS[:1], ValueError, "at least 2 ratings"),
]


@pytest.mark.parametrize(("pairs", "ratings", "kind", "message"), BAD_PAIRS)
def test_bad_ratings_are_refused(pairs, ratings, kind, message: str) -> None:
    with pytest.raises(kind, match=message):
        RatingPredictor().fit(pairs, ratings)


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


def test_rating_predictor_in_a_grid_search() -> None:
    i, j, _ = seen()
    pairs, ratings = np.stack([i, j], axis=1), 3 + np.add.outer(np.arange(40.0), np.arange(30.0))[i, j]
    folds = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(make_pipeline(RatingPredictor(members=1)), {"ratingpredictor__max_iter": [1, 15]}, cv=folds)
    search.fit(pairs, ratings)
    assert search.best_params_ == {"ratingpredictor__max_iter": 15}
    assert search.best_score_ > 0.9
    frame = pytest.importorskip("pandas").DataFrame({"user": [f"u{k}" for k in i], "item": j})
    error = {"scoring": "neg_root_mean_squared_error", "cv": folds}
    scores = cross_val_score(RatingPredictor(members=1), frame, ratings, **error)
    np.testing.assert_allclose(scores, cross_val_score(RatingPredictor(members=1), pairs, ratings, **error), atol=0.2)
    assert scores.min() > -0.5


def structured(users=120, items=80, share=0.3, seed=0, noise=0.4):
    """Ratings with biases and two factors; pairs, ratings, and those that are held out."""
    draws = np.random.default_rng(seed)
    truth = 3 + draws.normal(0, 0.5, (users, 1)) + draws.normal(0, 0.5, (1, items))
    truth = truth + draws.standard_normal((users, 2)) @ draws.standard_normal((2, items))
    given = draws.random((users, items)) < share
    i, j = np.nonzero(given)
    return truth, i, j, truth[i, j] + noise * draws.standard_normal(len(i))


def test_factors_are_found_and_noise_is_left() -> None:
    _, i, j, ratings = structured()
    errors = rating_errors(RatingPredictor(clip=False), i, j, ratings, test_fraction=0.2)
    assert errors.predictor < 0.6 * errors.biases
    alone = np.random.default_rng(1).standard_normal(len(i))
    errors = rating_errors(RatingPredictor(), i, j, alone, test_fraction=0.2)
    # One standard error of held-out ratings is what may be lost.
    assert errors.predictor <= 1.02 * min(errors.biases, errors.mean)


def test_who_rated_what_is_used_where_it_says_something() -> None:
    draws = np.random.default_rng(0)
    taste, kind = draws.random(300) < 0.5, draws.random(100) < 0.5
    likes = np.where(taste[:, None] == kind[None, :], 1.0, -1.0)
    i, j = np.nonzero(draws.random((300, 100)) < np.where(likes > 0, 0.15, 0.03))  # what is liked is rated
    ratings = likes[i, j] * 0.7 + draws.standard_normal(len(i))
    for used in (True, False):
        model = RatingPredictor(who_rated_what=used, clip=False).fit(np.stack([i, j], 1), ratings)
        assert model.who_rated_what_ == used
    at_random = draws.permutation(300 * 100)[:9000]
    i, j = at_random // 100, at_random % 100
    pairs, ratings = np.stack([i, j], 1), likes[i, j] * 0.7 + draws.standard_normal(len(i))
    assert RatingPredictor().fit(pairs, ratings).kept_ > 0.3


def test_ratings_in_other_units() -> None:
    _, i, j, ratings = structured(60, 40)
    pairs = np.stack([i, j], 1)
    expected, std = RatingPredictor().fit(pairs, ratings).predict(pairs, return_std=True)
    for unit in (1e-100, 3.0, 1e90):
        found, other = RatingPredictor().fit(pairs, unit * ratings).predict(pairs, return_std=True)
        np.testing.assert_allclose(found / unit, expected, rtol=1e-6)
        np.testing.assert_allclose(other / unit, std, rtol=1e-6)


def test_nine_tenths_of_new_ratings_are_within_the_interval() -> None:
    _, i, j, ratings = structured(share=0.4)
    order = np.random.default_rng(0).permutation(len(i))
    test, rest = order[:1000], order[1000:]
    pairs = np.stack([i, j], 1)
    found, std = RatingPredictor(clip=False).fit(pairs[rest], ratings[rest]).predict(pairs[test], return_std=True)
    assert 0.85 <= np.mean(np.abs(found - ratings[test]) <= 1.645 * std) <= 0.95


def test_constant_ratings() -> None:
    model = RatingPredictor().fit(PAIRS, [4] * len(PAIRS))
    found, std = model.predict(PAIRS, return_std=True)
    assert np.all(found == 4)
    assert not std.any()


def test_a_sparse_matrix_has_ratings_as_its_stored_entries() -> None:
    _, i, j, ratings = structured(30, 20)
    ratings[0] = 0.0
    matrix = csr_array((ratings, (i, j)), shape=(30, 20))
    assert matrix.nnz == len(ratings)
    found = RatingPredictor().fit(matrix).predict(np.stack([i, j], 1))
    order = np.lexsort((j, i))
    expected = RatingPredictor().fit(np.stack([i, j], 1)[order], ratings[order]).predict(np.stack([i, j], 1))
    np.testing.assert_allclose(found, expected)
    with pytest.raises(ValueError, match=r"^y: expected None beside a sparse X"):
        RatingPredictor().fit(matrix, ratings)


def test_weights() -> None:
    _, i, j, ratings = structured(40, 30)
    pairs = np.stack([i, j], 1)
    plain = RatingPredictor().fit(pairs, ratings).predict(pairs)
    np.testing.assert_allclose(RatingPredictor().fit(pairs, ratings, np.full(len(i), 7.0)).predict(pairs), plain)
    wrong = ratings.copy()
    wrong[::10] += 50
    weight = np.ones(len(i))
    weight[::10] = 1e-9
    found = RatingPredictor(clip=False).fit(pairs, wrong, weight).predict(pairs)
    assert rms((found - plain)[weight == 1]) < 0.3 * rms(plain - plain.mean())
    with pytest.raises(ValueError, match=r"^sample_weight: expected numbers above 0, found 0.0"):
        RatingPredictor().fit(pairs, ratings, np.zeros(len(i)))


def test_more_ratings_are_taken_in() -> None:
    truth, i, j, ratings = structured()
    pairs, late = np.stack([i, j], 1), i >= 110
    model = RatingPredictor(clip=False).fit(pairs[~late], ratings[~late])
    before = model.kept_
    few = late & (np.random.default_rng(3).random(len(i)) < 0.7)
    held = late & ~few
    assert model.partial_fit(pairs[few], ratings[few]) is model
    assert model.kept_ == before
    assert model.users_.tolist() == list(range(120))
    error = rms(model.predict(pairs[held]) - truth[i, j][held])
    whole = RatingPredictor(clip=False).fit(pairs[~held], ratings[~held])
    assert error < 1.5 * rms(whole.predict(pairs[held]) - truth[i, j][held])
    assert error < 0.7 * rms(truth[i, j][held] - model.mean_)
    with pytest.raises(ValueError, match=r"^X: expected every pair once"):
        model.partial_fit(pairs[few][:1], ratings[few][:1])
    again = RatingPredictor(clip=False).partial_fit(pairs[~late], ratings[~late])
    np.testing.assert_allclose(
        again.predict(pairs), RatingPredictor(clip=False).fit(pairs[~late], ratings[~late]).predict(pairs)
    )


def test_recommendations() -> None:
    _, i, j, ratings = structured(40, 30)
    model = RatingPredictor(clip=False).fit(np.stack([i, j], 1), ratings)
    items, expected = model.recommend(3, 5)
    assert len(items) == 5
    assert np.all(np.diff(expected) <= 0)
    assert not set(items) & set(j[i == 3])
    np.testing.assert_allclose(expected, model.predict([[3, item] for item in items]))
    left = [item for item in model.items_ if item not in set(j[i == 3])]
    assert expected.min() >= np.sort(model.predict([[3, item] for item in left]))[-5]
    assert len(model.recommend(3, 100, exclude_seen=False)[0]) == 30
    with pytest.raises(ValueError, match=r"^user: expected one that was fitted"):
        model.recommend(99)
    with pytest.raises(ValueError, match=r"^n: "):
        model.recommend(3, 0)


def test_what_is_not_known_is_answered_as_asked() -> None:
    model = RatingPredictor(unseen="nan").fit(PAIRS, RATINGS)
    assert np.isnan(model.predict([["zoe", "x"], ["ann", "x"]])).tolist() == [True, False]
    with pytest.raises(ValueError, match=r"^X: expected users and items that were fitted, found \(zoe, x\)"):
        RatingPredictor(unseen="error").fit(PAIRS, RATINGS).predict([["zoe", "x"]])


def test_a_prediction_of_no_rows_and_ids_that_are_uuids() -> None:
    ids = {name: uuid.UUID(int=k) for k, name in enumerate(sorted({name for pair in PAIRS for name in pair}))}
    pairs = [[ids[u], ids[v]] for u, v in PAIRS]
    model = RatingPredictor().fit(pairs, RATINGS)
    np.testing.assert_allclose(model.predict(pairs), RatingPredictor().fit(PAIRS, RATINGS).predict(PAIRS))
    found, std = model.predict(np.empty((0, 2), object), return_std=True)
    assert found.shape == std.shape == (0,)
    with pytest.raises(ValueError, match=r"^X: expected at least one pair"):
        model.fit(np.empty((0, 2), object), [])


def test_what_is_taken_in_later_is_not_lost() -> None:
    new = [["zoe", "x"], ["zoe", "y"]]
    model = RatingPredictor().fit(PAIRS, [3] * len(PAIRS)).partial_fit(new, [5.0, 5.0])
    assert model.predict(new[:1])[0] > 3.2  # all were alike before
    model = RatingPredictor().fit(PAIRS, RATINGS).partial_fit(new, [50.0, 50.0])
    assert model.predict(new[:1])[0] > 5  # beyond the range that was seen before
    with pytest.raises(ValueError, match=r"^values: expected numbers of at most 1e\+100 in size, found 1e\+200"):
        model.partial_fit([["zoe", "z"]], [1e200])
    np.testing.assert_allclose(
        RatingPredictor().fit(PAIRS, RATINGS, np.full(6, 1e308)).predict(PAIRS),
        RatingPredictor().fit(PAIRS, RATINGS).predict(PAIRS),
    )
    with pytest.raises(TypeError, match=r"^X: expected n rows of \(user, item\), found a sparse matrix"):
        model.predict(csr_array(np.eye(3)))
