"""Gradient flow: closed forms between the steps, what is conserved, where it stops and what it keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import completion
from scipy.optimize import brentq

import undertow as ut

B, P, M, Flow = ut.problems, ut.parameterizations, ut.probes, ut.dynamics.GradientFlow
LINE = B.LineTarget(-1.0, -2.0, 15.0)
W = M.Function("w", lambda w: w)


# Closed forms ----------------------------------------------------------------------------------

S, S0 = np.array([3.0, 1.0]), np.array([1e-3, 0.2])


def _inverse(time_of):
    """s(t) where t(s) is known in closed form."""

    def solve(t):
        ends = []
        for target, start in zip(S, S0, strict=True):
            low, high = start * (1 - 1e-12), target * (1 - 1e-14)
            gap = lambda s, target=target, start=start: time_of(s, target, start) - t
            ends.append(brentq(gap, low, high, xtol=1e-15) if gap(high) > 0 else target)
        return np.array(ends)

    return solve


def _depth_four(s, target, start):
    antiderivative = lambda s: 2 / target * (-(s**-0.5) + np.arctanh(np.sqrt(s / target)) / np.sqrt(target))
    return antiderivative(s) - antiderivative(start)


def _infinite(s, target, start):
    return np.log(s * (start - target) / (start * (s - target))) / target**2 - (1 / s - 1 / start) / target


@pytest.mark.parametrize(
    ("phi", "speed", "closed_form", "times"),
    [
        (P.Power(2, 4), 16, _inverse(_depth_four), [0.5, 5.0, 20.0, 21.044597]),
        (P.Exponential(2), 1, _inverse(_infinite), [1.0, 10.0, 200.0, 334.133242]),
    ],
    ids=["depth-4", "exponential"],
)
def test_scalar_dynamics_at_given_times(phi, speed, closed_form, times):
    """Depth-normalised s' = s^(2-2/N) (S - s): the clock of N shared weights runs N^2 times as fast."""
    run = ut.train(
        B.PointTarget(S),
        phi,
        Flow("explicit", rtol=1e-9),
        params=phi.lift(S0),
        probes=[W],
        stop=ut.Stop(loss=None, time=times[-1] / speed),
        samples=np.array(times) / speed,
    )
    assert run.status == "stopped"
    np.testing.assert_allclose(run.times * speed, [0, *times], rtol=1e-15)
    expected = np.array([closed_form(t) for t in times])
    # The dense output between the steps has the order of the solver too.
    np.testing.assert_allclose(run["w"][1:], expected, rtol=2e-6)


def test_two_distinct_layers_follow_saxe():
    """u(t) = s e^(2st) / (e^(2st) - 1 + s/u0), s = 2, u0 = 1e-3, at t = 1, 2, 3."""
    phi = P.DeepMatrix((1, 1), 2)
    run = ut.train(
        B.PointTarget([[2.0]]),
        phi,
        Flow("explicit", rtol=1e-9),
        params=phi.lift([[1e-3]]),
        probes=[M.Entry(0, 0)],
        stop=ut.Stop(loss=None, time=3.0),
        samples=[1.0, 2.0],
    )
    np.testing.assert_allclose(run["entry_0_0"][1:], [0.0531731586, 1.1971819822, 1.9757334871], rtol=1e-7)


def test_two_unbalanced_layers():
    """a(0) = 0.3, b(0) = 0.01, s = 2: the product at t = 1.5, where a^2 - b^2 is conserved."""
    run = ut.train(
        B.PointTarget([[2.0]]),
        P.DeepMatrix((1, 1), 2),
        Flow("explicit", rtol=1e-9),
        params=(jnp.array([[0.3]]), jnp.array([[0.01]])),
        stop=ut.Stop(loss=None, time=1.5),
    )
    assert float(run.w[0, 0]) == pytest.approx(1.66449378, rel=1e-8)
    a, b = (float(x[0, 0]) for x in run.params)
    assert a**2 - b**2 == pytest.approx(0.09 - 1e-4, rel=1e-7)


@pytest.mark.parametrize(("start", "end"), [((1, 1), (1.737913, 6.631044))])
def test_end_points_of_the_exponential(start, end):
    phi = P.Exponential(2)
    run = ut.train(LINE, phi, Flow(rtol=1e-10), params=phi.lift(start), stop=ut.Stop(loss=1e-20))
    np.testing.assert_allclose(run.w, end, atol=1e-6)
    # 1 / w_i = 1 / w_i(0) + lambda a_i: the same multiplier for both.
    shift = (1 / np.asarray(run.w) - 1 / np.asarray(start)) / [-1, -2]
    assert shift[0] == pytest.approx(shift[1], rel=1e-6)


POLAR = {(1e-3, 1e-3): (3, 6), (2.0, 8.0): (-1.107164, 8.053582)}


