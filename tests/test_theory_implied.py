"""Implied potentials of entrywise maps, against the published ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import undertow as ut
from undertow import potentials, theory

B, P, Q, T = ut.problems, ut.parameterizations, potentials, theory
POSITIVE = jnp.array([1e-9, 1e-3, 0.4, 1.0, 30.0])
SIGNED = jnp.array([-20.0, -1.0, 1e-3, 0.3, 8.0])


def power(phi, w):
    return phi, phi.lift(w)


def depth_gradient(depth, alpha):
    """The inverse of h_D(z) = (1 - z)^(-D/(D-2)) - (1 + z)^(-D/(D-2)), by bisection, at w / alpha^D.

    The clock: u^(2-D) = alpha^(2-D) - D (D-2) z, so z of the facts is D (D-2) alpha^(D-2) times the dual.
    """
    exponent = -depth / (depth - 2)

    def gradient(w):
        low, high = jnp.full_like(w, -1.0), jnp.full_like(w, 1.0)
        for _ in range(100):
            z = (low + high) / 2
            less = (1 - z) ** exponent - (1 + z) ** exponent < w / alpha**depth
            low, high = jnp.where(less, z, low), jnp.where(less, high, z)
        return (low + high) / 2 / (depth * (depth - 2) * alpha ** (depth - 2))

    return gradient


def constant(size):
    return (jnp.full(5, size), jnp.full(5, size))


LOG = lambda w: jnp.log(w) / 4
KNOWN = {
    "square": (*power(P.Power(5, 2), jnp.full(5, 1e-6)), POSITIVE, LOG),
    "square-from-large": (*power(P.Power(5, 2), jnp.full(5, 3e2)), POSITIVE, LOG),
    "square-negative-root": (P.Power(5, 2), -jnp.full(5, 0.7), POSITIVE, LOG),
    "cube": (*power(P.Power(5, 3), jnp.full(5, 1e-3)), POSITIVE, lambda w: -(w ** (-1 / 3)) / 3),
    "cube-negative": (*power(P.Power(5, 3), jnp.full(5, -0.1)), -POSITIVE, lambda w: (-w) ** (-1 / 3) / 3),
    "root": (*power(P.Power(5, 0.5), jnp.full(5, 0.2)), POSITIVE + 0.01, lambda w: w**3 / 0.75),
    "power-2.5": (*power(P.Power(5, 2.5), jnp.full(5, 0.2)), POSITIVE, lambda w: -(w**-0.2) / 1.25),
    "exponential": (*power(P.Exponential(5), jnp.full(5, 0.2)), POSITIVE, lambda w: -1 / w),
    "identity": (*power(P.Identity(5), jnp.full(5, 0.2)), SIGNED, lambda w: w),
    "hyperbolic": (P.SignedPower(5, 2), constant(0.1), SIGNED, lambda w: jnp.arcsinh(w / 0.02) / 4),
    "hyperbolic-small": (P.SignedPower(5, 2), constant(1e-9), SIGNED, lambda w: jnp.arcsinh(w / 2e-18) / 4),
    "hyperbolic-unequal": (
        P.SignedPower(5, 2), (jnp.full(5, 0.2), jnp.full(5, 0.05)), SIGNED, lambda w: jnp.arcsinh(w / 0.02) / 4,
    ),
    "product": (P.Hadamard(5, 2), jnp.full((2, 5), 0.3), POSITIVE, lambda w: jnp.log(w) / 2),
    "depth-3": (P.SignedPower(5, 3), constant(0.3), SIGNED, depth_gradient(3, 0.3)),
    "depth-4": (P.SignedPower(5, 4), constant(0.5), SIGNED, depth_gradient(4, 0.5)),
    "sinh": (
        P.Function(jnp.sinh, shape=5), jnp.full(5, 0.3), SIGNED, jnp.arctan,
    ),
    "softplus": (
        P.Function(jax.nn.softplus, shape=5), jnp.full(5, -2.0), POSITIVE,
        lambda w: w + jnp.log(-jnp.expm1(-w)) + 1 / jnp.expm1(-w),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_the_potential_is_the_published_one(name):
    """Gradient, up to its constant, relative to 1e-8; and the way back."""
    phi, params, w, gradient = KNOWN[name]
    R = T.implied_potential(phi, params)
    assert R.entrywise
    start = phi(params)
    found = R.gradient(w)
    shift = gradient(start)
    # The constant is another at each start, and where it is much larger than the gradient only the sum is known.
    np.testing.assert_allclose(found, gradient(w) - shift, rtol=1e-8, atol=1e-12 * np.max(np.abs(shift)))
    back = R.inverse_gradient(found)
    # As far as the dual determines w, and the parameters, of which it may be a small difference, do.
    slope = jax.vmap(jax.grad(lambda x: jnp.sum(gradient(jnp.full(5, x))) / 5))(w)
    parts = jnp.abs(start) * (1 if name != "hyperbolic-unequal" else 10)
    np.testing.assert_array_less(
        jnp.abs(back - w), 1e-9 * jnp.abs(w) + 1e-13 * (parts + (jnp.abs(found) + jnp.abs(shift)) / slope)
    )


def test_the_square_map_implies_a_quarter_of_entropy():
    """Value, divergence and domain, not the gradient alone."""
    phi = P.Power(4, 2)
    start = jnp.array([0.2, 1.0, 1e-4, 3.0])
    R = T.implied_potential(phi, phi.lift(start))
    entropy = Q.Entropy()
    rng = np.random.default_rng(0)
    divergence = R.divergence
    for _ in range(3):
        x, z = (jnp.asarray(rng.exponential(size=4)) for _ in range(2))
        assert float(R(x)) == pytest.approx(float(entropy.divergence(x, start)) / 4, rel=1e-10)
        assert float(divergence(x, z)) == pytest.approx(float(entropy.divergence(x, z)) / 4, rel=1e-10)
    # Without the cancellation of the definition.
    z = jnp.ones(4)
    assert float(divergence(z + 1e-6, z)) == pytest.approx(float(entropy.divergence(z + 1e-6, z)) / 4, rel=1e-8)
    assert bool(R.contains(start))
    for outside in (0.0, -1.0):
        assert not bool(R.contains(jnp.array([1.0, outside, 1.0, 1.0])))
    assert "Power" in R.domain
    with pytest.raises(ValueError, match=r"w: expected the shape of the parameterization, \(4,\), found \(3,\)"):
        R.gradient(jnp.ones(3))


@pytest.mark.long
def test_it_goes_through_jit_vmap_and_grad():
    """Derivatives against what is known: R'' = 1 / f'(u)^2 of u + u^3."""
    phi = P.Function(lambda u: u + u**3, shape=3)
    R = T.implied_potential(phi, jnp.array([0.5, -1.0, 0.0]))
    u = jnp.array([1.0, 0.2, -2.0])
    w = phi(u)
    np.testing.assert_allclose(jax.grad(R)(w), R.gradient(w), rtol=1e-12)
    second = jnp.diag(1 / (1 + 3 * u**2) ** 2)
    np.testing.assert_allclose(jax.jacfwd(R.gradient)(w), second, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(jax.hessian(R)(w), second, rtol=1e-9, atol=1e-14)
    dual = R.gradient(w)
    np.testing.assert_allclose(jax.jacrev(R.inverse_gradient)(dual), jnp.linalg.inv(second), rtol=1e-9, atol=1e-13)
    batch = jnp.stack([w, 2 * w])
    np.testing.assert_allclose(jax.jit(jax.vmap(R.gradient))(batch), jnp.stack([dual, R.gradient(2 * w)]), rtol=1e-10)


def test_float32_gives_what_float32_can():
    phi = P.Power(3, 2)
    R = T.implied_potential(phi, jnp.full(3, 0.1))
    w = jnp.array([0.3, 1.0, 2.0], jnp.float32)
    gradient = R.gradient(w)
    assert gradient.dtype == jnp.float32
    np.testing.assert_allclose(gradient, np.log(w / 0.01) / 4, rtol=1e-4)


def test_what_is_not_a_gradient_has_no_preimage():
    """u^3 blows up at the dual 1 / (3 u)."""
    R = T.implied_potential(P.Power(1, 3), jnp.ones(1))
    assert np.isfinite(R.inverse_gradient(jnp.array([0.333])))
    assert np.isnan(R.inverse_gradient(jnp.array([0.334])))
    np.testing.assert_allclose(R.inverse_gradient(jnp.array([-1e6])), 1 / (1 + 3e6) ** 3, rtol=1e-9)


# Where there is none: see also test_theory_fields.py ------------------------------------------


def test_an_entry_that_cannot_move_is_said():
    with pytest.raises(ValueError, match=r"params: expected a point from which every entry .* that of \(1,\)"):
        T.implied_potential(P.Power(3, 2), jnp.array([1.0, 0.0, 1.0]))
    phi = P.Function(lambda u: jnp.stack([u[0] + u[1], u[0] + u[1]]), shape=2)
    with pytest.raises(ValueError, match="w is confined to a surface"):
        T.implied_potential(phi, jnp.ones(2))


def test_wrong_input_is_refused():
    with pytest.raises(TypeError, match="parameterization"):
        T.implied_potential("square", jnp.ones(2))
    with pytest.raises(ValueError, match=r"params: "):
        T.implied_potential(P.Power(3, 2), jnp.ones(2))


def test_a_potential_of_several_parameters_is_quiet_in_32_bits():
    with jax.enable_x64(False):
        half = jnp.full(1, 0.05)
        potential = T.implied_potential(P.SignedPower(1, depth=2), (half, half))
        assert potential.gradient(jnp.array([1.0])).dtype == jnp.float32
