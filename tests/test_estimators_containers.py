"""Data as it comes: masks, data frames, units near the ends of what floats hold, sparse columns, NumPy's errors."""

import datetime as dt

import jax
import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array
from sklearn.compose import ColumnTransformer

from undertow.estimators import (
    LowRankImputer,
    RatingPredictor,
    SparseRegressor,
    complete,
    fit_effects,
)
from undertow.estimators._completion import Settings
from undertow.estimators._standardized import Standardized

pandas = pytest.importorskip("pandas")
LARGE = 76561197960265728 + np.arange(6)
QUICK = {"cv": 3, "repeats": 1, "scales": 1e-6}


def draw(rows: int = 60, columns: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, columns))
    return X, 3 * X[:, 0] - 2 * X[:, 1] + 0.05 * rng.standard_normal(rows)


@pytest.mark.parametrize("kind", [float, int, np.float32])
def test_masked_entries_are_holes(kind: type) -> None:
    X = np.outer([1, 2, 3, 4], [1, 2, 4]).astype(kind)
    X[1, 1] = 99
    masked = np.ma.masked_equal(X, 99)
    expected = LowRankImputer().fit_transform(np.where(X == 99, np.nan, X.astype(float)))
    np.testing.assert_array_equal(LowRankImputer().fit_transform(masked), expected)
    np.testing.assert_array_equal(masked.mask, X == 99)
    model = LowRankImputer().fit(masked)
    np.testing.assert_array_equal(model.transform(masked), expected)


def masked_arguments():
    X, y = draw()
    pairs = np.array([[u, i] for u in range(3) for i in range(3)])
    ratings = np.ma.masked_equal(np.where(np.arange(9) == 4, -99.0, 3.0), -99)
    i, j = pairs.T
    return [
        (lambda: RatingPredictor().fit(pairs, ratings), "y"),
        (lambda: RatingPredictor().fit(pairs, list(ratings)), "y"),
        (lambda: RatingPredictor().fit(np.ma.masked_equal(pairs, 2), np.ones(9)), "X"),
        (lambda: RatingPredictor().fit(pairs, np.ones(9)).predict(np.ma.masked_equal(pairs, 2)), "X"),
        (lambda: SparseRegressor(**QUICK).fit(X, np.ma.masked_less(y, 0)), "y"),
        (lambda: SparseRegressor(**QUICK).fit(np.ma.masked_less(X, 0), y), "X"),
        (lambda: SparseRegressor(**QUICK).fit(X, y).predict(np.ma.masked_less(X, 0)), "X"),
        (lambda: LowRankImputer().fit([np.ma.masked_equal([1.0, 2.0], 2), [3.0, 4.0]]), "X"),
        (lambda: complete(i, j, ratings, (3, 3), Settings()), "values"),
        (lambda: complete(np.ma.masked_equal(i, 2), j, np.ones(9), (3, 3), Settings()), "i"),
    ]


@pytest.mark.parametrize("number", range(10))
def test_masked_entries_are_refused_elsewhere(number: int) -> None:
    call, name = masked_arguments()[number]
    with pytest.raises(TypeError, match=f"^{name}: .* masked"):
        call()


def frames():
    items = np.arange(6)
    return {
        "float": pandas.DataFrame({"user": LARGE, "item": items.astype(float)}),
        "signs": pandas.DataFrame({"user": LARGE.astype(np.uint64), "item": items}),
        "nullable": pandas.DataFrame({"user": pandas.array(LARGE, dtype="Int64"), "item": items}),
        "beyond 63 bits": pandas.DataFrame({"user": [int(x) + 2**63 for x in LARGE], "item": items}),
        "objects": pandas.DataFrame({"user": np.array([*LARGE[:5].tolist(), 0.5], object), "item": items}),
    }


@pytest.mark.parametrize("name", frames())
def test_columns_of_a_frame_keep_their_digits(name: str) -> None:
    frame = frames()[name]
    model = RatingPredictor().fit(frame, np.arange(6.0))
    assert model.users_.tolist() == sorted(frame["user"].tolist())
    assert len(set(model.predict(frame).tolist())) == 6


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_floating_ids_that_lost_digits_are_refused(dtype: type) -> None:
    first = 2 ** (np.finfo(dtype).nmant + 1)
    pairs = np.array([[first - 1, 1], [first, 2]], dtype)
    assert RatingPredictor().fit(pairs, [1, 2]).users_.tolist() == [first - 1, first]
    with pytest.raises(ValueError, match=r"^X: expected user ids that keep all their digits"):
        RatingPredictor().fit(pairs + np.array([2, 0], dtype), [1, 2])


TIMES = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[s]")


