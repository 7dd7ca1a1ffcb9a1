"""TensorCompleter: sums against loops, exact sums of products, laws, what is refused, and intervals."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, cross_val_score

from undertow.estimators import TensorCompleter, tensor_errors
from undertow.estimators._tensor_bayes import Products, start
from undertow.estimators._tensor_effects import fit_tensor_effects, joint, single_axes
from undertow.estimators._tensor_model import groupings
from undertow.estimators._tensor_sums import Entries


def low_rank(shape, rank, seed=0):
    draws = np.random.default_rng(seed)
    letters = "abcde"[: len(shape)]
    formula = ",".join(f"{letter}r" for letter in letters) + "->" + letters
    return np.einsum(formula, *(draws.standard_normal((length, rank)) for length in shape))


def with_holes(tensor, share, seed=1):
    hidden = np.random.default_rng(seed).random(tensor.shape) < share
    return np.where(hidden, np.nan, tensor), hidden


def rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


# The parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 5), (3, 2, 4, 3)])
def test_sums_are_those_of_loops(shape, dense, monkeypatch):
    monkeypatch.setattr("undertow.estimators._tensor_sums.DENSE", 100 if dense else 0)
    monkeypatch.setattr("undertow.estimators._tensor_sums.BLOCK", 20)  # several blocks
    draws = np.random.default_rng(0)
    indices = np.argwhere(draws.random(shape) < 0.5)
    values = draws.standard_normal(len(indices))
    entries = Entries(indices, values, shape)
    assert entries.dense == dense
    tables = [draws.standard_normal((length, 3)) for length in shape]
    for axis, weighted in itertools.product(range(len(shape)), (False, True)):
        expected = np.zeros((shape[axis], 3))
        for place, value in zip(indices, values, strict=True):
            product = np.prod([tables[k][place[k]] for k in range(len(shape)) if k != axis], axis=0)
            expected[place[axis]] += product * (value if weighted else 1)
        np.testing.assert_allclose(entries.sums(axis, tables, weighted=weighted), expected, atol=1e-12)


def test_a_pass_is_regression_on_the_other_factors():
    """Known factors, without uncertainty: each row's posterior is that of a Bayesian regression."""
    shape, rank = (6, 5, 4), 2
    model = start(shape, rank, 0)
    upper = np.triu_indices(rank)
    known = Products(
        model.means, tuple(m[:, upper[0]] * m[:, upper[1]] for m in model.means), 0.3, np.array([1.0, 2.0]), False
    )
    indices = np.argwhere(np.random.default_rng(0).random(shape) < 0.6)
    values = np.random.default_rng(1).standard_normal(len(indices))
    found = known.improved(Entries(indices, values, shape)).means[0]
    for row in range(shape[0]):
        own = indices[:, 0] == row
        X = known.means[1][indices[own, 1]] * known.means[2][indices[own, 2]]
        expected = np.linalg.solve(X.T @ X / 0.3 + np.diag([1.0, 2.0]), X.T @ values[own] / 0.3)
        np.testing.assert_allclose(found[row], expected, rtol=1e-9)


def test_noise_and_variances_are_those_of_draws():
    shape = (5, 4, 3)
    truth = low_rank(shape, 2)
    entries = Entries(np.argwhere(truth != 0), truth.ravel() / rms(truth), shape)
    model = start(shape, 3, 0).improved(entries)
    draws = np.random.default_rng(0)
    upper = np.triu_indices(3)
    factors = []
    for mean, second in zip(model.means, model.seconds, strict=True):
        full = np.zeros((len(mean), 3, 3))
        full[:, upper[0], upper[1]] = full[:, upper[1], upper[0]] = second
        covariance = full - mean[:, :, None] * mean[:, None]
        factors.append(
            np.stack([draws.multivariate_normal(m, c, 20_000) for m, c in zip(mean, covariance, strict=True)])
        )
    drawn = np.einsum("asr,bsr,csr->sabc", *factors).reshape(20_000, -1)
    np.testing.assert_allclose(model.at(entries.indices), drawn.mean(0), atol=5 * drawn.std(0).max() / 20_000**0.5)
    # 20,000 draws know a variance, also of products of Gaussians, to some percent.
    np.testing.assert_allclose(model.variance_at(entries.indices) - model.noise, drawn.var(0), rtol=0.15)
    assert model.noise == pytest.approx(np.mean((drawn - entries.values) ** 2), rel=0.02)


