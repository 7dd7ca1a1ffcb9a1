"""The problem of the hidden entry, its bounds, and the exact flow that the studies of it rest on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow.datasets import one_hidden_entry, sign_of_solutions
from undertow.parameterizations import DeepMatrix
from undertow.studies.norms._shared import (
    entry_bound,
    exact_flow,
    rank_bound,
    start,
)
from undertow.studies.norms.depth_two_plateau import descent_in_digits

sizes = st.integers(2, 6)
entries = st.floats(0.2, 3.0).flatmap(lambda z: st.sampled_from([z, -z]))


def solution(problem, hidden, value):
    """The matrix that fits exactly, with a value in the hidden entry."""
    w = np.full(problem.shape, np.nan)
    w[np.asarray(problem.rows), np.asarray(problem.columns)] = problem.values
    assert np.argwhere(np.isnan(w)).tolist() == [list(hidden)]
    w[hidden] = value
    return w


@given(sizes, entries, entries, st.data())
def test_all_solutions_have_one_determinant(size, z, other, data):
    hidden = data.draw(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)))
    problem = one_hidden_entry(size, (z, other, 0.0), hidden)
    for value in (-100.0, 0.0, 3.0):
        w = solution(problem, hidden, value)

        expected = abs(z * other) * sign_of_solutions(size, (z, other, 0.0), hidden)
        np.testing.assert_allclose(np.linalg.det(w), expected, rtol=1e-10)


def test_the_smallest_problem():
    problem = one_hidden_entry()
    assert problem.shape == (2, 2)
    assert sign_of_solutions() == -1
    w = jnp.array([[7.0, 0.0], [2.0, 3.0]])
    assert float(problem.loss(w)) == (1 + 1 + 9) / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 1}, "size"),
        ({"size": 2.0}, "size"),
        ({"corner": (0.0, 1.0, 0.0)}, "corner: expected W_12 and W_21 other than 0"),
        ({"corner": (1.0, np.nan, 0.0)}, r"corner\[1\]"),
        ({"corner": (1.0, 1.0)}, "corner: expected 3 numbers"),
        ({"hidden": (0,)}, "hidden: expected 2 numbers"),
        ({"hidden": (2, 0)}, "hidden: expected a position in 2 x 2"),
        ({"hidden": (0, -1)}, r"hidden\[1\]"),
    ],
)
def test_wrong_problems_are_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        one_hidden_entry(**arguments)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("size", [2, 5])
def test_starts_have_the_sign_asked_for(sign, size):
    w = jax.vmap(lambda key: start(key, 1e-6, sign, size))(jax.random.split(jax.random.key(0), 100))
    assert (np.sign(np.linalg.det(np.asarray(w) * 1e6)) == sign).all()
    np.testing.assert_allclose(np.std(w), 1e-6, rtol=0.2)


@given(sizes, entries, entries, st.integers(0, 2**31), st.floats(1e-4, 0.4), st.floats(1.0, 4.0))
def test_the_bounds_hold_on_the_edge_of_the_other_sign(size, z, other, seed, epsilon, beyond):
    """Random residuals of a given norm, the hidden entry just large enough to turn the sign of the determinant."""
    rng = np.random.default_rng(seed)
    residuals = rng.standard_normal((size, size))
    residuals[0, 0] = 0
    residuals *= epsilon / np.linalg.norm(residuals)
    problem = one_hidden_entry(size, (z, other, 0.0))
    w = solution(problem, (0, 0), 0.0) + residuals
    minor, rest = np.linalg.det(w[1:, 1:]), np.linalg.det(w)
    w[0, 0] = -beyond * rest / minor  # det w = (1 - beyond) * rest
    loss = epsilon**2 / 2
    bound = entry_bound(loss, size, (z, other))
    assert np.isnan(bound) or abs(w[0, 0]) >= bound * (1 - 1e-9)
    # Rounding of the smallest singular value is relative to the largest.
    smallest = np.linalg.svd(w, compute_uv=False)[-1]
    if epsilon < min(abs(z), abs(other), 1):
        assert smallest <= rank_bound(loss) * (1 + 1e-9) + 1e-14 * abs(w[0, 0])


def test_the_entry_bound_in_the_smallest_case():
    loss = np.array([1e-8, 1e-3, 0.4])
    root = np.sqrt(2 * loss)
    np.testing.assert_allclose(entry_bound(loss), 1 / root - 2 + root, rtol=1e-12)
    assert np.isnan(entry_bound(0.6))


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_exact_flow_is_the_flow_of_balanced_factors(depth, sign):
    w0 = np.asarray(start(jax.random.key(5), 0.05, sign))
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
    found = exact_flow(w0, depth, corner=(-2.0, 0.5, 0.1), times=np.asarray(trajectory.times), rtol=1e-11)
    np.testing.assert_allclose(found.w, trajectory["w"], atol=1e-7)
    np.testing.assert_allclose(found.loss, trajectory["loss"], atol=1e-7)


def test_exact_flow_lands_on_the_loss_with_the_sign_it_had():
    found = exact_flow(np.asarray(start(jax.random.key(0), 1e-3, 1)), 2, loss=1e-3)
    np.testing.assert_allclose(found.loss[-1], 1e-3, rtol=1e-6)
    logs = found.log_singular_values
    assert logs[-1, 1] < -200  # far below what the factors could hold beside the larger one
    np.testing.assert_allclose(np.exp(logs[-1, 0]), np.linalg.norm(found.w[-1], 2), rtol=1e-9)


def test_descent_in_digits_is_descent():
    w0, rate = np.asarray(start(jax.random.key(1), 0.1, 1)), 0.02
    phi = DeepMatrix((2, 2), 2)
    trajectory = ut.train(
        one_hidden_entry(),
        phi,
        ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate)),
        params=phi.lift(w0),
        stop=ut.Stop(loss=None, steps=400),
        samples=[100, 200, 400],
        probes=[ut.probes.Entry(0, 0)],
    )
    entry, loss = descent_in_digits(w0, rate, 400, 3)
    np.testing.assert_allclose(entry, trajectory["entry_0_0"][1:], rtol=1e-10)
    np.testing.assert_allclose(loss, trajectory["loss"][1:], rtol=1e-10)
