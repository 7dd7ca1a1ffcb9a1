"""Implied potentials of maps that mix entries, and the maps that imply none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import undertow as ut
from undertow import potentials, theory

B, P, Q, T = ut.problems, ut.parameterizations, potentials, theory

# Maps that mix entries -------------------------------------------------------------------------


@pytest.mark.long
def test_a_linear_map_implies_a_quadratic():
    M = np.random.default_rng(0).normal(size=(3, 5))
    phi = P.Function(lambda u: jnp.asarray(M) @ u, shape=3)
    start = jnp.arange(5.0)
    R = T.implied_potential(phi, start)
    assert not R.entrywise
    w, w0 = jnp.array([1.0, -2.0, 0.5]), phi(start)
    gradient = np.linalg.solve(M @ M.T, w - w0)
    np.testing.assert_allclose(R.gradient(w), gradient, rtol=1e-9)
    np.testing.assert_allclose(R.inverse_gradient(jnp.asarray(gradient)), w, rtol=1e-9)
    assert float(R(w)) == pytest.approx(float((w - w0) @ gradient / 2), rel=1e-9)
    A = np.array([[1.0, 2.0, -1.0]])
    expected = w0 + M @ M.T @ A.T @ np.linalg.solve(A @ M @ M.T @ A.T, 3.0 - A @ w0)
    np.testing.assert_allclose(T.limit(B.LeastSquares(A, [3.0]), phi, start), expected, rtol=1e-9)


def test_a_square_mixture_of_exponentials_is_that_of_burg():
    """For w = M exp(u), M invertible: R(w) is the Burg entropy of M^-1 w."""
    M = np.array([[1.0, 0.5, 0.0], [0.2, 1.0, -0.3], [0.0, 0.4, 2.0]])
    phi = P.Function(lambda u: jnp.asarray(M) @ jnp.exp(u), shape=3)
    R = T.implied_potential(phi, jnp.array([0.0, 0.5, -0.5]))
    assert not R.entrywise
    v0, v = np.exp([0.0, 0.5, -0.5]), np.array([0.3, 2.0, 1.5])
    w = jnp.asarray(M @ v)
    expected = np.linalg.solve(M.T, 1 / v0 - 1 / v)
    np.testing.assert_allclose(R.gradient(w), expected, rtol=1e-8)
    np.testing.assert_allclose(R.inverse_gradient(jnp.asarray(expected)), w, rtol=1e-9)
    assert float(R(w)) == pytest.approx(float(Q.Burg().divergence(jnp.asarray(v), jnp.asarray(v0))), rel=1e-8)


@pytest.mark.long
def test_a_wide_mixture_of_squares():
    """For w = M u^2 with more parameters than entries: the dual of w is what the exponents say."""
    M = np.random.default_rng(2).uniform(0.1, 1, size=(2, 4))
    phi = P.Function(lambda u: jnp.asarray(M) @ u**2, shape=2)
    u = np.array([0.3, 1.0, 0.5, 2.0])
    R = T.implied_potential(phi, jnp.asarray(u))
    z = jnp.array([0.4, -0.7])
    w = M @ (u**2 * np.exp(4 * M.T @ np.asarray(z)))
    np.testing.assert_allclose(R.inverse_gradient(z), w, rtol=1e-10)
    np.testing.assert_allclose(R.gradient(jnp.asarray(w)), z, rtol=1e-9)
    np.testing.assert_allclose(
        jax.jacfwd(R.gradient)(jnp.asarray(w)) @ jax.jacfwd(R.inverse_gradient)(z), np.eye(2), atol=1e-8
    )


def test_a_depth_of_one_and_a_single_entry_are_entrywise():
    for phi in (P.DeepMatrix((2, 3), 1), P.DeepMatrix((1, 1), 3)):
        assert T.implied_potential(phi, phi.init(jax.random.key(0), 1.0)).entrywise


# Where there is none ---------------------------------------------------------------------------


def test_polar_coordinates_imply_none():
    """The commutator of the two fields by hand."""
    r, t = 2.0, 0.3
    with pytest.raises(T.NotAMirrorFlow, match=r"entries \(0,\) and \(1,\) of Polar do not commute") as caught:
        T.implied_potential(P.Polar(), jnp.array([r, t]))
    error = caught.value
    assert error.pair == ((0,), (1,))
    np.testing.assert_allclose(error.point, [r, t])
    # The fields as parameters move: grad w_1 = (cos t, -r sin t), grad w_2 = (sin t, r cos t).
    DX = np.array([[0, -np.sin(t)], [-np.sin(t), -r * np.cos(t)]])
    DY = np.array([[0, np.cos(t)], [np.cos(t), -r * np.sin(t)]])
    X, Y = np.array([np.cos(t), -r * np.sin(t)]), np.array([np.sin(t), r * np.cos(t)])
    forth, back = DY @ X, DX @ Y
    expected = np.linalg.norm(forth - back) / (np.linalg.norm(forth) + np.linalg.norm(back))
    assert error.size == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("phi", [P.DeepMatrix((2, 3), 2), P.DeepMatrix((3, 3), 3), P.DeepMatrix((3, 2), 2, width=4)])
def test_products_of_matrices_imply_none(phi):
    with pytest.raises(T.NotAMirrorFlow) as caught:
        T.implied_potential(phi, phi.init(jax.random.key(0), 1.0))
    i, j = caught.value.pair
    assert i != j
    assert len(i) == len(j) == 2
    assert caught.value.size > 1e-3
    assert phi(tuple(jnp.asarray(x) for x in caught.value.point)).shape == phi.shape


def test_fields_that_commute_at_the_start_alone_are_found_out():
    """w = (u, v + u^2 v^2 / 2): at (0, 0) the commutator vanishes, elsewhere it does not."""
    phi = P.Function(lambda p: jnp.stack([p[0], p[1] + p[0] ** 2 * p[1] ** 2 / 2]), shape=2)
    with pytest.raises(T.NotAMirrorFlow) as caught:
        T.implied_potential(phi, jnp.zeros(2))
    assert np.linalg.norm(caught.value.point) > 0.1
