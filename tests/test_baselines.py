"""Baselines: by their optimality conditions, a cone program, one another, symmetry, and where there are none."""

import clarabel
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import undertow as ut
from undertow import baselines, theory
from undertow.baselines import _observed
from undertow.baselines._observed import observed
from undertow.baselines._soft_impute import iterates

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
    (completion(3, (40, 7), 2, 90, noise=0.1), 0.05),
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


@pytest.mark.parametrize("factor", [1e-150, -1e-3, 3.0, 1e150])
def test_soft_impute_goes_with_the_unit(factor):
    problem, weight = completion(8, (12, 15), 2, 90), 0.8
    found = S.soft_impute(problem, weight, rtol=1e-10)
    np.testing.assert_allclose(
        S.soft_impute(scaled(problem, factor), weight * abs(factor), rtol=1e-10) / factor, found, atol=1e-7
    )


def test_soft_impute_goes_with_transposes_and_permutations():
    problem, weight = completion(9, (12, 15), 2, 90), 0.8
    found = S.soft_impute(problem, weight, rtol=1e-10)
    np.testing.assert_allclose(S.soft_impute(transposed(problem), weight, rtol=1e-10), found.T, atol=1e-7)
    order = np.random.default_rng(0).permutation(12)
    permuted = B.MatrixCompletion((12, 15), order[np.asarray(problem.rows)], problem.columns, problem.values)
    np.testing.assert_allclose(S.soft_impute(permuted, weight, rtol=1e-10)[order], found, atol=1e-7)


def test_a_row_without_entries_stays_zero():
    problem = B.MatrixCompletion((3, 2), [0, 0, 2], [0, 1, 0], [1.0, 2.0, 3.0])
    found = S.soft_impute(problem, 0.1)
    np.testing.assert_allclose(found[1], 0, atol=1e-12)
    assert np.all(found[2] != 0)


def test_no_values_but_zeros_are_completed_by_zeros():
    problem = B.MatrixCompletion((3, 2), [0, 2], [0, 1], [0.0, 0.0])
    np.testing.assert_array_equal(S.soft_impute(problem, 0.1), np.zeros((3, 2)))


def test_single_precision_values_are_computed_with_in_double():
    problem = completion(10, (12, 15), 2, 90)
    single = B.MatrixCompletion(problem.shape, problem.rows, problem.columns, jnp.asarray(problem.values, jnp.float32))
    found = S.soft_impute(single, 0.5)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, S.soft_impute(problem, 0.5), atol=1e-5)


@pytest.mark.parametrize("limits", [(0, 2**24), (0, 0)], ids=["gram", "lanczos"])
@pytest.mark.parametrize(("shape", "count"), [((60, 90), 1500), ((90, 60), 1500)])
def test_large_matrices_are_solved_by_their_sparse_part_and_factors(monkeypatch, limits, shape, count):
    problem = completion(11, shape, 3, count, noise=0.3)
    expected = S.soft_impute(problem, 6.0, rtol=1e-9)
    monkeypatch.setattr(_observed, "DENSE", limits[0])
    monkeypatch.setattr(_observed, "GRAM", limits[1])
    np.testing.assert_allclose(S.soft_impute(problem, 6.0, rtol=1e-9), expected, atol=1e-6)


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


def test_it_says_so_where_the_gap_is_not_reached():
    with pytest.raises(theory.Unsolved, match="max_steps = 1: relative duality gap"):
        S.soft_impute(CASES[1][0], 1.0, max_steps=1)
    with pytest.raises(theory.Unsolved, match="relative duality gap"):
        S.soft_impute(CASES[1][0], 1e-30, max_steps=3)
