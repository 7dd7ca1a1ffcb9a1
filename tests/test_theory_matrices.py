"""Deep linear networks by theory: modes in closed form, velocities from the gradient, greedy low-rank learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import completion
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from test_theory_nuclear import counterexample

import undertow as ut
from undertow import theory

B, P, T = ut.problems, ut.parameterizations, theory


def mode_field(depth, target, imbalance=0.0):
    """du/dt of one mode."""
    if depth == 2:
        return lambda t, u: np.sqrt(imbalance**2 + 4 * u**2) * (target - u)
    return lambda t, u: depth * np.abs(u) ** (2 - 2 / depth) * (target - u)


# Modes -----------------------------------------------------------------------------------------


def test_the_numbers_of_the_facts():
    u = T.saxe_modes([1.0, 2.0, 3.0], [2.0], 1e-3)
    np.testing.assert_allclose(u[:, 0], [0.0531731586, 1.1971819822, 1.9757334871], rtol=2e-9)
    u = T.saxe_modes([1.5], [2.0], 0.3 * 0.01, imbalances=0.3**2 - 0.01**2)
    assert float(u[0, 0]) == pytest.approx(1.66449378, abs=5e-9)


def test_the_balanced_closed_form_of_two_layers():
    t, s, u0 = np.linspace(0, 4, 9)[:, None], np.array([0.5, 3.0]), np.array([2.0, 1e-8])
    grown = np.exp(2 * s * t)
    np.testing.assert_allclose(T.saxe_modes(t[:, 0], s, u0), s * grown / (grown - 1 + s / u0), rtol=1e-12)


@pytest.mark.parametrize("depth", [2, 3, 4, 7])
@pytest.mark.parametrize("start", [1e-6, 1e-2, 1.9])
def test_the_modes_invert_the_time_of_a_mode(depth, start):
    levels = start + (2 - start) * np.array([0.0, 0.01, 0.3, 0.9, 0.999])
    times = [0.0, *(T.mode_time(depth, 2.0, start, level) / depth for level in levels[1:])]
    np.testing.assert_allclose(T.saxe_modes(times, [2.0], start, depth)[:, 0], levels, rtol=1e-9)


@pytest.mark.parametrize(
    ("depth", "target", "start", "imbalance"),
    [
        (1, 2.0, -1.0, 0.0),
        (2, 2.0, 5.0, 0.0),
        (2, 0.0, 3.0, 0.0),
        (2, 2.0, -1.5, 0.7),
        (2, 0.0, -1.5, 0.7),
        (2, 1.0, 0.0, 1e-3),
        (2, 1.0, 0.3, -40.0),
        (3, 2.0, 0.1, 0.0),
        (3, 2.0, 5.0, 0.0),
        (4, 0.5, 3.0, 0.0),
        (5, 0.0, 3.0, 0.0),
    ],
)
def test_the_modes_solve_their_equation(depth, target, start, imbalance):
    times = np.linspace(0, 2, 12)
    field = mode_field(depth, target, imbalance) if depth > 1 else lambda t, u: target - u
    expected = solve_ivp(field, (0, 2), [start], method="DOP853", rtol=1e-12, atol=1e-13, t_eval=times).y[0]
    u = T.saxe_modes(times, [target], start, depth, imbalance if depth == 2 else 0.0)
    np.testing.assert_allclose(u[:, 0], expected, rtol=1e-8, atol=1e-10)
    assert float(u[0, 0]) == pytest.approx(start, rel=1e-12, abs=1e-15)


@given(
    depth=st.sampled_from([1, 2, 3, 6]),
    target=st.floats(1e-3, 1e3),
    share=st.floats(1e-12, 3),
    time=st.floats(0, 1e12),
    c=st.floats(-10, 10),
)
def test_a_mode_stays_between_its_start_and_its_target(depth, target, share, time, c):
    start = share * target
    u = T.saxe_modes([time, 1e300], [target], start, depth, c if depth == 2 else 0.0)
    low, high = min(start, target), max(start, target)
    assert np.all((u >= low * (1 - 1e-9) - 1e-14) & (u <= high * (1 + 1e-9)))
    assert float(u[1, 0]) == pytest.approx(target, rel=1e-12)


def test_modes_that_start_at_zero_or_at_the_target_rest():
    for depth in (2, 3):
        u = T.saxe_modes([0.0, 1.0, 1e9], [2.0, 2.0], [0.0, 2.0], depth)
        np.testing.assert_array_equal(u, [[0, 2]] * 3)


@pytest.mark.long
def test_the_modes_are_the_singular_values_of_a_trained_product():
    """With the clock of the loss 1/2 |W - M|^2, depth 2 and 3."""
    rng = np.random.default_rng(0)
    u, _, vt = np.linalg.svd(rng.normal(size=(4, 3)), full_matrices=False)
    targets, times = np.array([3.0, 1.5, 0.5]), np.linspace(0.5, 4, 6)
    for depth in (2, 3):
        phi = P.DeepMatrix((4, 3), depth)
        run = ut.train(
            B.PointTarget((u * targets) @ vt),
            phi,
            ut.dynamics.GradientFlow("explicit", rtol=1e-9),
            params=phi.lift(0.05 * u @ vt),
            probes=[ut.probes.Function("modes", lambda w: jnp.diag(u.T @ w @ vt.T))],
            stop=ut.Stop(loss=None, time=times[-1]),
            samples=times,
        )
        np.testing.assert_allclose(run["modes"][1:], T.saxe_modes(times, targets, 0.05, depth), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"times": [-1.0]}, "times: expected numbers of at least 0, found -1"),
        ({"targets": [-1.0, 2.0]}, "targets: expected numbers of at least 0"),
        ({"starts": [1.0, 2.0, 3.0]}, r"starts: expected one number, or one for each of the 2 targets, found shape"),
        ({"starts": -1.0}, "starts: expected numbers of at least 0 for balanced modes, found -1"),
        ({"depth": 3, "imbalances": 1.0}, "imbalances: expected none at depth 3"),
        ({"times": 1.0}, "times: expected a vector"),
        ({"depth": 0}, "depth: expected an integer of at least 1"),
        ({"starts": np.nan}, "starts: expected finite numbers"),
    ],
)
def test_wrong_modes_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        T.saxe_modes(**({"times": [1.0], "targets": [1.0, 2.0], "starts": 0.1} | options))


def test_modes_are_float64_whatever_jax_is_set_to():
    with jax.enable_x64(False):
        u = T.saxe_modes([1.0], [2.0], 0.1)
    np.testing.assert_array_equal(u, T.saxe_modes([1.0], [2.0], 0.1))


# Velocities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(4, 3), (3, 4)])
def test_the_end_to_end_velocity_is_that_of_balanced_factors(depth, shape):
    rng = np.random.default_rng(depth)
    A = rng.normal(size=(5, *shape))
    problem = B.MatrixSensing(A, rng.normal(size=5))
    w = rng.normal(size=shape)
    phi = P.DeepMatrix(shape, depth)
    expected = np.asarray(ut.velocity(problem, phi, phi.lift(w)))
    np.testing.assert_allclose(T.end_to_end_velocity(problem, w, depth), expected, rtol=1e-10, atol=1e-12)


def test_the_velocity_at_a_singular_matrix_is_that_of_balanced_factors():
    rng = np.random.default_rng(1)
    problem, w = completion(), rng.normal(size=(4, 1)) @ rng.normal(size=(1, 3))
    for depth in (2, 3):
        phi = P.DeepMatrix((4, 3), depth)
        expected = np.asarray(ut.velocity(problem, phi, phi.lift(w)))
        np.testing.assert_allclose(T.end_to_end_velocity(problem, w, depth), expected, rtol=1e-8, atol=1e-8)


@given(seed=st.integers(0, 10_000), depth=st.integers(1, 6))
def test_singular_values_move_as_the_matrix_does(seed, depth):
    """Against central differences along the end-to-end velocity."""
    w = np.random.default_rng(seed).normal(size=(4, 3))
    gaps = np.diff(np.linalg.svd(w, compute_uv=False))
    if np.abs(gaps).min() < 0.05:
        return
    problem = completion()
    velocity = T.end_to_end_velocity(problem, w, depth)
    step = 1e-5 / np.linalg.norm(velocity)
    ahead, behind = (np.linalg.svd(w + sign * step * velocity, compute_uv=False) for sign in (1, -1))
    expected = (ahead - behind) / (2 * step)
    found = T.singular_value_velocity(problem, w, depth)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.linalg.norm(velocity))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_equal_singular_values_part(depth):
    """From a multiple of the identity, where no singular vectors are singled out; forward differences."""
    rng = np.random.default_rng(5)
    problem, w = B.PointTarget(rng.normal(size=(3, 3))), 0.5 * np.eye(3)
    found = T.singular_value_velocity(problem, w, depth)
    assert np.ptp(found) > 0.1
    velocity, step = T.end_to_end_velocity(problem, w, depth), 1e-7
    ahead = np.linalg.svd(w + step * velocity, compute_uv=False)
    np.testing.assert_allclose(found, (ahead - 0.5) / step, atol=1e-5)


def test_zero_singular_values_stay_zero_below_the_first_layer():
    w = np.outer([1.0, 2.0, 0.0, 1.0], [1.0, 0.0, -1.0])
    found = T.singular_value_velocity(completion(), w, 2)
    np.testing.assert_allclose(found[1:], 0, atol=1e-12)
    with pytest.raises(ValueError, match="w: expected one of full rank at depth 1"):
        T.singular_value_velocity(completion(), w, 1)


@pytest.mark.parametrize("function", [T.end_to_end_velocity, T.singular_value_velocity])
def test_wrong_matrices_are_refused(function):
    with pytest.raises(ValueError, match=r"w: expected a matrix of the problem's shape \(4, 3\), found \(3, 4\)"):
        function(completion(), np.ones((3, 4)), 2)
    with pytest.raises(ValueError, match="w: expected a matrix"):
        function(B.LeastSquares([[1.0, 2.0]], [1.0]), np.ones(2), 2)
    with pytest.raises(ValueError, match="depth: expected an integer of at least 1"):
        function(completion(), np.ones((4, 3)), 0)


# Greedy low-rank learning ----------------------------------------------------------------------


def symmetric_completion(seed, size, rank, share):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(size, rank))
    truth = factor @ factor.T
    seen = np.triu(rng.random((size, size)) < share)
    i, j = np.nonzero(seen | seen.T)
    return B.MatrixCompletion((size, size), i, j, truth[i, j], truth, "half_sum")


@pytest.mark.long
def test_a_matrix_is_learned_by_its_best_approximations():
    """Eckart and Young: the point of rank r is the truncated decomposition; rates are the next singular values."""
    target = np.random.default_rng(0).normal(size=(5, 4))
    u, s, vt = np.linalg.svd(target, full_matrices=False)
    path = T.greedy_low_rank_learning(B.PointTarget(target))
    for r in range(5):
        np.testing.assert_allclose(path.points[r], (u[:, :r] * s[:r]) @ vt[:r], atol=1e-9)
    np.testing.assert_allclose(path.losses, [np.sum(s[r:] ** 2) / 2 for r in range(5)], atol=1e-15)
    np.testing.assert_allclose(path.rates, [*s, 0], atol=1e-9)
    assert path.ended == "zero loss"


def test_a_semidefinite_path_leaves_negative_eigenvalues_alone():
    target = np.diag([3.0, -2.0, 1.0])
    path = T.greedy_low_rank_learning(B.PointTarget(target), psd=True)
    np.testing.assert_allclose(path.points[-1], np.diag([3, 0, 1]), atol=1e-9)
    np.testing.assert_allclose(path.losses, [7, 2.5, 2], rtol=1e-12)
    np.testing.assert_allclose(path.rates, [6, 2, 0], atol=1e-9)
    assert path.ended == "minimum"


@pytest.mark.parametrize("R", [1.5, 3.0])
def test_the_counterexample_goes_to_rank_one(R):
    problem, least = counterexample(R)
    path = T.greedy_low_rank_learning(problem, psd=True)
    v = np.array([1, R, 1, R])
    assert len(path.points) == 2
    np.testing.assert_allclose(path.points[1], np.outer(v, v), rtol=1e-9)
    assert np.trace(path.points[1]) > np.trace(least)
    # The gradient at zero of the mean over six entries has the top eigenvalue (1 + sqrt(1 + 4 R^2)) / 2 / 3.
    assert path.rates[0] == pytest.approx((1 + np.sqrt(1 + 4 * R**2)) / 3, rel=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("psd", [False, True])
def test_every_point_is_a_minimum_of_its_rank_until_the_truth(psd):
    problem = symmetric_completion(0, 12, 2, 0.7)
    rng = np.random.default_rng(1)
    path = T.greedy_low_rank_learning(problem, psd)
    assert path.ended == "zero loss"
    assert np.all(np.diff(path.losses) < 0)
    np.testing.assert_allclose(path.points[-1], problem.truth, atol=1e-7)
    gradients = jax.vmap(jax.grad(problem.loss))(jnp.asarray(path.points))
    for r in range(1, len(path.points)):
        assert np.linalg.matrix_rank(path.points[r], tol=1e-8) == r
        u, s, vt = np.linalg.svd(path.points[r])
        u, v = u[:, :r] * np.sqrt(s[:r]), vt[:r].T * np.sqrt(s[:r])
        gradient = np.asarray(gradients[r])
        assert max(np.abs(gradient @ v).max(), np.abs(u.T @ gradient).max()) < 1e-8
        for step in 1e-3 * rng.normal(size=(10, 2, 12, r)):
            other = (u + step[0]) @ (v + step[0 if psd else 1]).T
            assert float(problem.loss(jnp.asarray(other))) > path.losses[r] - 1e-12
    top = [np.linalg.norm(g, 2) if not psd else np.linalg.eigvalsh(-2 * g)[-1] for g in np.asarray(gradients)]
    np.testing.assert_allclose(path.rates, np.maximum(top, 0), atol=1e-8)


@pytest.mark.long
def test_the_flow_passes_by_the_points_of_the_path():
    """Gram matrices from small random starts: the nearest approach to each point falls with the start."""
    problem = symmetric_completion(3, 6, 2, 0.9)
    path = T.greedy_low_rank_learning(problem, psd=True)
    phi = P.Gram(6)
    nearest = []
    for scale in (1e-3, 1e-7):
        run = ut.train(
            problem,
            phi,
            ut.dynamics.GradientFlow("explicit", rtol=1e-6),
            key=0,
            scale=scale,
            stop=ut.Stop(loss=1e-3),
            probes=[ut.probes.Function("w", lambda w: w)],
            samples=500,
        )
        gaps = np.linalg.norm(np.asarray(run["w"])[:, None] - path.points[None, 1:], axis=(2, 3)).min(0)
        nearest.append(gaps / np.linalg.norm(path.points[1:], axis=(1, 2)))
    assert np.all(nearest[1] < [0.02, 0.05])  # the last one to what the loss of 1e-3 leaves
    assert nearest[1][0] < 0.2 * nearest[0][0]


def test_a_rank_that_is_asked_for_is_not_passed():
    path = T.greedy_low_rank_learning(B.PointTarget(np.diag([3.0, 2.0, 1.0])), max_rank=2)
    assert path.ended == "max_rank"
    assert len(path.points) == 3


def test_an_open_direction_is_said_and_shown():
    problem, _ = counterexample(1.5)
    with pytest.raises(T.NotUnique, match="at rank 0 of the path two directions grow at one rate") as caught:
        T.greedy_low_rank_learning(problem)
    first, second = caught.value.points
    assert abs(np.vdot(first, second)) < 1e-9


def test_nothing_to_learn_is_no_path():
    path = T.greedy_low_rank_learning(B.PointTarget(np.zeros((2, 2))))
    assert path.points.tolist() == np.zeros((1, 2, 2)).tolist()
    assert path.ended == "zero loss"


def test_wrong_paths_are_refused():
    with pytest.raises(ValueError, match=r"problem: expected one of square matrices, found shape \(4, 3\)"):
        T.greedy_low_rank_learning(completion(), psd=True)
    with pytest.raises(ValueError, match=r"problem: expected one of matrices, found shape \(2,\)"):
        T.greedy_low_rank_learning(B.PointTarget([1.0, 2.0]))
    with pytest.raises(ValueError, match="max_rank: expected an integer of at least 1"):
        T.greedy_low_rank_learning(completion(), max_rank=0)
    with pytest.raises(ValueError, match="rtol: expected a finite number above 0"):
        T.greedy_low_rank_learning(completion(), rtol=0.0)
