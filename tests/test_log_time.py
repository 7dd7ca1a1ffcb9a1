"""The flow in log time, where the loss reaches zero at infinity only: closed forms, and the flow in time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Array, Float

import undertow as ut
from undertow.dynamics._clock import Clock, LogClock
from undertow.dynamics._root_finder import GuardedNewton

B, P, Flow = ut.problems, ut.parameterizations, ut.dynamics.GradientFlow
GENERIC = np.array([[1.0, 0.2], [0.2, 1.0], [2.0, 1.5]])
HARD_MARGIN = np.array([5 / 6, 5 / 6])


class Exponential(B.Problem):
    """The sum of the exponential losses of points, labels folded in."""

    X: Float[Array, "n d"]
    shape: tuple[int, ...] = eqx.field(static=True)
    attained = False

    def __init__(self, X):
        self.X = jnp.asarray(X)
        self.shape = self.X.shape[1:]

    def loss(self, w):
        return jnp.exp(-self.X.astype(w.dtype) @ w).sum()


class Separable(Exponential):
    """The same, and its logarithm."""

    def log_loss(self, w):
        return jax.nn.logsumexp(-self.X.astype(w.dtype) @ w)


def follow(problem, log_time, *, flow=None, params=None, dtype=jnp.float64, **options):
    params = jnp.zeros(problem.shape, dtype) if params is None else params
    phi = options.pop("parameterization", P.Identity(problem.shape))
    stop = options.pop("stop", None) or ut.Stop(loss=None, log_time=log_time)
    return ut.train(problem, phi, flow or Flow("implicit", rtol=1e-9), params=params, stop=stop, **options)


# Closed forms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["auto", "explicit", "stabilized", "implicit"])
@pytest.mark.parametrize("log_time", [40.0, 5000.0])
def test_one_point_goes_as_the_logarithm(solver, log_time):
    """u = x.w: exp(u) grows by |x|^2 a unit of time."""
    x = np.array([1.0, 2.0])
    run = follow(Separable(x[None]), log_time, flow=Flow(solver, rtol=1e-9), samples=2)
    assert run.status == "stopped"
    assert run.log_times[-1] == log_time
    np.testing.assert_allclose(x @ run.w, np.logaddexp(0, np.log(5) + log_time), rtol=1e-7)
    np.testing.assert_allclose(run["log_loss"][-1], -np.logaddexp(0, np.log(5) + log_time), rtol=1e-7)


def test_a_generic_problem_follows_the_hard_margin_vector_to_a_constant():
    """w - w_hat log t tends to the point where exp(-x.w) are the duals; t L to |w_hat|^2 = 25/18."""
    at = np.array([20.0, 40.0, 80.0, 1000.0])
    w = ut.probes.Function("w", lambda w: w)
    run = follow(Separable(GENERIC), 1000.0, samples=ut.LogTimes(at), probes=[w])
    np.testing.assert_array_equal(run.log_times, [-np.inf, *at])
    duals = np.linalg.solve(GENERIC[:2].T, HARD_MARGIN)
    limit = np.linalg.solve(GENERIC[:2], -np.log(duals))
    rest = run["w"][1:] - HARD_MARGIN * at[:, None]
    np.testing.assert_allclose(rest[1:], np.broadcast_to(limit, (3, 2)), atol=3e-7)
    np.testing.assert_allclose(run["log_loss"][1:] + at, np.log(25 / 18), atol=1e-6)


@pytest.mark.long
@pytest.mark.two_types
def test_float32_goes_as_far():
    run = follow(Separable(GENERIC), 1000.0, flow=Flow("implicit", rtol=1e-5), dtype=jnp.float32, samples=2)
    assert run.w.dtype == jnp.float32
    assert run["loss"][-1] == 0  # below all numbers, and still
    np.testing.assert_allclose(run["log_loss"][-1], np.log(25 / 18) - 1000, rtol=1e-6)
    np.testing.assert_allclose(run.w / 1000, HARD_MARGIN, rtol=1e-3)


def test_the_steps_grow_with_the_time():
    """However far: nothing holds an implicit step back."""
    runs = [follow(Separable(GENERIC), log_time, samples=2) for log_time in (1e2, 1e5)]
    assert runs[1].steps[-1] < 2 * runs[0].steps[-1]


@pytest.mark.long
def test_weights_that_grow_along_a_curve_do_not_hold_an_implicit_step_back():
    """w = u v of one point with margin w, u = v: w' = 2 w exp(-w), so that Ei(w) grows by 2 a unit of time.

    Stages whose guess is a line have margins too wide by hundreds, from where Newton's method alone runs away.
    """
    phi, log_time = P.Hadamard(1, 2), 1e6
    run = follow(
        Separable(np.ones((1, 1))), log_time, flow=Flow("implicit"), parameterization=phi, params=phi.lift(np.ones(1))
    )
    w = log_time
    for _ in range(5):
        w = log_time + np.log(2) + np.log(w) - np.log1p(1 / w + 2 / w**2)  # Ei(w) = exp(w) / w (1 + 1/w + 2/w^2 ...)
    np.testing.assert_allclose(run.w, w, rtol=1e-5)
    assert run.steps[-1] < 300  # without the guard five points in two layers took 752


def test_newton_s_method_comes_back_from_where_an_exponential_is_flat():
    """The root of 1 - exp(-y) at 0, from 12: a whole step goes to -160,000, where there are no numbers."""
    plain = optimistix.Newton(rtol=1e-9, atol=1e-9)

    def solve(finder):
        def missing(y, args):
            return 1 - jnp.exp(-y)

        return optimistix.root_find(missing, finder, jnp.array(12.0), max_steps=20, throw=False)

    assert abs(solve(GuardedNewton(rtol=1e-9, atol=1e-9)).value) < 1e-9
    assert solve(plain).result != optimistix.RESULTS.successful


def test_tiny_margins_do_not_hold_an_implicit_step_back():
    """Features that nearly depend on each other: margin 1.3e-3, so stiff that rounding misses any absolute tolerance.

    The direction is that of a quadratic program. An error of order one over log t = 1e7 is left: 1e-6 with room.
    """
    rng = np.random.default_rng(0)
    X = rng.standard_normal((7, 2)) @ rng.standard_normal((2, 6)) + 0.002 * rng.standard_normal((7, 6))
    problem = B.Classification(X, np.where(np.arange(7) % 2, 1, -1), "logistic", intercept=True)
    widest = ut.theory.maximum_margin(problem)
    run = follow(problem, 1e7, flow=Flow("implicit"), probes=[ut.probes.DirectionError(widest)], samples=2)
    assert run.status == "stopped"
    assert run["direction_error"][-1] < 1e-6
    assert run.steps[-1] < 300  # 1,000 came to log t = 181 as long as no correction was the last but by what is missing


# The same flow -----------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    ("solver", "phi"),
    [("explicit", P.SignedPower(2, 2)), ("stabilized", P.Identity(2)), ("implicit", P.Identity(2))],
    ids=["explicit", "stabilized", "implicit"],
)
def test_it_is_the_flow_in_time(solver, phi):
    """From a start that is far on the wrong side, so that the first times are short."""
    params = phi.lift(jnp.array([-1.0, -0.5])) if isinstance(phi, P.Identity) else (jnp.ones(2), jnp.full(2, 1.2))
    times = np.array([0.0, 1e-3, 0.1, 3.0, 1e3, 1e6])
    w = ut.probes.Function("w", lambda w: w)
    options = {"params": params, "parameterization": phi, "samples": times, "probes": [w], "flow": Flow(solver, 1e-8)}
    runs = [
        follow(problem(GENERIC), None, stop=ut.Stop(loss=None, time=1e6), **options)
        for problem in (Exponential, Separable)
    ]
    np.testing.assert_allclose(runs[1].times, times, rtol=1e-12)
    np.testing.assert_allclose(runs[1]["w"], runs[0]["w"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(runs[1]["log_loss"], np.log(runs[0]["loss"]), atol=2e-5)


@pytest.mark.long
def test_mirror_flow_too():
    euclidean = ut.dynamics.MirrorFlow(ut.potentials.Euclidean(), "explicit", rtol=1e-9)
    a, b = (follow(Separable(GENERIC), 300.0, flow=flow, samples=2) for flow in (euclidean, Flow("explicit", 1e-9)))
    assert a.status == b.status == "stopped"
    np.testing.assert_allclose(a.w, b.w, rtol=1e-7)


def test_with_a_penalty_there_is_a_minimum_and_no_log_time():
    run = follow(Separable(GENERIC), None, stop=ut.Stop(loss=None, gradient=1e-8), penalty=ut.penalties.L2(0.1))
    assert "log_loss" not in run.records
    w = np.asarray(run.w)
    slope = -(GENERIC * np.exp(-GENERIC @ w)[:, None]).sum(0)
    penalty = np.asarray(jax.grad(ut.penalties.L2(0.1))(run.w))
    np.testing.assert_allclose(slope + penalty, 0, atol=1e-7)


class Halved(ut.dynamics.Flow):
    """A flow of one's own, which does not say that its field is linear in the gradient."""

    solver: str = eqx.field(static=True, default="explicit")
    rtol: float = eqx.field(static=True, default=1e-8)
    atol: float | None = eqx.field(static=True, default=None)
    descends = True

    def field(self, objective, params):
        gradient = jax.grad(lambda params: objective(params)[0])(params)
        return -gradient / jnp.sqrt(jnp.sum(gradient**2))


