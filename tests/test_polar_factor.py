"""The polar factor: against the singular value decomposition, over ranks, conditions, shapes and precisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from undertow.linalg import polar_factor


def of_singular_values(values, shape, seed=0):
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.normal(size=(shape[0], len(values))))[0]
    right = np.linalg.qr(rng.normal(size=(shape[1], len(values))))[0]
    return left * np.asarray(values) @ right.T, left, right


SPECTRA = {
    "random": [3.0, 2.0, 1.0, 0.5],
    "equal": [2.0, 2.0, 2.0, 2.0],
    "ill-conditioned": [1.0, 1e-2, 1e-3, 1e-4],
    "rank deficient": [1.0, 0.3, 0.0, 0.0],
    "tiny": [3e-30, 2e-30, 1e-30, 1e-31],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 4), (7, 4), (4, 9)])
@pytest.mark.parametrize("kind", SPECTRA)
def test_by_the_decomposition_it_is_the_partial_isometry(kind, shape, dtype):
    matrix, left, right = of_singular_values(SPECTRA[kind], shape)
    kept = np.array(SPECTRA[kind]) > 0
    expected = left[:, kept] @ right[:, kept].T
    found = polar_factor(jnp.asarray(matrix, dtype))
    assert found.dtype == dtype
    # A singular vector is as exact as rounding of the largest singular value over the gap around its own.
    condition = max(SPECTRA[kind]) / min(np.array(SPECTRA[kind])[kept])
    np.testing.assert_allclose(found, expected, atol=40 * np.finfo(dtype).eps * condition)


by_products = jax.jit(lambda matrix: polar_factor(matrix, "newton_schulz"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 4), (7, 4), (4, 9)])
@pytest.mark.parametrize("kind", ["random", "equal", "tiny"])
def test_by_matrix_products_its_singular_values_are_one_to_a_third(kind, shape, dtype):
    matrix, left, right = of_singular_values(SPECTRA[kind], shape)
    inside = left.T @ np.asarray(by_products(np.asarray(matrix, dtype))) @ right
    np.testing.assert_allclose(inside - np.diag(np.diag(inside)), 0, atol=1e3 * np.finfo(dtype).eps)
    assert np.all(np.abs(np.diag(inside) - 1) <= 1 / 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 4), (7, 4), (4, 9), (60, 80)])
@pytest.mark.parametrize("kind", [kind for kind in SPECTRA if kind != "rank deficient"])
def test_by_polynomials_it_is_the_partial_isometry_to_what_is_stated(kind, shape, dtype):
    matrix, left, right = of_singular_values(SPECTRA[kind], shape)
    found = polar_factor(jnp.asarray(matrix, dtype), "polar_express")
    assert found.dtype == dtype
    eps, condition = float(np.finfo(dtype).eps), max(SPECTRA[kind]) / min(SPECTRA[kind])
    # Rounding of the matrix itself, multiplied as a singular value is where that is zero in truth.
    error = 1e-6 + 40 * eps * condition
    noise = 3 * eps * np.sqrt(min(shape)) * 106_300 if min(shape) > 4 else 0
    assert np.linalg.norm(np.asarray(found) - left @ right.T, 2) <= error + noise


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_by_polynomials_small_singular_values_become_numbers_from_zero_to_one(dtype):
    values = np.geomspace(1, 1e-7, 15)
    matrix, left, right = of_singular_values(values, (15, 20))
    inside = left.T @ np.asarray(polar_factor(jnp.asarray(matrix, dtype), "polar_express")) @ right
    found, shares, noise = np.diag(inside), values / np.linalg.norm(values), 106_300 * float(np.finfo(dtype).eps)
    assert np.all(found >= -3 * noise)
    assert np.all(found <= 1 + 1e-6 + 3 * noise)
    assert np.all(np.abs(found[shares >= 4e-5] - 1) <= 1e-6 + 3 * noise)
    assert np.all(found <= 106_300 * shares + 3 * noise)
    if dtype == np.float64:
        np.testing.assert_allclose(inside - np.diag(found), 0, atol=1e-9)


@pytest.mark.parametrize(("rank", "dtype"), [(0, np.float32), (2, np.float32), (2, np.float64)])
def test_what_is_zero_stays_next_to_zero(rank, dtype):
    matrix, left, right = of_singular_values([3.0, 2.0][:rank], (30, 20))
    found = np.asarray(polar_factor(jnp.asarray(matrix, dtype), "polar_express"))
    away = np.linalg.norm(found - left @ right.T, 2)
    assert away <= (0 if rank == 0 else 3 * np.sqrt(20) * 106_300 * float(np.finfo(dtype).eps) + 1e-6)


def test_a_cut_is_refused_where_nothing_is_cut():
    with pytest.raises(ValueError, match="rtol: expected none for 'polar_express'"):
        polar_factor(jnp.eye(2), "polar_express", rtol=0.1)


@pytest.mark.parametrize("method", ["svd", "polar_express", "newton_schulz"])
def test_zero_stays_zero_and_batches_agree(method):
    factor = jax.jit(lambda matrix: polar_factor(matrix, method))
    batch = np.random.default_rng(0).normal(size=(3, 4, 6))
    assert not np.any(factor(np.zeros((4, 6))))
    np.testing.assert_allclose(jax.jit(jax.vmap(factor))(batch), [factor(matrix) for matrix in batch], atol=1e-12)
