"""Baselines: by their optimality conditions, a cone program, one another, symmetry, and where there are none."""

import clarabel
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import undertow as ut
from undertow import baselines, theory
from undertow.baselines import _observed, _soft_impute_als
from undertow.baselines._observed import observed
from undertow.baselines._optspace import spectral_start
from undertow.baselines._soft_impute import iterates
from undertow.baselines._soft_impute_als import sweep

B, S = ut.problems, baselines


def completion(seed, shape, rank, count, noise=0.0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    i, j = np.divmod(rng.choice(truth.size, count, replace=False), shape[1])
    return B.MatrixCompletion(shape, i, j, truth[i, j] + noise * rng.normal(size=count), truth)


def residual(problem, Z):
    """Observed minus found, as a matrix that is zero elsewhere; and what is observed."""
    i, j = np.asarray(problem.rows), np.asarray(problem.columns)
    seen = np.zeros(problem.shape)
    seen[i, j] = problem.values
    left = np.zeros(problem.shape)
    left[i, j] = seen[i, j] - Z[i, j]
    return left, seen


def objective(problem, weight, Z):
    return np.sum(residual(problem, Z)[0] ** 2) / 2 + weight * np.linalg.norm(Z, "nuc")


def scaled(problem, factor):
    return B.MatrixCompletion(problem.shape, problem.rows, problem.columns, problem.values * factor)


def transposed(problem):
    return B.MatrixCompletion(problem.shape[::-1], problem.columns, problem.rows, problem.values)


def check_optimal(problem, weight, Z, atol):
    """P(M - Z) = weight (U V^T + F) with U^T F = 0, F V = 0, |F| <= 1."""
    u, s, vt = np.linalg.svd(Z, full_matrices=False)
    rank = np.count_nonzero(s > 1e-6 * s[0])
    u, v = u[:, :rank], vt[:rank].T
    F = residual(problem, Z)[0] / weight - u @ v.T
    np.testing.assert_allclose(u.T @ F, 0, atol=atol)
    np.testing.assert_allclose(F @ v, 0, atol=atol)
    assert np.linalg.norm(F, 2) <= 1 + atol


CASES = [
    (completion(0, (20, 30), 3, 250), 2.0),
    (completion(1, (30, 20), 3, 250, noise=0.5), 1.0),
    (completion(2, (25, 25), 2, 120), 0.3),
    (completion(3, (40, 7), 2, 90, noise=0.1), 0.3),
    (completion(4, (12, 1), 1, 5), 0.1),
]


# SoftImpute ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("problem", "weight"), CASES)
def test_soft_impute_meets_its_optimality_conditions(problem, weight):
    check_optimal(problem, weight, S.soft_impute(problem, weight, rtol=1e-10), 1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_soft_impute_is_zero_from_the_largest_singular_value_upwards(seed):
    problem = completion(seed, (15, 10), 2, 60)
    largest = np.linalg.norm(residual(problem, np.zeros(problem.shape))[1], 2)
    assert not np.any(S.soft_impute(problem, largest * (1 + 1e-9)))
    assert np.any(S.soft_impute(problem, largest * (1 - 1e-3)))
    assert not np.any(S.soft_impute(problem, 1e300))


@pytest.mark.parametrize("observe_all", [np.arange(12), np.arange(12)[::-1]])
def test_soft_impute_of_a_whole_matrix_thresholds_its_singular_values(observe_all):
    M = np.random.default_rng(0).normal(size=(3, 4))
    i, j = np.divmod(observe_all, 4)
    u, s, vt = np.linalg.svd(M, full_matrices=False)
    found = S.soft_impute(B.MatrixCompletion((3, 4), i, j, M[i, j]), 0.7, rtol=1e-12)
    np.testing.assert_allclose(found, (u * np.maximum(s - 0.7, 0)) @ vt, atol=1e-10)


@pytest.mark.parametrize(("problem", "weight"), CASES)
def test_the_objective_falls_in_every_step_and_the_gap_bounds_what_is_left(problem, weight):
    seen = observed(problem)
    steps = iterates(seen, weight / seen.unit, np.zeros((seen.shape[0], 0)), np.zeros((seen.shape[1], 0)))
    path = []
    for iterate in steps:
        path.append(iterate)
        if iterate.gap < 1e-11:
            break
    values = [each.objective for each in path]
    assert np.all(np.diff(values) <= 1e-13 * values[0])
    for each in path:
        assert each.objective - values[-1] <= each.gap * each.objective * (1 + 1e-9) + 1e-13 * values[0]


def cone_program(problem, weight):
    """Least objective by an interior-point method: 1/2 |e|^2 + weight (tr P + tr Q) / 2, [[P, Z], [Z^T, Q]] >= 0."""
    n, d = problem.shape
    size = n + d
    pairs = [(i, j) for j in range(size) for i in range(j + 1)]  # the upper triangle, column by column
    place = {pair: k for k, pair in enumerate(pairs)}
    m, count = len(problem.values), len(pairs)
    quadratic = scipy.sparse.block_diag([scipy.sparse.csc_matrix((count, count)), scipy.sparse.eye(m)], format="csc")
    linear = np.zeros(count + m)
    linear[[place[i, i] for i in range(size)]] = weight / 2
    chosen = [place[int(i), n + int(j)] for i, j in zip(problem.rows, problem.columns, strict=True)]
    picks = scipy.sparse.csc_matrix((np.ones(m), (np.arange(m), chosen)), shape=(m, count))
    triangle = scipy.sparse.diags([1.0 if i == j else np.sqrt(2) for i, j in pairs])
    table = scipy.sparse.bmat([[picks, scipy.sparse.eye(m)], [-triangle, None]], format="csc")
    right = np.concatenate([np.asarray(problem.values), np.zeros(count)])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    cones = [clarabel.ZeroConeT(m), clarabel.PSDTriangleConeT(size)]
    found = clarabel.DefaultSolver(quadratic, linear, table, right, cones, settings).solve()
    Z = np.array([[found.x[place[i, n + j]] for j in range(d)] for i in range(n)])
    return found.obj_val, Z


@pytest.mark.parametrize("weight", [0.2, 1.0])
def test_soft_impute_against_a_cone_program(weight):
    problem = completion(5, (4, 5), 2, 13, noise=0.3)
    least, Z = cone_program(problem, weight)
    found = S.soft_impute(problem, weight, rtol=1e-11)
    assert objective(problem, weight, found) == pytest.approx(least, rel=1e-7)
    np.testing.assert_allclose(found, Z, atol=1e-4)


def test_soft_impute_tends_to_the_least_nuclear_norm():
    problem = completion(6, (20, 15), 2, 220)
    least = theory.minimum_nuclear_norm(problem)
    off = [np.linalg.norm(Z - least) for Z in S.soft_impute_path(problem, [1e-2, 1e-3, 1e-4], rtol=1e-8)]
    np.testing.assert_allclose(np.log10(off), np.log10(off[0]) - np.arange(3), atol=0.05)
    assert off[-1] < 1e-4 * np.linalg.norm(least)


def test_a_path_is_what_its_weights_give_one_by_one():
    problem, weights = completion(7, (20, 30), 3, 250), [0.5, 4.0, 0.01]
    path = S.soft_impute_path(problem, weights, rtol=1e-10)
    for weight, found in zip(weights, path, strict=True):
        np.testing.assert_allclose(found, S.soft_impute(problem, weight, rtol=1e-10), atol=1e-6)
    again = S.soft_impute(problem, 0.01, start=path[0], rtol=1e-10)
    np.testing.assert_allclose(again, path[2], atol=1e-6)


def test_single_precision_values_are_computed_with_in_double():
    problem = completion(10, (12, 15), 2, 90)
    single = B.MatrixCompletion(problem.shape, problem.rows, problem.columns, jnp.asarray(problem.values, jnp.float32))
    found = S.soft_impute(single, 0.5)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, S.soft_impute(problem, 0.5), atol=1e-5)


# SoftImpute by alternating least squares -------------------------------------------------------


@pytest.mark.parametrize(("problem", "weight"), CASES)
def test_both_ways_of_soft_impute_find_the_same(problem, weight):
    whole = S.soft_impute(problem, weight, rtol=1e-10)
    least = objective(problem, weight, whole)
    rank = int(np.linalg.matrix_rank(whole, 1e-6 * np.linalg.norm(whole, 2)))
    for width in {rank, min(problem.shape)}:
        found = S.soft_impute_als(problem, weight, width)
        assert objective(problem, weight, found) == pytest.approx(least, rel=1e-9)
        check_optimal(problem, weight, S.soft_impute_als(problem, weight, width, rtol=1e-9), 1e-5)


def test_a_sweep_is_two_ridge_regressions_of_the_filled_matrix():
    problem, weight = completion(12, (8, 6), 2, 30), 0.3
    seen = observed(problem)
    rng = np.random.default_rng(0)
    A, B_ = rng.normal(size=(8, 3)), rng.normal(size=(6, 3))

    def filled(left, right):
        whole = left @ right.T
        whole[seen.rows, seen.columns] = seen.values
        return whole

    right = np.linalg.solve(A.T @ A + weight * np.eye(3), A.T @ filled(A, B_)).T
    left = np.linalg.solve(right.T @ right + weight * np.eye(3), right.T @ filled(A, right).T).T
    np.testing.assert_allclose(sweep(seen, weight, np.concatenate([A, B_])), np.concatenate([left, right]), atol=1e-12)


def test_a_smaller_rank_is_a_constraint_whose_minimum_is_stationary():
    problem, weight = completion(13, (20, 15), 4, 200, noise=0.2), 0.5
    Z = S.soft_impute_als(problem, weight, 2, rtol=1e-10)
    u, s, vt = np.linalg.svd(Z)
    assert s[2] < 1e-12 * s[0]
    left = residual(problem, Z)[0]
    np.testing.assert_allclose(left @ vt[:2].T, weight * u[:, :2], atol=1e-7)
    np.testing.assert_allclose(u[:, :2].T @ left, weight * vt[:2], atol=1e-7)
    assert objective(problem, weight, Z) > objective(problem, weight, S.soft_impute(problem, weight)) * 1.01


def test_a_saddle_is_left():
    """Factors that use the second of two singular vectors only: stationary, and not least."""
    problem = B.MatrixCompletion((2, 2), [0, 0, 1, 1], [0, 1, 0, 1], [4.0, 0.0, 0.0, 2.0])
    seen = observed(problem)
    saddle = np.zeros((4, 2))
    saddle[[1, 3], 0] = np.sqrt(2 / seen.unit - 0.25)
    found = _soft_impute_als._solve(seen, 0.25, saddle, 1e-10, 1000)
    np.testing.assert_allclose(found[:2] @ found[2:].T * seen.unit, np.diag([3.0, 1.0]), atol=1e-7)


def test_alternating_least_squares_finds_zero_where_nothing_else_is_least():
    problem = completion(0, (15, 10), 2, 60)
    largest = np.linalg.norm(residual(problem, np.zeros(problem.shape))[1], 2)
    assert not np.any(S.soft_impute_als(problem, largest, 3))


# OptSpace --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_optspace_recovers_a_matrix_of_known_rank(seed):
    problem = completion(seed, (100, 100), 5, 3500)
    found = S.optspace(problem, 5)
    np.testing.assert_allclose(found, problem.truth, atol=1e-6 * np.linalg.norm(problem.truth) / 100)


@pytest.mark.parametrize("seed", range(3))
def test_optspace_ends_where_the_loss_of_both_spaces_is_stationary(seed):
    problem = completion(seed, (30, 25), 3, 400, noise=0.5)
    Z = S.optspace(problem, 3, rtol=1e-11)
    u, s, vt = np.linalg.svd(Z)
    assert s[3] < 1e-12 * s[0]
    X, Y = u[:, :3], vt[:3].T
    left, seen = residual(problem, Z)
    np.testing.assert_allclose(left @ Y, 0, atol=1e-9 * np.linalg.norm(seen))
    np.testing.assert_allclose(X.T @ left, 0, atol=1e-9 * np.linalg.norm(seen))

    def least(X, Y):  # over the core, by least squares
        X, Y = np.linalg.qr(X)[0], np.linalg.qr(Y)[0]
        i, j = np.asarray(problem.rows), np.asarray(problem.columns)
        table = np.einsum("ea,eb->eab", X[i], Y[j]).reshape(i.size, 9)
        core = np.linalg.lstsq(table, np.asarray(problem.values))[0]
        return np.sum((table @ core - np.asarray(problem.values)) ** 2) / 2

    here = least(X, Y)
    assert here == pytest.approx(np.sum(left**2) / 2, rel=1e-12)
    rng = np.random.default_rng(seed)
    for _ in range(5):  # a minimum, and no saddle, as far as some directions tell
        dX, dY = rng.normal(size=X.shape), rng.normal(size=Y.shape)
        ahead, back = (least(X + t * dX, Y + t * dY) for t in (1e-4, -1e-4))
        assert abs(ahead - back) / 2e-4 < 1e-3 * (ahead + back - 2 * here) / 1e-4
        assert min(ahead, back) > here


def test_optspace_leaves_full_rows_and_columns_out_of_its_start():
    rng = np.random.default_rng(0)
    mask = rng.random((40, 30)) < 0.2
    mask[3], mask[:, 7] = True, True
    truth = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 30))
    i, j = np.nonzero(mask)
    problem = B.MatrixCompletion((40, 30), i, j, truth[i, j])
    left, right = spectral_start(observed(problem), 2)
    np.testing.assert_allclose(left[3], 0, atol=1e-12)
    np.testing.assert_allclose(right[7], 0, atol=1e-12)
    np.testing.assert_allclose(S.optspace(problem, 2), truth, atol=1e-6)


