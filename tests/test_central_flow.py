"""The central flow against closed forms, an independent cone solver, gradient flow and descent itself."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse as sp

import undertow as ut
from undertow.dynamics import _complementarity as complementarity
from undertow.dynamics._edge import curvature_gradients, directions

clarabel: Any = importlib.import_module("clarabel")  # without types

CentralFlow, make = ut.dynamics.CentralFlow, ut.optimizers.make

# Semidefinite complementarity --------------------------------------------------------------------


def random_problems(k, count, seed):
    rng = np.random.default_rng(seed)
    p = k * (k + 1) // 2
    T, A = rng.normal(size=(count, p, p + 3)), rng.normal(size=(count, k, k))
    return A + A.swapaxes(1, 2), T @ T.swapaxes(1, 2)


def by_clarabel(A, B):
    """The minimum of <A, X> + X.B[X] / 2 over X >= 0, whose optimality conditions these are."""
    size = B.shape[0]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-9
    cones = [clarabel.PSDTriangleConeT(A.shape[0])]
    a = np.asarray(complementarity.to_vector(jnp.asarray(A)))
    solver = clarabel.DefaultSolver(
        sp.csc_matrix(np.triu(B)), a, -sp.identity(size, format="csc"), np.zeros(size), cones, settings
    )
    found = solver.solve()
    assert found.status == clarabel.SolverStatus.Solved
    return np.asarray(found.x)


@pytest.mark.long
@pytest.mark.parametrize("k", [1, 2, 4])
def test_complementarity_is_solved_as_by_a_cone_solver(k):
    A, B = random_problems(k, 30, k)
    solve = jax.jit(jax.vmap(complementarity.solve))
    X, error = solve(A, B, jnp.zeros_like(A))
    assert np.max(error) < 1e-12
    M = A + np.asarray(jax.vmap(lambda b, x: complementarity.to_matrix(b @ complementarity.to_vector(x), k))(B, X))
    # As B is raised by a rounding to the power 0.6, M is off by that times X of ten and B of twenty.
    assert np.linalg.eigvalsh(X).min() > -1e-12
    assert np.linalg.eigvalsh(M).min() > -2e-7
    assert np.abs(X @ M).max() < 2e-6
    # By the minimum, which Clarabel has to its gap of 1e-9; X itself, where B is nearly singular, to the root of that.
    a, x = jax.vmap(complementarity.to_vector)(jnp.asarray(A)), jax.vmap(complementarity.to_vector)(X)
    value = lambda x: np.einsum("ni,ni->n", a, x) + np.einsum("ni,nij,nj->n", x, B, x) / 2
    expected = np.stack([by_clarabel(a, b) for a, b in zip(A, B, strict=True)])
    np.testing.assert_allclose(value(np.asarray(x)), value(expected), rtol=1e-7, atol=1e-8)
    # From near the solution it comes to the same.
    again, _ = solve(A, B, 1.01 * X)
    np.testing.assert_allclose(again, X, atol=1e-9 * np.abs(X).max())
    free = solve(A @ A + 0.1 * np.eye(k), B, X)
    assert not np.any(free.X)


@pytest.mark.long
def test_an_edge_that_nothing_can_hold_has_no_finite_solution():
    X = complementarity.solve(-jnp.eye(2), jnp.zeros((3, 3)), jnp.zeros((2, 2))).X
    assert not np.all(np.abs(X) < 1e6)


# Directions --------------------------------------------------------------------------------------


def test_directions_by_products_are_eigenvectors_of_many_parameters():
    rng = np.random.default_rng(0)
    n, k = 80, 4
    Q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    spectrum = np.concatenate([[5.0, 5.0, 5.0, 3.0], np.linspace(1, -2, n - 4)])  # three alike, as at the edge
    P = np.linspace(1, 2, n)
    root = np.sqrt(P)
    H = jnp.asarray(root[:, None] * (Q * spectrum) @ Q.T * root)
    near = jnp.asarray(rng.normal(size=(k, n)))
    x, P = jnp.zeros(n), jnp.asarray(P)
    found = jax.jit(lambda near: directions(lambda x: x @ H @ x / 2, x, P, near, 4.0))(near)
    np.testing.assert_allclose(found.values[:3], 5.0, rtol=1e-7)
    np.testing.assert_allclose(found.vectors[:3] * P[None] @ found.vectors[:3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.vectors[:3] @ H, 5 * found.vectors[:3] * P[None], atol=1e-3)


def test_curvature_gradients_are_third_derivatives():
    loss = lambda x: jnp.sum(jnp.tanh(x) ** 3) + x[0] * x[1] ** 2 * x[2]
    x, V = jnp.array([0.3, -0.2, 0.5]), jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)))
    third = np.einsum("abc,ia,jb->ijc", jax.jit(jax.jacfwd(jax.hessian(loss)))(x), V, V)
    found = jax.jit(lambda x, V: curvature_gradients(loss, x, V, jnp.asarray(2, jnp.int32)))(x, V)
    for c in range(3):
        matrix = complementarity.to_matrix(found[:, c], 3)
        np.testing.assert_allclose(matrix[:2, :2], third[:2, :2, c], rtol=1e-12)
        assert not np.any(matrix[2])


# The flow ----------------------------------------------------------------------------------------

TURN = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]


def valleys(x):
    """Residuals of two valleys that lead to ever larger curvature, seen in a turned frame."""
    a, b, c, d = jnp.asarray(TURN) @ x
    return jnp.stack([a * b - 1, (a - 4) * 0.02**0.5, c * d - 1, (c - 7) * 0.02**0.5])


def loss(x):
    return jnp.sum(valleys(x) ** 2) / 2


PROBLEM = ut.problems.PointTarget(jnp.zeros(4))
PHI = ut.parameterizations.Function(valleys, shape=4)
START = jnp.asarray(TURN.T @ np.array([1.2, 0.6, 1.1, 0.7]))


def run(dynamics, steps, **options):
    return ut.train(PROBLEM, PHI, dynamics, params=START, stop=ut.Stop(loss=None, steps=steps), **options)


@pytest.mark.long
def test_one_direction_is_the_closed_form():
    """(uv - 1)^2 / 2 + (u - 4)^2 / 100 at step 0.2; the numbers were computed independently."""
    valley = lambda u: jnp.stack([u[0] * u[1] - 1, (u[0] - 4) / 50**0.5])
    phi, point = ut.parameterizations.Function(valley, shape=2), ut.problems.PointTarget(jnp.zeros(2))
    stop = ut.Stop(loss=None, steps=800)
    found = ut.train(point, phi, CentralFlow(make("gd", 0.2)), params=jnp.array([1.2, 0.6]), stop=stop)
    of = lambda u: jnp.sum(valley(u) ** 2) / 2
    sharpness = lambda u: jnp.linalg.eigvalsh(jax.hessian(of)(u))[-1]
    g, (sharpest, s) = jax.jit(lambda u: (jax.grad(of)(u), jax.value_and_grad(sharpness)(u)))(found.params)
    assert float(sharpest) == pytest.approx(10, rel=1e-7)
    assert found["variances"][-1, 0] == pytest.approx(float(-2 * g @ s / (s @ s)), rel=1e-6)
    assert found["variances"][-1, 0] == pytest.approx(0.0055, abs=5e-5)
    assert found["mean_loss"][-1] == pytest.approx(0.0347, abs=5e-5)


@pytest.mark.long
def test_two_directions_at_the_edge_are_each_the_closed_form():
    """Of valleys that do not meet, whose frame the flow is not told."""
    rate = 0.22
    found = run(CentralFlow(make("gd", rate)), 1500)
    np.testing.assert_allclose(found["stability"][-1, :2], 1, rtol=1e-6)
    u, expected = TURN @ np.asarray(found.params), []
    for part, pull in ((u[:2], 4), (u[2:], 7)):
        of = lambda x, pull=pull: (x[0] * x[1] - 1) ** 2 / 2 + 0.01 * (x[0] - pull) ** 2
        g = jax.grad(of)(part)
        s = jax.grad(lambda x, of=of: jnp.linalg.eigvalsh(jax.hessian(of)(x))[-1])(part)
        expected.append(float(-2 * g @ s / (s @ s)))
    np.testing.assert_allclose(found["variances"][-1, :2], sorted(expected, reverse=True), rtol=1e-5)
    assert found["mean_loss"][-1] == pytest.approx(float(loss(found.params)) + sum(expected) / rate, rel=1e-5)


@pytest.mark.long
def test_below_the_edge_it_is_gradient_flow():
    errors = []
    for substeps in (4, 8):
        found = run(CentralFlow(make("gd", 0.02), substeps=substeps), 100)
        flow = ut.train(
            PROBLEM, PHI, ut.dynamics.GradientFlow(rtol=1e-9), params=START, stop=ut.Stop(loss=None, time=2.0)
        )
        errors.append(float(jnp.linalg.norm(found.params - flow.params)))
        assert not np.any(found["variances"])
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.03)  # Euler's
    assert errors[0] < 2e-3


@pytest.mark.long
@pytest.mark.parametrize(
    "optimizer",
    [
        make("group_rmsprop", 0.05, decay=0.95),
        make("rmsprop", 0.005, decay=0.95, bias_correction=True),
        make("adam", 0.1, b1=0.8, b2=0.95),
    ],
    ids=lambda optimizer: optimizer.name,
)
def test_adaptive_descent_is_held_at_its_edge(optimizer):
    found = run(CentralFlow(optimizer), 600)
    assert found.status == "stopped"
    assert found["stability"].max() < 1 + 1e-3
    assert found["stability"][-1, 0] == pytest.approx(1, abs=1e-3)
    assert found["variances"][-1, 0] > 0


@pytest.mark.long
@pytest.mark.parametrize(
    "optimizer",
    [make("rmsprop", 0.02, decay=0.95, bias_correction=True), make("adam", 0.2, b1=0.8, b2=0.95)],
    ids=lambda optimizer: optimizer.name,
)
def test_two_valleys_alike_are_each_the_one_alone(optimizer):
    """Whatever frame is found for the two directions at the edge: entry by entry, nothing of one is in the other."""
    valley = lambda u: jnp.stack([u[0] * u[1] - 1, (u[0] - 4) / 50**0.5])
    both = lambda u: jnp.concatenate([valley(u[:2]), valley(u[2:])])
    start, ends = jnp.array([1.2, 0.6]), []
    for residuals, params in ((valley, start), (both, jnp.tile(start, 2))):
        size = params.size
        point, phi = ut.problems.PointTarget(jnp.zeros(size)), ut.parameterizations.Function(residuals, shape=size)
        stop = ut.Stop(loss=None, steps=400)
        found = ut.train(point, phi, CentralFlow(optimizer), params=params, stop=stop, samples=2)
        ends.append((found.params, found["variances"][-1], found["stability"][-1]))
    (one, variances, _), (two, twice, stability) = ends
    np.testing.assert_allclose(stability[:2], 1, atol=1e-3)
    np.testing.assert_allclose(two, jnp.tile(one, 2), rtol=1e-5)
    assert variances[0] > 0
    np.testing.assert_allclose(twice[:2], variances[0], rtol=1e-4)


@pytest.mark.long
def test_a_schedule_moves_the_edge():
    found = run(CentralFlow(make("gd", optax.linear_schedule(0.1, 0.3, 500))), 1000, samples=[0, 250, 1000])
    sharpness = ut.probes.Sharpness()(PROBLEM, PHI, found.params)
    assert float(sharpness) == pytest.approx(2 / 0.3, rel=1e-4)
    assert found.times.tolist() == [0, 250, 1000]


@pytest.mark.long
def test_runs_side_by_side_are_those_one_by_one():
    rates = [0.1, 0.2]
    data = ut.sweep(lambda rate: run(CentralFlow(make("gd", rate)), 300, samples=[0, 300]), over={"rate": rates})
    alone = [run(CentralFlow(make("gd", rate)), 300, samples=[0, 300]) for rate in rates]
    for name in ("mean_loss", "variances", "stability"):
        np.testing.assert_allclose(data[name], np.stack([x[name] for x in alone]), rtol=1e-8, atol=1e-12)


@pytest.mark.long
def test_a_rate_that_touches_zero_holds_still_there():
    """Warm-up from nothing, and a ramp that ends at nothing: below the edge it is the flow, by the area of the rate."""
    for schedule in (lambda s: jnp.minimum(s / 10, 1.0) * 0.1, lambda s: jnp.maximum(1 - s / 20, 0.0) * 0.1):
        found = run(CentralFlow(make("gd", schedule)), 30, samples=[0, 30])
        assert found.status == "stopped"
        substeps = np.arange(120) / 4
        area = float(sum(schedule(s) for s in substeps)) / 4
        stop = ut.Stop(loss=None, time=area)
        flow = ut.train(PROBLEM, PHI, ut.dynamics.GradientFlow("explicit", 1e-10), params=START, stop=stop)
        np.testing.assert_allclose(found.params, flow.params, atol=0.02)


@pytest.mark.long
def test_a_quadratic_beyond_the_edge_diverges():
    problem, phi = ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Identity(2)
    found = ut.train(problem, phi, CentralFlow(make("gd", 3.0)), params=jnp.zeros(2), stop=ut.Stop(steps=50))
    assert found.status == "diverged"


def test_a_rate_that_is_no_number_ends_the_run_where_it_does():
    """It once counted as zero: nothing moved any more, and the run was "stopped"."""
    found = run(CentralFlow(make("gd", lambda s: jnp.where(s < 3, 0.1, jnp.nan))), 10, samples=2)
    assert (found.status, int(found.steps[-1])) == ("diverged", 3)
    with pytest.raises(ValueError, match="learning_rate: expected a function that is at least 0 at step 0, found nan"):
        make("gd", lambda s: s * jnp.nan)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((optax.sgd(0.1),), TypeError, "optimizer: expected undertow.optimizers.make"),
        ((make("lion", 0.1),), ValueError, "no central flow for 'lion'"),
        ((make("sgd", 0.1, momentum=0.9),), ValueError, "with momentum=0.9"),
        ((make("rmsprop", 0.1, centered=True),), ValueError, "with centered=True"),
        ((make("rmsprop", 0.1, decay=0.1),), ValueError, "decay of at least 0.2"),
        ((make("rmsprop", 0.1, decay=0.0),), ValueError, "decay of at least 0.2"),
        ((make("adam", 0.1, b2=0.0),), ValueError, "decay of at least 0.2"),
        ((make("gd", 0.1), 0), ValueError, "directions"),
        ((make("gd", 0.1), 4, 0), ValueError, "substeps"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        CentralFlow(*arguments)


def test_what_a_state_tells_is_no_name_for_a_probe():
    probe = ut.probes.Function("mean_loss", lambda params: jnp.zeros(()))
    with pytest.raises(ValueError, match="different names"):
        run(CentralFlow(make("gd", 0.1)), 10, probes=(probe,))