def test_effects_of_an_additive_tensor_are_found():
    draws = np.random.default_rng(0)
    a, b, c = (draws.standard_normal(n) for n in (9, 8, 7))
    tensor = 3 + a[:, None, None] + b[:, None] + c
    _, hidden = with_holes(tensor, 0.4)
    effects = fit_tensor_effects(np.argwhere(~hidden), tensor[~hidden], tensor.shape, single_axes(3))
    np.testing.assert_allclose(effects.at(np.argwhere(hidden)), tensor[hidden], atol=1e-4)


def test_ways_to_group_the_axes():
    assert len(groupings((5, 5), 25)) == 1
    assert len(groupings((9, 9, 9), 729)) == 4
    assert len(groupings((9, 9, 9, 9), 9**4)) == 14
    # Two entries for each joint index, or they are not taken as one.
    assert groupings((9, 9, 9), 100) == [((0,), (1,), (2,))]
    for way in groupings((3, 4, 5, 2, 3), 10_000):
        assert sorted(k for axes in way for k in axes) == list(range(5))
    indices = np.argwhere(np.ones((3, 4, 5)))
    assert len(np.unique(joint(indices, (3, 4, 5), (0, 2)))) == 15


# What it recovers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "rank", "share"),
    [
        ((30, 40), 2, 0.4),
        ((15, 12, 10), 2, 0.5),
        pytest.param((20, 20, 20), 3, 0.8, marks=pytest.mark.slow),
        ((8, 8, 8, 8), 3, 0.8),
    ],
)
def test_exact_sums_of_products_are_recovered(shape, rank, share):
    truth = low_rank(shape, rank)
    given, hidden = with_holes(truth, share)
    model = TensorCompleter()
    filled = model.fit_transform(given)
    assert rms((filled - truth)[hidden]) < 1e-4 * truth.std()
    np.testing.assert_array_equal(filled[~hidden], truth[~hidden])
    places = np.argwhere(hidden)
    np.testing.assert_array_equal(model.predict(places), filled[hidden])
    assert model.groups_ == single_axes(len(shape))
    assert rank <= model.rank_ <= 20
    letters = "abcd"[: len(shape)]
    formula = ",".join(f"{letter}r" for letter in letters) + "->" + letters
    if len(model.parts_) == 1 and not model.parts_[0][1]:
        made = np.einsum(formula, *model.components_)
        # Those that are left out are below a hundredth of the deviation each, at most twenty.
        assert rms((made - filled)[hidden]) < 0.2 * truth.std()


@pytest.mark.long
def test_axes_are_taken_as_one_where_that_is_what_is_of_low_rank():
    draws = np.random.default_rng(0)
    truth = (draws.standard_normal((120, 2)) @ draws.standard_normal((2, 30))).reshape(12, 10, 30)
    given, hidden = with_holes(truth, 0.5)
    model = TensorCompleter().fit(given)
    assert model.groups_ == ((0, 1), (2,))
    assert [factor.shape[:-1] for factor in model.components_] == [(12, 10), (30,)]
    error = rms(model.predict(np.argwhere(hidden)) - truth[hidden])
    assert error < 0.01 * truth.std()
    apart = TensorCompleter(group_axes=False).fit(given)
    assert apart.groups_ in ((), single_axes(3))
    assert rms(apart.predict(np.argwhere(hidden)) - truth[hidden]) > 10 * error


