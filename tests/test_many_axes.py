"""Tensors of very many short axes: entries by sums of logarithms, against products one by one; factors as one array."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import undertow as ut
from undertow.linalg import ManyAxes, _many_axes

P, B = ut.parameterizations, ut.problems
ORDER, LENGTH, COMPONENTS = 20, 3, 4


def by_products(stack, rows):
    return jnp.sum(jnp.prod(stack[jnp.arange(stack.shape[0])[None], rows.astype(int)], axis=1), axis=1)


def instance(zeros=()):
    rng = np.random.default_rng(0)
    stack = rng.normal(size=(ORDER, LENGTH, COMPONENTS))
    for at in zeros:
        stack[at] = 0
    return jnp.asarray(stack), jnp.asarray(rng.integers(0, LENGTH, (50, ORDER)), jnp.uint8)


@pytest.mark.parametrize("zeros", [(), [(3, 1, 0), (5, 0, 0), (7, 2, 2)]], ids=["none", "some"])
def test_entries_and_their_derivatives(zeros):
    stack, rows = instance(zeros)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=50))
    found, expected = (
        jax.jit(jax.value_and_grad(lambda x, f=f: weights @ f(x, rows)))(stack)
        for f in (_many_axes.sampled_sum_of_stack, by_products)
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-11)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-11, atol=1e-11)
    forward, right = (
        jax.jit(lambda x, f=f: jax.jvp(lambda x: f(x, rows), (x,), (x + 1,))[1])(stack)
        for f in (_many_axes.sampled_sum_of_stack, by_products)
    )
    np.testing.assert_allclose(forward, right, rtol=1e-10, atol=1e-10)


def test_pieces_make_the_whole(monkeypatch):
    stack, rows = instance()
    whole = _many_axes.sampled_sum_of_stack(stack, rows)
    monkeypatch.setattr(_many_axes, "ELEMENTS", 7 * ORDER)  # seven rows, which do not divide fifty
    np.testing.assert_allclose(_many_axes.sampled_sum_of_stack(stack, rows), whole, rtol=1e-12)


def test_no_part_of_a_product_overflows():
    """784 factors, the first half of 1e5 and the second of 1e-5: no float holds the product of the first half."""
    stack = jnp.concatenate([jnp.full((392, 2, 1), 1e5), jnp.full((392, 2, 1), 1e-5)])
    value = lambda x: _many_axes.sampled_sum_of_stack(x, jnp.ones((1, 784), int))[0]
    found, gradient = jax.jit(jax.value_and_grad(value))(stack)
    assert float(found) == pytest.approx(1.0, rel=1e-9)
    np.testing.assert_allclose(gradient[:, 1, 0] * stack[:, 1, 0], 1.0, rtol=1e-9)
    np.testing.assert_array_equal(gradient[:, 0], 0)


def test_a_stack_is_the_tuple_of_its_matrices(getkey):
    shape, key = (LENGTH,) * ORDER, getkey()
    apart, stacked = P.CPTensor(shape, COMPONENTS), P.CPTensor(shape, COMPONENTS, stacked=True)
    factors, stack = apart.init(key, 1.0), stacked.init(key, 1.0)
    assert stack.shape == (ORDER, LENGTH, COMPONENTS)
    np.testing.assert_array_equal(stack, jnp.stack(factors))
    np.testing.assert_allclose(stacked.component_norms(stack), apart.component_norms(factors), rtol=1e-14)
    rows = instance()[1]
    positions = ManyAxes(list(rows.T), LENGTH)
    expected = apart.entries(factors, positions)
    np.testing.assert_allclose(stacked.entries(stack, positions), expected, rtol=1e-10)
    np.testing.assert_allclose(stacked.entries(stack, positions.axes), expected, rtol=1e-10)


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 3)])
def test_a_stack_of_few_axes(shape, getkey):
    phi, w = P.CPTensor(shape, 9, stacked=True), jnp.asarray(np.random.default_rng(2).normal(size=shape))
    params = phi.lift(w)
    assert params.shape == (len(shape), 3, 9)
    np.testing.assert_allclose(phi(params), w, atol=1e-12)
    at = tuple(jnp.array([0, 2]) for _ in shape)
    np.testing.assert_allclose(phi.entries(params, at), w[at], atol=1e-12)


@pytest.mark.long
def test_completion_of_784_axes():
    """Labels that the first pixel decides, which rank 1 writes: one array of positions, and mini-batches of it."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 2, (60, 784))
    problem = B.TensorCompletion((2,) * 784, list(images.T), 1.0 + images[:, 0])
    assert isinstance(problem.indices, ManyAxes)
    assert problem.indices.rows.dtype == jnp.uint8
    phi = P.CPTensor((2,) * 784, 1, stacked=True)
    exact = jnp.ones((784, 2, 1)).at[0, 1].set(2.0)
    entries = phi.entries(exact, problem.indices)
    assert float(problem.loss_of_entries(entries)) < 1e-20
    some = problem.part(jnp.array([5, 7]), jnp.array([1.0, 1.0]))
    np.testing.assert_array_equal(some.indices.rows, problem.indices.rows[jnp.array([5, 7])])
    descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 5e-4), batch_size=20)
    start = 1 + 1e-3 * jnp.asarray(rng.normal(size=(784, 2, 1)))
    run = ut.train(problem, phi, descent, params=start, key=0, stop=ut.Stop(loss=None, steps=60), samples=2)
    assert run["loss"][-1] < 0.2 * run["loss"][0]


@pytest.mark.parametrize("order", [60, 784])  # at 60 the number of entries is one that JAX can name
def test_a_tensor_that_nobody_can_hold_is_refused_where_all_of_it_is_asked_for(order):
    """XLA ends the process."""
    phi, factors = P.CPTensor((2,) * order, 1, stacked=True), np.ones((order, 5, 2))
    problem, params = B.TensorSensing.rank_one(list(factors), np.ones(5)), jnp.ones((order, 2, 1))
    for ask in (
        lambda: ut.train(problem, phi, ut.dynamics.GradientFlow(), params=params),
        lambda: phi(params),
        problem.written_out,
    ):
        with pytest.raises(ValueError, match=rf"memory can hold, found \d+ axes and 2\^({order}|{order + 2}) entries"):
            ask()


def test_what_cannot_be_stacked():
    with pytest.raises(
        ValueError, match=r"stacked: expected False for axes of different lengths, found True with shape"
    ):
        P.CPTensor((3, 2), 1, stacked=True)
    assert math.prod(P.CPTensor((2,) * 784, 1, stacked=True).shape) == 2**784
