"""Gradient flow against closed forms, scipy's solvers, conserved quantities and its own limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import completion
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import brentq

import undertow as ut
from undertow.objective import Objective

B, P, M, Flow = ut.problems, ut.parameterizations, ut.probes, ut.dynamics.GradientFlow
LINE = B.LineTarget(-1.0, -2.0, 15.0)
W = M.Function("w", lambda w: w)
NEVER = ut.Stop(loss=None)


def reference(problem, phi, params, time):
    """The parameters at ``time``, by scipy's implicit Runge-Kutta solver at a tight tolerance."""
    flat, unravel = ravel_pytree(params)
    gradient = jax.grad(lambda x: Objective(problem, phi)(unravel(x))[0])
    field, jacobian = jax.jit(lambda x: -gradient(x)), jax.jit(lambda x: -jax.jacfwd(gradient)(x))
    solution = solve_ivp(
        lambda t, x: np.asarray(field(x)),
        (0, time),
        np.asarray(flat),
        method="Radau",
        jac=lambda t, x: np.asarray(jacobian(x)),
        rtol=1e-10,
        atol=1e-14,
    )
    assert solution.success
    return solution.y[:, -1]


# Closed forms ----------------------------------------------------------------------------------

S, S0 = np.array([3.0, 1.0]), np.array([1e-3, 0.2])


def _linear(t):
    return S + (S0 - S) * np.exp(-t)


def _logistic(t):
    growth = np.expm1(S * t)
    return S0 * S * (growth + 1) / (S0 * growth + S)


def _inverse(times_of):
    """s(t) where t(s) is known in closed form."""

    def solve(t):
        return np.array(
            [
                brentq(lambda s, i=i: times_of(s, S[i], S0[i]) - t, S0[i] * (1 - 1e-12), S[i] * (1 - 1e-14), xtol=1e-15)
                for i in range(2)
            ]
        )

    return solve


def _depth_four(s, target, start):
    def F(s):
        return 2 / target * (-(s**-0.5) + np.arctanh(np.sqrt(s / target)) / np.sqrt(target))

    return F(s) - F(start)


def _infinite(s, target, start):
    return np.log(s * (start - target) / (start * (s - target))) / target**2 - (1 / s - 1 / start) / target


