"""Eigenvalues of the Hessian: known ones, dense ones, and what comes without forming it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import sparse_completion
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

import undertow as ut
from undertow.probes._curvature import DENSE

B, M, P = ut.problems, ut.probes, ut.parameterizations
BOTH = ("largest", "least")
_rng = np.random.default_rng(2)


class Quadratic(B.Problem):
    """w . H w / 2, whatever the signs of the eigenvalues of H, in a random basis."""

    shape: tuple[int, ...] = eqx.field(static=True)
    H: Float[Array, "n n"]

    def __init__(self, eigenvalues):
        basis = np.linalg.qr(np.random.default_rng(3).normal(size=(len(eigenvalues),) * 2))[0]
        self.H, self.shape = jnp.asarray(basis * np.asarray(eigenvalues) @ basis.T), (len(eigenvalues),)

    def loss(self, w):
        return w @ (self.H @ w) / 2


def both(problem, phi, params, count):
    return {which: np.asarray(M.HessianEigenvalues(count, which)(problem, phi, params)) for which in BOTH}


# Known landscapes --------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("size", [4, 20], ids=["dense", "lanczos"])
def test_zero_weights_of_depth_two_are_a_strict_saddle(size):
    """The least eigenvalue is -sigma_1(Y), and every singular value comes as often as the width says."""
    Y = _rng.normal(size=(size, size))
    phi = P.DeepMatrix((size, size), 2)
    zeros = tuple(jnp.zeros(shape) for shape in phi.factor_shapes)
    assert (2 * size**2 > DENSE) == (size == 20)
    sigma = np.linalg.svd(Y, compute_uv=False)
    expected = np.repeat(sigma[:2], size)[: size + 2]
    found = both(B.PointTarget(Y), phi, zeros, size + 2)
    np.testing.assert_allclose(found["least"], -expected, rtol=1e-9)
    np.testing.assert_allclose(found["largest"], expected, rtol=1e-9)


@pytest.mark.parametrize("size", [4, 20], ids=["dense", "lanczos"])
@pytest.mark.parametrize("which", BOTH)
def test_zero_weights_of_depth_three_have_no_curvature(size, which):
    phi = P.DeepMatrix((size, size), 3)
    zeros = tuple(jnp.zeros(shape) for shape in phi.factor_shapes)
    problem = B.PointTarget(_rng.normal(size=(size, size)))
    np.testing.assert_array_equal(M.HessianEigenvalues(3, which)(problem, phi, zeros), 0)
    assert M.Sharpness()(problem, phi, zeros) == 0


@pytest.mark.long
@pytest.mark.parametrize(("rows", "size"), [(5, 8), (30, 400), (500, 400)])
def test_least_squares_has_the_gram_matrix(rows, size):
    A = np.random.default_rng(rows).normal(size=(rows, size))
    problem, phi = B.LeastSquares(A, np.ones(rows)), P.Identity(size)
    gram = np.linalg.eigvalsh(A.T @ A)
    params = jnp.ones(size)
    np.testing.assert_allclose(M.HessianEigenvalues(2)(problem, phi, params), gram[:-3:-1], rtol=1e-6)
    np.testing.assert_allclose(M.Sharpness()(problem, phi, params), gram[-1], rtol=1e-6)
    least = M.HessianEigenvalues(1, "least")(problem, phi, params)
    np.testing.assert_allclose(least, gram[:1], atol=1e-4 * gram[-1])


def test_the_loss_that_underflows_has_none_and_its_logarithm_is_not_meant():
    problem = B.Classification([[1.0, 0.0], [0.0, -1.0]], [1, -1])
    probe = M.HessianEigenvalues(2)
    np.testing.assert_array_equal(probe(problem, P.Identity(2), jnp.full(2, 1e4)), 0)
    np.testing.assert_allclose(probe(problem, P.Identity(2), jnp.array([1.0, 2.0])), np.exp([-1, -2]), rtol=1e-13)


def test_the_penalty_counts():
    objective = ut.Objective(B.PointTarget([1.0, 2.0]), P.Identity(2), ut.penalties.L2(0.5))
    shift = jax.hessian(ut.penalties.L2(0.5))(jnp.ones(2))[0, 0]
    np.testing.assert_allclose(M.Sharpness().measure(objective, jnp.ones(2)), 1 + shift, rtol=1e-14)
    np.testing.assert_allclose(M.Sharpness()(objective.problem, objective.parameterization, jnp.ones(2)), 1)


# Without forming it ------------------------------------------------------------------------------

SPECTRA = {
    "apart": np.r_[np.linspace(-1, 1, 398), 2.0, -3.0],
    "one-sided": np.r_[np.linspace(-5, -4, 399), -3.0],  # zero, which is nobody's, is above them all
    "multiple": np.repeat([-2.0, 1.0, 3.0, 5.0], 100),
    "low-rank": np.r_[np.zeros(395), 1.0, 1.0, 4.0, 4.0, -1.0],
    "identity": np.full(400, 7.0),
    "tiny": 1e-200 * np.repeat([-2.0, 1.0, 3.0, 5.0], 100),
}


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
def test_extreme_eigenvalues_are_found_as_often_as_they_are_there(spectrum):
    found = both(Quadratic(spectrum), P.Identity(400), jnp.ones(400), 3)
    ordered = np.sort(spectrum)
    scale = np.abs(spectrum).max()
    within = 1e-3 * scale if np.unique(spectrum).size > 100 else 1e-12 * scale  # a dense set has its edges last
    np.testing.assert_allclose(found["largest"], ordered[:-4:-1], rtol=0, atol=within)
    np.testing.assert_allclose(found["least"], ordered[:3], rtol=0, atol=within)


@pytest.mark.long
def test_more_products_are_closer_never_beyond_and_at_last_exact():
    spectrum = np.linspace(0, 1, 400) ** 2
    sharpness = lambda k: float(M.Sharpness(k)(Quadratic(spectrum), P.Identity(400), jnp.ones(400)))
    short = np.array([1 - sharpness(k) for k in (10, 30, 100)])
    k = np.array([10, 30, 100])
    assert (short > -1e-14).all()
    assert (np.diff(short) < 0).all()
    assert (short < 0.103 * (np.log(400 * (k - 1) ** 4) / (k - 1)) ** 2).all()
    assert sharpness(400) == pytest.approx(1, rel=1e-13)


@pytest.mark.long
@pytest.mark.two_types
def test_a_trained_network_against_the_dense_hessian(getkey):
    phi = P.DeepMatrix((12, 10), 3)
    problem = B.PointTarget(_rng.normal(size=(12, 10)))
    params = phi.init(getkey(), 0.5)
    flat, unravel = ravel_pytree(params)
    assert flat.size > DENSE
    dense = np.linalg.eigvalsh(jax.jit(jax.hessian(lambda x: problem.loss(phi(unravel(x)))))(flat))
    found = both(problem, phi, params, 3)
    np.testing.assert_allclose(found["largest"], dense[:-4:-1], rtol=1e-8)
    np.testing.assert_allclose(found["least"], dense[:3], rtol=1e-8)
    single = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    narrow = M.HessianEigenvalues(3, "least")(problem, phi, single)
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, dense[:3], rtol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_promotes_nothing_and_compiles_once_for_a_batch(dtype):
    phi, probe = P.DeepMatrix((20, 20), 2), M.HessianEigenvalues(2, products=40)
    problem = B.PointTarget(np.diag(np.arange(20.0)).astype(dtype))
    with jax.enable_x64(dtype == np.float64), jax.numpy_dtype_promotion("strict"):
        params = jax.tree.map(lambda x: jnp.stack([x, 0 * x]), phi.init(jax.random.key(0), 1.0))
        batch = eqx.filter_jit(jax.vmap(lambda p: probe(problem, phi, p)))(params)
        assert batch.dtype == dtype
        one = probe(problem, phi, jax.tree.map(lambda x: x[0], params))
    np.testing.assert_allclose(batch[0], one, rtol=1e-4 if dtype == np.float32 else 1e-10)
    np.testing.assert_allclose(batch[1], 19, rtol=1e-4 if dtype == np.float32 else 1e-6)


def test_parameters_that_are_no_numbers_have_no_eigenvalues():
    for size in (4, 400):
        params = jnp.full(size, jnp.nan)
        assert np.isnan(M.Sharpness()(B.PointTarget(np.ones(size)), P.Power(size, 3), params))


@pytest.mark.long
def test_a_sparse_problem_is_asked_for_entries_alone(getkey):
    problem = sparse_completion()
    phi = P.DeepMatrix(problem.shape, 2, width=1)
    params = phi.init(getkey(), 1.0)
    text = str(jax.make_jaxpr(lambda p: M.Sharpness()(problem, phi, p))(params))
    assert "600,500" not in text
    assert float(M.Sharpness()(problem, phi, params)) > 0


def test_a_run_under_it():
    """At w = u^2 the curvature is 6 u^2 - 2 target, for each entry."""
    probes = [M.Sharpness(), M.HessianEigenvalues(2, "least")]
    phi, flow = P.Power(2, 2), ut.dynamics.GradientFlow()
    run = ut.train(B.PointTarget([1.0, 2.0]), phi, flow, params=jnp.full(2, 1e-4), samples=3, probes=probes)
    np.testing.assert_allclose(run["sharpness"][[0, -1]], [-2, 8], atol=0.02)
    np.testing.assert_allclose(run["least_hessian_eigenvalues"][[0, -1]], [[-4, -2], [4, 8]], atol=0.02)


BAD = [
    (lambda: M.HessianEigenvalues(0), ValueError, "count: expected an integer of at least 1, found 0"),
    (lambda: M.HessianEigenvalues(1, "smallest"), ValueError, "which: unknown choice 'smallest'.*largest, least"),
    (lambda: M.Sharpness(0), ValueError, "products: expected an integer of at least 1, found 0"),
    (
        lambda: M.HessianEigenvalues(3)(B.PointTarget([1.0, 2.0]), P.Identity(2), jnp.ones(2)),
        ValueError,
        "count: expected at most the 2 parameters that there are, found 3",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# The whole of it ---------------------------------------------------------------------------------


def trace_of(spectrum, products=100):
    return float(M.HessianTrace(products)(Quadratic(spectrum), P.Identity(len(spectrum)), jnp.ones(len(spectrum))))


def test_the_trace_without_forming_it_is_exact_for_low_rank_and_near_else():
    for spectrum in (SPECTRA["low-rank"], SPECTRA["identity"], np.zeros(400)):
        np.testing.assert_allclose(trace_of(spectrum), np.sum(spectrum), rtol=1e-9)
    # 25 eigenvalues are taken out; what is left of the Frobenius norm is 10, and 25 vectors average it.
    spectrum = np.r_[np.linspace(50, 100, 20), np.tile([0.5, -0.5], 190)]
    assert abs(trace_of(spectrum, 50) - spectrum.sum()) < 5 * 10 * np.sqrt(2 / 25)


@pytest.mark.parametrize("scale", [0.0, 1e-200, 1.0])
def test_the_density_where_products_end_early(scale):
    """Of rank 3 after four products there is nothing more; all but 3 of 400 are zero."""
    spectrum = scale * np.r_[1.0, 2.0, 3.0, np.zeros(397)]
    width = 0.1 * (scale or 1)
    probe = M.SpectralDensity(width * jnp.array([0.0, 5.0]), width)
    found = width * np.sqrt(2 * np.pi) * np.asarray(probe(Quadratic(spectrum), P.Identity(400), jnp.ones(400)))
    np.testing.assert_allclose(found, [1, 0], atol=2e-2)


@pytest.mark.long
def test_the_density_without_forming_the_hessian():
    """Clusters of 100 of 400, in ten vectors: a mass of a quarter each, to sqrt(100 / 10) / 400 times a few."""
    grid, width = jnp.linspace(-5, 7, 241), 0.2
    probe, phi, params = M.SpectralDensity(grid, width), P.Identity(400), jnp.ones(400)
    found = np.asarray(probe(Quadratic(SPECTRA["multiple"]), phi, params))
    assert np.trapezoid(found, grid) == pytest.approx(1, abs=1e-3)
    for value in (-2.0, 1.0, 3.0, 5.0):
        near = np.abs(grid - value) < 0.9
        assert np.trapezoid(found[near], grid[near]) == pytest.approx(0.25, abs=5 * np.sqrt(100 / 10) / 400)
    dense = M.SpectralDensity(grid, width, products=400)
    exact = np.asarray(dense(Quadratic(SPECTRA["multiple"]), phi, params))
    peaks = np.exp(-((np.asarray(grid)[:, None] - [-2.0, 1.0, 3.0, 5.0]) ** 2) / 0.08) / (0.2 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(exact, peaks.mean(axis=1), atol=1e-9)


@pytest.mark.long
@pytest.mark.two_types
def test_low_rank_in_single_precision():
    """Five terms of 400 parameters: what comes after the sixth product is rounding, and may grow."""
    rows = np.random.default_rng(0).normal(size=(5, 400)).astype(np.float32) / 10
    values = np.linalg.eigvalsh(rows.astype(float) @ rows.T.astype(float))[::-1]
    given = B.LeastSquares(rows, np.zeros(5, np.float32)), P.Identity(400), jnp.ones(400, jnp.float32)
    np.testing.assert_allclose(M.HessianEigenvalues(2)(*given), values[:2], rtol=1e-5)
    # The mass is that of the vectors that are drawn: 5 of 400, to sqrt(5 / 10) / 400 times a few.
    grid = jnp.linspace(1, 8, 36, dtype=jnp.float32)
    found = np.asarray(M.SpectralDensity(grid, 0.2)(*given))
    assert np.trapezoid(found, grid) == pytest.approx(5 / 400, abs=4 * np.sqrt(5 / 10) / 400)


@pytest.mark.two_types
@pytest.mark.parametrize("size", [1.0, 1e25])
def test_multiples_of_the_identity_in_single_precision(size):
    """After one product there is nothing more, and rounding leaves some of the start; squares of 1e25 overflow."""
    given = Quadratic(np.full(400, size, np.float32)), P.Identity(400), jnp.ones(400, jnp.float32)
    assert float(M.HessianTrace()(*given)) == pytest.approx(400 * size, rel=1e-4)
    found = M.SpectralDensity(np.array([0.8, 1.0], np.float32) * size, 0.05 * size)(*given)
    np.testing.assert_allclose(found * 0.05 * size * np.sqrt(2 * np.pi), [np.exp(-8), 1], rtol=1e-3)
