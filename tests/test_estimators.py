"""Completion and the estimators on it: against independent solutions, and as scikit-learn users expect them."""

import dataclasses
import functools

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from undertow.datasets import DataNotFound, load_movielens_100k
from undertow.estimators import (
    Effects,
    LowRankImputer,
    RatingPredictor,
    Settings,
    StoppingPoint,
    _imputer,
    _ratings,
    complete,
    fit_effects,
    held_out_errors,
)

SHAPE = (40, 30)
EFFECTS_ONLY = StoppingPoint(1.0, 0)


@functools.cache
def seen() -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Rows and columns of 60 % of the entries, the same ones for all tests, so that one compiled program serves."""
    mask = np.random.default_rng(0).random(SHAPE) < 0.6
    i, j = np.nonzero(mask)
    return i, j, np.nonzero(~mask)


@functools.cache
def low_rank() -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(size=(SHAPE[0], 3)) @ rng.normal(size=(3, SHAPE[1]))


MATRIX = Settings(width=30, ridge=0.1, max_iter=500)


def completed(values: np.ndarray, settings: Settings = MATRIX, **options) -> np.ndarray:
    i, j, _ = seen()
    return complete(i, j, values[i, j], SHAPE, settings, clip=False, **options).block(slice(None))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def errors_in_holes(values: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Root-mean-square errors of the completion and of the effects."""
    i, j, holes = seen()
    effects = fit_effects(i, j, values[i, j], SHAPE, MATRIX.ridge).at(*holes)
    return rms(completed(values)[holes] - truth[holes]), rms(effects - truth[holes])


def effects_only(*arguments, **options):
    """In place of ``complete`` where the fit is not the point: row and column effects, no descent."""
    found = complete(*arguments, **options, stopping_point=EFFECTS_ONLY)
    return dataclasses.replace(found, n_iter=1)


@pytest.fixture
def no_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_imputer, "complete", effects_only)
    monkeypatch.setattr(_ratings, "complete", effects_only)


# Effects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.1, 5.0])
def test_effects_solve_the_normal_equations(ridge: float) -> None:
    rng = np.random.default_rng(2)
    i, j = np.divmod(rng.permutation(7 * 5)[:20], 5)
    i = np.where(i == 6, 0, i) * 1  # row 6 has no entry
    i, j = np.unique(np.stack([i, j]), axis=1)
    values = rng.normal(3, 2, len(i))
    design = np.zeros((len(i), 7 + 5))
    design[np.arange(len(i)), i] = design[np.arange(len(i)), 7 + j] = 1
    closed_form = np.linalg.solve(design.T @ design + ridge * np.eye(12), design.T @ (values - values.mean()))
    effects = fit_effects(i, j, values, (7, 5), ridge, sweeps=2000)
    # Sweeps converge linearly: after 2000 of them what is left is rounding.
    np.testing.assert_allclose(np.append(effects.rows, effects.columns), closed_form, rtol=0, atol=1e-10)
    reference = Ridge(alpha=ridge, fit_intercept=False, solver="cholesky").fit(design, values - values.mean())
    np.testing.assert_allclose(np.append(effects.rows, effects.columns), reference.coef_, rtol=0, atol=1e-10)
    assert effects.rows[6] == 0
    # The default number of sweeps is enough for ratings: a thousandth of their spread.
    swept = fit_effects(i, j, values, (7, 5), ridge)
    np.testing.assert_allclose(swept.at(i, j), effects.at(i, j), rtol=0, atol=2e-3)


def test_unknown_rows_and_columns_count_as_average() -> None:
    effects = Effects(3.0, np.array([1.0, -1.0]), np.array([0.5, 0.0, -0.5]))
    i, j = np.array([0, 0, -1, -1]), np.array([2, -1, 0, -1])
    np.testing.assert_array_equal(effects.at(i, j), [3.5, 4.0, 3.5, 3.0])


# Completion -------------------------------------------------------------------------------------


def test_low_rank_matrices_are_recovered() -> None:
    completion, effects = errors_in_holes(low_rank(), low_rank())
    assert completion < 0.25 * effects  # measured: a seventh; far below it only with many more steps


def test_pure_noise_is_no_worse_than_effects() -> None:
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(size=SHAPE)
        completion, effects = errors_in_holes(noise, noise)
        assert completion <= 1.01 * effects


