"""Circular convolutions: the network that they write, their flow in frequency, and the margin that it maximizes."""

import clarabel
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.test_util import check_grads

import undertow as ut

B, P, Flow = ut.problems, ut.parameterizations, ut.dynamics.GradientFlow
_rng = np.random.default_rng(5)
EVEN, ODD = _rng.normal(size=6), _rng.normal(size=5)
KINDS = ["gaussian", "balanced", "identity"]


def transform(signal):
    """The orthonormal discrete Fourier transform, from its definition."""
    size = np.shape(signal)[-1]
    k = np.arange(size)
    return np.asarray(signal) @ np.exp(-2j * np.pi * np.outer(k, k) / size) / np.sqrt(size)


# What is written ---------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_it_is_the_product_in_frequency_and_the_sum_over_shifts(depth):
    filters = np.random.default_rng(depth).normal(size=(depth, 5))
    w = P.LinearConvolution(5, depth)(jnp.asarray(filters))
    np.testing.assert_allclose(transform(w), np.prod(transform(filters), axis=0), atol=1e-14)
    expected = filters[0]
    for u in filters[1:]:
        expected = np.array([sum(u[j] * expected[(k - j) % 5] for j in range(5)) for k in range(5)]) / np.sqrt(5)
    np.testing.assert_allclose(w, expected, atol=1e-14)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_network_of_cross_correlations_acts_by_this_w_with_nothing_reversed(depth):
    rng = np.random.default_rng(depth)
    filters, x = rng.normal(size=(depth, 6)), rng.normal(size=6)
    h = x
    for u in filters[:-1]:
        h = np.array([sum(u[j] * h[(k + j) % 6] for j in range(6)) for k in range(6)]) / np.sqrt(6)
    w = P.LinearConvolution(6, depth)(jnp.asarray(filters))
    np.testing.assert_allclose(w @ x, filters[-1] @ h, rtol=1e-12)


def test_depth_one_is_the_identity():
    phi = P.LinearConvolution(6, 1)
    np.testing.assert_array_equal(phi(jnp.asarray(EVEN)[None]), EVEN)
    np.testing.assert_array_equal(phi.lift(EVEN), EVEN[None])


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("w", [EVEN, -np.abs(EVEN), ODD, np.array([-2.0])], ids=["even", "negative", "odd", "one"])
def test_lift_is_the_balanced_preimage(w, depth):
    phi = P.LinearConvolution(w.size, depth)
    params = phi.lift(w)
    assert params.dtype == jnp.float64
    np.testing.assert_allclose(phi(params), w, rtol=1e-13)
    expected = np.broadcast_to(np.abs(transform(w)) ** (1 / depth), params.shape)
    np.testing.assert_allclose(np.abs(transform(params)), expected, rtol=1e-12)
    mirrored = np.asarray(params)[1:, -np.arange(w.size)]  # the phase is in the first
    np.testing.assert_allclose(params[1:], mirrored, atol=1e-14)


def test_lift_of_zeros_and_of_a_constant():
    phi = P.LinearConvolution(4, 2)
    np.testing.assert_array_equal(phi.lift(np.zeros(4)), np.zeros((2, 4)))
    np.testing.assert_allclose(phi(phi.lift(np.full(4, -3.0))), -3, rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_scale_is_the_root_mean_square_of_w0(kind, depth, getkey):
    phi = P.LinearConvolution(20_001, depth, kind)
    w = np.asarray(phi(phi.init(getkey(), 0.03)))
    # Four standard errors: half as many frequencies, the squares of which are products of exponential variables.
    error = 0 if kind == "identity" else np.sqrt((2 ** (depth if kind == "gaussian" else 1) - 1) / (w.size / 2))
    assert abs(np.mean(w**2) / 0.03**2 - 1) <= 4 * error + 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_which_initializations_are_balanced(kind, getkey):
    moduli = np.abs(transform(P.LinearConvolution(9, 3, kind).init(getkey(), 0.1)))
    assert (np.ptp(moduli, axis=0).max() < 1e-14) == (kind != "gaussian")


def test_the_identity_is_flat_in_frequency():
    phi = P.LinearConvolution(6, 3, "identity")
    np.testing.assert_allclose(transform(phi(phi.init(jax.random.key(0), 0.2))), 0.2, rtol=1e-14)


@pytest.mark.long
def test_it_goes_through_jit_vmap_and_grad_in_both_precisions(getkey):
    phi = P.LinearConvolution(6, 3)
    params = phi.init(getkey(), 1.0)
    check_grads(jax.jit(lambda p: phi(p)), (params,), order=2, modes=("fwd", "rev"), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(phi))(jnp.stack([params, 2 * params]))[1], 8 * phi(params), rtol=1e-13)
    with jax.enable_x64(False):
        phi32 = P.LinearConvolution(6, 3)
        lifted = phi32.lift(EVEN.astype(np.float32))
        assert lifted.dtype == phi32(lifted).dtype == jnp.float32
        np.testing.assert_allclose(phi32(lifted), EVEN, rtol=1e-5)


