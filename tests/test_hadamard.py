"""The entrywise product: its laws, its conserved quantities, its flow; and diagonal networks of any real depth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.optimize import brentq

import undertow as ut

B, P, Flow = ut.problems, ut.parameterizations, ut.dynamics.GradientFlow
W = np.array([0.5, -1.0, 2.0])
_rng = np.random.default_rng(3)
A = _rng.normal(size=(3, 7))
PROBLEM = B.LeastSquares(A, A @ np.array([0, 1.0, 0, 0, 0.5, 0, 0]))
KINDS = ["gaussian", "balanced", "constant"]


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_lift_is_the_balanced_preimage(depth):
    phi = P.Hadamard(3, depth)
    params = phi.lift(W)
    assert params.shape == (depth, 3)
    np.testing.assert_allclose(phi(params), W, rtol=1e-14)
    np.testing.assert_allclose(np.abs(params), np.broadcast_to(np.abs(W) ** (1 / depth), (depth, 3)), rtol=1e-14)
    np.testing.assert_array_equal(phi(phi.lift([0.0, 1.0, -1.0]))[0], 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_scale_is_the_root_mean_square_of_w0(kind, depth, getkey):
    phi = P.Hadamard((100, 100), depth, kind)
    w = np.asarray(phi(phi.init(getkey(), 0.03)))
    # Four standard errors: a product of N normal squares has variance 3^N - 1.
    error = 0 if kind == "constant" else np.sqrt((3 ** (depth if kind == "gaussian" else 1) - 1) / w.size)
    assert abs(np.mean(w**2) / 0.03**2 - 1) <= 4 * error + 1e-12
    assert (w < 0).any() == (kind != "constant")


@pytest.mark.parametrize("kind", KINDS)
def test_which_initializations_are_balanced(kind, getkey):
    params = P.Hadamard(50, 3, kind).init(getkey(), 0.1)
    spread = float(jnp.max(jnp.abs(params[1:] ** 2 - params[:1] ** 2)))
    assert (spread < 1e-15) == (kind != "gaussian")


def test_it_goes_through_jit_vmap_and_grad_in_both_precisions(getkey):
    phi = P.Hadamard(3, 3)
    params = phi.init(getkey(), 1.0)
    check_grads(lambda p: phi(jnp.asarray(p)), (params,), order=2, modes=("fwd", "rev"), rtol=1e-5)
    batch = jnp.stack([params, 2 * params])
    np.testing.assert_allclose(jax.jit(jax.vmap(phi))(batch)[1], 8 * phi(params), rtol=1e-14)
    assert phi(params.astype(jnp.float32)).dtype == jnp.float32
    call = eqx.filter_jit(eqx.debug.assert_max_traces(lambda phi, p: phi(p), max_traces=1))
    call(phi, params)
    call(P.Hadamard(3, 3), params)


def test_the_derivative_at_zero_factors():
    """Where one factor is zero its own derivative is the product of the others; where two are, all vanish."""
    params = jnp.array([[0.0, 0.0], [2.0, 0.0], [3.0, 5.0]])
    gradient = jax.grad(lambda p: jnp.sum(P.Hadamard(2, 3)(p)))(params)
    np.testing.assert_array_equal(gradient, [[6, 0], [0, 0], [0, 0]])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_balanced_velocity(depth):
    phi = P.Hadamard(7, depth)
    w = np.linspace(-1.0, 2.0, 7)
    slope = np.asarray(jax.grad(PROBLEM.loss)(jnp.asarray(w)))
    expected = -depth * np.abs(w) ** (2 - 2 / depth) * slope
    np.testing.assert_allclose(ut.velocity(PROBLEM, phi, phi.lift(w)), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.long
def test_balanced_flow_is_that_of_the_power_with_another_clock():
    depth, start, time = 3, np.full(7, 0.05), 2.0
    run = lambda phi, time: ut.train(
        PROBLEM, phi, Flow("explicit", rtol=1e-10), params=phi.lift(start), stop=ut.Stop(loss=None, time=time)
    )
    found, expected = run(P.Hadamard(7, depth), time), run(P.Power(7, depth), time / depth)
    np.testing.assert_allclose(found.w, expected.w, rtol=1e-7)


def test_what_the_unbalanced_flow_conserves(getkey):
    phi = P.Hadamard(7, 3)
    params = phi.init(getkey(), 0.3)
    run = ut.train(PROBLEM, phi, Flow("explicit", rtol=1e-9), params=params, stop=ut.Stop(loss=1e-10))
    assert run.status == "converged"
    before, after = (np.asarray(p[1:] ** 2 - p[:1] ** 2) for p in (params, run.params))
    np.testing.assert_allclose(after, before, atol=1e-7)


BAD = [
    (lambda: P.Hadamard(2, 0), ValueError, r"depth: expected an integer of at least 1, found 0"),
    (lambda: P.Hadamard(2, True), TypeError, r"depth: expected an integer of at least 1, found True"),
    (lambda: P.Hadamard((2, 0), 1), ValueError, r"shape: expected positive integers"),
    (lambda: P.Hadamard(2, 1, "balance"), ValueError, r"initialization: .*did you mean 'balanced'"),
    (lambda: P.Hadamard(2, 2).lift(np.ones(3)), ValueError, r"w: expected shape \(2,\), found \(3,\)"),
    (lambda: P.Hadamard(2, 2).lift([np.nan, 1]), ValueError, r"w: expected finite numbers"),
    (lambda: P.Hadamard(2, 2).init(jax.random.key(0), -1.0), ValueError, r"scale: expected a finite number above 0"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


# The difference of powers ------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2.5, 4])
def test_signed_power_of_any_depth_above_two_follows_its_closed_form(depth):
    """From u = v = alpha: w_i = alpha^N h(z_i), h(z) = (1 - z)^(-N/(N-2)) - (1 + z)^(-N/(N-2)), z in range(A^T)."""
    alpha, phi = 0.4, P.SignedPower(7, depth, "constant")
    problem = B.LeastSquares(A, A @ np.array([0, -1.0, 0, 0, 0.5, 0, 0]))
    params = phi.init(jax.random.key(0), alpha**depth)
    run = ut.train(problem, phi, Flow("explicit", rtol=1e-10), params=params, stop=ut.Stop(loss=1e-22))
    assert run.status == "converged"
    power = -depth / (depth - 2)
    h = lambda z: (1 - z) ** power - (1 + z) ** power
    z = np.array([brentq(lambda z, r=r: h(z) - r, -1 + 1e-12, 1 - 1e-12, xtol=1e-15) for r in run.w / alpha**depth])
    residual = z - np.linalg.pinv(A) @ (A @ z)
    assert np.abs(residual).max() < 1e-7


@pytest.mark.long
def test_signed_power_of_depth_one_is_the_identity_at_twice_the_speed():
    time, start = 0.3, np.full(7, 0.2)
    run = lambda phi, params, time: ut.train(
        PROBLEM, phi, Flow("explicit", rtol=1e-10), params=params, stop=ut.Stop(loss=None, time=time)
    )
    found = run(P.SignedPower(7, 1), (jnp.asarray(start), jnp.asarray(start)), time)
    np.testing.assert_allclose(found.w, run(P.Identity(7), jnp.zeros(7), 2 * time).w, rtol=1e-7)
