"""Where steps and label noise take diagonal networks: predicted, against optimality and against descent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

import undertow as ut
from undertow import theory

B, P, D = ut.problems, ut.parameterizations, ut.dynamics


# Label noise ---------------------------------------------------------------------------------------


def instance():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 30)) * np.linspace(0.5, 2, 30)
    truth = np.zeros(30)
    truth[:3] = 1, -1, 0.5
    return X, X @ truth + rng.normal(size=20)


def test_the_known_optimum():
    X, y = instance()
    cost = (X**2).sum(axis=0)
    w = theory.label_noise_limit(B.LeastSquares(X, y, "half_mean"))
    assert cost @ np.abs(w) == pytest.approx(122.838, abs=5e-4)
    plain = theory.basis_pursuit(B.LeastSquares(X, y))
    assert cost @ np.abs(plain) == pytest.approx(133.688, abs=5e-4)
    assert np.linalg.norm(w - plain) == pytest.approx(0.371, abs=5e-4)


def test_it_is_the_linear_program_written_out():
    X, y = instance()
    X = np.abs(X)
    y = X @ np.r_[1.0, 2.0, 0.5, np.zeros(27)]
    found = linprog((X**2).sum(axis=0), A_eq=X, b_eq=y)
    w = theory.label_noise_limit(B.LeastSquares(X, y), nonnegative=True)
    np.testing.assert_allclose(w, found.x, atol=1e-7)


def test_entries_that_noise_does_not_move_and_ties():
    with pytest.raises(ValueError, match=r"problem: expected every entry of w in some equation, found none for \(1,\)"):
        theory.label_noise_limit(B.LeastSquares([[1.0, 0.0]], [1.0]))
    with pytest.raises(theory.NotUnique, match="smallest weighted l1 norm is attained by more than one") as found:
        theory.label_noise_limit(B.LeastSquares([[1.0, 1.0, 0.5], [0.0, 0.0, 1.0]], [1.0, 1.0]))
    for point in found.value.points:
        np.testing.assert_allclose([point[0] + point[1], point[2]], [0.5, 1.0], atol=1e-9)


@pytest.mark.long
def test_beyond_two_layers_it_is_optimal_and_where_the_limiting_flow_goes():
    """At the least sum_j |X_j|^2 |w_j|^p, p = 2 - 2 / N, the gradient of that sum is a combination of the equations."""
    X, y = instance()
    X, y = X[:4, :8], y[:4]
    cost, problem, phi = (X**2).sum(axis=0), B.LeastSquares(X, y), P.SignedPower(8, 3)
    w = theory.label_noise_limit(problem, depth=3)
    np.testing.assert_allclose(X @ w, y, atol=1e-9)
    gradient = cost * np.sign(w) * np.abs(w) ** (1 / 3)
    assert np.linalg.norm(X.T @ np.linalg.lstsq(X.T, gradient)[0] - gradient) < 1e-9 * np.linalg.norm(gradient)
    start = jnp.full(8, 1.0), jnp.full(8, 0.9)
    fit = ut.train(problem, phi, D.GradientFlow(rtol=1e-8), params=start, stop=ut.Stop(loss=1e-20), samples=2)
    stop = ut.Stop(loss=None, time=1e5, gradient=1e-7)
    run = ut.train(problem, phi, D.LabelNoiseFlow("implicit", rtol=1e-7), params=fit.params, stop=stop, samples=2)
    assert np.abs(fit.w - w).max() > 0.1
    np.testing.assert_allclose(run.w, w, atol=1e-3)


def test_depths_without_a_program_are_refused():
    problem = B.LeastSquares([[1.0, 2.0]], [2.0])
    with pytest.raises(ValueError, match="depth: expected a finite number of at least 2"):
        theory.label_noise_limit(problem, depth=1.5)
    with pytest.raises(ValueError, match="nonnegative: expected False beyond depth 2"):
        theory.label_noise_limit(problem, nonnegative=True, depth=3)


# Steps ---------------------------------------------------------------------------------------------


def descent(batch_size, rate=0.15, key=3):
    """A run on a small instance, and the gradients in w that its steps saw."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, 12))
    problem, phi = B.LeastSquares(X, X @ np.r_[1.0, -1.0, 0.5, np.zeros(9)], "half_mean"), P.SignedPower(12, 2)
    start = jnp.full(12, 0.1), jnp.linspace(0.05, 0.15, 12)
    dynamics = D.GradientDescent(ut.optimizers.make("sgd", rate), batch_size)
    run = ut.train(
        problem,
        phi,
        dynamics,
        params=start,
        key=key,
        stop=ut.Stop(loss=1e-24, steps=20_000),
        samples=np.arange(1, 20_000),
        probes=[ut.probes.Function("w", lambda w: w)],
    )
    assert run.status == "converged"
    w = jnp.asarray(run["w"][:-1])
    positions, counts = dynamics.batches(problem, key, len(w))
    gradient = lambda w, positions, counts: jax.grad(problem.part(positions, counts).loss)(w)
    return problem, phi, start, run.w, np.asarray(jax.vmap(gradient)(w, positions, counts))