def test_optspace_scales_its_start_to_the_whole_matrix():
    problem = completion(0, (200, 200), 2, 12_000)
    left, right = spectral_start(observed(problem), 2)
    start = left @ right.T * observed(problem).unit
    size = np.linalg.norm(np.linalg.svd(problem.truth)[1][:2])
    assert np.linalg.norm(start) == pytest.approx(size, rel=0.1)


@pytest.mark.long
def test_optspace_says_so_where_it_does_not_end():
    """30 entries for the 28 numbers of an 8 x 8 matrix of rank 2: the loss falls, and the matrix grows."""
    problem = completion(1, (8, 8), 2, 30)
    with pytest.raises(theory.Unsolved, match="no stationary point of rank 2"):
        S.optspace(problem, 2)
    with pytest.raises(theory.Unsolved, match="max_steps = 1: relative gradient"):
        S.optspace(completion(0, (30, 30), 2, 500), 2, max_steps=1)


# All of them -----------------------------------------------------------------------------------

METHODS = {
    "soft_impute": lambda problem, unit=1.0: S.soft_impute(problem, 0.8 * unit, rtol=1e-10),
    "soft_impute_als": lambda problem, unit=1.0: S.soft_impute_als(problem, 0.8 * unit, 6, rtol=1e-9),
    "optspace": lambda problem, unit=1.0: S.optspace(problem, 2, rtol=1e-10),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("factor", [1e-150, -1e-3, 3.0, 1e150])
def test_a_method_goes_with_the_unit(name, factor):
    problem = completion(8, (12, 15), 2, 110, noise=0.1)
    found = METHODS[name](problem)
    np.testing.assert_allclose(METHODS[name](scaled(problem, factor), abs(factor)) / factor, found, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_goes_with_transposes_and_permutations(name):
    problem = completion(9, (12, 15), 2, 110, noise=0.1)
    found = METHODS[name](problem)
    np.testing.assert_allclose(METHODS[name](transposed(problem)), found.T, atol=1e-6)
    order = np.random.default_rng(0).permutation(12)
    permuted = B.MatrixCompletion((12, 15), order[np.asarray(problem.rows)], problem.columns, problem.values)
    np.testing.assert_allclose(METHODS[name](permuted)[order], found, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_row_without_entries_stays_zero(name):
    problem = completion(14, (12, 15), 2, 120)
    kept = np.asarray(problem.rows) != 4
    i, j = np.asarray(problem.rows)[kept], np.asarray(problem.columns)[kept]
    found = METHODS[name](B.MatrixCompletion((12, 15), i, j, np.asarray(problem.values)[kept]))
    np.testing.assert_allclose(found[4], 0, atol=1e-9)
    assert np.all(np.any(np.delete(found, 4, 0), axis=1))


@pytest.mark.parametrize("name", METHODS)
def test_no_values_but_zeros_are_completed_by_zeros(name):
    problem = B.MatrixCompletion((7, 6), [0, 2], [0, 1], [0.0, 0.0])
    np.testing.assert_array_equal(METHODS[name](problem), np.zeros((7, 6)))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("limits", [(0, 2**24), (0, 0)], ids=["gram", "lanczos"])
@pytest.mark.parametrize(("shape", "count"), [((60, 90), 1500), ((90, 60), 1500)])
def test_large_matrices_are_solved_by_their_sparse_part_and_factors(monkeypatch, name, limits, shape, count):
    problem = completion(11, shape, 2, count, noise=0.3)
    expected = METHODS[name](problem, 8.0)
    monkeypatch.setattr(_observed, "DENSE", limits[0])
    monkeypatch.setattr(_observed, "GRAM", limits[1])
    np.testing.assert_allclose(METHODS[name](problem, 8.0), expected, atol=1e-5)


# Wrong input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0, -1.0, np.nan, np.inf])
def test_a_weight_is_above_zero(weight):
    with pytest.raises(ValueError, match="weight: expected a finite number above 0"):
        S.soft_impute(CASES[0][0], weight)
    with pytest.raises(ValueError, match="weights"):
        S.soft_impute_path(CASES[0][0], [1.0, weight])


@pytest.mark.parametrize("weight", ["1", None, [1.0], True])
def test_a_weight_is_a_number(weight):
    with pytest.raises(TypeError, match="weight"):
        S.soft_impute(CASES[0][0], weight)


def test_what_is_no_problem_of_matrix_completion_is_refused():
    with pytest.raises(TypeError, match="problem"):
        S.soft_impute(B.LeastSquares([[1.0]], [1.0]), 1.0)
    part = CASES[0][0].part(jnp.arange(3), jnp.ones(3))
    with pytest.raises(ValueError, match="problem: expected a whole one"):
        S.soft_impute(part, 1.0)


def test_options_out_of_range_are_refused():
    problem = CASES[0][0]
    with pytest.raises(ValueError, match="rtol"):
        S.soft_impute(problem, 1.0, rtol=0)
    with pytest.raises(ValueError, match="max_steps"):
        S.soft_impute(problem, 1.0, max_steps=0)
    with pytest.raises(ValueError, match=r"start: expected shape \(20, 30\), found \(2, 3\)"):
        S.soft_impute(problem, 1.0, start=np.ones((2, 3)))
    with pytest.raises(ValueError, match="start: expected finite"):
        S.soft_impute(problem, 1.0, start=np.full((20, 30), np.nan))
    with pytest.raises(ValueError, match="weights: expected at least one"):
        S.soft_impute_path(problem, [])


@pytest.mark.long
def test_it_says_so_where_the_gap_is_not_reached():
    with pytest.raises(theory.Unsolved, match="max_steps = 1: relative duality gap"):
        S.soft_impute(CASES[1][0], 1.0, max_steps=1)
    with pytest.raises(theory.Unsolved, match="relative duality gap"):
        S.soft_impute(CASES[1][0], 1e-30, max_steps=3)


@pytest.mark.parametrize("rank", [0, -1, 21])
def test_a_rank_is_between_one_and_the_smaller_side(rank):
    for call in (lambda: S.optspace(CASES[0][0], rank), lambda: S.soft_impute_als(CASES[0][0], 1.0, rank)):
        with pytest.raises(ValueError, match=r"rank: expected (an integer of at|at most the smaller side 20)"):
            call()


@pytest.mark.parametrize("rank", [2.0, None, "2", True])
def test_a_rank_is_an_integer(rank):
    for call in (lambda: S.optspace(CASES[0][0], rank), lambda: S.soft_impute_als(CASES[0][0], 1.0, rank)):
        with pytest.raises(TypeError, match="rank"):
            call()


def test_alternating_least_squares_refuses_what_it_cannot_do():
    problem = CASES[1][0]
    for weight in (0, -1.0, np.nan):
        with pytest.raises(ValueError, match="weight: expected a finite number above 0"):
            S.soft_impute_als(problem, weight, 2)
    with pytest.raises(theory.Unsolved, match="max_steps = 2: relative gradient"):
        S.soft_impute_als(problem, 0.1, 20, max_steps=2)
    with pytest.raises(TypeError, match="problem"):
        S.soft_impute_als(B.LeastSquares([[1.0]], [1.0]), 1.0, 1)
    with pytest.raises(TypeError, match="problem"):
        S.optspace(B.LeastSquares([[1.0]], [1.0]), 1)
