"""Bregman projections: optimality, Pythagoras, limits, another solver; and where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import completion
from scipy.optimize import minimize

import undertow as ut
from undertow import potentials, theory

B, Q, T = ut.problems, potentials, theory
rng = np.random.default_rng(5)
A = rng.normal(size=(3, 7))
POSITIVE, SIGNED = rng.uniform(0.2, 2, size=7), rng.normal(size=7)

CASES = {
    "Euclidean": (Q.Euclidean(), SIGNED, SIGNED[::-1]),
    "Entropy": (Q.Entropy(), POSITIVE, POSITIVE[::-1]),
    "Entropy-small": (Q.Entropy(), np.full(7, 1e-8), POSITIVE),
    "Burg": (Q.Burg(), POSITIVE, POSITIVE[::-1]),
    "HyperbolicEntropy": (Q.HyperbolicEntropy(0.5), SIGNED, SIGNED[::-1]),
    "HyperbolicEntropy-small": (Q.HyperbolicEntropy(1e-6), np.zeros(7), SIGNED),
    "PNorm-1.5": (Q.PNorm(1.5), SIGNED, SIGNED[::-1]),
    "PNorm-4": (Q.PNorm(4), SIGNED, SIGNED[::-1]),
}


def residual_of_the_optimality_conditions(problem_A, w, start, potential):
    """The share of grad(w) - grad(start) that is not in the row space."""
    step = np.asarray(potential.gradient(jnp.asarray(w)) - potential.gradient(jnp.asarray(start))).ravel()
    multiplier = np.linalg.lstsq(problem_A.T, step)[0]
    return np.linalg.norm(step - problem_A.T @ multiplier) / np.linalg.norm(step)


@pytest.mark.parametrize("name", CASES)
def test_optimality_conditions_and_pythagoras(name):
    potential, start, truth = CASES[name]
    b = A @ truth
    w = T.bregman_projection(B.LeastSquares(A, b), potential, start)
    np.testing.assert_allclose(A @ w, b, atol=1e-11 * np.linalg.norm(b))
    assert residual_of_the_optimality_conditions(A, w, start, potential) < 1e-9
    # D(x, start) = D(x, w) + D(w, start) for every x with A x = b.
    D = lambda x, z: float(Q.bregman_divergence(potential, x, z))
    total = D(truth, start)
    assert D(truth, w) + D(w, start) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("name", ["Entropy", "HyperbolicEntropy", "PNorm-1.5", "PNorm-4"])
def test_another_solver_agrees(name):
    potential, start, truth = CASES[name]
    b = A @ truth
    value = lambda x: potential.divergence(jnp.asarray(x), jnp.asarray(start))
    found = minimize(
        jax.jit(value),
        truth,
        jac=jax.jit(jax.grad(value)),
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda x: A @ x - b, "jac": lambda x: A},
        bounds=[(1e-9, None)] * 7 if name == "Entropy" else None,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    w = T.bregman_projection(B.LeastSquares(A, b), potential, start)
    np.testing.assert_allclose(w, found.x, atol=2e-6)


def test_euclidean_is_the_nearest_point():
    b = A @ SIGNED[::-1]
    expected = SIGNED + np.linalg.pinv(A) @ (b - A @ SIGNED)
    np.testing.assert_allclose(T.bregman_projection(B.LeastSquares(A, b), Q.Euclidean(), SIGNED), expected, rtol=1e-11)


@pytest.mark.parametrize("b", [2e-12, 2e-40])
def test_a_vanishing_hyperbolic_entropy_ends_at_basis_pursuit(b):
    """Forty equations, three entries: the curvatures at the end span all that float64 has, and more."""
    rng = np.random.default_rng(0)
    X, truth = rng.normal(size=(40, 200)), np.zeros(200)
    truth[:3] = [1.0, -2.0, 0.5]
    problem = B.LeastSquares(X, X @ truth)
    w = T.bregman_projection(problem, Q.HyperbolicEntropy(b=b), np.zeros(200))
    np.testing.assert_allclose(X @ w, problem.b, atol=1e-11)
    np.testing.assert_allclose(w, T.basis_pursuit(problem), atol=1e-4 if b > 1e-20 else 1e-9)


def test_a_large_hyperbolic_entropy_ends_at_the_smallest_l2_norm():
    problem = B.LeastSquares(A, A @ SIGNED)
    w = T.bregman_projection(problem, Q.HyperbolicEntropy(b=1e5), np.zeros(7))
    np.testing.assert_allclose(w, T.minimum_norm(problem), rtol=1e-8)


def test_the_max_entropy_instance_of_the_facts():
    problem = B.LeastSquares([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 2.0, 3.0]], [1.0, 1.2])
    w = T.bregman_projection(problem, Q.Entropy(), np.full(4, 1e-6))
    np.testing.assert_allclose(w, [0.34743961, 0.27220765, 0.21326586, 0.16708688], atol=5e-9)
    np.testing.assert_allclose(w, T.basis_pursuit(problem, True, ties="entropy"), rtol=1e-9)


def test_redundant_and_badly_scaled_equations_change_nothing():
    b = A @ POSITIVE
    w = T.bregman_projection(B.LeastSquares(A, b), Q.Entropy(), np.ones(7))
    more = np.concatenate([A, A[:2] - 3 * A[1:], np.zeros((1, 7))]) * np.logspace(-6, 6, 6)[:, None]
    again = T.bregman_projection(B.LeastSquares(more, more @ POSITIVE), Q.Entropy(), np.ones(7))
    np.testing.assert_allclose(again, w, rtol=1e-9)


def test_a_solution_on_the_edge_of_the_domain_is_approached():
    """The only nonnegative solution has zeros: no positive one exists, and the flow comes as near as it likes."""
    problem = B.LeastSquares([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 2.0])
    w = T.bregman_projection(problem, Q.Entropy(), np.ones(3))
    assert np.all(w > 0)
    np.testing.assert_allclose(w, [0, 0, 2], atol=1e-9)


def test_observed_entries_alone_move():
    problem = completion()
    start = np.linspace(-1, 1, 12).reshape(4, 3)
    w = T.bregman_projection(problem, Q.HyperbolicEntropy(1e-3), start)
    expected = start.copy()
    expected[problem.rows, problem.columns] = problem.values
    np.testing.assert_allclose(w, expected, rtol=1e-9)


def test_spectral_entropy_of_diagonal_entries():
    """Four observed entries of a 3 x 3 matrix; the gradient, log W, is zero at the others."""
    problem = B.MatrixCompletion((3, 3), [0, 1, 2, 0], [0, 1, 2, 1], [2.0, 1.0, 0.5, 0.7])
    w = T.bregman_projection(problem, Q.SpectralEntropy(), np.eye(3))
    np.testing.assert_allclose(w, w.T, atol=1e-14)
    np.testing.assert_allclose(w[[0, 1, 2, 0], [0, 1, 2, 1]], [2.0, 1.0, 0.5, 0.7], rtol=1e-10)
    gradient = np.asarray(Q.SpectralEntropy().gradient(jnp.asarray(w)))
    np.testing.assert_allclose(gradient[[0, 1], [2, 2]], 0, atol=1e-10)


@pytest.mark.parametrize(
    ("problem", "potential"),
    [
        (B.LeastSquares([[1.0, 2.0]], [-1.0]), Q.Entropy()),
        (B.LeastSquares([[1.0, 2.0]], [-1.0]), Q.Burg()),
        (B.LeastSquares([[1.0, 1.0], [1.0, -1.0]], [1.0, 2.0]), Q.Entropy()),
        (B.PointTarget([1.0, -1.0]), Q.Entropy()),
        (B.LeastSquares([[1.0, 2.0], [2.0, 4.0]], [1.0, 3.0]), Q.Euclidean()),
    ],
)
def test_infeasible_is_said(problem, potential):
    with pytest.raises(T.Infeasible, match="problem: "):
        T.bregman_projection(problem, potential, np.ones(2))


def test_wrong_input_is_refused():
    problem = B.LineTarget(-1.0, -2.0, 15.0)
    with pytest.raises(TypeError, match="potential"):
        T.bregman_projection(problem, "entropy", [1.0, 1.0])
    with pytest.raises(ValueError, match=r"start: expected the shape of the problem, \(2,\), found \(3,\)"):
        T.bregman_projection(problem, Q.Entropy(), [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"start: expected a point inside the domain of Entropy \(positive\)"):
        T.bregman_projection(problem, Q.Entropy(), [1.0, -1.0])
    with pytest.raises(ValueError, match="start: expected finite numbers"):
        T.bregman_projection(problem, Q.Entropy(), [1.0, np.nan])


def test_results_are_float64_where_jax_is_in_32_bit():
    with jax.enable_x64(False):
        problem = B.LineTarget(-1.0, -2.0, 15.0)
        w = T.bregman_projection(problem, Q.Entropy(), np.full(2, 0.5))
        again = T.limit(problem, ut.parameterizations.Power(2, 2), jnp.full(2, np.float32(0.5)))
    assert isinstance(w, np.ndarray)
    assert w.dtype == again.dtype == np.float64
    assert w @ [-1.0, -2.0] == pytest.approx(-15, rel=1e-14)
    assert again @ [-1.0, -2.0] == pytest.approx(-15, rel=1e-14)
