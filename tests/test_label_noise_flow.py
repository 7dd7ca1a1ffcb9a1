"""The flow of the trace of the Hessian on the manifold of fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import PROBLEMS, completion, rows

import undertow as ut

B, P, D = ut.problems, ut.parameterizations, ut.dynamics


@rows(PROBLEMS)
def test_residuals_are_what_the_loss_is_squares_of(case):
    w = jnp.asarray(np.random.default_rng(0).normal(size=case.instance.shape))
    residuals = case.instance.residuals(w)
    if residuals is None:
        pytest.skip("it does not say")
    assert residuals.ndim == 1
    np.testing.assert_allclose(jnp.sum(residuals**2) / 2, case.instance.loss(w), rtol=1e-12)


def test_two_squares_on_a_line_in_closed_form():
    """On 3 u^2 + 4 v^2 = 1 the trace is that of 36 u^2 + 64 v^2: d(u^2)/dt follows from the projection by hand."""
    problem, phi = B.LeastSquares([[3.0, 4.0]], [1.0]), P.Power(2, 2)
    start = jnp.sqrt(jnp.array([0.2, 0.1]))
    flow = D.LabelNoiseFlow("explicit", rtol=1e-9)
    run = ut.train(problem, phi, flow, params=start, stop=ut.Stop(loss=None, time=0.01), samples=2)

    # tr H = |J|^2 with J = (6 u, 8 v): its gradient (72 u, 128 v) without its part along J.
    p = np.asarray(start)
    steps = 4_000
    for _ in range(steps):  # the midpoint rule, whose error is of order 1e-9 here
        field = lambda p: -(np.array([72, 128]) * p - _along(np.array([6, 8]) * p, np.array([72, 128]) * p))
        p = p + 0.01 / steps * field(p + 0.005 / steps * field(p))
    np.testing.assert_allclose(run.params, p, atol=1e-7)
    assert run["loss"][-1] < 1e-16


def _along(normal, x):
    return normal * (normal @ x) / (normal @ normal)


def sparse_instance():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, 6)) * np.linspace(0.5, 2, 6)
    return B.LeastSquares(X, X @ np.array([1, -1, 0.5, 0, 0, 0]) + rng.normal(size=4), "half_mean")


@pytest.mark.long
def test_it_ends_at_the_weighted_l1_norm_from_any_start():
    problem, phi = sparse_instance(), P.SignedPower(6, 2)
    expected = ut.theory.label_noise_limit(problem)
    for params in ((jnp.ones(6), jnp.ones(6)), (jnp.full(6, 0.7), jnp.linspace(0.5, 1, 6))):
        fit = ut.train(problem, phi, D.GradientFlow("explicit"), params=params, stop=ut.Stop(loss=1e-8), samples=2)
        assert np.abs(fit.w - expected).max() > 0.05
        flow, stop = D.LabelNoiseFlow(rtol=1e-6), ut.Stop(loss=None, gradient=1e-7)
        run = ut.train(problem, phi, flow, params=fit.params, stop=stop, samples=2)
        assert run.status == "converged"
        assert run["loss"][-1] < 1e-20  # what was left of the fit's errors is gone too
        np.testing.assert_allclose(run.w, expected, atol=1e-8)


def test_the_velocity_is_along_fits_and_down_the_trace():
    """Of a matrix completion: no residual changes to first order; the projection is that of the normal equations."""
    problem, phi = completion(), P.DeepMatrix((4, 3), 2)
    params = phi.lift(problem.truth)
    objective = ut.Objective(problem, phi)
    velocity = jax.jit(lambda p: D.LabelNoiseFlow().field(objective, p))(params)
    residuals = lambda p: problem.residuals(phi(p))
    change, slopes = jax.jit(lambda p, v: (jax.jvp(residuals, (p,), (v,))[1], jax.jacobian(residuals)(p)))(
        params, velocity
    )
    np.testing.assert_allclose(change, 0, atol=1e-12)
    trace = lambda p: ut.probes.HessianTrace()(problem, phi, p)
    flat = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
    uphill = flat(jax.jit(jax.grad(trace))(params))
    J = np.concatenate([np.asarray(x).reshape(5, -1) for x in jax.tree.leaves(slopes)], axis=1)
    expected = -(uphill - J.T @ np.linalg.solve(J @ J.T, J @ uphill))
    np.testing.assert_allclose(flat(velocity), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("problem", "phi", "penalty", "message"),
    [
        (B.Classification(np.eye(2), [1, -1]), P.Identity(2), None, "problem: expected one whose loss is half a sum"),
        (
            B.LeastSquares(np.ones((3, 2)), np.ones(3)),
            P.Identity(2),
            None,
            "problem: expected at most as many residuals",
        ),
        (B.PointTarget(np.ones(2)), P.Identity(2), ut.penalties.L2(0.1), "penalty: expected None"),
        (B.LeastSquares(np.ones((2, 2)), np.ones(2)), P.Identity(2), None, "found that 1 of them say how the rest do"),
    ],
)
def test_where_there_is_no_manifold(problem, phi, penalty, message):
    with pytest.raises(ValueError, match=message):
        ut.train(problem, phi, D.LabelNoiseFlow(), params=jnp.ones(2), penalty=penalty)


@pytest.mark.long
def test_noisy_descent_follows_it_by_the_clock_that_is_said():
    """eta^2 sigma^2 / (4 B) a step: the mean of 256 runs of 6,400 steps at eta = 0.01, to a fifth of how far it went.

    Their standard error is 1/25 of that, and what is left of order eta 1/10.
    """
    eta, sigma, time = 0.01, 0.5, 0.02
    problem, phi = B.LeastSquares([[1.0, 2.0, 1.0], [0.5, -1.0, 2.0]], [2.0, 1.0], "half_mean"), P.SignedPower(3, 2)
    start = (jnp.ones(3), jnp.linspace(0.5, 1, 3))
    fit = ut.train(problem, phi, D.GradientFlow("explicit"), params=start, stop=ut.Stop(loss=1e-20), samples=2).params
    steps = round(time / (eta**2 * sigma**2 / (4 * 2)))
    dynamics = D.GradientDescent(ut.optimizers.make("sgd", eta), label_noise=sigma)

    def run(key):
        stop = ut.Stop(loss=None, steps=steps)
        return ut.train(problem, phi, dynamics, params=fit, key=key, stop=stop, samples=2, probes=[ut.probes.Entry(0)])

    found = ut.sweep(run, over={"key": range(256)})["entry_0"].isel(sample=-1).mean()
    stop = ut.Stop(loss=None, time=time)
    flow = ut.train(problem, phi, D.LabelNoiseFlow("explicit"), params=fit, stop=stop, samples=2).w[0]
    before = phi(fit)[0]
    assert flow - before > 0.04
    assert float(found - before) == pytest.approx(float(flow - before), rel=0.2)
