"""The induced field -J J^T grad loss against the primer's closed forms, explicit Jacobians and a step of the flow."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import PARAMETERIZATIONS, completion, init, rows

import undertow as ut

P = ut.parameterizations
POINT = ut.problems.PointTarget([3.0, 6.0])
W = [1.0, 8.0]


# The primer's table ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phi", "expected"),
    [
        (P.Identity(2), (2, -2)),
        (P.Power(2, 2), (8, -64)),
        (P.Power(2, 3), (18, -288)),
        (P.Exponential(2), (2, -128)),
        (P.Power(2, 0.5), (0.5, -0.0078125)),
        (P.SignedPower(2, 2), (8, -64)),
    ],
    ids=lambda x: repr(x) if isinstance(x, P.Parameterization) else "",
)
def test_fields_of_the_primer(phi, expected):
    np.testing.assert_allclose(ut.velocity(POINT, phi, phi.lift(W)), expected, rtol=1e-12)


def test_depth_1000_is_nearly_the_exponential():
    phi = P.Power(2, 1000)
    found = ut.velocity(POINT, phi, phi.lift(W)) / 1000**2
    np.testing.assert_allclose(found, [2, -2 * 8 ** (2 - 2 / 1000)], rtol=1e-11)
    np.testing.assert_allclose(found, [2, -127.47], rtol=2e-5)  # as the primer rounds it


def test_the_logarithm_of_the_notebook():
    phi = P.Function(jnp.log, lambda key, scale: jnp.exp(scale * jax.random.normal(key, (2,))))
    np.testing.assert_allclose(
        ut.velocity(POINT, phi, jnp.exp(jnp.asarray(W))), np.exp(-2 * np.asarray(W)) * [2, -2], rtol=1e-12
    )


@pytest.mark.parametrize("w", [(1.0, 8.0), (-2.0, 0.5), (0.3, -4.0)])
def test_polar_field(w):
    """R diag(1, r^2) R^T (w* - w); with J^T J in the place of J J^T, as the primer prints it, another field."""
    phi = P.Polar()
    params = phi.lift(w)
    r, t = params
    R = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
    descent = np.array([3.0, 6.0]) - w
    found = ut.velocity(POINT, phi, params)
    np.testing.assert_allclose(found, R @ np.diag([1, r**2]) @ R.T @ descent, rtol=1e-12)
    J = np.asarray(jax.jacobian(phi)(params))
    assert np.abs(np.asarray(found) - J.T @ J @ descent).max() > 1
    if w == (1.0, 8.0):
        np.testing.assert_allclose(found, [143.784615, -19.723077], rtol=1e-8)
        np.testing.assert_allclose(J.T @ J @ descent, [2, -130], rtol=1e-12)


@pytest.mark.parametrize("depth", [0.5, 1, 2, 3, 7.5])
def test_powers_on_a_line(depth):
    a, w = np.array([-1.0, -2.0]), np.array([0.7, 2.0])
    gradient = a * (a @ w + 15) / (a @ a)
    phi = P.Power(2, depth)
    found = ut.velocity(ut.problems.LineTarget(-1.0, -2.0, 15.0), phi, phi.lift(w))
    np.testing.assert_allclose(found, -(depth**2) * w ** (2 - 2 / depth) * gradient, rtol=1e-12)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_distinct_balanced_layers_have_the_factor_n(depth):
    """One mode of N layers: N s^(2-2/N) where the shared weight of ``Power`` has N^2."""
    phi = P.DeepMatrix((1, 1), depth)
    found = ut.velocity(ut.problems.PointTarget([[3.0]]), phi, phi.lift([[2.0]]))
    np.testing.assert_allclose(found, [[depth * 2 ** (2 - 2 / depth)]], rtol=1e-12)


# Explicit Jacobians ----------------------------------------------------------------------------


@rows(PARAMETERIZATIONS)
def test_velocity_is_that_of_the_explicit_jacobian(case, getkey):
    phi = case.instance
    problem = ut.problems.PointTarget(np.random.default_rng(3).normal(size=phi.shape))
    params = init(phi, getkey())
    w, jacobian = jax.jit(lambda params: (phi(params), jax.jacobian(lambda p: phi(p))(params)))(params)
    J = np.concatenate([np.asarray(x).reshape(w.size, -1) for x in jax.tree.leaves(jacobian)], axis=1)
    gradient = (np.asarray(w) - np.asarray(problem.target)).ravel()
    expected = (-J @ (J.T @ gradient)).reshape(phi.shape)
    np.testing.assert_allclose(ut.velocity(problem, phi, params), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("shape", "depth"), [((4, 3), 2), ((4, 3), 3), ((3, 4), 3), ((4, 4), 4), ((4, 3), 1)])
def test_end_to_end_flow_of_balanced_factors(shape, depth):
    """Arora et al. 2018, Theorem 1: -sum_j [W W^T]^((j-1)/N) grad [W^T W]^((N-j)/N)."""
    rng = np.random.default_rng(4)
    w, target = rng.normal(size=shape), rng.normal(size=shape)
    phi = P.DeepMatrix(shape, depth)
    u, s, vt = np.linalg.svd(w, full_matrices=True)

    def power(basis, exponent):
        # 0^0 = 1: the zeroth power is the identity, beyond the rank too.
        eigenvalues = np.zeros(len(basis))
        eigenvalues[: s.size] = s**2
        return basis @ np.diag(eigenvalues**exponent) @ basis.T

    expected = -sum(
        power(u, (j - 1) / depth) @ (w - target) @ power(vt.T, (depth - j) / depth) for j in range(1, depth + 1)
    )
    found = ut.velocity(ut.problems.PointTarget(target), phi, phi.lift(w))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_velocity_is_the_finite_difference_of_a_short_flow():
    problem, phi = completion(), P.DeepMatrix((4, 3), 2)
    params = phi.init(jax.random.key(0), 1.0)
    h = 1e-4
    ahead = ut.train(
        problem,
        phi,
        ut.dynamics.GradientFlow("explicit", rtol=1e-10),
        params=params,
        stop=ut.Stop(loss=None, time=h),
        samples=2,
    ).w
    v = ut.velocity(problem, phi, params)
    # The second derivative times h / 2 remains.
    np.testing.assert_allclose((ahead - phi(params)) / h, v, atol=50 * h * float(jnp.abs(v).max()))


# Transformations, precisions, wrong input -------------------------------------------------------


def test_jit_vmap_and_grad():
    phi = P.Power(2, 2)
    ws = jnp.array([[1.0, 8.0], [2.0, 3.0]])

    def field(w):
        return ut.velocity(POINT, phi, phi.lift(w))

    expected = 4 * ws * (jnp.array([[3.0, 6.0]]) - ws)
    np.testing.assert_allclose(jax.jit(jax.vmap(field))(ws), expected, rtol=1e-12)
    divergence = jax.grad(lambda w: field(w)[0])(ws[0])
    np.testing.assert_allclose(divergence, [4 * (3 - 2 * 1.0), 0], rtol=1e-12, atol=1e-12)


@pytest.mark.two_types
def test_float32():
    phi = P.Power(2, 2)
    found = ut.velocity(POINT, phi, phi.lift(W).astype(jnp.float32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [8, -64], rtol=1e-5)


@pytest.mark.parametrize("params", [(2.0, 1.0), [2, 1], (jnp.asarray(2.0), jnp.float32(1.0)), (np.float64(2), 1)])
def test_python_numbers_as_parameters_keep_the_precision(params):
    """Numbers without a precision of their own are not taken for half precision."""
    phi = P.Function(lambda p: jnp.stack([p[0] * p[1], p[0]]), shape=2)
    J = np.array([[1.0, 2.0], [1.0, 0.0]])
    expected = -J @ J.T @ (np.array([2.0, 2.0]) - [3.0, 6.0])
    np.testing.assert_allclose(ut.velocity(POINT, phi, params), expected, rtol=1e-7)


BAD = [
    (lambda: ut.velocity(POINT, P.Identity(3), jnp.ones(3)), ValueError, "parameterization: expected shape (2,)"),
    (lambda: ut.velocity(POINT, P.Identity(2), jnp.ones(3)), ValueError, "params: expected parameters that give shape"),
    (lambda: ut.velocity(POINT, P.Identity(2), ()), ValueError, "params: expected a PyTree of floating arrays"),
    (lambda: ut.velocity(POINT, P.Identity(2), jnp.ones(2, complex)), TypeError, "params: expected a PyTree of real"),
    (lambda: ut.velocity(POINT, P.Identity(2), "ab"), TypeError, "params: expected a PyTree of real arrays"),
    (
        lambda: ut.velocity(ut.problems.PointTarget(np.ones((2, 2))), P.DeepMatrix((2, 2), 2), (np.ones((2, 3)),) * 2),
        ValueError,
        "params: DeepMatrix of shape (2, 2) cannot take arrays of shapes",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