@pytest.mark.long
def test_never_worse_than_effects_beyond_noise():
    for seed in range(3):
        draws = np.random.default_rng(seed)
        noise = draws.standard_normal((12, 10, 8))
        for truth in (noise, noise + 3 * draws.standard_normal((12, 1, 1)) + 3 * draws.standard_normal(8)):
            given, hidden = with_holes(truth, 0.4, seed)
            seen, places = ~hidden, np.argwhere(hidden)
            effects = fit_tensor_effects(np.argwhere(seen), truth[seen], truth.shape, single_axes(3)).at(places)
            found = TensorCompleter(random_state=seed).fit(given).predict(places)
            # A share of a few percent of the noise is what 600 entries cannot tell from nothing.
            assert rms(found - truth[hidden]) < 1.03 * rms(effects - truth[hidden])


@pytest.mark.long
def test_intervals_hold_what_they_say():
    within = []
    for seed in range(3):
        truth = low_rank((15, 12, 10), 2, seed) + 0.5 * np.random.default_rng(seed).standard_normal((15, 12, 10))
        given, hidden = with_holes(truth, 0.5, seed)
        found, std = TensorCompleter(random_state=seed).fit(given).predict(np.argwhere(hidden), return_std=True)
        assert (std > 0).all()
        within.append(np.mean(np.abs(found - truth[hidden]) < 1.645 * std))
    assert 0.82 < np.mean(within) < 0.97  # 90% nominal


# Laws --------------------------------------------------------------------------------------------


def noisy(shape=(10, 9, 8), seed=0):
    truth = low_rank(shape, 2, seed) + 0.2 * np.random.default_rng(seed).standard_normal(shape)
    return with_holes(truth, 0.4)


@pytest.mark.long
@pytest.mark.parametrize("factor", [-3.0, 1e-90, 1e90, 2.0**40])
def test_a_factor_of_all_entries_is_one_of_all_predictions(factor):
    given, _ = noisy()
    found, std = TensorCompleter().fit_transform(given, return_std=True)
    scaled, scaled_std = TensorCompleter().fit_transform(factor * given, return_std=True)
    np.testing.assert_allclose(scaled / factor, found, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scaled_std / abs(factor), std, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_a_constant_that_is_added_is_added():
    given, _ = noisy()
    model = TensorCompleter(center=True)
    np.testing.assert_allclose(model.fit_transform(given + 50.0) - 50, model.fit_transform(given), atol=1e-5)


@pytest.mark.long
def test_variables_in_units_of_their_own():
    given, _ = noisy()
    units, zeros = 10.0 ** np.arange(-4, 5), np.linspace(-5, 5, 9) * 10.0 ** np.arange(-4, 5)
    model = TensorCompleter(variables=1)
    expected = model.fit_transform(given)
    found, std = model.fit_transform(given * units[:, None] + zeros[:, None], return_std=True)
    np.testing.assert_allclose((found - zeros[:, None]) / units[:, None], expected, atol=1e-4)
    assert np.all(std[:, 8] <= 1e10)
    with pytest.warns(UserWarning, match=r"axis 1 go from .* say variables=1"):
        TensorCompleter().fit(given * units[:, None])


@pytest.mark.long
def test_an_array_a_mask_and_indices_are_one():
    given, hidden = noisy()
    expected = TensorCompleter().fit_transform(given)
    masked = np.ma.array(np.nan_to_num(given, nan=-99.0), mask=hidden)
    np.testing.assert_array_equal(TensorCompleter().fit_transform(masked), expected)
    indices, values = np.argwhere(~hidden), given[~hidden]
    found = TensorCompleter(shape=given.shape).fit_transform(indices, values)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(TensorCompleter().fit_transform(given.tolist()), expected)


@pytest.mark.long
def test_as_scikit_learn_has_it():
    given, hidden = noisy()
    model = TensorCompleter(members=2, random_state=3)
    assert repr(model) == "TensorCompleter(members=2, random_state=3)"
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.predict([[0, 0, 0]])
    assert model.fit(given) is model
    np.testing.assert_array_equal(clone(model).fit_transform(given), model.fit_transform(given))
    state = TensorCompleter(random_state=np.random.RandomState(0))
    assert state.fit(given).predict([[0, 0, 0]]).shape == (1,)
    assert model.predict(np.empty((0, 3), int)).shape == (0,)
    indices, values = np.argwhere(~hidden), given[~hidden]
    folds = KFold(3, shuffle=True, random_state=0)
    scores = cross_val_score(TensorCompleter(shape=given.shape, empty_slices="fill"), indices, values, cv=folds)
    assert scores.min() > 0.5
    seen = []
    model.fit(given, progress=lambda fraction, message: seen.append(fraction))
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] <= 1