def test_a_field_that_is_not_linear_in_the_gradient_is_followed_in_time():
    run = follow(Separable(GENERIC), None, flow=Halved(), stop=ut.Stop(loss=None, time=3.0))
    assert "log_loss" not in run.records
    assert run.times[-1] == 3.0


# Limits, samples, records ------------------------------------------------------------------------


@pytest.mark.parametrize("log_loss", [-5.0, -50.0, -3000.0])
def test_a_run_lands_on_the_logarithm_of_a_loss(log_loss):
    run = follow(Separable(GENERIC), None, stop=ut.Stop(log_loss=log_loss))
    assert run.status == "stopped"  # and not "converged"
    assert log_loss + np.log(0.999) <= run["log_loss"][-1] <= log_loss


def test_the_default_stop_is_that_of_every_run():
    run = follow(Separable(GENERIC), None, stop=ut.Stop())
    assert run.status == "stopped"
    assert 0.999e-6 <= run["loss"][-1] <= 1e-6


def test_limits_that_are_logarithms_are_limits_of_every_run():
    problem, start = B.PointTarget([1.0, 2.0]), jnp.zeros(2)
    for stop in (ut.Stop(log_loss=np.log(1e-3)), ut.Stop(loss=1e-3)):
        run = ut.train(problem, P.Identity(2), Flow(), params=start, stop=stop)
        assert 0.999e-3 <= run["loss"][-1] <= 1e-3
    run = ut.train(problem, P.Identity(2), Flow(), params=start, stop=ut.Stop(log_time=0.5), samples=ut.LogTimes([0.0]))
    np.testing.assert_allclose(run.times[1:], [1.0, np.exp(0.5)], rtol=1e-12)
    np.testing.assert_allclose(run.log_times, [-np.inf, 0.0, 0.5], atol=1e-12)


