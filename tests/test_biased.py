"""Row and column effects beside a matrix: entries without the matrix, what is refused, and the ratio that they have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import undertow as ut

P = ut.parameterizations
SHAPE = (300, 200)


@pytest.fixture
def params(getkey):
    inner, rows, columns = P.Biased(P.DeepMatrix(SHAPE, 2, width=4)).init(getkey(), 1.0)
    draw = lambda x: jax.random.normal(getkey(), x.shape)
    return inner, draw(rows), draw(columns)


def test_w_is_the_matrix_and_its_effects(params):
    (first, last), rows, columns = jax.tree.map(np.asarray, params)
    expected = last @ first + rows.ravel()[:, None] + columns.ravel()
    np.testing.assert_allclose(P.Biased(P.DeepMatrix(SHAPE, 2, width=4))(params), expected, rtol=1e-12)


@pytest.mark.long
def test_entries_whole_rows_and_their_gradients_without_the_matrix(params):
    phi = P.Biased(P.DeepMatrix(SHAPE, 2, width=4))
    i, j = jnp.array([0, 299, 7, 7]), jnp.array([199, 0, 3, 3])
    w = phi(params)
    np.testing.assert_allclose(phi.entries(params, (i, j)), w[i, j], rtol=1e-12)
    np.testing.assert_allclose(phi.entries(params, (i,)), w[i], rtol=1e-12)
    gradient = jax.grad(lambda p: jnp.sum(phi.entries(p, (i, j)) ** 2))
    whole = jax.grad(lambda p: jnp.sum(phi(p)[i, j] ** 2))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), gradient(params), whole(params))
    assert "300,200]" not in str(jax.make_jaxpr(gradient)(params)).replace(" ", "")
    assert "300,200]" in str(jax.make_jaxpr(whole)(params)).replace(" ", "")


def test_the_start_is_that_of_the_matrix(getkey):
    key = getkey()
    matrix = P.DeepMatrix((4, 3), 2)
    phi = P.Biased(matrix)
    np.testing.assert_array_equal(phi(phi.init(key, 0.1)), matrix(matrix.init(key, 0.1)))


def test_a_ratio_of_every_array_leaves_effects_alone(params):
    phi = P.Biased(P.DeepMatrix(SHAPE, 2, width=4))
    penalty = ut.penalties.OnParameters(ut.penalties.NuclearFrobeniusRatio(1.0))
    factors, rows, columns = jax.jit(jax.grad(lambda p: penalty.of(phi, p)))(params)
    assert float(jnp.abs(rows).max()) < 1e-12
    assert float(jnp.abs(columns).max()) < 1e-12
    assert min(float(jnp.abs(f).max()) for f in factors) > 1e-4


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        (P.Identity(3), ValueError, r"matrix: expected a parameterization of a matrix, found shape \(3,\)"),
        ((4, 3), TypeError, r"matrix: expected an undertow.parameterizations.Parameterization, found \(4, 3\)"),
    ],
)
def test_what_is_no_matrix_is_refused(matrix, error, message):
    with pytest.raises(error, match=message):
        P.Biased(matrix)
