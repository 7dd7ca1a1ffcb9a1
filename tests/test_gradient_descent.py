"""Gradient descent against loops by hand, and the laws that all dynamics share."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract import DYNAMICS, assert_same_bits, completion, exported, rows

import undertow as ut
from undertow.objective import Objective

B, P, M, Descent = ut.problems, ut.parameterizations, ut.probes, ut.dynamics.GradientDescent
PROBLEM, PHI = completion(), P.DeepMatrix((4, 3), 2)
START = PHI.init(jax.random.key(7), 1.0)
FOREVER = ut.Stop(loss=None, steps=50)


def gradient(params):
    return jax.grad(lambda p: PROBLEM.loss(PHI(p)))(params)


def descend(optimizer, stop=FOREVER, **options):
    return ut.train(PROBLEM, PHI, Descent(optimizer), params=START, stop=stop, **options)


# All dynamics ------------------------------------------------------------------------------------


def test_every_class_has_a_row():
    assert exported(ut.dynamics, ut.dynamics.Dynamics) == {type(case.instance) for case in DYNAMICS}


@rows(DYNAMICS)
def test_chunks_of_any_length_give_the_same_bits(case):
    """The law of ``advance``, and the same under vmap for runs that end at different times."""
    dynamics = case.instance
    objective, stop = Objective(PROBLEM, PHI), ut.Stop(loss=0.5, steps=20)
    by_time = dynamics.samples_by == "time"
    targets = jnp.array([0.3, 1.0, 2.5, 1e9]) if by_time else jnp.array([1, 4, 9, 1000], jnp.int32)

    @eqx.filter_jit
    def advance(state, passed, limit):
        return dynamics.advance(dynamics.modes[0], objective, state, stop, targets, passed, limit)

    def run(state, limit):
        passed, buffer = 0, [None] * 4
        while int(state.status) == 0:
            state, samples = advance(state, jnp.asarray(passed, jnp.int32), jnp.asarray(limit, jnp.int32))
            for i in np.flatnonzero(samples.taken):
                buffer[i] = jax.tree.map(lambda x, i=i: np.asarray(x[i]), (samples.params, samples.time, samples.steps))
            passed += int(samples.taken.sum())
        return state, buffer

    start = eqx.filter_jit(dynamics.start)(objective, START, stop)
    once, sampled = run(start, 1_000)
    assert_same_bits((once, sampled), run(start, 1))
    assert_same_bits((once, sampled), run(start, 3))
    assert once.steps > 5


@pytest.mark.long
@rows([case for case in DYNAMICS if case.id in ("GradientFlow", "GradientDescent")])
def test_runs_side_by_side_are_those_one_by_one(case):
    """Under vmap, where every run has its own number of steps."""
    scales = [0.5, 1.0, 1.5]
    stop = ut.Stop(loss=0.3, steps=500)

    def run(scale):
        return ut.train(PROBLEM, PHI, case.instance, key=3, scale=scale, stop=stop, samples=4)

    data = ut.sweep(run, over={"scale": scales})
    alone = [run(scale) for scale in scales]
    assert data.status.values.tolist() == [t.status for t in alone]
    np.testing.assert_allclose(data.final_loss, [t["loss"][-1] for t in alone], rtol=1e-3)
    assert len({t.steps[-1] for t in alone}) > 1


# Descent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "rounding"),
    [
        (
            optax.chain(optax.clip(0.1), optax.sgd(0.1, momentum=0.9)),
            optax.chain(optax.clip(0.1), optax.sgd(0.1, 0.9)),
            1e-11,
        ),
        (  # optax's schedules are of single precision
            ut.optimizers.make("sgd", optax.linear_schedule(0.1, 0.0, 40)),
            optax.sgd(optax.linear_schedule(0.1, 0.0, 40)),
            1e-7,
        ),
    ],
    ids=["chain", "schedule"],
)
def test_optimizers_are_those_of_optax(ours, theirs, rounding):
    @jax.jit
    def step(params, state):
        updates, state = theirs.update(gradient(params), state, params)
        return optax.apply_updates(params, updates), state

    params, state = START, theirs.init(START)
    for _ in range(50):
        params, state = step(params, state)
    run = descend(ours)
    for found, expected in zip(run.params, params, strict=True):
        np.testing.assert_allclose(found, expected, rtol=rounding, atol=rounding / 100)


@pytest.mark.long
def test_lbfgs_with_a_penalty_searches_along_the_whole_objective():
    problem = B.LeastSquares([[1.0, 0.0], [0.0, 2.0]], [1.0, 2.0])
    run = ut.train(
        problem,
        P.Identity(2),
        Descent(optax.lbfgs()),
        params=jnp.zeros(2),
        penalty=lambda w: 0.5 * jnp.sum(w**2),
        stop=ut.Stop(loss=None, steps=30),
    )
    np.testing.assert_allclose(run.w, [1 / 2, 4 / 5], rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "group_rmsprop"])
def test_small_steps_follow_the_flow(name):
    """Descent of rate h follows the flow to O(h); group RMSprop its path, by another clock: the same end."""
    flow = ut.train(
        PROBLEM, PHI, ut.dynamics.GradientFlow("explicit"), params=START, stop=ut.Stop(loss=1e-2), samples=2
    )
    rate = 1e-3
    run = descend(ut.optimizers.make(name, rate), ut.Stop(loss=1e-2), samples=2)
    assert run.status == "converged"
    np.testing.assert_allclose(run.w, flow.w, atol=20 * rate)
    if name == "sgd":
        assert run.times[-1] == pytest.approx(flow.times[-1], rel=0.02)


# Ends --------------------------------------------------------------------------------------------


def test_stops_at_the_first_update_below_the_loss():
    run = descend(ut.optimizers.make("sgd", 0.02), ut.Stop(loss=0.5), samples=np.arange(1, 1000))
    assert run.status == "converged"
    assert run["loss"][-1] <= 0.5 < run["loss"][-2]
    assert run.steps.tolist() == list(range(run.steps[-1] + 1))


def test_stops_at_a_gradient_and_at_a_time():
    optimizer = ut.optimizers.make("sgd", 0.02)
    run = descend(optimizer, ut.Stop(loss=None, gradient=0.5), probes=[M.GradientNorm()], samples=np.arange(1, 1000))
    assert run.status == "converged"
    assert run["gradient_norm"][-1] <= 0.5 < run["gradient_norm"][-2]
    run = descend(optimizer, ut.Stop(loss=None, time=0.5))
    assert (run.status, run.steps[-1]) == ("stopped", 25)


@pytest.mark.parametrize("rate", [3.0, 1e3, 1e200])
def test_too_large_a_learning_rate_diverges_and_keeps_what_it_had(rate):
    run = descend(ut.optimizers.make("sgd", rate), ut.Stop(loss=1e-9, steps=100_000), probes=[M.FrobeniusNorm()])
    assert run.status == "diverged"
    for values in (*run.params, run["loss"], run["frobenius_norm"]):
        assert np.isfinite(values).all()
    assert run["loss"][-1] == pytest.approx(float(PROBLEM.loss(run.w)), rel=1e-12)


def test_a_rate_lost_in_rounding_is_stalled():
    run = descend(ut.optimizers.make("sgd", 1e-30), ut.Stop(loss=1e-9))
    assert run.status == "stalled"
    assert run.steps[-1] <= 1_001
    assert_same_bits(run.params, START)


def test_samples_are_even_in_steps():
    run = descend(ut.optimizers.make("sgd", 0.02), ut.Stop(loss=None, steps=1_000), samples=100)
    assert run.steps[0] == 0
    assert run.steps[-1] == 1_000
    assert 50 <= len(run.steps) <= 100


@pytest.mark.long
@pytest.mark.two_types
def test_single_precision_stays_single():
    start = jax.tree.map(lambda x: x.astype(jnp.float32), START)
    for optimizer in (ut.optimizers.make("adam", 0.01), ut.optimizers.make("group_rmsprop", 0.01)):
        run = ut.train(PROBLEM, PHI, Descent(optimizer), params=start, stop=FOREVER)
        assert {x.dtype for x in run.params} == {jnp.dtype("float32")}
        exact = descend(optimizer)
        np.testing.assert_allclose(run.w, exact.w, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("optimizer", [None, "sgd", 0.1, object()])
def test_something_else_than_an_optimizer_is_refused(optimizer):
    with pytest.raises(TypeError, match=re.escape("optimizer: expected an optax.GradientTransformation")):
        Descent(optimizer)
