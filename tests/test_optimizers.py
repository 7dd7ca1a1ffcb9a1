"""Optimizers by name, and group RMSprop against its formula."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from undertow import optimizers

PARAMS = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([[0.5]])}
GRADIENTS = [{"a": jnp.array([3.0, 4.0]) * (-0.7) ** i, "b": jnp.array([[12.0]]) * 0.9**i} for i in range(6)]


def path(optimizer, gradients=GRADIENTS, params=PARAMS):
    """The parameters after updates with the given gradients."""
    state, out = optimizer.init(params), []
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        out.append(params)
    return out


@pytest.mark.parametrize(("rate", "decay", "eps"), [(0.1, 0.99, 1e-6), (1e-3, 0.5, 1e-2)])
def test_group_rmsprop_is_its_formula(rate, decay, eps):
    flat = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
    u, v = flat(PARAMS), 0.0
    found = path(optimizers.group_rmsprop(rate, decay, eps))
    for t, (gradient, params) in enumerate(zip(GRADIENTS, found, strict=True), 1):
        g = flat(gradient)
        v = decay * v + (1 - decay) * g @ g
        u = u - rate / (np.sqrt(v / (1 - decay**t)) + eps) * g
        np.testing.assert_allclose(flat(params), u, rtol=1e-12)


def test_group_rmsprop_steps_have_the_length_of_the_learning_rate():
    """Where the gradient's length stays the same, each step has the learning rate's."""
    found = path(optimizers.make("group_rmsprop", 0.1, eps=1e-12), [GRADIENTS[0]] * 5)
    moved = np.sqrt(
        sum(np.sum((np.asarray(a) - b) ** 2) for a, b in zip(*map(jax.tree.leaves, found[-2:]), strict=True))
    )
    assert moved == pytest.approx(0.1, rel=1e-9)


def test_group_rmsprop_at_zero_gradient_stays():
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    (after,) = path(optimizers.group_rmsprop(0.1), [zero])
    jax.tree.map(np.testing.assert_array_equal, after, PARAMS)


@pytest.mark.two_types
@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "adagrad", "lion", "signum"])
def test_made_optimizers_are_those_of_optax(name):
    found, expected = path(optimizers.make(name, 0.1)), path(getattr(optax, name)(0.1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found, expected)


def test_options_and_schedules_are_passed_on():
    schedule = optax.exponential_decay(0.1, 2, 0.5)
    for rate in (0.1, schedule):
        found = path(optimizers.make("sgd", rate, momentum=0.9, nesterov=True))
        expected = path(optax.sgd(rate, momentum=0.9, nesterov=True))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found, expected)


def test_an_optimizer_unpacks_like_those_of_optax():
    init, update = optimizers.make("sgd", 0.1)
    updates, _ = update(GRADIENTS[0], init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["a"], [-0.3, -0.4], rtol=1e-12)


def test_the_learning_rate_is_traced():
    """One program for all learning rates, under vmap too."""
    gradient = jnp.array([1.0])

    def step(rate):
        optimizer = optimizers.make("sgd", rate)
        return optimizer.update(gradient, optimizer.init(gradient), gradient)[0]

    np.testing.assert_allclose(jax.jit(jax.vmap(step))(jnp.array([0.1, 0.2]))[:, 0], [-0.1, -0.2], rtol=1e-12)


def test_every_name_takes_a_learning_rate_first():
    names = optimizers.names()
    assert {"sgd", "adam", "rmsprop", "lbfgs", "group_rmsprop"} <= set(names)
    assert names == sorted(set(names))
    for name in names:
        assert next(iter(inspect.signature(optimizers._factory(name)).parameters)) == "learning_rate"


BAD = [
    (lambda: optimizers.make("adma", 0.1), ValueError, "name: unknown optimizer 'adma' (did you mean '"),
    (lambda: optimizers.make("", 0.1), ValueError, "name: unknown optimizer ''"),
    (lambda: optimizers.make("__init__", 0.1), ValueError, "name: unknown optimizer"),
    (lambda: optimizers.make("sgd", 0.0), ValueError, "learning_rate: expected a finite number above 0, found 0"),
    (lambda: optimizers.make("sgd", -0.1), ValueError, "learning_rate: expected a finite number above 0"),
    (lambda: optimizers.make("sgd", float("nan")), ValueError, "learning_rate: expected a finite number above 0"),
    (lambda: optimizers.make("sgd", [0.1]), TypeError, "learning_rate: expected a finite number above 0"),
    (lambda: optimizers.make("sgd", None), TypeError, "learning_rate: expected a finite number above 0"),
    (lambda: optimizers.make("sgd", 0.1, momentun=0.9), TypeError, "momentun: sgd has no such option (did you mean"),
    (lambda: optimizers.make("adamw", 0.1, mask={"a": True}), TypeError, "mask: expected a hashable value"),
    (lambda: optimizers.make("lars", 0.1, eps=[1.0]), TypeError, "eps: expected a hashable value"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
