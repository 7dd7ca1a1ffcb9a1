"""Flows at rest, near a saddle and at the rounding of their loss: what stands still is told from what moves."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import completion

import undertow as ut
from undertow.dynamics._base import RUNNING, STALLED
from undertow.dynamics._clock import Clock
from undertow.dynamics._flow import Flow as FieldFlow
from undertow.dynamics._stall import first_window, watch
from undertow.objective import Objective

B, P, Flow = ut.problems, ut.parameterizations, ut.dynamics.GradientFlow


@pytest.mark.two_types
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("target", [[0.0, 0.0], [1.0, 2.0]])
def test_a_gradient_of_exactly_zero_is_rest(target, dtype):
    """At the minimum, and at the saddle w = u^2, u = 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = ut.train(
            B.PointTarget(target),
            P.Power(2, 2),
            Flow("explicit"),
            params=jnp.zeros(2, dtype),
            stop=ut.Stop(loss=None, steps=5000),
        )
    assert run.status == "stalled"
    assert run.steps[-1] <= 1


def test_rest_lasts_until_the_time_that_was_asked_for():
    samples = [1.0, 50.0, 900.0]
    run = ut.train(
        B.PointTarget([1.0, 2.0]),
        P.Power(2, 2),
        Flow("explicit"),
        params=jnp.zeros(2),
        stop=ut.Stop(loss=None, time=1000.0),
        samples=samples,
    )
    assert run.status == "stopped"
    np.testing.assert_array_equal(run.times, [0.0, *samples, 1000.0])
    np.testing.assert_array_equal(run.w, 0)


@pytest.mark.long
@pytest.mark.two_types
@pytest.mark.parametrize("scale", [1e-8, 1e-12])
def test_single_precision_passes_a_saddle_whose_way_out_lies_across_large_entries(scale):
    phi = P.DeepMatrix((2, 2), 4)
    params = jax.tree.map(lambda x: x.astype(jnp.float32), phi.init(jax.random.key(0), scale))
    run = ut.train(B.PointTarget(np.diag([2.0, 1.0])), phi, Flow(), params=params, stop=ut.Stop(steps=5000), samples=2)
    assert run.status == "converged"
    np.testing.assert_allclose(run.w, np.diag([2.0, 1.0]), atol=2e-3)


@pytest.mark.two_types
def test_the_rounding_of_a_loss_is_no_divergence():
    """Far below the rounding of its residuals, a loss rises and falls by its own size."""
    A = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    run = ut.train(
        B.LeastSquares(A, A.sum(1)),
        P.SignedPower(8, 2),
        Flow("explicit"),
        params=(jnp.full(8, 0.3, jnp.float32), jnp.full(8, 0.2, jnp.float32)),
        stop=ut.Stop(loss=None, steps=3000),
        samples=2,
    )
    assert run.status == "stalled"
    assert run["loss"][-1] < 1e-9


# The judge itself --------------------------------------------------------------------------------


class Standing(eqx.Module):
    """What the judge looks at."""

    params: jax.Array
    level: jax.Array
    slope: jax.Array
    reading: jax.Array
    steps: jax.Array
    atol: jax.Array
    window: object
    status: jax.Array
    clock: Clock = Clock()


def judged(path, times, loss=lambda t: 1.0, stop=None):
    """The number of times after which a path of parameters is called stalled, 256 steps from one to the next."""
    stop = ut.Stop() if stop is None else stop
    window = first_window(jnp.asarray(path(times[0])), jnp.asarray(loss(times[0])))
    for k, t in enumerate(times[1:], 1):
        numbers = (loss(t), 1e-3, t)
        state = Standing(
            jnp.asarray(path(t)),
            *(jnp.asarray(x) for x in numbers),
            jnp.asarray(256 * k, jnp.int32),
            jnp.asarray(1e-8),
            window,
            jnp.asarray(RUNNING, jnp.int32),
        )
        state = watch(state, 1e-5, stop)
        if int(state.status) == STALLED:
            return k
        window = state.window
    return None


TURN = np.array([[0.6, -0.8], [0.8, 0.6]])
EVEN = 10.0 * np.arange(1, 200)


@pytest.mark.parametrize(
    ("path", "loss", "rests"),
    [
        (lambda t: np.array([1.0, 0.5]), lambda t: 1.0, True),
        (lambda t: np.array([1.0, 0.5]) + 1e-7 * np.exp(-t), lambda t: 1.0, True),
        # A mode of 1e-7 that grows, turned into entries of 0.6 and 0.8.
        (lambda t: TURN @ np.array([1.0, 1e-7 * np.exp(t / 500)]), lambda t: 1.0, False),
        (lambda t: np.array([1.0, 1e-5 * np.exp(t / 1000)]), lambda t: 1.0, False),
        # As slow as stability lets it be: 256 steps are a small part of the time.
        (lambda t: np.array([1.0 + 1e-7 * t, 0.5]), lambda t: 1.0, False),
        (lambda t: np.array([1.0, 0.5]), lambda t: 1 / t**0.1, False),
    ],
    ids=["rest", "settled", "grows-across", "grows-in-an-entry", "drifts", "falls"],
)
def test_what_moves_is_told_from_what_rests(path, loss, rests):
    assert (judged(path, EVEN, loss) is not None) == rests