@pytest.mark.parametrize(("start", "end"), POLAR.items())
def test_end_points_of_polar_coordinates(start, end):
    phi = P.Polar()
    run = ut.train(LINE, phi, Flow(rtol=1e-9), params=phi.lift(start), stop=ut.Stop(loss=1e-18))
    np.testing.assert_allclose(run.w, end, atol=1e-6)


_rng = np.random.default_rng(6)
_A = _rng.normal(size=(3, 5))


# Conserved quantities ----------------------------------------------------------------------------


def test_differences_of_gram_matrices_are_conserved():
    phi = P.DeepMatrix((4, 3), 3)
    start = phi.init(jax.random.key(1), 1.0)
    run = ut.train(completion(), phi, Flow("explicit", rtol=1e-9), params=start, stop=ut.Stop(loss=1e-10))
    assert run.status == "converged"
    for j in range(2):
        before, after = (np.asarray(p[j + 1].T @ p[j + 1] - p[j] @ p[j].T) for p in (start, run.params))
        np.testing.assert_allclose(after, before, atol=1e-7 * np.abs(before).max())


def test_products_of_signed_power_are_conserved():
    """u_i v_i stays alpha^2 along w = u^2 - v^2."""
    alpha = 0.1
    run = ut.train(
        B.LeastSquares(_A, [1.0, -2.0, 0.5]),
        P.SignedPower(5, 2, "constant"),
        Flow("explicit", rtol=1e-9),
        key=0,
        scale=alpha**2,
        stop=ut.Stop(loss=1e-16),
    )
    u, v = run.params
    np.testing.assert_allclose(u * v, alpha**2, rtol=1e-6)


# Stiffness ---------------------------------------------------------------------------------------

STIFF = B.MatrixCompletion((2, 2), [0, 1, 1], [1, 0, 1], [1.0, 1.0, 0.0], normalization="half_sum")
DEEP = P.DeepMatrix((2, 2), 3, initialization="identity")


def test_auto_stays_explicit_where_the_flow_is_not_stiff():
    auto, explicit = (line_run(ut.Stop(loss=1e-8), Flow(solver)) for solver in ("auto", "explicit"))
    assert auto.steps[-1] == explicit.steps[-1]
    assert auto.gradient_evaluations == explicit.gradient_evaluations
    np.testing.assert_allclose(auto.w, explicit.w, rtol=1e-12)


@pytest.mark.two_types
@pytest.mark.parametrize("solver", ["implicit", pytest.param("auto", marks=pytest.mark.slow)])
def test_single_precision_copes_with_stiffness(solver):
    """Rounding must not make the root finding of every implicit step fail."""
    params = jax.tree.map(lambda x: x.astype(jnp.float32), DEEP.init(jax.random.key(0), 1e-3))
    stop = ut.Stop(loss=1e-3, steps=2_000)
    run = ut.train(STIFF, DEEP, Flow(solver), params=params, stop=stop, samples=4)
    assert run.status == "converged"
    assert run.w.dtype == jnp.float32
    assert abs(float(run.w[0, 0])) > 1 / np.sqrt(2e-3) - 2


# Stopping ----------------------------------------------------------------------------------------

PHI2 = P.Power(2, 2, "constant")


def line_run(stop, dynamics=None, **options):
    """From (0.1, 0.1) on the line, by a program that these tests share."""
    return ut.train(LINE, PHI2, dynamics or Flow("explicit"), key=0, scale=0.1, stop=stop, **options)


@pytest.mark.parametrize("loss", [1.0, 1e-2, 1e-6, 1e-12])
def test_stops_at_a_loss(loss):
    run = line_run(ut.Stop(loss=loss))
    assert run.status == "converged"
    assert 0.99 * loss <= run["loss"][-1] <= loss
    assert (run["loss"][:-1] > loss).all()
    assert run["loss"][-1] == pytest.approx(float(LINE.loss(run.w)), rel=1e-12)


@pytest.mark.parametrize("gradient", [1.0, 1e-4])
def test_stops_at_a_gradient(gradient):
    run = line_run(ut.Stop(loss=None, gradient=gradient), probes=[M.GradientNorm()])
    assert run.status == "converged"
    assert run["gradient_norm"][-1] <= gradient * (1 + 1e-9)
    before = line_run(ut.Stop(loss=None, steps=int(run.steps[-1]) - 1), probes=[M.GradientNorm()])
    assert before["gradient_norm"][-1] > gradient


@pytest.mark.parametrize("time", [1e-3, 0.1, 1.7])
def test_stops_at_a_time_exactly(time):
    run = line_run(ut.Stop(loss=None, time=time))
    assert run.status == "stopped"
    assert run.times[-1] == time


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_stops_at_a_number_of_steps(steps):
    run = line_run(ut.Stop(loss=None, steps=steps))
    assert run.status == "stopped"
    assert run.steps[-1] == steps


def test_a_start_at_the_goal_takes_no_step():
    run = line_run(ut.Stop(loss=1e3))
    assert (run.status, run.steps.tolist(), run.times.tolist()) == ("converged", [0], [0.0])


