"""Completion by early-stopped descent: against independent solutions, baselines and known truths."""

import dataclasses

import numpy as np
import pytest
from completion_tables import EFFECTS_ONLY, SHAPE, effects_only, low_rank, rms, seen
from sklearn.linear_model import Ridge

from undertow.datasets import DataNotFound, load_movielens_100k
from undertow.estimators import (
    Effects,
    RatingPredictor,
    Settings,
    _completion,
    complete,
    fit_effects,
    held_out_errors,
    rating_errors,
)
from undertow.training import train

MATRIX = Settings(width=30, ridge=0.1, max_iter=500)


def completed(values: np.ndarray, settings: Settings = MATRIX, **options) -> np.ndarray:
    i, j, _ = seen()
    return complete(i, j, values[i, j], SHAPE, settings, clip=False, **options).block(slice(None))


def errors_in_holes(values: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Root-mean-square errors of the completion and of the effects."""
    i, j, holes = seen()
    effects = fit_effects(i, j, values[i, j], SHAPE, MATRIX.ridge).at(*holes)
    return rms(completed(values)[holes] - truth[holes]), rms(effects - truth[holes])


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


@pytest.mark.long
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


def test_too_high_a_speed_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    monkeypatch.setattr(_completion, "train", lambda *a, **k: runs.append(k) or train(*a, **k))
    _, _, holes = seen()
    found = completed(low_rank(), dataclasses.replace(MATRIX, speed=3.0))
    assert len(runs) > 2  # the search, the search anew at half the speed, and all entries
    assert rms(found[holes] - low_rank()[holes]) < 0.5
    monkeypatch.setattr(_completion, "HALVINGS", 1)
    with pytest.raises(ValueError, match="values: descent diverged at 1 rates"):
        completed(low_rank(), dataclasses.replace(MATRIX, speed=3.0))


@pytest.mark.parametrize(
    ("shape", "i", "j"),
    [
        ((2, 2), [0, 1, 1], [0, 0, 1]),
        ((2, 2), [0, 1], [0, 1]),
        ((1, 5), [0, 0, 0, 0], [0, 1, 2, 4]),
        ((3, 4), [0, 0, 2, 2, 2], [0, 1, 0, 1, 3]),  # a row and a column have no entry
    ],
)
def test_tiny_tables(shape: tuple[int, int], i: list[int], j: list[int]) -> None:
    values = np.random.default_rng(5).normal(size=len(i))
    found = complete(np.array(i), np.array(j), values, shape, Settings(max_iter=20)).block(slice(None))
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


@pytest.mark.long
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

    monkeypatch.setattr(_completion, "train", lambda *a, **k: Interrupted())
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
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3, 4))])
def test_movielens(seed: int) -> None:
    table = movielens()
    errors = rating_errors(RatingPredictor(random_state=seed), table.users, table.items, table.ratings, seed=seed)
    assert errors.predictor <= 0.8855
    assert errors.predictor <= errors.biases - 0.04
    assert 0.91 < errors.biases < 0.95 < errors.mean  # 0.94 on average; splits differ by 0.005
    assert errors.test_size == 10_000