@pytest.mark.parametrize(
    ("phi", "speed", "closed_form", "times"),
    [
        (P.Identity(2), 1, _linear, [0.1, 1.0, 2.5, 6.0]),
        (P.Power(2, 2), 4, _logistic, [0.2, 1.0, 2.5, 3.0, 4.0]),
        (P.Power(2, 4), 16, _inverse(_depth_four), [0.5, 5.0, 20.0, 21.044597]),
        (P.Exponential(2), 1, _inverse(_infinite), [1.0, 10.0, 200.0, 334.133242]),
    ],
    ids=["depth-1", "depth-2", "depth-4", "exponential"],
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


TABLE = {
    0.25: [(4.675550, 5.162225), (4.675550, 5.162225)],
    0.5: [(4.261555, 5.369223), (4.261555, 5.369223)],
    1: [(3.004, 5.998), (3.00004, 5.99998)],
    1.5: [(1.190445, 6.904778), (0.943928, 7.028036)],
    2: [(0.271373, 7.364314), (0.0273611, 7.4863194)],
    3: [(0.058463, 7.470769), (7.45685e-4, 7.499627)],
    4: [(0.037228, 7.481386), (3.97095e-4, 7.499801)],
    6: [(0.027777, 7.486111), (2.82604e-4, 7.499859)],
}


def bregman_projection(inverse, start):
    """The point of the line whose dual coordinates differ from those of the start by a multiple of (1, 2)."""
    gap = lambda nu: inverse(start, nu) @ [1.0, 2.0] - 15.0
    low, high = 0.0, 1e-9
    while gap(high) < 0:
        low, high = high, 2 * high
    return inverse(start, brentq(gap, low, high, xtol=1e-16, rtol=1e-15))


def power_inverse(depth):
    p = 2 / depth - 1
    if p == 0:
        return lambda start, nu: start * np.exp(4 * nu * np.array([1.0, 2.0]))
    if p > 0:
        return lambda start, nu: (start**p + nu * np.array([1.0, 2.0])) ** (1 / p)

    def inverse(start, nu):
        # Where p < 0 the multiplier is bounded; t in (0, inf) stands for it.
        dual = start**p - np.array([1.0, 2.0]) * start**p / 2 * nu / (1 + nu)
        return np.maximum(dual, 1e-300) ** (1 / p)

    return inverse


@pytest.mark.parametrize("depth", [d if d in (0.5, 2, 4) else pytest.param(d, marks=pytest.mark.slow) for d in TABLE])
def test_end_points_on_the_line(depth):
    """Where the flow of every depth ends: the table of the primer, and the Bregman projection that it must be."""

    def run(scale):
        phi = P.Power(2, depth, "constant")
        return ut.train(LINE, phi, Flow(rtol=1e-10), key=0, scale=scale, probes=[W], stop=ut.Stop(loss=1e-20))

    scales = [1e-2, 1e-4]
    data = ut.sweep(run, over={"scale": scales})
    assert set(data.status.values) == {"converged"}
    for found, scale, printed in zip(data.final_w.values, scales, TABLE[depth], strict=True):
        np.testing.assert_allclose(found, bregman_projection(power_inverse(depth), np.full(2, scale)), atol=1e-7)
        np.testing.assert_allclose(found, printed, atol=1e-6)


@pytest.mark.parametrize(("start", "end"), [((1e-2, 1e-2), (0.0199733, 7.4900133)), ((1, 1), (1.737913, 6.631044))])
def test_end_points_of_the_exponential(start, end):
    phi = P.Exponential(2)
    run = ut.train(LINE, phi, Flow(rtol=1e-10), params=phi.lift(start), stop=ut.Stop(loss=1e-20))
    np.testing.assert_allclose(run.w, end, atol=1e-6)
    # 1 / w_i = 1 / w_i(0) + lambda a_i: the same multiplier for both.
    shift = (1 / np.asarray(run.w) - 1 / np.asarray(start)) / [-1, -2]
    assert shift[0] == pytest.approx(shift[1], rel=1e-6)


POLAR = {(1.0, 1.0): (3, 6), (1e-3, 1e-3): (3, 6), (8.0, 2.0): (7.337602, 3.831199), (2.0, 8.0): (-1.107164, 8.053582)}


@pytest.mark.parametrize(("start", "end"), POLAR.items())
def test_end_points_of_polar_coordinates(start, end):
    phi = P.Polar()
    run = ut.train(LINE, phi, Flow(rtol=1e-9), params=phi.lift(start), stop=ut.Stop(loss=1e-18))
    np.testing.assert_allclose(run.w, end, atol=1e-6)


_rng = np.random.default_rng(6)
_A = _rng.normal(size=(3, 5))


def test_linear_least_squares_is_a_matrix_exponential():
    """x(t) = x0 + A^T (A A^T)^(-1) (1 - exp(-A A^T t)) (b - A x0), and its limit."""
    b, x0 = np.array([1.0, -2.0, 0.5]), np.array([1.0, 0.0, -1.0, 2.0, 0.3])
    times = [0.01, 0.1, 0.7, 3.0]
    run = ut.train(
        B.LeastSquares(_A, b),
        P.Identity(5),
        Flow(rtol=1e-9),
        params=jnp.asarray(x0),
        probes=[W],
        samples=times,
        stop=ut.Stop(loss=1e-24),
    )
    K = _A @ _A.T
    for t, w in zip(times, run["w"][1:], strict=False):
        expected = x0 + _A.T @ np.linalg.solve(K, (np.eye(3) - expm(-K * t)) @ (b - _A @ x0))
        np.testing.assert_allclose(w, expected, atol=1e-7)
    assert run.status == "converged"
    np.testing.assert_allclose(run.w, x0 + np.linalg.pinv(_A) @ (b - _A @ x0), atol=1e-10)


# Conserved quantities ----------------------------------------------------------------------------


def test_differences_of_gram_matrices_are_conserved():
    phi = P.DeepMatrix((4, 3), 3)
    start = phi.init(jax.random.key(1), 1.0)
    run = ut.train(completion(), phi, Flow(rtol=1e-9), params=start, stop=ut.Stop(loss=1e-10))
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
        Flow(rtol=1e-9),
        key=0,
        scale=alpha**2,
        stop=ut.Stop(loss=1e-16),
    )
    u, v = run.params
    np.testing.assert_allclose(u * v, alpha**2, rtol=1e-6)


# Stiffness ---------------------------------------------------------------------------------------

STIFF = B.MatrixCompletion((2, 2), [0, 1, 1], [1, 0, 1], [1.0, 1.0, 0.0], normalization="half_sum")
DEEP = P.DeepMatrix((2, 2), 3, initialization="identity")


@pytest.fixture(scope="module")
def stiff_runs():
    """The 2x2 completion whose missing entry runs to infinity, from det > 0, by each solver."""
    return {
        solver: ut.train(STIFF, DEEP, Flow(solver), key=0, scale=1e-3, stop=ut.Stop(loss=1e-4), samples=4)
        for solver in ("explicit", "implicit", "auto")
    }


