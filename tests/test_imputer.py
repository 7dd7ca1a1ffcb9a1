"""LowRankImputer: the model against closed forms and scikit-learn, its laws, and tables in their own units."""

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from scipy.stats import t as student
from sklearn import datasets
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from undertow.estimators import LowRankImputer, column_errors
from undertow.estimators._factor_analysis import PRIOR, FactorModel, start
from undertow.estimators._pays import share_that_pays


def table(rows=80, columns=8, rank=2, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    product = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    return product + noise * rng.standard_normal((rows, columns))


def with_holes(X, share=0.2, seed=0):
    hidden = np.random.default_rng(seed).random(X.shape) < share
    hidden[0] = False
    return np.where(hidden, np.nan, X), hidden


def rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


def model(columns=5, rank=2, seed=0):
    rng = np.random.default_rng(seed)
    loadings = rng.standard_normal((columns, rank))
    return FactorModel(rng.standard_normal(columns), loadings, rng.uniform(0.2, 1, columns))


# The model ---------------------------------------------------------------------------------------


def test_expectations_are_those_of_a_gaussian():
    made, X = model(), table(columns=5)
    _, hidden = with_holes(X, 0.4)
    hidden[3] = True
    means, variances = made.expected(X, ~hidden)
    covariance = made.loadings @ made.loadings.T + np.diag(made.noise)
    for row in range(0, 20, 3):
        seen, not_seen = ~hidden[row], hidden[row]
        if not not_seen.any():
            continue
        across = covariance[np.ix_(not_seen, seen)]
        inside = covariance[np.ix_(seen, seen)]
        gain = across @ np.linalg.inv(inside) if seen.any() else across
        expected = made.mean[not_seen] + gain @ (X[row] - made.mean)[seen]
        spread = np.diag(covariance)[not_seen] - np.einsum("ij,ij->i", gain, across)
        np.testing.assert_allclose(means[row, not_seen], expected, rtol=1e-10)
        np.testing.assert_allclose(variances[row, not_seen], spread, rtol=1e-10)


def test_every_iteration_raises_the_posterior():
    X = table(rows=40, columns=5)
    _, hidden = with_holes(X, 0.3)
    made, values = start(5, 3, np.random.default_rng(1)), []
    for _ in range(40):
        covariance = made.loadings @ made.loadings.T + np.diag(made.noise)
        likelihood = sum(
            multivariate_normal.logpdf(x[~h], made.mean[~h], covariance[np.ix_(~h, ~h)])
            for x, h in zip(X, hidden, strict=True)
        )
        values.append(likelihood - PRIOR / 2 * np.sum(made.loadings**2))
        made = made.improved(X, ~hidden)
    # The mean and the noise are held a thousandth of an observation, which is not in what is compared.
    assert np.diff(values).min() > -1e-3
    assert values[-1] > values[0] + 10


@pytest.mark.long
def test_without_holes_it_is_factor_analysis():
    X = table(rows=3000, columns=6, noise=0.5)
    X = (X - X.mean(0)) / X.std(0)
    made = start(6, 2, np.random.default_rng(0))
    for _ in range(300):
        made = made.improved(X, np.ones(X.shape, bool))
    other = FactorAnalysis(2, tol=1e-8, max_iter=5000).fit(X)
    found = made.loadings @ made.loadings.T + np.diag(made.noise)
    np.testing.assert_allclose(found, other.get_covariance(), atol=3 * PRIOR / np.sqrt(len(X)) / 10)


def test_many_rows_go_in_pieces(monkeypatch):
    X = table()
    _, hidden = with_holes(X)
    made = start(8, 2, np.random.default_rng(0))
    whole = made.improved(X, ~hidden)
    monkeypatch.setattr("undertow.estimators._factor_analysis.BLOCK", 40)
    pieces = made.improved(X, ~hidden)
    for name in ("mean", "loadings", "noise"):
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(made.expected(X, ~hidden)[0], whole_expected(made, X, hidden), rtol=1e-12)


def whole_expected(made, X, hidden):
    factors, _ = made.factors(X, ~hidden)
    return made.mean + factors @ made.loadings.T


# Laws --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [1e-150, 1e-9, 3.7, 1e12, 1e150])
def test_columns_in_other_units_give_the_same_answer(units):
    given, _ = with_holes(table())
    scale = np.where(np.arange(8) % 2, units, 1.0)
    shift = scale * np.arange(8)
    filled, std = LowRankImputer().fit_transform(given, return_std=True)
    other, other_std = LowRankImputer().fit_transform(given * scale + shift, return_std=True)
    np.testing.assert_allclose((other - shift) / scale, filled, atol=1e-6)
    np.testing.assert_allclose(other_std / scale, std, atol=1e-6)


def test_rows_are_filled_one_by_one():
    given, _ = with_holes(table())
    made = LowRankImputer().fit(given)
    filled = made.transform(given)
    np.testing.assert_allclose(made.transform(given[5:9]), filled[5:9], rtol=1e-12)
    np.testing.assert_array_equal(LowRankImputer().fit_transform(given), filled)
    fresh = table(rows=81)[80:]
    fresh[0, 1] = np.nan
    assert np.isfinite(made.transform(fresh)).all()


def test_exact_low_rank_is_found():
    X = table(noise=0)
    given, hidden = with_holes(X, 0.3)
    made = LowRankImputer()
    assert rms((made.fit_transform(given) - X)[hidden]) < 0.02 * rms(X)
    assert made.shrinkage_ == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(made.transform(given)[~hidden], X[~hidden])


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_left_to_the_column_means(seed):
    X = np.random.default_rng(seed).standard_normal((60, 6))
    given, hidden = with_holes(X, 0.3, seed)
    ours = rms((LowRankImputer().fit_transform(given) - X)[hidden])
    # Where nothing can be gained, one standard error of held-out entries is what may be lost.
    assert ours <= 1.02 * rms((np.nanmean(given, 0) - X)[hidden])


@pytest.mark.parametrize("seed", range(3))
def test_nine_tenths_are_within_the_interval(seed):
    X = table(rows=150, rank=3, columns=10, seed=seed)
    given, hidden = with_holes(X, 0.3, seed)
    filled, std = LowRankImputer(random_state=seed).fit_transform(given, return_std=True)
    assert 0.85 <= np.mean(np.abs(filled - X)[hidden] <= 1.645 * std[hidden]) <= 0.95
    assert not std[~hidden].any()


# Tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "below"), [("wine", 0.85), ("diabetes", 0.85), ("iris", 0.7), ("linnerud", 1.05)])
def test_tables_in_their_own_units(name, below):
    """Error over that of the column means, mean over three seeds; wine came out at 4.6 in units of its columns once."""
    X = getattr(datasets, f"load_{name}")().data.astype(float)
    shares = []
    for seed in range(3):
        given, hidden = with_holes(X, 0.2, seed)
        unit = X.std(0)
        errors = [(guess - X) / unit for guess in (LowRankImputer().fit_transform(given), np.nanmean(given, 0))]
        shares.append(rms(errors[0][hidden]) / rms(errors[1][hidden]))
    assert np.mean(shares) < below


def test_columns_that_were_never_seen_together_say_nothing_of_each_other():
    X = table(200, 8)
    hidden = np.zeros(X.shape, bool)
    hidden[:100, :4] = hidden[100:, 4:] = True
    given = np.where(hidden, np.nan, X)
    filled, std = LowRankImputer().fit_transform(given, return_std=True)
    error, of_means = (rms((guess - X)[hidden]) for guess in (filled, np.nanmean(given, 0)))
    assert error <= 1.05 * of_means
    assert 0.8 <= np.mean(np.abs(filled - X)[hidden] <= 1.645 * std[hidden]) <= 1
    # Half a table is no obstacle where the other half was seen with it.
    hidden[100:] = False
    given = np.where(hidden, np.nan, X)
    filled = LowRankImputer().fit_transform(given)
    assert rms((filled - X)[hidden]) < 0.5 * rms((np.nanmean(given, 0) - X)[hidden])


def test_constant_columns_are_filled_with_their_value():
    X = table()
    X[:, 3], X[:, 5] = 7, 0.1
    given, _ = with_holes(X)
    filled, std = LowRankImputer().fit_transform(given, return_std=True)
    assert np.all(filled[:, 3] == 7)
    assert np.all(filled[:, 5] == 0.1)
    assert not std[:, [3, 5]].any()
    assert np.all(LowRankImputer().fit_transform(np.array([[7.0, 1.0], [np.nan, 2.0], [7.0, np.nan]]))[1, 0] == 7)


def test_empty_columns_and_rows():
    given, _ = with_holes(table())
    given[:, 2], given[4] = np.nan, np.nan
    made = LowRankImputer().fit(given)
    assert made.transform(given).shape == (80, 7)
    np.testing.assert_array_equal(made.get_feature_names_out(), [f"x{j}" for j in range(8) if j != 2])
    kept = LowRankImputer(keep_empty_features=True).fit_transform(given)
    assert kept.shape == (80, 8)
    assert not kept[:, 2].any()
    assert np.isnan(made.mean_[2])
    expected = (made.mean_ - made._columns.mean)[[0]] * made.shrinkage_ + made._columns.mean[0]
    assert made.transform(given)[4, 0] == pytest.approx(expected[0])


def test_indicator_and_frames():
    pandas = pytest.importorskip("pandas")
    given, hidden = with_holes(table())
    frame = pandas.DataFrame(given, columns=list("abcdefgh"))
    made = LowRankImputer(add_indicator=True).set_output(transform="pandas")
    filled = made.fit_transform(frame)
    marked = [f"missingindicator_{name}" for name, holes in zip("abcdefgh", hidden.T, strict=True) if holes.any()]
    assert list(filled.columns) == [*"abcdefgh", *marked]
    np.testing.assert_array_equal(filled[marked], hidden[:, hidden.any(0)])
    plain = make_pipeline(LowRankImputer()).fit_transform(given.tolist())
    np.testing.assert_allclose(filled[list("abcdefgh")], plain, rtol=1e-9)


def test_clipping_keeps_the_range_of_each_column():
    given, _ = with_holes(table(noise=0), 0.5)
    filled = LowRankImputer(clip=True).fit_transform(given)
    assert np.all(filled <= np.nanmax(given, 0))
    assert np.all(filled >= np.nanmin(given, 0))


def test_errors_by_column_in_its_units():
    X = table() * np.array([1, 1e6, 1e-6, 1, 1, 1, 1, 0])
    errors = column_errors(LowRankImputer(), X, test_fraction=0.2, seed=1)
    assert errors.counts.sum() == errors.test_size == round(0.2 * X.size)
    assert np.mean(errors.columns[:7] / errors.means[:7]) < 0.8
    assert 1e5 < errors.means[1] < 1e7
    assert errors.columns[7] == 0
    assert errors.overall < 0.8 * errors.mean_overall
    with pytest.raises(ValueError, match=r"^X: expected at least 2 entries beside 1 held out"):
        column_errors(LowRankImputer(), np.array([[1.0, 2.0]]))


@pytest.mark.parametrize("rows", [4, 7, 15])
def test_intervals_of_columns_with_few_entries_are_students(rows):
    X = np.random.default_rng(rows).standard_normal((rows, 400))
    hidden = np.zeros(X.shape, bool)
    hidden[0] = True
    _, std = LowRankImputer(rank=1).fit_transform(np.where(hidden, np.nan, X), return_std=True)
    count, mean = rows - 1, X[1:].mean(0)
    half = student.ppf(0.95, count - 1) * X[1:].std(0, ddof=1) * np.sqrt(1 + 1 / count)
    np.testing.assert_allclose(1.6448536 * std[0], half, rtol=1e-6)
    # 400 columns: two standard deviations of the share are 0.03.
    assert np.mean(np.abs(X[0] - mean) <= half) == pytest.approx(0.9, abs=0.04)


def test_what_may_be_chance_is_not_kept():
    rng = np.random.default_rng(0)
    added = rng.standard_normal((2000, 30))
    kept = [share_that_pays(one, rng.standard_t(2, 30)) for one in added]
    assert np.mean(np.array(kept) > 0) < 0.04
    truth = rng.standard_normal(200)
    assert share_that_pays(truth, truth) == 1
    assert 0.3 < share_that_pays(2 * truth, truth) <= 0.5
    assert share_that_pays(-truth, truth) == share_that_pays(0 * truth, truth) == 0
    # Four values, or one that outweighs the others.
    assert share_that_pays(truth[:4], truth[:4]) == 0
    outlier = np.where(np.arange(200) == 7, 1e6, 1e-3 * truth)
    assert share_that_pays(outlier, outlier) == 0


# Manners -----------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Skipping check check_array_api_input")
def test_scikit_learn_checks():
    failed = [r["check_name"] for r in check_estimator(LowRankImputer(), on_fail=None) if r["status"] == "failed"]
    # It gives the constructor arguments of every kind, which only the run-time type checks of these tests object to.
    assert set(failed) <= {"check_do_not_raise_errors_in_init_or_set_params"}


def test_seeds():
    given, _ = with_holes(table())
    first = LowRankImputer(random_state=3).fit_transform(given)
    np.testing.assert_array_equal(LowRankImputer(random_state=3).fit_transform(given), first)
    assert np.isfinite(LowRankImputer(random_state=None).fit_transform(given)).all()
    with jax.numpy_dtype_promotion("strict"):
        np.testing.assert_array_equal(LowRankImputer(random_state=3).fit_transform(given), first)


BAD_PARAMETERS = [
    *[(name, value) for name in ("rank", "patience", "max_iter") for value in (0, 1.5, "2", None, True)],
    *[("validation_fraction", value) for value in (0, 0.6, -0.1, np.nan)],
    *[(name, value) for name in ("clip", "keep_empty_features", "add_indicator") for value in ("no", None)],
    *[("random_state", value) for value in (-1, 0.5, "seed")],
]


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
def test_bad_parameters_are_refused_by_fit(name, value):
    made = LowRankImputer().set_params(**{name: value})
    with pytest.raises((ValueError, TypeError), match=f"^{name}: "):
        made.fit(np.eye(3))
    assert not hasattr(made, "mean_")


BAD_MATRICES = [
    (np.full((3, 3), np.nan), ValueError, "at least 2 entries"),
    ([[1.0, np.nan], [np.nan, np.nan]], ValueError, "at least 2 entries"),
    ([[1.0, np.inf], [2.0, 3.0]], ValueError, "X.*infinity"),
    ([1.0, 2.0], ValueError, "X: .*Expected 2D array"),
    (np.zeros((2, 2, 2)), ValueError, "X: "),
    (np.empty((0, 3)), ValueError, "X: .*0 sample"),
    ([["a", "b"], ["c", "d"]], ValueError, "^X: expected numbers, found 'a' in column 0 "),
    ([[1, 2], [3, {}]], TypeError, "X: "),
    (np.array([[1j, 2], [3, 4]]), ValueError, "X: .*[Cc]omplex"),
    (None, ValueError, "X: "),
]


@pytest.mark.parametrize(("matrix", "kind", "message"), BAD_MATRICES)
def test_bad_matrices_are_refused(matrix, kind, message):
    with pytest.raises(kind, match=f"(?s){message}"):
        LowRankImputer().fit(matrix)


def test_before_fit_and_other_columns():
    with pytest.raises(NotFittedError):
        LowRankImputer().transform(np.eye(3))
    with pytest.raises(ValueError, match="3 features"):
        LowRankImputer().fit(np.eye(3)).transform(np.eye(4))


def test_of_a_column_with_one_entry_or_none_the_spread_is_not_known():
    X = np.random.default_rng(0).normal(size=(30, 5))
    X[1:, 1], X[:, 2], X[:, 3], X[5, [0, 3]] = np.nan, np.nan, 2.0, np.nan
    filled, std = LowRankImputer(keep_empty_features=True).fit_transform(X, return_std=True)
    assert np.isfinite(filled).all()
    assert np.isnan(std[1:, 1]).all()
    assert std[0, 1] == 0
    assert np.isnan(std[:, 2]).all()
    assert std[5, 3] == 0 < std[5, 0]
    assert np.isfinite(std[:, [0, 3, 4]]).all()