def test_samples_are_even_in_log_time_and_no_more_than_asked_for():
    run = follow(Separable(GENERIC), 2000.0, samples=64)
    assert 32 <= len(run.times) <= 64
    gaps = np.diff(run.log_times[1:-1])
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)
    assert np.isinf(run.times[-1])
    assert np.isfinite(run.log_times[1:]).all()
    data = run.to_xarray()
    np.testing.assert_array_equal(data["log_time"], run.log_times)


def test_what_is_asked_for_twice_or_wrongly_is_named():
    problem, descent = Separable(GENERIC), ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.1))
    with pytest.raises(ValueError, match=r"log_loss: expected either loss or log_loss, found both, 0.1 and -2"):
        ut.Stop(loss=0.1, log_loss=-2)
    with pytest.raises(ValueError, match=r"log_time: expected either time or log_time, found both"):
        ut.Stop(time=1.0, log_time=0.0)
    with pytest.raises(ValueError, match=r"log_time: expected a finite number, found nan"):
        ut.Stop(log_time=np.nan)
    for samples in (ut.LogTimes([1.0, 0.5]), ut.LogTimes([np.nan]), ut.LogTimes([[1.0]])):
        with pytest.raises(ValueError, match=r"samples: expected .* increasing finite logarithms of times"):
            follow(problem, 10.0, samples=samples)
    with pytest.raises(ValueError, match=r"samples: expected .* increasing steps"):
        follow(problem, 10.0, flow=descent, samples=ut.LogTimes([1.0]))