# Reals: constant, empty and single ----------------------------------------------------------------


@pytest.mark.long
def test_constant_tensors_and_slices():
    given = np.full((4, 5, 6), 7.0)
    given[0, 0, 0] = np.nan
    found, std = TensorCompleter().fit_transform(given, return_std=True)
    assert np.all(found == 7)
    assert not std.any()
    given, _ = noisy()
    given[2] = np.where(np.isnan(given[2]), np.nan, 4.0)
    found = TensorCompleter(variables=0).fit_transform(given)
    np.testing.assert_array_equal(found[2], 4.0)
    assert np.isfinite(TensorCompleter().fit_transform(given)).all()


def test_a_slice_without_entries_is_refused_or_filled_by_the_other_axes():
    draws = np.random.default_rng(0)
    given, _ = with_holes(draws.standard_normal((6, 1, 1)) + np.zeros((6, 9, 8)), 0.3)
    given[:, 4] = np.nan
    with pytest.raises(
        ValueError, match=r"^X: expected an observed entry in every slice, found none at index 4 of axis 1"
    ):
        TensorCompleter().fit(given)
    found = TensorCompleter(empty_slices="fill").fit_transform(given)
    np.testing.assert_allclose(found[:, 4], np.nanmean(given, axis=(1, 2))[:, None] + np.zeros((6, 8)), atol=0.05)


def test_heavy_tails_do_no_harm():
    truth = np.exp(low_rank((12, 10, 8), 2))
    given, hidden = with_holes(truth, 0.3)
    found = TensorCompleter().fit(given).predict(np.argwhere(hidden))
    assert np.isfinite(found).all()
    assert rms(found - truth[hidden]) < 1.05 * rms(truth[hidden] - np.nanmean(given))


def test_two_entries_are_enough():
    found = TensorCompleter(shape=(3, 3, 3), empty_slices="fill").fit([[0, 0, 0], [1, 1, 1]], [1.0, 2.0])
    assert 1 <= found.predict([[2, 2, 2]])[0] <= 2


GOOD = np.arange(24.0).reshape(2, 3, 4)
INDICES = np.argwhere(GOOD >= 0)


def changed(where, value, dtype=float):
    tensor = GOOD.astype(dtype)
    tensor[where] = value
    return tensor