def test_a_flow_that_rests_is_stalled():
    """At a saddle nothing moves: u = v = 0."""
    phi = P.SignedPower(2, 2)
    run = ut.train(LINE, phi, Flow("explicit"), params=(jnp.zeros(2), jnp.zeros(2)))
    assert run.status == "stalled"
    assert run.steps[-1] <= 600
    np.testing.assert_array_equal(run.w, 0)


@pytest.mark.parametrize(("stop", "status"), [(ut.Stop(), "stalled"), (ut.Stop(gradient=1e-6), "converged")])
def test_infeasible_least_squares_ends_at_the_least_squares_solution(stop, status):
    A, b = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]), np.array([1.0, 0.0, 3.0])
    run = ut.train(B.LeastSquares(A, b), P.Identity(2), Flow(), params=jnp.zeros(2), stop=stop)
    assert run.status == status
    assert run.steps[-1] < 3_000
    np.testing.assert_allclose(run.w, np.linalg.lstsq(A, b)[0], atol=1e-5)


# Runaways ----------------------------------------------------------------------------------------


def test_a_flow_that_leaves_its_domain_diverges_and_keeps_what_it_had():
    """u^0.5 cannot reach a negative target: u hits zero, where the flow ends."""
    phi = P.Power(2, 0.5)
    run = ut.train(
        B.PointTarget([-1.0, 2.0]), phi, Flow(), params=phi.lift([1.0, 1.0]), probes=[W], stop=ut.Stop(steps=100_000)
    )
    assert run.status == "diverged"
    assert np.isfinite(run.w).all()
    assert np.isfinite(run["w"]).all()
    # u' = -(sqrt(u) + 1) / (2 sqrt(u)), so that w = sqrt(u) has w' = -(w + 1) / (4 w^2): zero is reached at
    # t = int_0^1 4 w^2 / (w + 1) dw = 4 (ln 2 - 1/2).
    assert run.times[-1] == pytest.approx(4 * (np.log(2) - 0.5), rel=1e-3)


# Samples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [2, 3, 10, 64, 256])
def test_automatic_samples(samples):
    run = line_run(ut.Stop(loss=1e-6), samples=samples, probes=[W])
    assert 2 <= len(run.times) <= samples
    assert run.times[0] == 0
    assert (np.diff(run.times) > 0).all()
    np.testing.assert_allclose(run["w"][0], 0.1, rtol=1e-12)
    np.testing.assert_array_equal(run["w"][-1], run.w)
    assert run.chosen == len(run.times) - 1
    if samples >= 10:
        assert len(run.times) >= samples // 4
        # Evenly spaced in the logarithm of time, but for where the grid was thinned and for the end.
        ratios = np.diff(np.log(run.times[1:-1]))
        assert ratios.max() < 4.1 * np.median(ratios)


def test_samples_fall_within_the_last_step_and_the_end_is_sampled():
    times = np.linspace(0.01, 5, 2_000)
    run = line_run(ut.Stop(loss=1e-6), samples=times)
    assert run["loss"][-1] <= 1e-6
    assert run["loss"][-1] == pytest.approx(float(LINE.loss(run.w)), rel=1e-12)
    np.testing.assert_allclose(run.times[1:-1], times[times < run.times[-1]], rtol=1e-15)


def test_samples_do_not_move_the_flow():
    expected = line_run(ut.Stop(loss=1e-6), samples=2).w
    found = line_run(ut.Stop(loss=1e-6), samples=np.linspace(0.001, 1, 500)).w
    np.testing.assert_allclose(found, expected, rtol=1e-4)


# Wrong input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"loss": -1.0}, "loss: expected a finite number of at least 0"),
        ({"loss": float("nan")}, "loss"),
        ({"steps": 0}, "steps: expected an integer of at least 1, found 0"),
        ({"steps": 2**31}, "steps: expected less than 2147483648"),
        ({"time": float("inf")}, "time: expected a finite number"),
        ({"gradient": -1e-3}, "gradient: expected a finite number of at least 0"),
    ],
)
def test_bad_limits_are_named(limits, message):
    with pytest.raises(ValueError, match=message):
        ut.Stop(**limits)


@pytest.mark.long
def test_a_plateau_near_a_saddle_is_no_end():
    """From a start of 1e-20 the third jump of this network comes after a thousand steps on which only dust grows."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((6, 4))
    b, half = A @ rng.standard_normal(4), jnp.full(4, 1e-20)
    trajectory = ut.train(
        ut.problems.LeastSquares(A, b),
        ut.parameterizations.SignedPower(4, 2),
        ut.dynamics.GradientFlow(rtol=1e-8),
        params=(half, half),
        stop=ut.Stop(loss=1e-16),
        samples=2,
    )
    assert trajectory.status == "converged"
    np.testing.assert_allclose(trajectory.w, np.linalg.lstsq(A, b)[0], rtol=1e-6)
