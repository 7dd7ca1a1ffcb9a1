"""Weight decay of flows and descent, with a schedule."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract import compilations

import undertow as ut

B, P, D = ut.problems, ut.parameterizations, ut.dynamics
X = np.random.default_rng(0).standard_normal((3, 8))
PROBLEM, PHI = B.LeastSquares(X, X[:, 1] - 0.5 * X[:, 4]), P.SignedPower(8, 2)
ONES = (jnp.ones(8), jnp.ones(8))


@pytest.mark.long
def test_a_flow_whose_decay_fades_ends_where_its_integral_says():
    """Rate 2 e^(-t) has the integral 2: as from e^-2 times the start."""
    flow = D.GradientFlow("explicit", rtol=1e-10, decay=lambda t: 2 * jnp.exp(-t))
    run = ut.train(PROBLEM, PHI, flow, params=ONES, stop=ut.Stop(loss=1e-18), samples=2)
    assert run.status == "converged"
    np.testing.assert_allclose(run.w, ut.theory.limit(PROBLEM, PHI, ONES, decay=2.0), atol=1e-7)
    assert np.abs(run.w - ut.theory.limit(PROBLEM, PHI, ONES)).max() > 0.01


@pytest.mark.long
def test_a_rate_that_stays_is_a_penalty():
    stop = ut.Stop(loss=None, time=1.0)
    decay, penalty = D.GradientFlow("explicit", rtol=1e-10, decay=0.5), ut.penalties.OnParameters(ut.penalties.L2(0.5))
    a = ut.train(PROBLEM, PHI, decay, params=ONES, stop=stop, samples=2)
    b = ut.train(
        PROBLEM, PHI, D.GradientFlow("explicit", rtol=1e-10), params=ONES, penalty=penalty, stop=stop, samples=2
    )
    np.testing.assert_allclose(a.w, b.w, rtol=1e-8)
    with compilations() as count:
        ut.train(PROBLEM, PHI, D.GradientFlow("explicit", rtol=1e-10, decay=0.7), params=ONES, stop=stop, samples=2)
    assert count.programs == 0


def descend(optimizer, steps=20, **options):
    return ut.train(
        PROBLEM,
        PHI,
        D.GradientDescent(optimizer, **options),
        params=ONES,
        stop=ut.Stop(loss=None, steps=steps),
        samples=2,
    )


@pytest.mark.long
def test_descent_decays_as_adamw_and_as_a_schedule_says():
    """optax's AdamW scales its decay by the rate as well."""
    make = ut.optimizers.make
    np.testing.assert_allclose(
        descend(make("adam", 0.01), decay=0.3).w, descend(make("adamw", 0.01, weight_decay=0.3)).w, rtol=1e-10
    )
    rate = lambda step: jnp.where(step < 5, 0.3, 0.0)
    chained = optax.chain(optax.add_decayed_weights(rate), optax.sgd(0.01))
    np.testing.assert_allclose(descend(make("sgd", 0.01), decay=rate).w, descend(chained).w, rtol=1e-10)


def test_decay_that_makes_no_sense():
    with pytest.raises(ValueError, match="decay: expected a finite number of at least 0"):
        D.GradientDescent(optax.sgd(0.1), decay=-0.1)
    for start in (D.GradientFlow, lambda decay: D.GradientDescent(optax.sgd(0.1), decay=decay)):
        with pytest.raises(ValueError, match=r"decay: .* that is at least 0 at 0.*, found -0.1 there"):
            start(decay=lambda _when: -0.1)
        with pytest.raises(ValueError, match=r"that is at least 0 at 0.*, found nan there"):
            start(decay=lambda _when: float("nan"))
        with pytest.raises(TypeError, match="decay: expected a function that returns one number, found 'a'"):
            start(decay=lambda _when: "a")
    with pytest.raises(ValueError, match="decay: expected None with a step_size"):
        D.GradientFlow(step_size=0.1, decay=0.1)
    with pytest.raises(ValueError, match="decay: expected a function that returns one number"):
        descend(optax.sgd(0.1), decay=lambda step: jnp.array([0.1, 0.2]))


def test_functions_that_cannot_be_traced_are_refused_at_once():
    for rate in (lambda t: 0.1 if t < 5 else 0.0, lambda t: 0.1 * np.exp(-t), lambda t: [0.1, 0.2][t]):
        for start in (lambda f: D.GradientDescent(optax.sgd(0.1), decay=f), lambda f: ut.optimizers.make("sgd", f)):
            with pytest.raises(TypeError, match=r"expected a function that JAX can trace.*jnp\.where"):
                start(rate)
    with pytest.raises(ValueError, match=r"learning_rate: expected a function that returns one number, found shape"):
        ut.optimizers.make("sgd", lambda t: jnp.ones(2))


def test_decay_that_begins_after_a_long_rest_is_waited_for():
    """From an exact fit: then 0.1 w = 1 - w."""
    problem, phi = ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Identity(2)
    dynamics = D.GradientDescent(optax.sgd(0.1), decay=lambda step: jnp.where(step < 2000, 0.0, 0.1))
    run = ut.train(problem, phi, dynamics, params=jnp.zeros(2), stop=ut.Stop(loss=None, steps=3000), samples=2)
    assert run.status == "stopped"
    still = ut.train(problem, phi, dynamics, params=jnp.zeros(2), stop=ut.Stop(loss=None), samples=2)
    assert still.status == "stalled"
    # A step is -0.1 (w - w*) with optax's rate, and -0.1 w whole: the optimizer carries no rate that could be seen.
    np.testing.assert_allclose(run.w, np.array([1.0, 2.0]) / 2, rtol=1e-9)


@pytest.mark.parametrize("when", [(100, 101), (4000, 6000)], ids=["short", "late"])
def test_a_flow_sees_decay_that_begins_and_ends_while_it_rests(when):
    """At rest its steps are longer than the decay. From the fit, d: w' = 1 - w - w; then back over 2."""
    problem, phi = ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Identity(2)
    dynamics = D.GradientFlow("explicit", decay=lambda t: jnp.where((t >= when[0]) & (t < when[1]), 1.0, 0.0))
    stop = ut.Stop(loss=None, time=when[1] + 2.0)
    run = ut.train(problem, phi, dynamics, params=jnp.zeros(2), stop=stop, samples=2)
    assert run.status == "stopped"
    below = (1 - np.exp(-2.0 * (when[1] - when[0]))) / 2 * np.exp(-2.0)
    np.testing.assert_allclose(run.w, np.array([1.0, 2.0]) * (1 - below), rtol=1e-4)


def test_a_rate_that_begins_after_a_long_rest_is_waited_for():
    problem, phi = ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Identity(2)
    optimizer = ut.optimizers.make("sgd", lambda step: jnp.where(step < 1500, 0.0, 0.1))
    stop = ut.Stop(loss=1e-6, steps=3000)
    assert ut.train(problem, phi, D.GradientDescent(optimizer), params=jnp.zeros(2), stop=stop).status == "converged"