def test_stiff_completion_agrees_with_scipy(stiff_runs):
    run = stiff_runs["auto"]
    start = DEEP.init(jax.random.key(0), 1e-3)
    expected = reference(STIFF, DEEP, start, run.times[-1])
    np.testing.assert_allclose(ravel_pytree(run.params)[0], expected, atol=1e-4 * np.abs(expected).max())


def test_solvers_agree_at_the_same_loss(stiff_runs):
    ends = [np.asarray(run.w) for run in stiff_runs.values()]
    for run, w in zip(stiff_runs.values(), ends, strict=True):
        assert run.status == "converged"
        # From det > 0 the missing entry grows as 1 / sqrt(2 loss), and det W stays positive.
        loss = float(run["loss"][-1])
        assert abs(w[0, 0]) > 1 / np.sqrt(2 * loss) - 2
        assert np.linalg.det(w) > 0
        np.testing.assert_allclose(w, ends[0], rtol=5e-3, atol=1e-3)


def test_auto_turns_implicit_where_the_flow_is_stiff(stiff_runs):
    steps = {solver: run.steps[-1] for solver, run in stiff_runs.items()}
    assert steps["auto"] < steps["explicit"] / 10
    assert steps["auto"] < 2 * steps["implicit"]


def test_auto_stays_explicit_where_the_flow_is_not_stiff():
    phi = P.DeepMatrix((4, 3), 2)
    common = {"key": 0, "scale": 0.1, "stop": ut.Stop(loss=1e-8), "samples": 4}
    auto, explicit = (ut.train(completion(), phi, Flow(solver), **common) for solver in ("auto", "explicit"))
    assert auto.steps[-1] == explicit.steps[-1]
    assert auto.gradient_evaluations == explicit.gradient_evaluations
    np.testing.assert_allclose(auto.w, explicit.w, rtol=1e-12)


@pytest.mark.parametrize("solver", ["implicit", "auto"])
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
    assert 0.98 * loss <= run["loss"][-1] <= loss
    assert (run["loss"][:-1] > loss).all()
    assert run["loss"][-1] == pytest.approx(float(LINE.loss(run.w)), rel=1e-12)


@pytest.mark.parametrize("gradient", [1.0, 1e-4])
def test_stops_at_a_gradient(gradient):
    run = line_run(ut.Stop(loss=None, gradient=gradient), probes=[M.GradientNorm()])
    assert run.status == "converged"
    assert run["gradient_norm"][-1] <= gradient * (1 + 1e-9)
    assert run["gradient_norm"][-2] > gradient


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


def test_a_tighter_tolerance_is_closer_to_the_closed_form():
    expected = np.array(bregman_projection(power_inverse(2), np.full(2, 0.1)))
    errors = [
        np.abs(np.asarray(line_run(ut.Stop(loss=1e-20), Flow("explicit", rtol=r)).w) - expected).max()
        for r in (1e-3, 1e-7)
    ]
    assert errors[1] < 1e-6
    assert errors[1] < errors[0] / 100


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


def test_a_flow_that_blows_up_in_finite_time_diverges_and_keeps_what_it_had():
    """w' = 4 w^3 from 1 is infinite at t = 1/8; the target 0 has next to no say."""
    run = ut.train(
        B.LeastSquares([[1e-6]], [0.0]),
        P.Identity(1),
        Flow(),
        params=jnp.ones(1),
        penalty=lambda w: -jnp.sum(w**4),
        probes=[W],
        stop=ut.Stop(loss=None, steps=100_000),
    )
    assert run.status == "diverged"
    assert np.isfinite(run["w"]).all()
    assert np.isfinite(run.w).all()
    assert run.times[-1] == pytest.approx(1 / 8, rel=1e-6)
    early = run.times < 0.12
    np.testing.assert_allclose(run["w"][early, 0], (1 - 8 * run.times[early]) ** -0.5, rtol=1e-4)


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
    ("options", "message"),
    [
        ({"solver": "implict"}, r"solver: unknown choice 'implict' \(did you mean 'implicit' or 'explicit'\?\)"),
        ({"rtol": 0.0}, "rtol: expected a finite number above 0, found 0"),
        ({"rtol": -1e-3}, "rtol: expected a finite number above 0"),
        ({"rtol": float("nan")}, "rtol: expected a finite number above 0"),
        ({"atol": 0.0}, "atol: expected a finite number above 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Flow(**options)


def test_implicit_refuses_many_parameters():
    phi = P.Identity((21, 20))
    with pytest.raises(ValueError, match=r"solver: expected at most 400 parameters for 'implicit', found 420"):
        ut.train(B.PointTarget(np.ones((21, 20))), phi, Flow("implicit"), key=0, scale=1.0)


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
