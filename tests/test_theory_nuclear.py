"""The solution of smallest nuclear norm: by hand, by certificates of its own, by symmetry, and where there is none."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow import theory

B, T = ut.problems, theory


def completion(seed, shape, rank, count):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    flat = rng.choice(truth.size, count, replace=False)
    i, j = np.divmod(flat, shape[1])
    return B.MatrixCompletion(shape, i, j, truth[i, j], truth)


def sensing(seed, shape, rank, count, psd=False):
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(shape[0], rank))
    truth = left @ (left.T if psd else rng.normal(size=(rank, shape[1])))
    A = rng.normal(size=(count, *shape))
    return B.MatrixSensing(A, np.einsum("mij,ij->m", A, truth), truth)


def counterexample(R):
    """Observed entries of the 4 x 4 example of Li, Luo and Lyu, and its solution of least trace."""
    i, j = np.array([0, 2, 0, 3, 1, 2]), np.array([2, 0, 3, 0, 2, 1])
    least = np.array([[R, 1, 1, R], [1, R, R, 1], [1, R, R, 1], [R, 1, 1, R]], float)
    return B.MatrixCompletion((4, 4), i, j, least[i, j]), least


def table(problem):
    """The measurements as a matrix, and what they are to give."""
    if isinstance(problem, B.MatrixSensing):
        return np.asarray(problem.measurements).reshape(problem.values.size, -1), np.asarray(problem.values)
    A = np.zeros((problem.values.size, np.prod(problem.shape)))
    A[np.arange(len(A)), np.asarray(problem.rows) * problem.shape[1] + np.asarray(problem.columns)] = 1
    return A, np.asarray(problem.values)


def certified_gap(problem, w, rank, psd=False):
    """Of the nuclear norm of w to a lower bound from a multiplier that is worked out here, from w alone.

    The combination of the measurements that is U V^T on the tangent space of w and smallest across it; by alternating
    projections, scaled into the spectral ball.
    """
    A, b = table(problem)
    if psd:
        A = ((A.reshape(-1, *w.shape) + A.reshape(-1, *w.shape).transpose(0, 2, 1)) / 2).reshape(len(A), -1)
    np.testing.assert_allclose(A @ w.ravel(), b, atol=1e-10 * np.linalg.norm(b))
    u, _, vt = np.linalg.svd(w)
    u, v = u[:, :rank], vt[:rank].T
    across_u, across_v = np.eye(len(u)) - u @ u.T, np.eye(len(v)) - v @ v.T
    basis = np.linalg.svd(A.T, full_matrices=False)
    rows = basis[0][:, basis[1] > 1e-10 * basis[1][0]]
    multiplier = u @ v.T
    for _ in range(500):
        multiplier = (rows @ (rows.T @ multiplier.ravel())).reshape(w.shape)
        off = across_u @ multiplier @ across_v
        if psd:
            values, vectors = np.linalg.eigh((off + off.T) / 2)
            off = (vectors * np.minimum(values, 1)) @ vectors.T
        else:
            p, s, q = np.linalg.svd(off)
            off = (p * np.minimum(s, 1)) @ q if len(p) == len(q) else p[:, : s.size] * np.minimum(s, 1) @ q[: s.size]
        multiplier = u @ v.T + off
    multiplier = (rows @ (rows.T @ multiplier.ravel())).reshape(w.shape)
    largest = np.linalg.eigvalsh((multiplier + multiplier.T) / 2)[-1] if psd else np.linalg.norm(multiplier, 2)
    size = np.linalg.norm(w, "nuc")
    return (size - np.vdot(multiplier, w) / max(1, largest)) / size


# Closed forms ----------------------------------------------------------------------------------


def test_where_all_is_observed_there_is_nothing_to_choose():
    target = np.arange(12.0).reshape(3, 4) - 5
    np.testing.assert_allclose(T.minimum_nuclear_norm(B.PointTarget(target)), target, rtol=1e-14)
    i, j = np.divmod(np.arange(12), 4)
    problem = B.MatrixCompletion((3, 4), i, j, target.ravel())
    np.testing.assert_allclose(T.minimum_nuclear_norm(problem), target, rtol=1e-14)


def test_a_single_entry_stands_alone():
    expected = np.zeros((3, 4))
    expected[1, 2] = -3
    problem = B.MatrixCompletion((3, 4), [1], [2], [-3.0])
    np.testing.assert_allclose(T.minimum_nuclear_norm(problem), expected, atol=1e-9)


def test_the_square_of_razin_and_cohen():
    """Entries 1 off the diagonal and a zero on it: nuclear norm 2, at W11 = 0 only."""
    problem = B.MatrixCompletion((2, 2), [0, 1, 1], [1, 0, 1], [1.0, 1.0, 0.0])
    np.testing.assert_allclose(T.minimum_nuclear_norm(problem), [[0, 1], [1, 0]], atol=1e-8)


@pytest.mark.parametrize("corner", [0.3, 1.0, 4.0])
def test_a_square_with_one_gap(corner):
    """[[x, 1], [1, c]]: |.|_* is x + c for x c >= 1, and sqrt((x - c)^2 + 4) below, least at x = min(c, 1 / c)."""
    problem = B.MatrixCompletion((2, 2), [0, 1, 1], [1, 0, 1], [1.0, 1.0, corner])
    found = T.minimum_nuclear_norm(problem)
    np.testing.assert_allclose(found, [[min(corner, 1 / corner), 1], [1, corner]], atol=2e-8)


@pytest.mark.parametrize("R", [1.5, 2.0, 3.0])
def test_the_counterexample_has_its_least_trace_away_from_rank_one(R):
    problem, least = counterexample(R)
    found = T.minimum_nuclear_norm(problem, psd=True)
    np.testing.assert_allclose(found, least, atol=1e-8)
    assert np.trace(found) == pytest.approx(4 * R, rel=1e-9)
    assert 2 * R**2 + 2 > 4 * R


def test_one_measurement_is_met_along_its_first_singular_vectors():
    """Least |W|_* with <A, W> = y is |y| / |A|_op, at a multiple of u_1 v_1^T."""
    A = np.random.default_rng(0).normal(size=(4, 3))
    u, s, vt = np.linalg.svd(A)
    found = T.minimum_nuclear_norm(B.MatrixSensing(A[None], [-2.0]))
    np.testing.assert_allclose(found, -2 / s[0] * np.outer(u[:, 0], vt[0]), atol=1e-8)


def test_rows_and_columns_that_are_never_seen_are_zero():
    problem = B.MatrixCompletion((4, 5), [0, 0, 2], [1, 3, 1], [1.0, 2.0, 2.0])
    found = T.minimum_nuclear_norm(problem)
    assert np.abs(found[[1, 3]]).max() < 1e-9
    assert np.abs(found[:, [0, 2, 4]]).max() < 1e-9
    # What is left is the square with one gap, [[x, 1], [1, 1 / 2]], turned around and doubled.
    np.testing.assert_allclose(found[2, 3], 1, atol=1e-7)


# Certificates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "rank"),
    [
        (completion(0, (30, 30), 2, 500), 2),
        (completion(1, (12, 20), 1, 150), 1),
        (sensing(2, (10, 8), 1, 60), 1),
        (sensing(3, (30, 30), 2, 400), 2),
    ],
)
def test_a_planted_matrix_is_found_to_many_digits(problem, rank):
    found = T.minimum_nuclear_norm(problem)
    truth = np.asarray(problem.truth)
    assert np.linalg.norm(found - truth) < 1e-8 * np.linalg.norm(truth)
    assert abs(certified_gap(problem, found, rank)) < 1e-8


@pytest.mark.parametrize("problem", [sensing(4, (6, 5), 2, 12), completion(5, (7, 6), 3, 25)])
def test_too_few_measurements_are_certified_too(problem):
    found = T.minimum_nuclear_norm(problem)
    s = np.linalg.svd(found, compute_uv=False)
    rank = int(np.sum(s > 1e-6 * s[0]))
    assert abs(certified_gap(problem, found, rank)) < 1e-6
    assert s.sum() < np.linalg.norm(np.asarray(problem.truth), "nuc") - 1e-3


def test_a_planted_psd_matrix_is_found_from_fewer_measurements():
    problem = sensing(6, (12, 12), 1, 40, psd=True)
    truth = np.asarray(problem.truth)
    found = T.minimum_nuclear_norm(problem, psd=True)
    assert np.linalg.norm(found - truth) < 1e-7 * np.linalg.norm(truth)
    np.testing.assert_array_equal(found, found.T)
    assert abs(certified_gap(problem, found, 1, psd=True)) < 1e-7
    free = T.minimum_nuclear_norm(problem)
    assert np.linalg.norm(free, "nuc") < np.trace(truth) * (1 - 1e-3)


@pytest.mark.long
def test_the_gram_matrix_gives_the_same_as_the_decomposition():
    """Larger than 128 the singular values come from the Gram matrix."""
    problem = completion(7, (130, 135), 1, 6000)
    found = T.minimum_nuclear_norm(problem)
    truth = np.asarray(problem.truth)
    assert np.linalg.norm(found - truth) < 1e-8 * np.linalg.norm(truth)


def test_another_solver_finds_the_same():
    cvxpy = pytest.importorskip("cvxpy")
    for psd in (False, True):
        problem = sensing(8, (5, 5), 2, 12, psd=True)
        W = cvxpy.Variable((5, 5), PSD=True) if psd else cvxpy.Variable((5, 5))
        A, b = np.asarray(problem.measurements), np.asarray(problem.values)
        equations = [cvxpy.trace(a.T @ W) == y for a, y in zip(A, b, strict=True)]
        cvxpy.Problem(cvxpy.Minimize(cvxpy.norm(W, "nuc")), equations).solve(solver="CLARABEL")
        assert W.value is not None
        np.testing.assert_allclose(T.minimum_nuclear_norm(problem, psd), W.value, atol=1e-4)


# Laws ------------------------------------------------------------------------------------------


@pytest.mark.long
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_turned_and_scaled_problems_have_turned_and_scaled_solutions(seed, scale):
    rng = np.random.default_rng(seed)
    problem = sensing(seed, (4, 3), 1, 7)
    A, b = np.asarray(problem.measurements), np.asarray(problem.values)
    found = T.minimum_nuclear_norm(problem)
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (4, 3))
    size = np.linalg.norm(found)
    turned = T.minimum_nuclear_norm(B.MatrixSensing(left @ A @ right, scale * b))
    np.testing.assert_allclose(turned, scale * left @ found @ right, atol=1e-6 * scale * size)
    transposed = T.minimum_nuclear_norm(B.MatrixSensing(A.transpose(0, 2, 1), b))
    np.testing.assert_allclose(transposed, found.T, atol=1e-6 * size)
    doubled = T.minimum_nuclear_norm(B.MatrixSensing(np.concatenate([A, 3 * A[:2]]), np.concatenate([b, 3 * b[:2]])))
    np.testing.assert_allclose(doubled, found, atol=1e-6 * size)


@pytest.mark.long
@given(seed=st.integers(0, 10_000))
def test_no_other_solution_is_smaller(seed):
    rng = np.random.default_rng(seed)
    problem = sensing(seed, (4, 4), 2, 8, psd=True)
    A, _ = table(problem)
    null = np.linalg.svd(A)[2][8:]
    for psd in (False, True):
        found = T.minimum_nuclear_norm(problem, psd)
        for step in rng.normal(size=(20, 8)) * 10.0 ** rng.uniform(-4, 1, size=(20, 1)):
            other = found + (step @ null).reshape(4, 4)
            if not psd or (np.abs(other - other.T).max() < 1e-12 and np.linalg.eigvalsh(other)[0] >= 0):
                assert np.linalg.norm(other, "nuc") > np.linalg.norm(found, "nuc") * (1 - 1e-8)
    assert np.linalg.norm(found, "nuc") <= np.trace(np.asarray(problem.truth)) * (1 + 1e-8)
    assert np.linalg.norm(T.minimum_nuclear_norm(problem), "nuc") <= np.trace(found) * (1 + 1e-8)


def test_a_float32_problem_is_solved_in_float64():
    with jax.enable_x64(False):
        problem = B.MatrixCompletion((2, 2), [0, 1, 1], [1, 0, 1], [1.0, 1.0, 2.0])
        found = T.minimum_nuclear_norm(problem)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [[0.5, 1], [1, 2]], atol=1e-8)


# Where there is no answer, or no one -----------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "psd", "words"),
    [
        (B.MatrixSensing(np.stack([np.eye(3)] * 2), [3.0, 2.0]), False, "contradict"),
        (B.MatrixSensing(np.zeros((1, 2, 2)), [1.0]), False, "contradict"),
        (B.MatrixSensing(np.eye(3)[None], [-3.0]), True, "no positive semidefinite"),
        (B.MatrixSensing(np.stack([np.diag([1.0, 2.0]), np.diag([2.0, 1.0])]), [1.0, 4.0]), True, "no positive"),
        (B.MatrixCompletion((2, 2), [0, 1], [1, 0], [1.0, 2.0]), True, r"no symmetric w .*1 at \(0, 1\) and 2 at"),
        (B.MatrixCompletion((2, 2), [0, 1, 1], [1, 0, 1], [1.0, 1.0, 0.0]), True, "minor"),
        (B.MatrixCompletion((2, 2), [0], [0], [-1.0]), True, "minor"),
    ],
)
def test_infeasible_is_said(problem, psd, words):
    with pytest.raises(T.Infeasible, match=words):
        T.minimum_nuclear_norm(problem, psd)


@pytest.mark.parametrize(
    ("problem", "psd", "size"),
    [
        (B.MatrixCompletion((2, 2), [0, 1], [0, 1], [1.0, 1.0]), False, 2),
        (B.MatrixSensing(np.eye(3)[None], [3.0]), False, 3),
        (B.MatrixSensing(np.eye(3)[None], [3.0]), True, 3),
        (counterexample(2.0)[0], False, 8),
    ],
)
def test_a_tie_is_said_and_shown(problem, psd, size):
    with pytest.raises(T.NotUnique, match="attained by more than one w") as caught:
        T.minimum_nuclear_norm(problem, psd)
    A, b = table(problem)
    first, second = caught.value.points
    assert np.linalg.norm(first - second) > 1e-2
    for w in (first, second):
        np.testing.assert_allclose(A @ w.ravel(), b, atol=1e-8)
        assert np.linalg.norm(w, "nuc") == pytest.approx(size, rel=1e-8)
        if psd:
            assert np.linalg.eigvalsh(w)[0] > -1e-8


def test_what_was_not_reached_is_said():
    with pytest.raises(RuntimeError, match=r"rtol = 1e-09 within max_steps = 3: relative duality gap"):
        T.minimum_nuclear_norm(completion(0, (10, 10), 2, 60), max_steps=3)


def test_wrong_arguments_are_refused():
    problem = completion(0, (4, 3), 1, 6)
    with pytest.raises(ValueError, match=r"psd: expected a problem of square matrices, found shape \(4, 3\)"):
        T.minimum_nuclear_norm(problem, psd=True)
    with pytest.raises(ValueError, match=r"problem: expected one of matrices, found shape \(2,\)"):
        T.minimum_nuclear_norm(B.LeastSquares([[1.0, 2.0]], [1.0]))
    with pytest.raises(ValueError, match="rtol: expected a finite number above 0"):
        T.minimum_nuclear_norm(problem, rtol=0)
    with pytest.raises(ValueError, match="max_steps: expected an integer of at least 1"):
        T.minimum_nuclear_norm(problem, max_steps=0)


def test_zero_measurements_give_zero():
    np.testing.assert_array_equal(T.minimum_nuclear_norm(B.MatrixSensing(np.ones((1, 2, 3)), [0.0])), np.zeros((2, 3)))


def test_single_precision_of_low_rank_data_is_no_obstacle():
    rng = np.random.default_rng(3)
    truth = (rng.standard_normal((20, 1)) @ rng.standard_normal((1, 20))).astype(np.float32)
    rows, columns = np.nonzero(rng.random((20, 20)) < 0.7)
    with jax.enable_x64(False):
        problem = ut.problems.MatrixCompletion((20, 20), rows, columns, truth[rows, columns])
    np.testing.assert_allclose(ut.theory.minimum_nuclear_norm(problem), truth, atol=1e-4)