def test_constant_entries() -> None:
    np.testing.assert_allclose(completed(np.full(SHAPE, 0.1)), 0.1, rtol=1e-14)


def test_an_outlier_is_survived() -> None:
    values = low_rank().copy()
    i, j, _ = seen()
    values[i[100], j[100]] = 1e4
    found = completed(values)
    assert np.isfinite(found).all()
    others = np.ones(SHAPE, bool)
    others[i[100]], others[:, j[100]] = False, False
    # Rows and columns that do not meet it are hurt by its share of the mean (1e4 over 700 entries) only.
    assert np.abs(found[others] - values.mean()).max() < 100


def test_outliers_on_which_descent_diverges_at_first() -> None:
    values = low_rank().copy()
    i, j, _ = seen()
    values[i[:400:40], j[:400:40]] *= 30
    completion, effects = errors_in_holes(values, low_rank())
    assert np.isfinite(completion)
    assert completion < 1.5 * effects


@pytest.mark.parametrize(("shape", "count"), [((2, 2), 3), ((2, 2), 2), ((1, 5), 4), ((3, 3), 3)])
def test_tiny_tables(shape: tuple[int, int], count: int) -> None:
    rng = np.random.default_rng(count)
    i, j = np.divmod(rng.permutation(shape[0] * shape[1])[:count], shape[1])
    values = rng.normal(size=count)
    found = complete(i, j, values, shape, Settings(max_iter=20)).block(slice(None))
    assert found.shape == shape
    assert np.isfinite(found).all()
    assert values.min() <= found.min() <= found.max() <= values.max()


def test_rows_and_columns_without_entries() -> None:
    i, j, _ = seen()
    values = low_rank()[i, j]
    found = complete(i, j, values, (SHAPE[0] + 1, SHAPE[1] + 2), MATRIX, clip=False, stopping_point=EFFECTS_ONLY)
    row, column = found.block(slice(SHAPE[0], None))[0], found.block(slice(None))[:, -1]
    np.testing.assert_allclose(row[: SHAPE[1]], found.effects.mean + found.effects.columns[: SHAPE[1]])
    np.testing.assert_allclose(column[: SHAPE[0]], found.effects.mean + found.effects.rows[: SHAPE[0]])
    descended = complete(i, j, values, (SHAPE[0] + 1, SHAPE[1] + 2), dataclasses.replace(MATRIX, max_iter=40))
    assert np.isfinite(descended.block(slice(None))).all()


@pytest.mark.parametrize("factor", [1000.0, 1e-13, 1e90])
def test_units_do_not_matter(factor: float) -> None:
    values, settings = low_rank(), dataclasses.replace(MATRIX, max_iter=200)
    plain = completed(values, settings)
    # Descent is in single precision, and grows small differences of the start.
    np.testing.assert_allclose(completed(factor * values, settings) / factor, plain, rtol=0, atol=1e-4)
    if factor == 1000.0:
        np.testing.assert_allclose(completed(values + factor, settings) - factor, plain, rtol=0, atol=1e-4)


def test_the_same_seed_gives_the_same_bits() -> None:
    settings = dataclasses.replace(MATRIX, max_iter=200)
    first, second = completed(low_rank(), settings), completed(low_rank(), settings)
    np.testing.assert_array_equal(first, second)
    other = completed(low_rank(), dataclasses.replace(settings, seed=1))
    assert not np.array_equal(first, other)


def test_pairs_and_blocks_agree_and_are_clipped() -> None:
    i, j, _ = seen()
    values = low_rank()[i, j]
    for clip in (True, False):
        found = complete(i, j, values, SHAPE, MATRIX, clip=clip)
        rows, columns = (index.ravel() for index in np.indices(SHAPE))
        block = found.block(slice(None))
        np.testing.assert_allclose(found.at(rows, columns).reshape(SHAPE), block, rtol=0, atol=1e-10)
        inside = (values.min() <= block).all() and (block <= values.max()).all()
        assert inside == clip
        np.testing.assert_array_equal(found.block(slice(3, 5)), block[3:5])
        unknown = found.at(np.array([3, -1]), np.array([-1, 4]))
        effects = found.effects.at(np.array([3, -1]), np.array([-1, 4]))
        np.testing.assert_allclose(unknown, np.clip(effects, found.low, found.high))


