"""Answers at any scale: units change nothing, and what floats cannot tell is refused, never guessed."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow import potentials, theory

B, Q, T = ut.problems, potentials, theory
rng = np.random.default_rng(0)
A = rng.normal(size=(3, 7))
SPARSE, POSITIVE = np.zeros(7), rng.uniform(0.5, 2, size=7)
SPARSE[[1, 4]] = [2.0, -3.0]
M = rng.normal(size=(6, 3, 3))
LOW = np.outer([1.0, 2.0, -1.0], [0.5, 1.0, 1.0])

powers = st.integers(-30, 30).map(lambda k: 10.0**k)
SCALES = [1e-30, 1e-10, 1e10, 1e30]


# Equations -------------------------------------------------------------------------------------


@given(unit=powers, rows=st.lists(powers, min_size=3, max_size=3))
def test_units_of_equations_and_unknowns_change_nothing(unit, rows):
    D = np.array(rows)
    for truth, nonnegative in ((SPARSE, False), (np.abs(SPARSE), True)):
        problem = B.LeastSquares(A * D[:, None], A @ truth * unit * D)
        expected = T.basis_pursuit(B.LeastSquares(A, A @ truth), nonnegative)
        np.testing.assert_allclose(T.basis_pursuit(problem, nonnegative) / unit, expected, rtol=1e-12, atol=1e-13)
    problem = B.LeastSquares(A * D[:, None], A @ POSITIVE * unit * D)
    np.testing.assert_allclose(T.minimum_norm(problem) / unit, np.linalg.pinv(A) @ (A @ POSITIVE), rtol=1e-11)


@pytest.mark.parametrize(
    ("potential", "start"),
    [
        (lambda unit: Q.Entropy(), POSITIVE[::-1]),
        (lambda unit: Q.HyperbolicEntropy(b=0.5 * unit), np.zeros(7)),
        (lambda unit: Q.PNorm(1.002), np.zeros(7)),
        (lambda unit: Q.PNorm(4), SPARSE),
    ],
)
def test_units_change_no_bregman_projection(potential, start):
    expected = T.bregman_projection(B.LeastSquares(A, A @ POSITIVE), potential(1), start)
    for unit in SCALES:
        D = np.array([1, unit, 1 / unit])
        problem = B.LeastSquares(A * D[:, None], A @ POSITIVE * unit * D)
        found = T.bregman_projection(problem, potential(unit), start * unit)
        np.testing.assert_allclose(found / unit, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rows", SCALES)
@pytest.mark.parametrize("unit", SCALES)
def test_units_change_no_matrix_and_no_path(unit, rows):
    values = np.einsum("mij,ij->m", M, LOW)
    D = np.array([rows, 1, 1, 1 / rows, 1, 1])
    found = T.minimum_nuclear_norm(B.MatrixSensing(M * D[:, None, None], values * unit * D))
    np.testing.assert_allclose(found / unit, T.minimum_nuclear_norm(B.MatrixSensing(M, values)), rtol=1e-6, atol=1e-7)
    expected = T.saddle_to_saddle(B.LeastSquares(A, A @ SPARSE))
    path = T.saddle_to_saddle(B.LeastSquares(A * rows, A @ SPARSE * unit * rows))
    np.testing.assert_allclose(path.points / unit, expected.points, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(path.times * unit * rows * rows, expected.times, rtol=1e-9)


def test_ties_are_those_of_every_unit():
    for unit in SCALES:
        problem = B.LeastSquares([[unit, unit, unit]], [3.0])
        with pytest.raises(T.NotUnique):
            T.basis_pursuit(problem)
        np.testing.assert_allclose(T.basis_pursuit(problem, ties="entropy"), [1 / unit] * 3, rtol=1e-12)


def test_what_is_below_the_tolerance_of_the_solver_is_solved_for():
    C = np.eye(4) + np.triu(np.ones((4, 4)), 1)
    truth = np.array([1.0, 1e-13, 1e-26, 1e-39])  # each row by row, from the last
    found = T.basis_pursuit(B.LeastSquares(C, [1.0, truth[1], truth[2], truth[3]]))
    np.testing.assert_allclose(C @ found, [1.0, *truth[1:]], rtol=1e-9)
    np.testing.assert_array_equal(T.basis_pursuit(B.PointTarget(truth)), truth)


def test_least_squares_hold_for_small_rows_beside_large_ones():
    """The first row is all but exact; the others share what it leaves, however small they are."""
    small = np.array([[1.0, -1.0], [1.0, -1.0]])
    for ratio in (1e8, 1e12, 1e20):
        problem = B.LeastSquares(np.concatenate([[[ratio, ratio]], small]), [2 * ratio, 1.0, 3.0])
        np.testing.assert_allclose(T.minimum_norm(problem), [2, 0], rtol=1e-12, atol=1e-12)


def test_rows_of_zeros_and_rows_that_repeat():
    b = A @ SPARSE
    more = np.concatenate([A, np.zeros((1, 7)), 1e20 * A[:1], 1e-20 * A[1:2]])
    problem = B.LeastSquares(more, np.concatenate([b, [0.0], 1e20 * b[:1], 1e-20 * b[1:2]]))
    plain = B.LeastSquares(A, b)
    np.testing.assert_allclose(T.basis_pursuit(problem), T.basis_pursuit(plain), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(T.minimum_norm(problem), T.minimum_norm(plain), rtol=1e-12)
    nothing = B.LeastSquares(np.zeros((2, 3)), np.zeros(2))
    np.testing.assert_array_equal(T.basis_pursuit(nothing), np.zeros(3))
    np.testing.assert_array_equal(T.minimum_norm(nothing), np.zeros(3))
    np.testing.assert_allclose(T.bregman_projection(nothing, Q.Entropy(), POSITIVE[:3]), POSITIVE[:3], rtol=1e-14)
    with pytest.raises(T.Infeasible, match="row 1 of A is zero, and b there is not"):
        T.basis_pursuit(B.LeastSquares([[1.0, 1.0], [0.0, 0.0]], [1.0, 1e-30]))


def test_a_solution_beyond_the_range_of_numbers_is_refused():
    for function in (T.basis_pursuit, T.minimum_norm):
        with pytest.raises(T.Unsolved, match="beyond the range of float64"):
            function(B.LeastSquares([[1e-200, 1e-200]], [1e200]))


# Bregman projections ---------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1.0005, 1.003, 1.3, 3, 10, 60, 100])
def test_powers_from_zero_satisfy_the_optimality_conditions(p):
    w = T.bregman_projection(B.LeastSquares(A, A @ SPARSE), Q.PNorm(p), np.zeros(7))
    np.testing.assert_allclose(A @ w, A @ SPARSE, rtol=1e-10)
    free = np.linalg.svd(A)[2][3:]
    if p < 2:  # of the duals, small ones belong to w that are zero to rounding
        best = min(
            np.sum(np.abs(w + step @ free) ** p) for step in 1e-3 * np.random.default_rng(0).normal(size=(99, 4))
        )
        assert np.sum(np.abs(w) ** p) <= best
    else:
        slopes = np.sign(w) * np.abs(w / np.abs(w).max()) ** (p - 1)
        np.testing.assert_allclose(free @ slopes, 0, atol=1e-9)


def test_a_power_near_one_is_basis_pursuit():
    problem = B.LeastSquares(A, A @ POSITIVE)
    w = T.bregman_projection(problem, Q.PNorm(1.0001), np.zeros(7))
    np.testing.assert_allclose(w, T.basis_pursuit(problem), atol=1e-9)


@pytest.mark.long
def test_what_has_a_solution_is_not_called_infeasible():
    with pytest.raises(T.Unsolved, match=r"of its gradient, .* is explained by no equation"):
        T.bregman_projection(B.LeastSquares(A, A @ POSITIVE), Q.PNorm(1 + 1e-9), np.zeros(7))
    with pytest.raises(T.Unsolved, match="smallest relative residual"):
        T.bregman_projection(B.LeastSquares([[1.0, 1.0]], [1.0]), Q.Burg(), np.full(2, 1e-30))


def test_given_entries_are_met_at_every_scale():
    values = np.array([1.0, 1e-20, 1e20])
    for potential in (Q.Entropy(), Q.Burg(), Q.PNorm(4)):
        np.testing.assert_array_equal(T.bregman_projection(B.PointTarget(values), potential, np.ones(3)), values)
    square = ut.parameterizations.Power(3, 2)
    np.testing.assert_allclose(T.limit(B.PointTarget(values), square, jnp.ones(3)), values, rtol=1e-10)
    with pytest.raises(T.Infeasible, match="an entry is to be -1e-30"):
        T.bregman_projection(B.PointTarget([1.0, -1e-30]), Q.Entropy(), np.ones(2))


def test_given_minors_of_rank_one_are_semidefinite():
    """Zero but for the rounding of two products, at whatever scale."""
    x = np.array([0.1, 0.7, 0.3])
    i, j = [0, 0, 1, 1, 2], [0, 1, 1, 2, 2]
    for unit in (1.0, *SCALES):
        problem = B.MatrixCompletion((3, 3), i, j, np.outer(x, x)[i, j] * unit)
        np.testing.assert_allclose(T.minimum_nuclear_norm(problem, psd=True) / unit, np.outer(x, x), rtol=1e-6)


def test_entries_jump_one_by_one_however_far_apart():
    path = T.saddle_to_saddle(B.PointTarget([1.0, -1e-12, 0.0, 1e-30]))
    np.testing.assert_allclose(path.times, [0, 0.5, 0.5e12, 0.5e30], rtol=1e-12)
    np.testing.assert_array_equal(path.points[1:], [[1, 0, 0, 0], [1, -1e-12, 0, 0], [1, -1e-12, 0, 1e-30]])


# Modes -----------------------------------------------------------------------------------------


@given(
    unit=powers,
    depth=st.sampled_from([1, 2, 3, 6, 11, 30, 1000]),
    target=st.sampled_from([0.0, 1e-9, 0.5, 2.0]),
    start=st.sampled_from([1e-6, 0.3, 1.0, 7.0]),
    imbalance=st.sampled_from([0.0, 1e-150, 1e-9, 1.0]),
)
def test_modes_start_where_they_start_and_follow_their_equation(unit, depth, target, start, imbalance):
    c = imbalance if depth == 2 else 0.0
    speed = lambda u: np.hypot(c, 2 * u) * (target - u) if depth == 2 else depth * u ** (2 - 2 / depth) * (target - u)
    time = 0.1 * min(start / abs(speed(start)) if target != start else 1.0, 1.0)
    middle, step = time, 1e-4 * time
    times = np.array([0.0, middle - step, middle, middle + step])
    u = T.saxe_modes(times, [target], start, depth, c)[:, 0]
    assert u[0] == start
    assert (u[3] - u[1]) / (2 * step) == pytest.approx(speed(u[2]), rel=1e-5, abs=1e-12)
    power = 2 - 2 / depth
    scaled = T.saxe_modes(times * unit**-power, [target * unit], start * unit, depth, c * unit)[:, 0]
    np.testing.assert_allclose(scaled / unit, u, rtol=1e-10)


def test_a_mode_without_a_target_and_nearly_balanced():
    for c in (0.0, 1e-200, 1e-12):
        found = T.saxe_modes([0.0, 1.0], [0.0], 10.0, imbalances=c)[:, 0]
        np.testing.assert_allclose(found, [10, 10 / 21], rtol=1e-10)


@given(unit=powers, depth=st.sampled_from([0.5, 1, 2, 3, 4, 9, math.inf]))
def test_times_and_paths_scale(unit, depth):
    power = 2 - 2 / depth
    for s0, level in ((1e-3, 2.0), (5.0, 3.5)):
        time = T.mode_time(depth, 3 * unit, s0 * unit, level * unit)
        assert time * unit**power == pytest.approx(T.mode_time(depth, 3.0, s0, level), rel=1e-10)
    expected = T.single_constraint_path(depth, [1.0, 2.0], [1.0, 2.0], 15.0, points=4)
    path = T.single_constraint_path(depth, np.array([1.0, 2.0]) * unit, [unit, 2 * unit], 15 * unit * unit, points=4)
    np.testing.assert_allclose(path / unit, expected, rtol=1e-9)


def test_velocities_at_great_depth():
    """The sum over the layers, and no loop over them."""
    w, target = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    for depth in (1, 2, 7):
        u, s, vt = np.linalg.svd(w)
        left, right = np.append(s, 0)[:, None] ** (2 / depth), s ** (2 / depth)
        weights = sum(left**j * right ** (depth - 1 - j) for j in range(depth))
        expected = -u @ (weights * (u.T @ (w - target) @ vt.T)) @ vt
        np.testing.assert_allclose(T.end_to_end_velocity(B.PointTarget(target), w, depth), expected, rtol=1e-11)
    deep = T.end_to_end_velocity(B.PointTarget(np.eye(2)), np.diag([2.0, 3.0]), 10**9)
    np.testing.assert_allclose(np.diag(deep) / 10**9, [-4.0, -18.0], rtol=1e-8)


@pytest.mark.parametrize(
    "call",
    [
        lambda: T.mode_time(0.1, 3e-30, 1e-33, 2e-30),
        lambda: T.mode_time(1e-5, 3.0, 1.0, 2.0),
        lambda: T.incremental_threshold(2, 1.0001),
        lambda: T.incremental_threshold(1.5, 1.0001),
        lambda: T.incremental_threshold(3, 1 + 1e-12),
        lambda: T.single_constraint_path(math.inf, [1e-20, 1e-20], [1.0, 2.0], 15.0),
    ],
)
def test_what_floats_cannot_follow_is_refused(call):
    with pytest.raises(T.Unsolved):
        call()


def test_a_threshold_for_a_ratio_without_bound():
    assert T.incremental_threshold(3, 1e30) == pytest.approx(0.05, rel=1e-6)