@pytest.mark.parametrize("times", [TIMES, TIMES - TIMES[0]], ids=["dates", "spans"])
def test_times_are_no_numbers(times: np.ndarray) -> None:
    table, pairs, y = np.stack([times, times], axis=1), [[1, 1], [2, 2], [3, 3]], np.arange(3.0)
    frame = pandas.DataFrame({"a": times, "b": times})
    for call in (
        *[lambda x=x: LowRankImputer().fit(x) for x in (table, frame)],
        *[lambda x=x: SparseRegressor().fit(x, y) for x in (table, frame)],
        *[lambda x=x: RatingPredictor().fit(x, y) for x in (table, frame)],
        lambda: SparseRegressor().fit(np.eye(3), times),
        lambda: SparseRegressor().fit(np.eye(3), list(times)),
        lambda: LowRankImputer().fit([list(times), list(times)]),
        lambda: RatingPredictor().fit(pairs, times),
    ):
        with pytest.raises(TypeError, match=r"expected.* numbers, found"):
            call()
    with pytest.raises(TypeError, match=r"^y: .*complex"):
        RatingPredictor().fit(pairs, y + 0j)


@pytest.mark.parametrize("library", ["polars", "arrow"])
def test_ratings_of_other_libraries(library: str) -> None:
    table = pytest.importorskip({"arrow": "pyarrow"}.get(library, library))
    X, y = np.array([[u, i] for u in range(5) for i in range(4)]), np.arange(20.0) % 7
    frame = {"user": X[:, 0], "item": X[:, 1].astype(str)}
    ratings = table.array(y) if library == "arrow" else table.Series(y)
    of_library = table.table(frame) if library == "arrow" else table.DataFrame(frame)
    rows = [(int(u), str(i)) for u, i in X]
    model, expected = RatingPredictor(rank=1).fit(of_library, ratings), RatingPredictor(rank=1).fit(rows, y)
    np.testing.assert_array_equal(model.predict(of_library[:7]), expected.predict(rows[:7]))
    assert model.items_.tolist() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("time", [np.datetime64("2020-01-01"), np.timedelta64(3, "D")])
def test_times_among_objects_are_no_numbers(time) -> None:
    """NumPy counts their days: 18,262 and 3."""
    X = np.array([[1.0, 2.0], [3.0, time], [5.0, 6.0]], dtype=object)
    for wrong in (X, X.tolist(), pandas.DataFrame(X, dtype=object)):
        with pytest.raises(TypeError, match="X: expected numbers, found"):
            LowRankImputer().fit(wrong)
        with pytest.raises(TypeError, match="X: expected numbers, found"):
            SparseRegressor(**QUICK).fit(wrong, [1.0, 2.0, 3.0])


def test_columns_of_other_kinds_are_read_or_refused() -> None:
    X = np.outer(np.arange(1.0, 9), [1.0, 2.0, -1.0])
    X[2, 1] = np.nan
    frame, expected = pandas.DataFrame(X, columns=["a", "b", "c"]), LowRankImputer().fit_transform(X)
    for kind in ("Int64", "Float64", "category", "object"):
        found = LowRankImputer().fit_transform(frame.astype({"b": kind}))
        np.testing.assert_allclose(
            found, expected, rtol=1e-8
        )  # of another order in memory, in which sums round otherwise
    for column in (["1,5"] * 8, ["x"] * 8, pandas.period_range("2020", periods=8), [[1, 2]] * 8, [1j] * 8):
        with pytest.raises((TypeError, ValueError), match=r"^X: expected .*(in column 'b'|Complex data)"):
            LowRankImputer().fit(frame.assign(b=column))


@pytest.mark.parametrize(
    "make", [lambda x: x.astype(">f8"), lambda x: pandas.DataFrame(x).astype("Float64"), csc_array]
)
def test_containers_of_the_same_numbers(make) -> None:
    X, y = draw()
    X = X.round(2)
    expected, model = SparseRegressor(**QUICK).fit(X, y), SparseRegressor(**QUICK).fit(make(X), y.astype(">f8"))
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-10)


def test_nullable_columns() -> None:
    frame = pandas.DataFrame({"a": [1, 2, 3, None], "b": [2, None, 6, 8]}, dtype="Int64")
    expected = LowRankImputer().fit_transform(frame.astype(float).to_numpy(na_value=np.nan))
    np.testing.assert_array_equal(LowRankImputer().fit_transform(frame), expected)


