"""Intervals of what fills holes: quantiles of held-out misses against their definition, and tables of odd columns."""

import numpy as np
import pytest
from scipy.stats import norm

from undertow.estimators import LowRankImputer
from undertow.estimators._intervals import COVERED, MULTIPLE, SHARED, Misses, Widths, _quantile, _score, widths


def misses(size, variance, columns=4, places=None):
    count = len(size)
    return Misses(size, variance, np.arange(count) % columns, np.arange(count) if places is None else places)


@pytest.mark.parametrize("own", [0, 1, 7, 200])
@pytest.mark.parametrize("apart", [1.0, 0.4])
def test_the_quantile_is_that_of_the_weighted_misses(own, apart):
    rng = np.random.default_rng(own)
    everything = np.sort(np.round(rng.standard_exponential(300), 2))  # with ties
    mine = np.sort(np.round(3 * rng.standard_exponential(own), 2))
    total = own + SHARED
    wanted = min(1, COVERED * (1 + 1 / (apart * total))) * total
    values = np.unique(np.concatenate([mine, everything]))
    reached = [(mine <= v).sum() + SHARED * (everything <= v).mean() >= wanted - 1e-9 for v in values]
    assert _quantile(mine, everything, apart) == values[np.argmax(reached)]


def test_a_model_that_is_right_is_left_as_it_is():
    rng = np.random.default_rng(0)
    variance = rng.uniform(0.2, 2, 8000)
    found = widths(misses(np.abs(rng.standard_normal(8000)) * np.sqrt(variance), variance), 4, rng)
    assert found.extra == 0
    # Of 2000 misses, the standard error of the quantile at 0.9 is 0.3 / sqrt(2000) / density(1.645) = 0.033, of 1.645.
    np.testing.assert_allclose(found.factor, 1, atol=4 * 0.033 / MULTIPLE)


def test_a_column_of_its_own_and_a_model_too_sure():
    rng = np.random.default_rng(1)
    size = np.abs(rng.standard_normal(4000)) * np.where(np.arange(4000) % 4 == 2, 3.0, 1.0)
    found = widths(misses(size, np.ones(4000)), 4, rng)
    assert found.factor[2] / found.factor[0] == pytest.approx(3, rel=0.15)
    # The model takes one half for known to a thousandth, and is as wrong there as elsewhere.
    size = np.abs(rng.standard_normal(2000))
    sure = misses(size, np.where(rng.random(2000) < 0.5, 1e-6, 1.0))
    found = widths(sure, 4, rng)
    assert found.extra == pytest.approx(np.mean(size**2))
    assert np.mean(size <= MULTIPLE * found.std(sure.variance, sure.column)) == pytest.approx(COVERED, abs=0.03)
    # Few entries do not tell, however often they were held out.
    few = misses(size, sure.variance, places=np.arange(2000) % 40)
    assert widths(few, 4, rng).extra == 0


def test_the_score_is_least_at_the_true_quantile():
    size = np.abs(norm.ppf((np.arange(20_000) + 0.5) / 20_000))
    asked = misses(size, np.ones(20_000), columns=1)
    narrow, right, wide = (_score(Widths(np.array([f]), 0.0), asked).mean() for f in (0.9, 1.0, 1.1))
    assert right < min(narrow, wide)


def one_hot(seed):
    rng = np.random.default_rng(seed)
    levels = [rng.choice(k, 200, p=rng.dirichlet(np.full(k, 2.0))) for k in (3, 4, 5, 2)]
    return np.column_stack([level[:, None] == np.arange(level.max() + 1) for level in levels]).astype(float)


def test_one_hot_columns():
    """Sums of columns are exactly 1 here: the model takes entries for known that are not, once others are missing."""
    inside, asked = [], 0
    for seed in range(3):
        X = one_hot(seed)
        hidden = np.random.default_rng(100 + seed).random(X.shape) < 0.3
        given = np.where(hidden, np.nan, X)
        filled, std = LowRankImputer(random_state=seed, max_iter=100).fit_transform(given, return_std=True)
        inside.append(np.abs(filled - X)[hidden] <= MULTIPLE * std[hidden])
        asked += hidden.sum()
        # No wider than the interval of the column mean reaches, whatever the model says.
        mean, unit = np.nanmean(given, 0), np.nanstd(given, 0)
        assert np.all(MULTIPLE * std <= 1.05 * MULTIPLE * unit + np.abs(filled - mean) + 1e-9)
    assert 0.85 <= np.mean(np.concatenate(inside)) <= 0.95
    assert asked > 2000