@pytest.mark.long
@pytest.mark.parametrize(("batch_size", "rate"), [(None, 0.15), (1, 0.03)], ids=["descent", "stochastic"])
def test_descent_ends_where_its_steps_say(batch_size, rate):
    problem, phi, start, end, gradients = descent(batch_size, rate)
    predicted = theory.discrete_limit(problem, phi, start, gradients, rate)
    np.testing.assert_allclose(end, predicted, atol=1e-11)
    each = theory.discrete_limit(problem, phi, start, gradients, np.full(len(gradients), rate))
    np.testing.assert_allclose(each, predicted, rtol=1e-12)
    assert np.abs(end - theory.limit(problem, phi, start)).max() > 1e-4  # so that the check discriminates


def test_without_steps_it_is_the_limit_of_the_flow():
    problem, phi, start = (
        B.LeastSquares(np.ones((1, 3)), [1.0]),
        P.SignedPower(3, 2),
        (np.full(3, 0.3), np.full(3, 0.2)),
    )
    nothing = theory.discrete_limit(problem, phi, start, np.zeros((0, 3)), 0.1)
    np.testing.assert_allclose(nothing, theory.limit(problem, phi, start), atol=1e-10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameterization": P.SignedPower(3, 3)}, "parameterization: expected SignedPower of depth 2"),
        ({"gradients": np.zeros((4, 2))}, r"gradients: expected shape \(steps, 3\)"),
        ({"gradients": np.full((4, 3), np.nan)}, "gradients: expected finite numbers"),
        ({"params": (np.array([1, np.nan, 1]), np.ones(3))}, "params: expected finite numbers"),
        ({"step_size": np.inf}, "step_size: expected finite numbers"),
        ({"step_size": -0.1}, "step_size: expected numbers of at least 0, found -0.1"),
        ({"step_size": np.ones(3)}, "step_size: expected a number, or one for each of 4 steps"),
        ({"gradients": np.full((4, 3), 5.0)}, "params: expected u and v that are nowhere zero, and that no step takes"),
    ],
)
def test_wrong_input(changes, message):
    given = {
        "problem": B.LeastSquares(np.ones((1, 3)), [1.0]),
        "parameterization": P.SignedPower(3, 2),
        "params": (np.ones(3), np.ones(3)),
        "gradients": np.zeros((4, 3)),
        "step_size": 0.1,
    }
    with pytest.raises(ValueError, match=message):
        theory.discrete_limit(**(given | changes))
    for name in ("gradients", "step_size"):
        with pytest.raises(TypeError, match=f"{name}: expected an array of real numbers"):
            theory.discrete_limit(**(given | {name: given[name] * 1j}))
