"""Gradient flow against closed forms, an independent solver, conserved quantities, and its own promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import undertow as ut

LINE = ut.problems.LineTarget(-1.0, -2.0, 15.0)
TIGHT = ut.dynamics.GradientFlow(rtol=1e-9)


def scalar(depth, start, target, times, phi=None):
    """Samples of the flow of w = u^depth towards a point, in the time of ds/dt = s^(2-2/N) (S - s)."""
    phi = phi or ut.parameterizations.Power(1, depth)
    scaled = np.asarray(times) / (depth**2 if np.isfinite(depth) else 1)
    return ut.train(
        ut.problems.PointTarget([target]),
        phi,
        TIGHT,
        params=phi.lift([start]),
        probes=[ut.probes.Entry(0)],
        samples=scaled,
        stop=ut.Stop(loss=None, time=float(scaled[-1])),
    )["entry_0"]


@pytest.mark.long
def test_scalar_closed_forms():
    times, s0, target = np.linspace(0.0, 4.0, 9), 1e-3, 3.0
    np.testing.assert_allclose(scalar(1, s0, target, times), target + (s0 - target) * np.exp(-times), rtol=1e-7)
    grown = s0 * np.exp(target * times)
    np.testing.assert_allclose(scalar(2, s0, target, times), grown * target / (grown - s0 + target), rtol=1e-6)


@pytest.mark.parametrize(("depth", "published"), [(3, 9.600648), (4, 21.044597), (np.inf, 334.133242)])
def test_published_times_to_reach_two_thirds(depth, published):
    phi = ut.parameterizations.Exponential(1) if np.isinf(depth) else None
    values = scalar(depth, 1e-3, 3.0, [published / 2, published], phi=phi)
    np.testing.assert_allclose(values[-1], 2.0, rtol=2e-6)


@pytest.mark.parametrize(
    ("depth", "alpha", "end"),
    [
        (0.25, 1e-2, (4.675550, 5.162225)),
        (0.5, 1e-2, (4.261555, 5.369223)),
        (1, 1e-2, (3.004, 5.998)),
        (1.5, 1e-4, (0.943928, 7.028036)),
        (2, 1e-2, (0.271373, 7.364314)),
        (3, 1e-4, (7.45685e-4, 7.499627)),
        (6, 1e-2, (0.027777, 7.486111)),
        ("exp", 1e-2, (0.0199733, 7.4900133)),
    ],
)
def test_end_points_on_the_line(depth, alpha, end):
    exponential = depth == "exp"
    phi = ut.parameterizations.Exponential(2) if exponential else ut.parameterizations.Power(2, depth)
    found = ut.train(LINE, phi, TIGHT, params=phi.lift([alpha, alpha]), stop=ut.Stop(loss=1e-16))
    assert found.status == "converged"
    np.testing.assert_allclose(found.w, end, atol=1e-6)


@pytest.mark.parametrize(("start", "end"), [((8.0, 2.0), (7.337602, 3.831199)), ((1.0, 1.0), (3.0, 6.0))])
def test_polar_end_points(start, end):
    phi = ut.parameterizations.Polar()
    found = ut.train(LINE, phi, TIGHT, params=phi.lift(start), stop=ut.Stop(loss=1e-16))
    np.testing.assert_allclose(found.w, end, atol=1e-5)


@pytest.mark.parametrize("solver", ["explicit", "implicit", "auto"])
def test_linear_least_squares_is_a_matrix_exponential(solver, getkey):
    A, b = jax.random.normal(getkey(), (3, 6)), jax.random.normal(getkey(), (3,))
    start, times = jax.random.normal(getkey(), (6,)), np.array([0.1, 0.5, 2.0])
    found = ut.train(
        ut.problems.LeastSquares(A, b),
        ut.parameterizations.Identity(6),
        ut.dynamics.GradientFlow(solver=solver, rtol=1e-8),
        params=start,
        probes=[ut.probes.Function("w", lambda w: w)],
        samples=times,
        stop=ut.Stop(loss=None, time=2.0),
    )
    inverse = np.linalg.pinv(A)
    for time, w in zip(found.times[1:], found["w"][1:], strict=True):
        expected = start + inverse @ ((np.eye(3) - expm(-np.asarray(A @ A.T) * time)) @ (b - A @ start))
        # The implicit method is interpolated to third order only.
        np.testing.assert_allclose(w, expected, atol=1e-4 if solver == "implicit" and time < 2 else 1e-6)
    assert found.times[-1] == 2.0
    assert found.status == "stopped"


def stiff():
    """2 x 2 completion whose only solutions are at infinity, with a balanced start of positive determinant."""
    problem = ut.problems.MatrixCompletion((2, 2), [0, 1, 1], [1, 0, 1], [1.0, 1.0, 0.0], normalization="half_sum")
    phi = ut.parameterizations.DeepMatrix((2, 2), 3)
    root = jnp.diag(jnp.array([0.1, 0.08]))
    return problem, phi, (root, root, root)


@pytest.mark.long
def test_a_stiff_flow_agrees_with_scipy_and_keeps_its_invariants():
    problem, phi, params = stiff()
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    field = jax.jit(lambda t, u: -jax.grad(lambda x: problem.loss(phi(unravel(x))))(u))
    times = np.array([50.0, 500.0, 2000.0])
    expected = solve_ivp(field, (0, 2000), np.asarray(flat), "LSODA", times, rtol=1e-10, atol=1e-13)
    found = ut.train(
        problem,
        phi,
        ut.dynamics.GradientFlow(rtol=1e-7),
        params=params,
        samples=times,
        probes=[ut.probes.Entry(0, 0), ut.probes.Balancedness()],
        stop=ut.Stop(loss=None, time=2000.0),
    )
    reference = [float(phi(unravel(jnp.asarray(u)))[0, 0]) for u in expected.y.T]
    np.testing.assert_allclose(found["entry_0_0"][1:], reference, rtol=1e-3)
    assert found["balancedness"].max() < 1e-4 * float(found["entry_0_0"][-1])
    loss, entry = found["loss"], np.abs(found["entry_0_0"])
    below = (loss < 0.5) & (found.times > 0)
    # The bound of Razin and Cohen for a positive determinant.
    assert below.any()
    assert (entry > 1 / np.sqrt(2 * loss) - 2 + np.sqrt(2 * loss))[below].all()


@pytest.mark.long
def test_auto_uses_the_implicit_solver_where_it_pays_and_only_there():
    problem, phi, params = stiff()
    runs = {
        solver: ut.train(
            problem,
            phi,
            ut.dynamics.GradientFlow(solver=solver),
            params=params,
            stop=ut.Stop(loss=1e-4, steps=20_000),
        )
        for solver in ("auto", "explicit")
    }
    assert runs["auto"].status == "converged"
    assert runs["explicit"].status == "stopped"
    assert runs["auto"].steps[-1] < 5000
    easy = [
        ut.train(LINE, ut.parameterizations.Identity(2), ut.dynamics.GradientFlow(solver=solver), key=0, scale=1.0)
        for solver in ("auto", "explicit")
    ]
    assert easy[0].gradient_evaluations == easy[1].gradient_evaluations


def test_stops():
    phi = ut.parameterizations.Identity(2)
    by_loss = ut.train(LINE, phi, ut.dynamics.GradientFlow(), key=0, scale=1.0, stop=ut.Stop(loss=1e-3))
    assert by_loss.status == "converged"
    assert 0.99e-3 <= by_loss["loss"][-1] <= 1e-3
    by_gradient = ut.train(
        LINE, phi, ut.dynamics.GradientFlow(), key=0, scale=1.0, stop=ut.Stop(loss=None, gradient=1e-4)
    )
    assert by_gradient.status == "converged"
    # For this loss the squared norm of the gradient is twice the loss.
    assert 2 * by_gradient["loss"][-1] <= 1.01e-8
    by_steps = ut.train(LINE, phi, ut.dynamics.GradientFlow(), key=0, scale=1.0, stop=ut.Stop(loss=None, steps=7))
    assert (by_steps.status, by_steps.steps[-1]) == ("stopped", 7)


@pytest.mark.long
def test_automatic_samples_are_even_in_the_logarithm_of_time(getkey):
    problem, phi, params = stiff()
    found = ut.train(problem, phi, TIGHT, params=params, samples=40, stop=ut.Stop(loss=None, time=1e4))
    assert found.times[0] == 0
    assert found.times[-1] == 1e4
    assert 20 <= len(found.times) <= 40 + 33
    assert (np.diff(found.times) > 0).all()
    ratios = found.times[-8:-1] / found.times[-9:-2]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)


def test_a_flow_that_leaves_its_domain_diverges_and_keeps_what_it_had():
    # sqrt(u) towards a negative target: infinite speed at u = 0.
    phi = ut.parameterizations.Power(1, 0.5)
    found = ut.train(ut.problems.PointTarget([-1.0]), phi, ut.dynamics.GradientFlow(), params=phi.lift([1.0]))
    assert found.status == "diverged"
    assert np.isfinite(found.params).all()
    assert np.isfinite(found["loss"]).all()
    assert found["loss"][-1] < found["loss"][0]


def test_a_flow_that_blows_up_in_finite_time_diverges():
    # u' = 4 u^3 - u from u = 1 is infinite before time 1.
    found = ut.train(
        ut.problems.PointTarget([0.0]),
        ut.parameterizations.Identity(1),
        ut.dynamics.GradientFlow(),
        params=jnp.array([1.0]),
        penalty=lambda w: -jnp.sum(w**4),
        stop=ut.Stop(loss=None, time=10.0),
    )
    assert found.status == "diverged"
    assert found.times[-1] < 1
    assert np.isfinite(found.params).all()


@pytest.mark.long
def test_an_infeasible_problem_does_not_run_for_ever():
    problem = ut.problems.LeastSquares(jnp.array([[1.0], [1.0]]), jnp.array([0.0, 1.0]))
    found = ut.train(problem, ut.parameterizations.Identity(1), ut.dynamics.GradientFlow(), params=jnp.array([5.0]))
    assert found.status in ("stalled", "stopped")
    assert found.steps[-1] < 5000
    np.testing.assert_allclose(found.w, 0.5, atol=1e-4)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"solver: unknown choice 'implict'.*implicit"):
        ut.dynamics.GradientFlow(solver="implict")
    with pytest.raises(ValueError, match="rtol"):
        ut.dynamics.GradientFlow(rtol=-1.0)
    with pytest.raises(ValueError, match="atol"):
        ut.dynamics.GradientFlow(atol=0.0)
    big, implicit = ut.parameterizations.Identity(500), ut.dynamics.GradientFlow(solver="implicit")
    with pytest.raises(ValueError, match="at most 400 parameters"):
        ut.train(ut.problems.PointTarget(jnp.ones(500)), big, implicit, key=0, scale=1.0)