def test_the_derivative_at_zeros_is_finite():
    phi = P.LinearConvolution(4, 3)
    slope = lambda params: jax.grad(lambda p: phi(p).sum())(params)
    np.testing.assert_array_equal(slope(jnp.zeros((3, 4))), 0)
    one_zero = slope(jnp.ones((3, 4)).at[0].set(0.0))  # F of ones is sqrt(4) at frequency zero
    np.testing.assert_allclose(one_zero, [[4] * 4, [0] * 4, [0] * 4], atol=1e-14)


# Its flow ----------------------------------------------------------------------------------------

A = _rng.normal(size=(3, 6))
PROBLEM = B.LeastSquares(A, A @ EVEN)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_balanced_velocity(depth):
    phi = P.LinearConvolution(6, depth)
    w = np.linspace(-1.0, 2.0, 6)
    slope = transform(jax.grad(PROBLEM.loss)(jnp.asarray(w)))
    expected = -depth * np.abs(transform(w)) ** (2 - 2 / depth) * slope
    np.testing.assert_allclose(transform(ut.velocity(PROBLEM, phi, phi.lift(w))), expected, rtol=1e-11, atol=1e-12)


def test_what_the_unbalanced_flow_conserves(getkey):
    phi = P.LinearConvolution(6, 3)
    params = phi.init(getkey(), 0.3)
    run = ut.train(PROBLEM, phi, Flow("explicit", rtol=1e-9), params=params, stop=ut.Stop(loss=1e-10))
    assert run.status == "converged"
    before, after = (np.diff(np.abs(transform(p)) ** 2, axis=0) for p in (params, run.params))
    np.testing.assert_allclose(after, before, atol=1e-7)


# The margin --------------------------------------------------------------------------------------


def least_l1_in_frequency(X):
    """min sum_k |(F w)_k| over X w >= 1: variables w and a bound for every modulus, a cone of three for each."""
    n, size = X.shape
    k = np.arange(size)
    F = np.exp(-2j * np.pi * np.outer(k, k) / size) / np.sqrt(size)
    cones = np.zeros((size, 3, 2 * size))
    cones[k, 0, size + k] = -1
    cones[:, 1, :size], cones[:, 2, :size] = -F.real, -F.imag
    rows = np.concatenate([np.hstack([-X, np.zeros((n, size))]), cones.reshape(-1, 2 * size)])
    right = np.concatenate([-np.ones(n), np.zeros(3 * size)])
    kinds = [clarabel.NonnegativeConeT(n), *[clarabel.SecondOrderConeT(3)] * size]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    cost = np.concatenate([np.zeros(size), np.ones(size)])
    nothing = scipy.sparse.csc_array((2 * size, 2 * size))
    found = clarabel.DefaultSolver(nothing, cost, scipy.sparse.csc_array(rows), right, kinds, settings).solve()
    assert found.status == clarabel.SolverStatus.Solved
    assert abs(found.obj_val - found.obj_val_dual) < 1e-7 * found.obj_val
    return np.asarray(found.x)[:size]


def separable():
    """Four points of six entries, on the two sides of a wave."""
    X = np.random.default_rng(0).normal(size=(4, 6))
    y = np.sign(X @ np.cos(2 * np.pi * np.arange(6) / 6)).astype(int)
    return X, y


def excess(w, X, y, best):
    """By how much the l1 norm in frequency at unit margin is above the least."""
    size = lambda w: np.abs(transform(w)).sum() / np.min(y * (X @ w))
    return size(np.asarray(w)) / size(best) - 1


@pytest.mark.long
def test_the_flow_of_two_layers_ends_at_the_least_l1_norm_in_frequency():
    X, y = separable()
    best = least_l1_in_frequency(X * y[:, None])
    w = ut.probes.Function("w", lambda w: w)
    stop = ut.Stop(loss=None, log_time=1e4)
    options = {"stop": stop, "samples": ut.LogTimes(np.array([1e3, 1e4])), "probes": [w]}
    for key in (0, 1):
        phi = P.LinearConvolution(6, 2)
        run = ut.train(B.Classification(X, y), phi, Flow("implicit", rtol=1e-7), key=key, scale=1e-2, **options)
        _, before, after = (excess(w, X, y, best) for w in run["w"])
        assert 0 < after < 0.01
        assert 2 < before / after < 10  # as 1 / log t, or somewhat slower
    plain = ut.train(B.Classification(X, y), P.Identity(6), Flow("implicit"), params=jnp.zeros(6), stop=stop)
    assert excess(plain.w, X, y, best) > 0.02  # the least l2 norm is elsewhere: 3% off on these points


BAD = [
    (lambda: P.LinearConvolution(0, 2), ValueError, r"size: expected an integer of at least 1, found 0"),
    (lambda: P.LinearConvolution(2, 0), ValueError, r"depth: expected an integer of at least 1, found 0"),
    (lambda: P.LinearConvolution(2, 1, "balance"), ValueError, r"initialization: .*did you mean 'balanced'"),
    (lambda: P.LinearConvolution(2, 2).lift(np.ones(3)), ValueError, r"w: expected shape \(2,\), found \(3,\)"),
    (
        lambda: P.LinearConvolution(2, 2).init(jax.random.key(0), 0),
        ValueError,
        r"scale: expected a finite number",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
