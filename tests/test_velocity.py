"""The induced field against every closed form of the primer, and against formulas for matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import undertow as ut

POINT = ut.problems.PointTarget([3.0, 6.0])
LINE = ut.problems.LineTarget(-1.0, -2.0, 15.0)
W = jnp.array([1.0, 8.0])
MAPS = {
    "identity": (ut.parameterizations.Identity(2), lambda w: jnp.ones(2)),
    **{
        f"power {depth}": (
            ut.parameterizations.Power(2, depth),
            lambda w, depth=depth: depth**2 * w ** (2 - 2 / depth),
        )
        for depth in (2, 3, 4, 6, 0.5, 0.2, 0.25, 1.5)
    },
    "exponential": (ut.parameterizations.Exponential(2), lambda w: w**2),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("problem", [POINT, LINE], ids=["point", "line"])
def test_entrywise_maps_follow_their_closed_form(name, problem):
    phi, diagonal = MAPS[name]
    expected = -diagonal(W) * jax.grad(problem.loss)(W)
    np.testing.assert_allclose(ut.velocity(problem, phi, phi.lift(W)), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("phi", "expected"),
    [
        (ut.parameterizations.Identity(2), (2, -2)),
        (ut.parameterizations.Power(2, 2), (8, -64)),
        (ut.parameterizations.Power(2, 3), (18, -288)),
        (ut.parameterizations.Power(2, 0.5), (0.5, -0.0078125)),
        (ut.parameterizations.Exponential(2), (2, -128)),
        (ut.parameterizations.Polar(), (143.784615, -19.723077)),
    ],
)
def test_published_numbers(phi, expected):
    np.testing.assert_allclose(ut.velocity(POINT, phi, phi.lift(W)), expected, rtol=1e-7)


def test_scaled_deep_power_tends_to_the_exponential():
    exponential = ut.parameterizations.Exponential(2)
    limit = ut.velocity(POINT, exponential, exponential.lift(W))
    gaps = []
    for depth in (10, 100, 1000):
        phi = ut.parameterizations.Power(2, depth)
        gaps.append(float(jnp.max(jnp.abs(ut.velocity(POINT, phi, phi.lift(W)) / depth**2 - limit))))
    # First order in 1 / depth.
    np.testing.assert_allclose(np.array(gaps[:-1]) / np.array(gaps[1:]), 10, rtol=0.25)


def test_polar_is_the_rotated_metric_and_not_the_transposed_one():
    phi = ut.parameterizations.Polar()
    radius, angle = phi.lift(W)
    rotation = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
    metric = rotation @ jnp.diag(jnp.array([1.0, radius**2])) @ rotation.T
    found = ut.velocity(POINT, phi, phi.lift(W))
    np.testing.assert_allclose(found, -metric @ jax.grad(POINT.loss)(W), rtol=1e-10)
    jacobian = jax.jacfwd(phi)(phi.lift(W))
    assert not np.allclose(found, -jacobian.T @ jacobian @ jax.grad(POINT.loss)(W))


def test_a_map_of_the_users_own():
    phi = ut.parameterizations.Function(jnp.log, shape=2)
    expected = -jnp.exp(-2 * W) * jax.grad(POINT.loss)(W)
    np.testing.assert_allclose(ut.velocity(POINT, phi, jnp.exp(W)), expected, rtol=1e-10)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_balanced_factors_follow_the_end_to_end_formula(depth, getkey):
    phi = ut.parameterizations.DeepMatrix((4, 3), depth, width=4, initialization="balanced")
    target = jax.random.normal(getkey(), (4, 3))
    problem = ut.problems.PointTarget(target)
    params = phi.init(getkey(), 1.0)
    w = np.asarray(phi(params))
    gradient = w - np.asarray(target)

    def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
        values, vectors = np.linalg.eigh(matrix)
        # The null directions of a rectangular W count for exponent 0 alone.
        powered = np.where(values > 1e-12, np.abs(values) ** exponent, float(exponent == 0))
        return (vectors * powered) @ vectors.T

    expected = -sum(
        power(w @ w.T, (j - 1) / depth) @ gradient @ power(w.T @ w, (depth - j) / depth) for j in range(1, depth + 1)
    )
    np.testing.assert_allclose(ut.velocity(problem, phi, params), expected, rtol=1e-7, atol=1e-9)


def test_velocity_is_the_derivative_of_the_flow(getkey):
    phi = ut.parameterizations.DeepMatrix((3, 3), 3)
    problem = ut.problems.MatrixCompletion((3, 3), [0, 1, 2], [1, 0, 2], [1.0, -1.0, 2.0])
    params = phi.init(getkey(), 0.5)
    gradient = jax.grad(lambda p: problem.loss(phi(p)))(params)
    step = 1e-6
    ahead, behind = (phi(jax.tree.map(lambda p, g, s=s: p - s * g, params, gradient)) for s in (step, -step))
    np.testing.assert_allclose(ut.velocity(problem, phi, params), (ahead - behind) / (2 * step), atol=1e-8)


def test_transforms(getkey):
    phi = ut.parameterizations.Power(2, 3)
    params = jax.random.uniform(getkey(), (5, 2))
    batched = jax.jit(jax.vmap(lambda p: ut.velocity(POINT, phi, p)))(params)
    single = jnp.stack([ut.velocity(POINT, phi, p) for p in params])
    np.testing.assert_allclose(batched, single, rtol=1e-12)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"parameterization: expected shape \(2,\).*found \(3,\)"):
        ut.velocity(POINT, ut.parameterizations.Identity(3), jnp.zeros(3))
    with pytest.raises((TypeError, ValueError), match="params"):
        ut.velocity(POINT, ut.parameterizations.Identity(2), jnp.zeros(3))
