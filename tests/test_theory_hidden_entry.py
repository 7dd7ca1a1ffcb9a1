"""A hidden entry: what it exceeds, the distance from a lower rank, and the flow against that of trained factors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow.datasets import one_hidden_entry
from undertow.parameterizations import DeepMatrix
from undertow.theory import Unsolved, hidden_entry_bound, hidden_entry_flow, hidden_entry_rank_bound

sizes = st.integers(2, 6)
entries = st.floats(0.2, 3.0).flatmap(lambda z: st.sampled_from([z, -z]))


def solution(problem, value):
    """The matrix that fits exactly, with a value in the hidden entry, the first one."""
    w = np.zeros(problem.shape)
    w[np.asarray(problem.rows), np.asarray(problem.columns)] = problem.values
    w[0, 0] = value
    return w


def starting_at(seed, scale, sign):
    """Normal entries, the sign of the determinant as given."""
    w = scale * np.random.default_rng(seed).standard_normal((2, 2))
    w[0] *= sign * np.sign(np.linalg.det(w))
    return w


@given(sizes, entries, entries, st.integers(0, 2**31), st.floats(1e-4, 0.4), st.floats(1.0, 4.0))
def test_the_bounds_hold_on_the_edge_of_the_other_sign(size, z, other, seed, epsilon, beyond):
    """Random residuals of a given norm, the hidden entry just large enough to turn the sign of the determinant."""
    rng = np.random.default_rng(seed)
    residuals = rng.standard_normal((size, size))
    residuals[0, 0] = 0
    residuals *= epsilon / np.linalg.norm(residuals)
    problem = one_hidden_entry(size, (z, other, 0.0))
    w = solution(problem, 0.0) + residuals
    minor, rest = np.linalg.det(w[1:, 1:]), np.linalg.det(w)
    w[0, 0] = -beyond * rest / minor  # det w = (1 - beyond) * rest
    loss = epsilon**2 / 2
    bound = hidden_entry_bound(loss, size, (z, other))
    assert np.isnan(bound) or abs(w[0, 0]) >= bound * (1 - 1e-9)
    # Rounding of the smallest singular value is relative to the largest.
    smallest = np.linalg.svd(w, compute_uv=False)[-1]
    if epsilon < min(abs(z), abs(other), 1):
        assert smallest <= hidden_entry_rank_bound(loss) * (1 + 1e-9) + 1e-14 * abs(w[0, 0])


def test_the_entry_bound_in_the_smallest_case():
    loss = np.array([1e-8, 1e-3, 0.4])
    root = np.sqrt(2 * loss)
    np.testing.assert_allclose(hidden_entry_bound(loss), 1 / root - 2 + root, rtol=1e-12)
    assert np.isnan(hidden_entry_bound(0.6))


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_flow_is_the_flow_of_balanced_factors(depth, sign):
    w0 = starting_at(5, 0.05, sign)
    phi = DeepMatrix((2, 2), depth)
    trajectory = ut.train(
        one_hidden_entry(2, (-2.0, 0.5, 0.1)),
        phi,
        ut.dynamics.GradientFlow("explicit", rtol=1e-10),
        params=phi.lift(w0),
        stop=ut.Stop(loss=None, time=4.0),
        samples=16,
        probes=[ut.probes.Function("w", lambda w: w)],
    )
    found = hidden_entry_flow(w0, depth, corner=(-2.0, 0.5, 0.1), times=np.asarray(trajectory.times), rtol=1e-11)
    np.testing.assert_allclose(found.w, trajectory["w"], atol=1e-7)
    np.testing.assert_allclose(found.loss, trajectory["loss"], atol=1e-7)


def test_the_flow_lands_on_the_loss_with_the_sign_it_had():
    found = hidden_entry_flow(starting_at(0, 1e-3, 1), 2, loss=1e-3)
    np.testing.assert_allclose(found.loss[-1], 1e-3, rtol=1e-6)
    logs = found.log_singular_values
    assert logs[-1, 1] < -200  # far below what the factors could hold beside the larger one
    np.testing.assert_allclose(np.exp(logs[-1, 0]), np.linalg.norm(found.w[-1], 2), rtol=1e-9)


def test_nan_and_zero_pass_the_bounds():
    """Records of runs of different lengths are filled up with NaN."""
    bound = hidden_entry_bound([[np.nan, 0.0, 0.125]], 3, (2.0, -1.0))
    np.testing.assert_allclose(bound, [[np.nan, np.inf, 2 * 0.5**3 / (0.5 * 1.5)]])
    np.testing.assert_array_equal(hidden_entry_rank_bound([np.nan, 0.0, 0.125]), [np.nan, 0.0, 0.5])


def test_the_flow_of_the_other_sign_fits():
    found = hidden_entry_flow([[0.1, 0.0], [0.0, -0.01]], 3, loss=1e-10)
    assert found.loss[-1] < 1.01e-10
    assert np.linalg.det(found.w[-1]) == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hidden_entry_bound(-0.1), "loss: expected numbers of at least 0, found -0.1"),
        (lambda: hidden_entry_bound("small"), "loss"),
        (lambda: hidden_entry_bound(0.1, 1), "size"),
        (lambda: hidden_entry_bound(0.1, 2, (0.0, 1.0)), "corner: expected numbers other than 0"),
        (lambda: hidden_entry_bound(0.1, 2, (1.0, 1.0, 0.0)), "corner: expected 2 numbers"),
        (lambda: hidden_entry_rank_bound([1.0, -1.0]), "loss: expected numbers of at least 0, found -1"),
        (lambda: hidden_entry_flow(np.eye(3), 2), r"start: expected a 2 x 2 matrix, found shape \(3, 3\)"),
        (lambda: hidden_entry_flow(np.eye(2), 2), "start: expected two different singular values above 0"),
        (lambda: hidden_entry_flow(np.ones((2, 2)), 2), "start: expected two different singular values above 0"),
        (lambda: hidden_entry_flow([[1.0, np.nan], [0.0, 2.0]], 2), "start: expected finite numbers"),
        (lambda: hidden_entry_flow(np.diag([1.0, 2.0]), 1), "depth"),
        (lambda: hidden_entry_flow(np.diag([1.0, 2.0]), 2, corner=(1.0, 1.0)), "corner: expected 3 numbers"),
        (lambda: hidden_entry_flow(np.diag([1.0, 2.0]), 2, loss=0.0), "loss"),
        (lambda: hidden_entry_flow(np.diag([1.0, 2.0]), 2, times=[1.0, 0.5]), "times: expected a vector of rising"),
        (lambda: hidden_entry_flow(np.diag([1.0, 2.0]), 2, times=[]), "times: expected a vector of rising"),
        (lambda: hidden_entry_flow(np.diag([1.0, 2.0]), 2, rtol=-1.0), "rtol"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_a_flow_that_does_not_arrive_says_so(monkeypatch):
    monkeypatch.setattr("undertow.theory._hidden_entry_flow.LATEST", 1.0)
    with pytest.raises(Unsolved, match="loss: the flow did not come to 1e-12"):
        hidden_entry_flow([[0.1, 0.0], [0.0, 0.01]], 2, loss=1e-12)