def test_progress_rises_from_0_to_1() -> None:
    reports: list[tuple[float, str]] = []
    completed(low_rank(), progress=lambda fraction, message: reports.append((fraction, message)))
    fractions = np.array([fraction for fraction, _ in reports])
    assert len(fractions) > 5
    assert (fractions >= 0).all()
    assert (fractions <= 1).all()
    assert (np.diff(fractions) >= 0).all()
    assert fractions[-1] == 1
    assert all("loss" in message for _, message in reports)


def test_interruption_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        interrupted = True

    monkeypatch.setattr("undertow.estimators._completion.train", lambda *a, **k: Interrupted())
    with pytest.raises(KeyboardInterrupt):
        completed(low_rank())


@pytest.mark.parametrize(
    ("values", "message"),
    [([1.0], "at least 2 entries"), ([1.0, 1e101], "at most 1e\\+100"), ([1.0, -1e300], "at most 1e\\+100")],
)
def test_completion_refuses(values: list[float], message: str) -> None:
    i = np.arange(len(values))
    with pytest.raises(ValueError, match=f"values: .*{message}"):
        complete(i, i, np.array(values), (2, 2), Settings())
    with pytest.raises(ValueError, match="values: "):
        held_out_errors(i, i, np.array(values), (2, 2), Settings())


# Held-out errors --------------------------------------------------------------------------------


def test_held_out_errors_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undertow.estimators._hold_out.complete", effects_only)
    i, j, _ = seen()
    values = low_rank()[i, j]
    errors = held_out_errors(i, j, values, SHAPE, MATRIX, test_fraction=0.2, seed=3, clip=False)
    order = np.random.default_rng(3).permutation(len(values))
    test, rest = order[: errors.test_size], order[errors.test_size :]
    assert errors.test_size == round(0.2 * len(values))
    assert errors.train_size == len(rest)
    assert errors.mean == pytest.approx(rms(values[test] - values[rest].mean()))
    effects = fit_effects(i[rest], j[rest], values[rest], SHAPE, MATRIX.ridge)
    assert errors.effects == pytest.approx(rms(values[test] - effects.at(i[test], j[test])))
    assert errors.completion == pytest.approx(errors.effects)
    assert errors.unseen == 0


def test_unseen_entries_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undertow.estimators._hold_out.complete", effects_only)
    i = np.arange(10)  # a diagonal: each held-out entry is alone in its row and column
    errors = held_out_errors(i, i, np.arange(10.0), (10, 10), Settings(), test_fraction=0.3)
    assert errors.unseen == errors.test_size == 3


def movielens():
    try:
        return load_movielens_100k()
    except DataNotFound as error:
        pytest.skip(str(error))


@pytest.mark.data
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4))])
def test_movielens(seed: int) -> None:
    table = movielens()
    settings = RatingPredictor(random_state=seed).settings()
    errors = held_out_errors(table.users, table.items, table.ratings, table.shape, settings, seed=seed)
    assert errors.completion <= 0.917
    assert errors.completion <= errors.effects - 0.02
    assert 0.92 < errors.effects < 0.95 < errors.mean  # 0.94 on average; splits differ by 0.005
    assert errors.test_size == 10_000


# RatingPredictor --------------------------------------------------------------------------------

PAIRS = [["ann", "x"], ["ann", "y"], ["bob", "x"], ["bob", "z"], ["eve", "y"], ["eve", "z"]]
RATINGS = [5.0, 4.0, 3.0, 2.0, 4.0, 1.0]
ESTIMATORS = [RatingPredictor, LowRankImputer]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_parameters(estimator) -> None:
    # It stores what it is given and checks nothing but, in these tests, its kind.
    given = {name: type(value)(-1000) for name, value in estimator().get_params().items()}
    model = estimator(**given)
    assert vars(model) == given
    assert all(model.get_params()[name] is value for name, value in given.items())
    model = estimator(width=7).set_params(depth=3, clip=True)
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
    for model, arguments in ((RatingPredictor(), (PAIRS, RATINGS)), (LowRankImputer(), (np.eye(3),))):
        with pytest.raises((ValueError, TypeError), match=f"^{name}: "):
            model.set_params(**{name: value}).fit(*arguments)
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