def test_progress_is_told_in_logarithms():
    told = []
    follow(Separable(GENERIC), None, stop=ut.Stop(log_loss=-900.0), progress=lambda *report: told.append(report))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert told[-1][0] == pytest.approx(1, abs=0.01)


# As every other run ------------------------------------------------------------------------------


def test_a_checkpoint_is_taken_further(tmp_path):
    def run(log_time, path):
        return follow(Separable(GENERIC), log_time, samples=16, checkpoint=path)

    run(100.0, tmp_path / "run.npz")
    taken_on, whole = run(900.0, tmp_path / "run.npz"), follow(Separable(GENERIC), 900.0, samples=16)
    np.testing.assert_allclose(taken_on.w, whole.w, rtol=1e-9)
    assert taken_on.log_times[-1] == 900.0


@pytest.mark.long
def test_a_sweep_shares_a_program_and_keeps_log_time():
    problem = Separable(GENERIC)

    def run(scale):
        return ut.train(
            problem, P.Identity(2), Flow("implicit", rtol=1e-9), key=0, scale=scale, stop=ut.Stop(log_loss=-300.0)
        )

    scales = [0.1, 1.0, 3.0]
    swept, alone = ut.sweep(run, over={"scale": scales}), [run(scale) for scale in scales]
    assert swept["status"].values.tolist() == ["stopped"] * 3
    for i, trajectory in enumerate(alone):
        count = int(swept["samples"][i])
        log_times = swept["log_time"].values[i, :count]
        np.testing.assert_allclose(log_times[:-1], trajectory.log_times[:-1], rtol=1e-12)
        ends = np.array([log_times[-1], swept["final_log_loss"].values[i]])
        # Where exactly a run lands is rounding's business.
        np.testing.assert_allclose(ends, [trajectory.log_times[-1], trajectory["log_loss"][-1]], atol=2e-3)
        assert np.isnan(swept["log_time"].values[i, count:]).all()


@given(st.floats(1e-12, 700), st.floats(-1e6, 50), st.floats(1e-3, 0.999))
def test_both_clocks_say_the_same(reading, level, share):
    """Time, loss, shares and falls of one clock are those of the other, where numbers reach."""
    log, plain = LogClock(), Clock()
    with jax.enable_x64(True):
        reading, level = jnp.asarray(reading), jnp.asarray(level)
        np.testing.assert_allclose(log.of(log.log_time(reading)), reading, rtol=1e-9)
        np.testing.assert_allclose(jnp.exp(log.log_time(reading)), log.time(reading), rtol=1e-9)
        np.testing.assert_allclose(log.log_loss(level), level)
        loss = log.loss(level)
        if loss > 1e-300:
            np.testing.assert_allclose(log.loss(log.share(level, share)), plain.share(loss, share), rtol=1e-9)
            np.testing.assert_allclose(
                log.fall(level, log.share(level, share)), plain.fall(loss, plain.share(loss, share)), rtol=1e-6
            )


# Units -------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("solver", ["auto", "implicit"])
@pytest.mark.parametrize(("unit", "dtype"), [(1e-150, "f8"), (1e20, "f8"), (1e150, "f8"), (1e-15, "f4"), (1e15, "f4")])
def test_units_of_the_points_change_units_alone(solver, unit, dtype):
    """From zero, points of another unit give w in one over it, after its square less time."""
    flow = Flow(solver, rtol=1e-7 if dtype == "f8" else 1e-5)
    log_time = 100.0
    plain = follow(Separable(GENERIC), log_time, flow=flow)
    with jax.enable_x64(dtype == "f8"):
        scaled = follow(
            Separable(GENERIC.astype(dtype) * np.asarray(unit, dtype)),
            log_time - 2 * np.log(unit),
            flow=flow,
            dtype=dtype,
        )
    assert scaled.status == "stopped"
    np.testing.assert_allclose(scaled.w.astype("f8") * unit, plain.w, rtol=1e-5 if dtype == "f8" else 1e-3)