@pytest.mark.parametrize("wide", [True, False], ids=["64 bits", "32 bits"])
@pytest.mark.parametrize("factor", [1e-300, 1e-46, 1e46, 1e290])
def test_units_near_the_ends_of_what_floats_hold(factor: float, *, wide: bool) -> None:
    X, y = draw()
    units = np.array([factor, 1, 1, 1, 1, 1])
    with jax.enable_x64(wide):
        plain = SparseRegressor(**QUICK).fit(X, y)
        for make in (np.asarray, csr_array):
            model = SparseRegressor(**QUICK).fit(make(X * units), y)
            np.testing.assert_allclose(model.coef_ * units, plain.coef_, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(model.predict(make(X * units)), plain.predict(X), atol=1e-3)


def test_units_too_far_apart_are_refused() -> None:
    X, y = draw()
    with pytest.raises(ValueError, match=r"^X, y: expected units whose ratio is a number"):
        SparseRegressor(**QUICK).fit(X * 1e-300, y * 1e100)
    for factor in (1e-200, 1e200):
        with pytest.raises(ValueError, match=r"^y: expected numbers that can be squared"):
            SparseRegressor(**QUICK).fit(X, y * factor)


@pytest.mark.parametrize("mean", [0.0, 5.0, 1e3, 1.7e6])
def test_sparse_columns_far_from_zero(mean: float) -> None:
    X, y = draw()
    X[:, 1] += mean
    X[5, 2] = 0
    with jax.enable_x64(False):
        dense, sparse = (SparseRegressor(**QUICK).fit(make(X), y) for make in (np.asarray, csr_array))
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(sparse.predict(csr_array(X)), dense.predict(X), atol=1e-3)


def test_entries_that_stand_twice_add_up() -> None:
    X, y = draw()
    halves = np.repeat(X.ravel() / 2, 2), np.repeat(np.tile(np.arange(6), 60), 2), np.arange(0, 721, 12)
    twice = csr_array(halves, shape=X.shape)
    assert not twice.has_canonical_format
    problems = [
        Standardized(x, y, scale_columns=True, weight=np.ones(60), intercept=True) for x in (twice, csr_array(X))
    ]
    np.testing.assert_allclose(problems[0].units, problems[1].units, rtol=1e-14)
    np.testing.assert_allclose(problems[0].table.toarray(), problems[1].table.toarray(), rtol=1e-12)


def test_numpy_told_to_raise_changes_nothing() -> None:
    X, y = draw()
    holes = np.where(X > 2, np.nan, X)
    expected = SparseRegressor(**QUICK).fit(X, y), LowRankImputer().fit_transform(holes)
    i, j = np.nonzero(X)
    tiny = X * 1e-307
    with np.errstate(all="raise"):
        model = SparseRegressor(**QUICK).fit(X, y)
        np.testing.assert_array_equal(model.coef_, expected[0].coef_)
        np.testing.assert_array_equal(model.predict(tiny), expected[0].predict(tiny))
        np.testing.assert_array_equal(LowRankImputer().fit_transform(holes), expected[1])
        fit_effects(i, j, tiny.ravel(), X.shape, ridge=1.0)


def test_an_imputer_is_one_column_in_one_column_out() -> None:
    X, _ = draw(20, 3)
    frame = pandas.DataFrame(np.where(X > 1, np.nan, X), columns=["a", "b", "c"], index=np.arange(20) + 7)
    filled = LowRankImputer().set_output(transform="pandas").fit_transform(frame)
    pandas.testing.assert_index_equal(filled.columns, frame.columns)
    pandas.testing.assert_index_equal(filled.index, frame.index)
    np.testing.assert_array_equal(filled, LowRankImputer().fit_transform(frame))
    chosen = ColumnTransformer([("fill", LowRankImputer(), ["a", "c"])]).fit(frame)
    assert chosen.get_feature_names_out().tolist() == ["fill__a", "fill__c"]


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [(("x", 1), ("x", 2), ("y", 1)), (frozenset("x"), frozenset("y"), frozenset("xy")), (b"x", b"y", b"z")],
    ids=["tuples", "sets, which have an order in part", "bytes"],
)
def test_ids_that_can_be_hashed(a, b, c):
    """As whole numbers answer that stand in their places, as lists and as arrays of objects."""
    named = [[a, a], [b, b], [c, c], [a, b], [b, c], [a, c]]
    codes = {one: code for code, one in enumerate((a, b, c))}
    numbered = np.array([[codes[user], codes[item]] for user, item in named])
    ratings = [1, 2, 3, 4, 5, 3]
    expected = RatingPredictor(members=1, max_iter=2).fit(numbered, ratings)
    model = RatingPredictor(members=1, max_iter=2).fit(named, ratings)
    assert model.users_.tolist() == [a, b, c]
    np.testing.assert_array_equal(model.predict(named), expected.predict(numbered))
    assert set(model.recommend(c)[0].tolist()) == {a, b}
    model.partial_fit([[c, a]], [4])
    np.testing.assert_array_equal(model.predict(named), expected.partial_fit([[2, 0]], [4]).predict(numbered))


@pytest.mark.parametrize(
    ("column", "found"),
    [
        ([None, None], "NoneType"),
        ([[1], [2]], "list"),
        ([dt.date(2020, 1, 1), dt.date(2020, 1, 2)], "date"),
        ([("a",), "a"], "text and tuple"),
    ],
)
def test_what_is_no_id(column, found):
    pairs = np.empty((2, 2), object)
    for row in range(2):
        pairs[row, 0], pairs[row, 1] = column[row], "a"
    with pytest.raises(TypeError, match=f"^X: expected user ids .*found {found}"):
        RatingPredictor().fit(pairs, [1, 2])