# Uphill ------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("solver", ["explicit", "stabilized", "implicit"])
def test_no_step_raises_the_objective(solver):
    """With tolerances that hold nothing back, only the objective does."""
    phi, stop = P.DeepMatrix((4, 3), 2), ut.Stop(loss=1e-9)
    objective, flow = Objective(completion(), phi), Flow(solver, rtol=1.0, atol=1e3)
    state = eqx.filter_jit(flow.start)(objective, phi.init(jax.random.key(1), 1.0), stop)
    targets, none, one = jnp.array([1e9]), jnp.asarray(0, jnp.int32), jnp.asarray(1, jnp.int32)
    advance = eqx.filter_jit(lambda state: flow.advance(solver, objective, state, stop, targets, none, one)[0])
    totals = [float(state.level)]
    for _ in range(60):
        state = advance(state)
        totals.append(float(state.level))
    assert (np.diff(totals) <= 1e-12).all()
    assert totals[-1] < 1e-2 * totals[0]


# A minimum at infinity ---------------------------------------------------------------------------


class Separable(B.Problem):
    """The exponential loss of two points that a line tells apart: its infimum, zero, is at infinity."""

    shape: tuple[int, ...] = (2,)
    attained = False

    def loss(self, w):
        return jnp.exp(-jnp.array([[1.0, 0.5], [0.3, 1.0]], w.dtype) @ w).sum()


@pytest.mark.parametrize(
    "dynamics",
    [Flow("explicit"), ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1.0))],
    ids=["flow", "descent"],
)
def test_nothing_converges_to_infinity(dynamics, tmp_path):
    for stop in (ut.Stop(loss=1e-2), ut.Stop(loss=None, gradient=1e-2)):
        run = ut.train(Separable(), P.Identity(2), dynamics, params=jnp.zeros(2), stop=stop, samples=2)
        assert run.status == "stopped"
        assert run["loss"][-1] < 2e-2
    limits = (ut.Stop(loss=0.5), ut.Stop(loss=1e-2))
    runs = [
        ut.train(Separable(), P.Identity(2), dynamics, params=jnp.zeros(2), stop=s, checkpoint=tmp_path / "run.npz")
        for s in limits
    ]
    assert [run.status for run in runs] == ["stopped", "stopped"]
    assert runs[1]["loss"][-1] <= 1e-2 < runs[0]["loss"][-1]


@pytest.mark.long
@pytest.mark.two_types
def test_a_single_point_goes_to_infinity_as_the_logarithm():
    """w' = exp(-w) from 0: w = log(1 + t)."""

    class Point(B.Problem):
        shape: tuple[int, ...] = (1,)
        attained = False

        def loss(self, w):
            return jnp.exp(-w[0])

    for log_time, dtype in ((600.0, jnp.float64), (80.0, jnp.float32)):
        stop = ut.Stop(loss=None, time=float(np.exp(log_time)))
        run = ut.train(Point(), P.Identity(1), Flow("explicit"), params=jnp.zeros(1, dtype), stop=stop, samples=2)
        assert run.status == "stopped"
        assert run.steps[-1] < 2100
        np.testing.assert_allclose(run.w, log_time, rtol=1e-6)


# A field of one's own ----------------------------------------------------------------------------


class Rotated(FieldFlow):
    """Along the level sets of the objective: nothing falls, and nothing is refused for it."""

    solver: str = eqx.field(static=True, default="explicit")
    rtol: float = eqx.field(static=True, default=1e-8)
    atol: float | None = eqx.field(static=True, default=None)

    @property
    def descends(self):
        return False

    def field(self, objective, params):
        gradient = jax.grad(lambda u: objective(u)[0])(params)
        return jnp.array([-gradient[1], gradient[0]])


def test_a_flow_follows_the_field_that_it_says():
    """Of half the squared norm: a circle, once around in 2 pi."""
    run = ut.train(
        B.PointTarget([0.0, 0.0]),
        P.Identity(2),
        Rotated(),
        params=jnp.array([1.0, 0.0]),
        samples=[np.pi / 2],
        probes=[ut.probes.Function("w", lambda w: w)],
        stop=ut.Stop(loss=None, time=2 * np.pi),
    )
    assert run.status == "stopped"
    np.testing.assert_allclose(run["w"], [[1, 0], [0, 1], [1, 0]], atol=1e-6)