REFUSALS = {
    "order 1": (lambda: TensorCompleter().fit(np.arange(5.0)), ValueError, "X: expected a tensor of order 2"),
    "empty axis": (lambda: TensorCompleter().fit(np.ones((3, 0, 2))), ValueError, "X: expected no axis of length 0"),
    "infinity": (
        lambda: TensorCompleter().fit(changed((1, 2, 3), np.inf)),
        ValueError,
        r"X: .*inf at index \[1, 2, 3\]",
    ),
    "objects": (lambda: TensorCompleter().fit(GOOD.astype(object)), TypeError, "X: .*dtype object"),
    "complex": (lambda: TensorCompleter().fit(GOOD + 0j), TypeError, "X: .*complex"),
    "text": (lambda: TensorCompleter().fit(GOOD.astype(str)), TypeError, "X: .*real numbers"),
    "one entry": (
        lambda: TensorCompleter(empty_slices="fill").fit(np.where(GOOD == 3, 3.0, np.nan)),
        ValueError,
        "X: expected at least 2 observed entries",
    ),
    "huge": (lambda: TensorCompleter().fit(changed((0, 0, 0), 1e200)), ValueError, "values: .*1e.100"),
    "components": (lambda: TensorCompleter(rank=25).fit(GOOD), ValueError, "rank: .*24, found 25"),
    "twice": (
        lambda: TensorCompleter().fit(np.vstack([INDICES, [[1, 0, 2]]]), np.ones(25)),
        ValueError,
        r"X: expected every index once, found \[1, 0, 2\] in rows 14 and 24",
    ),
    "range": (
        lambda: TensorCompleter(shape=(2, 3, 3)).fit(INDICES, GOOD.ravel()),
        ValueError,
        "X: expected indices from 0 to 2 on axis 2, found 3 in row 3",
    ),
    "negative": (lambda: TensorCompleter().fit(INDICES - 1, GOOD.ravel()), ValueError, "X: expected indices from 0 on"),
    "floats": (lambda: TensorCompleter().fit(INDICES + 0.5, GOOD.ravel()), TypeError, "X: expected integers"),
    "lengths": (lambda: TensorCompleter().fit(INDICES, GOOD.ravel()[1:]), ValueError, "y: expected shape"),
    "nan value": (
        lambda: TensorCompleter().fit(INDICES, changed((0, 0, 0), np.nan).ravel()),
        ValueError,
        "y: .*finite",
    ),
    "other shape": (lambda: TensorCompleter(shape=(2, 3, 5)).fit(GOOD), ValueError, "X: expected the shape"),
    "other order": (lambda: TensorCompleter().fit(GOOD).predict([[0, 0]]), ValueError, "X: expected 3 indices a row"),
    "outside": (lambda: TensorCompleter().fit(GOOD).predict([[0, 0, 4]]), ValueError, "X: .*from 0 to 3 on axis 2"),
    "too large": (
        lambda: TensorCompleter(shape=(10**4, 10**4, 10), empty_slices="fill").fit_transform(INDICES, GOOD.ravel()),
        ValueError,
        "X: expected a tensor of at most",
    ),
    **{
        f"{name}={value!r}": (
            lambda name=name, value=value: TensorCompleter().set_params(**{name: value}).fit(GOOD),
            error,
            name,
        )
        for name, value, error in [
            ("rank", 0, ValueError),
            ("rank", 1.5, TypeError),
            ("members", 0, ValueError),
            ("patience", 0, ValueError),
            ("max_iter", True, TypeError),
            ("center", "yes", TypeError),
            ("group_axes", 1, TypeError),
            ("variables", 3, ValueError),
            ("variables", -1, ValueError),
            ("empty_slices", "keep", ValueError),
            ("validation_fraction", 0, ValueError),
            ("shape", (3,), ValueError),
            ("random_state", "a", ValueError),
        ]
    },
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name):
    call, error, message = REFUSALS[name]
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_sparse_matrices_are_refused():
    from scipy.sparse import csr_array

    with pytest.raises(TypeError, match=r"^X: expected a dense array"):
        TensorCompleter().fit(csr_array(np.eye(4)))


@pytest.mark.long
def test_work_follows_the_entries():
    draws = np.random.default_rng(0)
    shape = (10**4, 10**4, 10**4)  # 8 terabytes, were it made
    indices = np.unique(draws.integers(0, 20, (400, 3)), axis=0) * 500
    values = np.prod(np.sin(indices), axis=1)
    model = TensorCompleter(shape=shape, rank=2, members=1, max_iter=2, empty_slices="fill")
    assert model.fit(indices, values).predict([[10**4 - 1] * 3]).shape == (1,)


def test_errors_on_held_out_entries():
    given, hidden = noisy()
    errors = tensor_errors(TensorCompleter(), np.argwhere(~hidden), given[~hidden], test_fraction=0.2)
    assert errors.completer < 0.5 * errors.effects
    assert errors.test_size + errors.train_size == (~hidden).sum()
    with pytest.raises(ValueError, match=r"^values: expected at least 2 entries"):
        tensor_errors(TensorCompleter(), np.eye(2, dtype=int), np.ones(2))