# LowRankImputer ---------------------------------------------------------------------------------


def test_holes_are_filled() -> None:
    _, _, holes = seen()
    matrix = low_rank().copy()
    matrix[holes] = np.nan
    before = matrix.copy()
    model = LowRankImputer(width=30, max_iter=500)
    filled = model.fit_transform(matrix)
    np.testing.assert_array_equal(matrix, before)
    known = ~np.isnan(matrix)
    np.testing.assert_array_equal(filled[known], matrix[known])
    assert rms(filled[holes] - low_rank()[holes]) < 0.3 * rms(low_rank()[holes])
    assert model.n_features_in_ == SHAPE[1]
    np.testing.assert_array_equal(model.transform(matrix), filled)
    filled[0] = 0  # what is returned is the caller's own
    assert not np.array_equal(model.transform(matrix), filled)
    np.testing.assert_array_equal(model.transform(model.completed_), model.completed_)
    with pytest.raises(ValueError, match="X: expected the matrix that was fitted"):
        model.transform(matrix + 1)


@pytest.mark.usefixtures("no_descent")
def test_full_rows_of_holes_and_full_matrices() -> None:
    matrix = np.add.outer(np.arange(4.0), np.arange(3.0))
    np.testing.assert_array_equal(LowRankImputer().fit_transform(matrix), matrix)
    matrix[1] = np.nan
    filled = LowRankImputer().fit(matrix).transform(matrix)
    assert np.isfinite(filled).all()
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(matrix.astype(np.float32), columns=["a", "b", "c"])
    np.testing.assert_allclose(LowRankImputer().fit_transform(frame), filled)
    np.testing.assert_allclose(make_pipeline(LowRankImputer()).fit_transform(matrix.tolist()), filled)


BAD_MATRICES = [
    (np.full((3, 3), np.nan), ValueError, "at least 2 entries"),
    ([[1.0, np.nan], [np.nan, np.nan]], ValueError, "at least 2 entries"),
    ([[1.0, np.inf], [2.0, 3.0]], ValueError, "X.*infinity"),
    ([1.0, 2.0], ValueError, "X: .*Expected 2D array"),
    (np.zeros((2, 2, 2)), ValueError, "X: "),
    (np.empty((0, 3)), ValueError, "X: .*0 sample"),
    ([["a", "b"], ["c", "d"]], ValueError, "X: .*could not convert string to float"),
    ([[1, 2], [3, {}]], TypeError, "X: "),
    (np.array([[1j, 2], [3, 4]]), ValueError, "X: .*[Cc]omplex"),
    (None, ValueError, "X: "),
]


@pytest.mark.parametrize(("matrix", "kind", "message"), BAD_MATRICES)
def test_bad_matrices_are_refused(matrix, kind, message: str) -> None:
    with pytest.raises(kind, match=f"(?s){message}"):
        LowRankImputer().fit(matrix)


def test_imputer_before_fit() -> None:
    with pytest.raises(NotFittedError):
        LowRankImputer().transform(np.eye(3))


# scikit-learn's own checks that cannot hold, each for one reason: a completion knows nothing of a row that it has
# not seen, so `transform` takes the fitted matrix and no other.
TRANSDUCTIVE = {
    "check_methods_sample_order_invariance",  # transforms the rows in another order
    "check_methods_subset_invariance",  # transforms some of the rows
    "check_fit_idempotent",  # fits some of the rows and transforms the others
}
# It gives the constructor arguments of every kind, which only the run-time type checks of these tests object to.
TYPED = {"check_do_not_raise_errors_in_init_or_set_params"}


@pytest.mark.filterwarnings("ignore:Skipping check check_array_api_input")
@pytest.mark.usefixtures("no_descent")
def test_scikit_learn_checks_of_the_imputer() -> None:
    results = check_estimator(LowRankImputer(), on_fail=None)
    failed = {result["check_name"]: str(result["exception"]) for result in results if result["status"] == "failed"}
    assert failed.keys() == TRANSDUCTIVE | TYPED
    assert all("expected the matrix that was fitted" in failed[name] for name in TRANSDUCTIVE)
    assert all("Type-check error" in failed[name] for name in TYPED)
    assert sum(result["status"] == "passed" for result in results) > 35
