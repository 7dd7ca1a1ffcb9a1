"""The problem of the hidden entry, and the starts and the descent that the studies of it rest on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow.datasets import one_hidden_entry, sign_of_solutions
from undertow.parameterizations import DeepMatrix
from undertow.studies.norms._shared import start
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
