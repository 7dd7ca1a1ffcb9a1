"""The laws of potentials over a table of instances, and what is particular to each."""

import dataclasses
import decimal
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import compilations, exported, rows
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy.linalg import expm, logm

from undertow import potentials
from undertow.potentials import (
    Burg,
    Entropy,
    Euclidean,
    HyperbolicEntropy,
    PNorm,
    Potential,
    Separable,
    SpectralEntropy,
    bregman_divergence,
)


@dataclasses.dataclass(frozen=True)
class Row:
    """An instance, and two points of its domain."""

    id: str
    instance: Any
    x: np.ndarray
    z: np.ndarray


def _spd(seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(3, 3))
    return a @ a.T + 0.1 * np.eye(3)


REAL = np.array([0.5, -1.0, 2.0]), np.array([0.3, 0.7, -1e-3])
POSITIVE = np.array([0.5, 1e-3, 2.0]), np.array([0.3, 0.7, 5.0])
ENTROPIC = lambda x: x * jnp.log(x) - x
LOGISTIC = lambda x: x * jnp.log(x) + (1 - x) * jnp.log1p(-x)
POTENTIALS = [
    Row("Euclidean", Euclidean(), *REAL),
    Row("Entropy", Entropy(), *POSITIVE),
    Row("Burg", Burg(), *POSITIVE),
    Row("HyperbolicEntropy", HyperbolicEntropy(0.3), *REAL),
    Row("HyperbolicEntropy-b", HyperbolicEntropy(b=[1e-3, 1.0, 50.0]), *REAL),
    Row("PNorm-3", PNorm(3), *REAL),
    Row("PNorm-1.2", PNorm(1.2), *REAL),
    Row("SpectralEntropy", SpectralEntropy(), _spd(0), _spd(1)),
    Row("Separable", Separable(lambda x: jnp.cosh(x) + x**2), *REAL),
    Row("Separable-positive", Separable(ENTROPIC, interval=(0, math.inf)), *POSITIVE),
    Row("Separable-given", Separable(ENTROPIC, jnp.exp, interval=(0, math.inf)), *POSITIVE),
    Row("Separable-unit", Separable(LOGISTIC, interval=(0, 1)), np.array([0.1, 0.5, 0.99]), np.array([0.7, 0.4, 0.9])),
    Row("Separable-negative", Separable(lambda x: -jnp.log(-x), interval=(-math.inf, 0)), -POSITIVE[0], -POSITIVE[1]),
]
ORTHANT = [row for row in POTENTIALS if row.instance.domain == "positive"]


def test_every_class_has_a_row():
    assert exported(potentials, Potential) == {type(row.instance) for row in POTENTIALS}


# Laws ------------------------------------------------------------------------------------------

gradient = eqx.filter_jit(lambda phi, x: phi.gradient(x))
inverse_gradient = eqx.filter_jit(lambda phi, s: phi.inverse_gradient(s))


@rows(POTENTIALS)
def test_inverse_gradient_inverts_both_ways(case):
    phi = case.instance
    dual = gradient(phi, case.x)
    np.testing.assert_allclose(inverse_gradient(phi, dual), case.x, rtol=1e-13, atol=1e-13)
    other = (np.asarray(dual) + np.asarray(gradient(phi, case.z))) / 2
    np.testing.assert_allclose(gradient(phi, inverse_gradient(phi, other)), other, rtol=1e-12, atol=1e-12)


@rows(POTENTIALS)
def test_the_gradient_is_that_of_the_value(case):
    phi = case.instance
    dual = gradient(phi, case.x)
    np.testing.assert_allclose(jax.jit(jax.grad(lambda w: phi(w)))(case.x), dual, rtol=1e-9)
    symmetric = (lambda w: (w + w.mT) / 2) if isinstance(phi, SpectralEntropy) else (lambda w: w)
    check_grads(jax.jit(lambda w: phi(symmetric(w))), (case.x,), order=1, eps=1e-6, rtol=1e-5)
    check_grads(jax.jit(lambda s: phi.inverse_gradient(s)), (dual,), order=1, eps=1e-6, rtol=1e-5)


@rows(POTENTIALS)
def test_the_divergence_is_its_definition(case):
    phi, x, z = case.instance, jnp.asarray(case.x), jnp.asarray(case.z)
    expected = phi(x) - phi(z) - jnp.vdot(phi.gradient(z), x - z)
    assert float(bregman_divergence(phi, case.x, case.z)) == pytest.approx(float(expected), rel=1e-12)
    slopes = lambda x, z: (phi.gradient(x) - phi.gradient(z), jax.jvp(phi.gradient, (z,), (z - x,))[1])
    both = jax.jit(lambda x, z: (jax.grad(phi.divergence, argnums=(0, 1))(x, z), slopes(x, z)))(x, z)
    for found, slope in zip(*both, strict=True):
        np.testing.assert_allclose(found, slope, rtol=1e-8, atol=1e-10)


@rows(POTENTIALS)
def test_convexity_and_zero_only_at_equality(case):
    phi, x, z = case.instance, jnp.asarray(case.x), jnp.asarray(case.z)
    for share in (0.1, 0.5, 0.8):
        between = float(phi(share * x + (1 - share) * z))
        assert between < share * float(phi(x)) + (1 - share) * float(phi(z))
    assert float(jnp.vdot(phi.gradient(x) - phi.gradient(z), x - z)) > 0
    for p, q in ((x, z), (z, x)):
        assert float(phi.divergence(p, q)) > 0
        assert float(phi.divergence(p, p)) == pytest.approx(0, abs=1e-24)


@rows(POTENTIALS)
def test_three_points(case):
    """D(x,z) = D(x,y) + D(y,z) + <grad phi(y) - grad phi(z), x - y>."""
    phi, x, z = case.instance, jnp.asarray(case.x), jnp.asarray(case.z)
    y = 0.3 * x + 0.7 * z
    d = lambda a, b: float(bregman_divergence(phi, a, b))
    inner = float(jnp.vdot(phi.gradient(y) - phi.gradient(z), x - y))
    assert d(x, y) + d(y, z) + inner == pytest.approx(d(x, z), rel=1e-11)


@rows(POTENTIALS)
@pytest.mark.parametrize("step", [1e-4, 1e-7, 1e-10])
def test_nearby_points_do_not_cancel(case, step):
    """D(z + h, z) = <h, Hess phi(z) h> / 2 + O(h^3), at steps whose squares the values cannot see."""
    phi, z = case.instance, jnp.asarray(case.z)
    x = z * (1 + step)
    h = x - z
    divergence, curved = nearby(phi, x, z, h)
    expected = float(jnp.vdot(h, curved)) / 2
    # The eigenvectors of a matrix are known to rounding, and so is h relative to h^2 / h.
    exact = 1e-15 / step if isinstance(phi, SpectralEntropy) else 1e-13
    assert float(divergence) == pytest.approx(expected, rel=20 * step + 100 * exact)


nearby = eqx.filter_jit(lambda phi, x, z, h: (phi.divergence(x, z), jax.jvp(phi.gradient, (z,), (h,))[1]))


@rows(POTENTIALS)
def test_jit_vmap_and_one_compilation(case):
    phi, x, z = case.instance, jnp.asarray(case.x), jnp.asarray(case.z)
    calls = {
        "value": lambda phi, x, z: phi(x),
        "gradient": lambda phi, x, z: phi.gradient(x),
        "inverse": lambda phi, x, z: phi.inverse_gradient(phi.gradient(x)),
        "contains": lambda phi, x, z: phi.contains(x),
        "divergence": lambda phi, x, z: bregman_divergence(phi, x, z),
    }
    together = eqx.filter_jit(lambda phi, x, z: {name: call(phi, x, z) for name, call in calls.items()})
    alone = {name: call(phi, x, z) for name, call in calls.items()}
    both = eqx.filter_jit(eqx.filter_vmap(lambda x, z: together(phi, x, z)))(jnp.stack([z, x]), jnp.stack([x, z]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13), together(phi, x, z), alone)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-11, atol=1e-13), both, alone)
    with compilations() as count:
        together(jax.tree.map(lambda leaf: leaf + 0, phi), x, z)
    assert count.programs <= len(jax.tree.leaves(phi))  # the sums of this line


@rows(POTENTIALS)
def test_float32_stays_float32(case):
    phi, x, z = case.instance, jnp.asarray(case.x), jnp.asarray(case.z)
    x32, z32 = x.astype(jnp.float32), z.astype(jnp.float32)
    of = jax.jit(lambda x, z: (phi(x), phi.gradient(x), phi.inverse_gradient(phi.gradient(x)), phi.divergence(x, z)))
    found, exact = of(x32, z32), of(x, z)
    np.testing.assert_allclose(exact[2], x, rtol=1e-12)
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    assert float(phi.divergence(z32 * jnp.float32(1 + 1e-5), z32)) > 0


@rows(ORTHANT)
def test_never_leaves_the_orthant(case):
    phi = case.instance
    far = jnp.asarray([-700.0, -300.0, -1.0])
    w = phi.inverse_gradient(far)
    assert bool(phi.contains(w))
    assert bool((w > 0).all())
    for w in ([0.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, math.inf], [1.0, math.nan, 1.0]):
        assert not bool(phi.contains(jnp.asarray(w)))
    assert float(phi.divergence(jnp.asarray([1.0, -0.1]), jnp.ones(2))) == math.inf or isinstance(phi, Separable)


@rows(POTENTIALS)
def test_the_domain_is_open_and_named(case):
    phi = case.instance
    assert phi.domain
    assert bool(phi.contains(jnp.asarray(case.x)))
    lower, upper = getattr(phi, "interval", (0, math.inf))
    for end in (lower, upper):
        bad = jnp.full_like(case.x, end) if not isinstance(phi, SpectralEntropy) else jnp.zeros((3, 3))
        assert not bool(phi.contains(bad))
        if math.isfinite(end):
            with pytest.raises(ValueError, match=r"z: expected a point inside the domain of \w+ \("):
                bregman_divergence(phi, case.x, jnp.broadcast_to(bad, case.x.shape))


# Each on its own ---------------------------------------------------------------------------------


Exact = decimal.Decimal
"""A float as it is, to be computed with in many digits."""


@pytest.fixture(autouse=True)
def many_digits():
    with decimal.localcontext(prec=80):
        yield


@given(st.floats(0, 1e6), st.floats(1e-12, 1e6))
def test_relative_entropy_is_that_of_many_digits(x, z):
    x_, z_ = Exact(x), Exact(z)
    exact = (x_ * (x_ / z_).ln() if x else 0) - x_ + z_
    assert float(bregman_divergence(Entropy(), [x], [z])) == pytest.approx(float(exact), rel=1e-13, abs=1e-300)


def test_entropy_on_the_boundary():
    assert float(bregman_divergence(Entropy(), [0.0, 0.0], [0.5, 2.0])) == 2.5
    assert float(bregman_divergence(Entropy(), [-1e-9], [0.5])) == math.inf
    assert float(bregman_divergence(Burg(), [0.0], [0.5])) == math.inf
    assert float(Entropy()(jnp.zeros(2))) == 0
    assert float(Burg().inverse_gradient(jnp.zeros(1))[0]) == math.inf


@pytest.mark.parametrize("b", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("ratio", [1e-12, 1e-6, 0.1, 1.0, 10.0, 1e6, 1e12])
def test_hyperbolic_entropy_does_not_cancel(b, ratio):
    phi, x = HyperbolicEntropy(b=b), ratio * b
    w, scale = jnp.array([x, -x]), Exact(b)

    def slope(t):
        size = abs(t) / scale
        return (size + (size**2 + 1).sqrt()).ln().copy_sign(t)

    def value(t):
        return t * slope(t) - (t**2 + scale**2).sqrt() + scale

    def divergence(t, s):
        return value(t) - value(s) - slope(s) * (t - s)

    exact = float(value(Exact(x)))
    np.testing.assert_allclose(phi.values(w), [exact, exact], rtol=1e-14)
    np.testing.assert_allclose(phi.gradient(w), np.array([1, -1]) * float(slope(Exact(x))), rtol=1e-14)
    np.testing.assert_allclose(phi.inverse_gradient(phi.gradient(w)), w, rtol=1e-13)
    for other in (x * (1 + 1e-9), 2 * x, -x, 0.0, 1e3 * x, 1e-3 * x):
        found = float(bregman_divergence(phi, [other], [x]))
        assert found == pytest.approx(float(divergence(Exact(other), Exact(x))), rel=1e-13)


def test_hyperbolic_entropy_between_its_limits():
    """w^2 / 2b for large b; for small b the l1 norm, by a factor that grows as log(1/b)."""
    w = jnp.array([0.5, -2.0])
    assert float(HyperbolicEntropy(b=1e6)(w)) == pytest.approx(float(jnp.sum(w**2)) / 2e6, rel=1e-10)
    exact = float(jnp.sum(jnp.abs(w) * (jnp.log(2 * jnp.abs(w) / 1e-9) - 1)))
    assert float(HyperbolicEntropy(b=1e-9)(w)) == pytest.approx(exact, rel=1e-8)


def test_hyperbolic_entropy_is_that_of_the_literature():
    """alpha^2 q(w / alpha^2), q(1.7) = 0.6862226870 of Woodworth et al.: half the potential with b = 2 alpha^2."""
    for alpha in (0.1, 1.0):
        w = jnp.array([1.7 * alpha**2])
        assert float(HyperbolicEntropy(alpha)(w)) == pytest.approx(0.6862226870 * alpha**2, rel=1e-9)


def test_spectral_entropy_is_that_of_scipy_and_of_the_eigenvalues():
    phi, x, z = SpectralEntropy(), _spd(0), _spd(1)
    np.testing.assert_allclose(phi.gradient(jnp.asarray(x)), logm(x), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(phi.inverse_gradient(jnp.asarray(x - z)), expm(x - z), rtol=1e-11, atol=1e-12)
    exact = np.trace(x @ logm(x) - x @ logm(z) - x + z)
    assert float(bregman_divergence(phi, x, z)) == pytest.approx(exact, rel=1e-12)
    p, q = jnp.array([0.5, 2.0, 0.0]), jnp.array([1.0, 0.3, 0.7])
    assert float(bregman_divergence(phi, jnp.diag(p), jnp.diag(q))) == pytest.approx(
        float(bregman_divergence(Entropy(), p, q)), rel=1e-14
    )


@pytest.mark.long
def test_spectral_entropy_of_a_stack_is_that_of_the_block_diagonal():
    phi = SpectralEntropy()
    x, z = np.stack([_spd(0), _spd(2)]), np.stack([_spd(1), np.eye(3)])
    blocks = lambda w: np.block([[w[0], np.zeros((3, 3))], [np.zeros((3, 3)), w[1]]])
    found, expected = (float(bregman_divergence(phi, f(x), f(z))) for f in (np.asarray, blocks))
    assert found == pytest.approx(expected, rel=1e-12)
    assert float(phi(jnp.asarray(x))) == pytest.approx(float(phi(jnp.asarray(blocks(x)))), rel=1e-12)
    np.testing.assert_allclose(phi.gradient(jnp.asarray(x))[1], phi.gradient(jnp.asarray(x[1])), rtol=1e-10)


@pytest.mark.long
def test_spectral_entropy_where_eigenvalues_coincide():
    """Derivatives of functions of a multiple of the identity, along a direction that does not commute."""
    phi, x = SpectralEntropy(), 2 * jnp.eye(3)
    for call in (phi, phi.gradient, phi.inverse_gradient, lambda w: phi.divergence(w, jnp.asarray(_spd(1)))):
        symmetric = jax.jit(lambda w, call=call: call((w + w.mT) / 2))
        check_grads(symmetric, (x,), order=1, eps=1e-6, rtol=1e-5)
    assert np.isfinite(jax.hessian(phi)(x)).all()


def test_spectral_entropy_knows_its_domain():
    phi = SpectralEntropy()
    assert not bool(phi.contains(jnp.diag(jnp.array([1.0, 0.0]))))
    assert not bool(phi.contains(jnp.array([[2.0, 1.0], [0.5, 2.0]])))  # not symmetric
    assert float(bregman_divergence(phi, np.ones((3, 3)), np.eye(3))) == pytest.approx(3 * np.log(3), rel=1e-12)
    assert float(bregman_divergence(phi, np.diag([1.0, -0.1]), np.eye(2))) == math.inf
    with pytest.raises(ValueError, match=r"w: expected square matrices, found shape \(3, 2\)"):
        phi(jnp.ones((3, 2)))


@pytest.mark.parametrize("digits", [jnp.float64, jnp.float32])
def test_the_numerical_inverse_over_many_decades(digits):
    phi = Separable(lambda x: x**4 / 4 + x**2 / 2)
    high = 200 if digits == jnp.float64 else 30
    half = 10.0 ** np.linspace(-high, high, 41)
    dual = jnp.asarray([*-half, 0.0, *half], digits)
    w = phi.inverse_gradient(dual)
    assert w.dtype == digits
    np.testing.assert_allclose(phi.gradient(w), dual, rtol=8 * jnp.finfo(digits).eps)


def test_the_numerical_inverse_is_that_of_the_closed_form():
    dual = jnp.linspace(-600.0, 600.0, 61)
    for ours, other in (
        (Separable(ENTROPIC, interval=(0, math.inf)), Entropy()),
        (Separable(lambda x: x * jnp.arcsinh(x) - jnp.sqrt(1 + x**2)), HyperbolicEntropy(b=1.0)),
    ):
        s = dual if isinstance(other, Entropy) else dual / 60
        np.testing.assert_allclose(ours.inverse_gradient(s), other.inverse_gradient(s), rtol=1e-12)
    burg = Separable(lambda x: -jnp.log(x), interval=(0, math.inf))
    np.testing.assert_allclose(burg.inverse_gradient(jnp.array([-1e-9, -1e9, 1.0])), [1e9, 1e-9, math.inf], rtol=1e-13)


def test_duals_beyond_the_range_give_the_end_of_the_interval():
    phi = Separable(lambda x: x**2, interval=(0, 1))
    np.testing.assert_array_equal(phi.inverse_gradient(jnp.array([-1.0, 3.0])), [0, 1])
    np.testing.assert_array_equal(
        jax.vmap(jax.grad(lambda s: phi.inverse_gradient(s)))(jnp.array([-1.0, 1.0])), [0, 0.5]
    )


def test_a_numerical_inverse_has_a_second_derivative():
    """(grad phi)^-1 = exp, which is its own."""
    phi = Separable(ENTROPIC, interval=(0, math.inf))
    assert float(jax.grad(jax.grad(phi.inverse_gradient))(jnp.asarray(0.7))) == pytest.approx(np.exp(0.7), rel=1e-12)


def test_separables_with_the_same_code_are_equal():
    make = lambda power: Separable(lambda x: jnp.abs(x) ** power)
    assert make(POWERS[0]) == make(POWERS[0])
    assert make(POWERS[0]) != make(POWERS[1])


POWERS = [3, 4]


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((-math.inf, math.inf), "all reals"),
        ((0, math.inf), "positive"),
        ((1, math.inf), "above 1"),
        ((-math.inf, 2), "below 2"),
        ((0, 2), "between 0 and 2"),
    ],
)
def test_domains_in_words(interval, words):
    assert Separable(lambda x: x**2, interval=interval).domain == words


BAD = [
    (lambda: PNorm(1), ValueError, r"p: expected a finite number above 1, found 1"),
    (lambda: PNorm(math.inf), ValueError, r"p: expected a finite number above 1"),
    (lambda: HyperbolicEntropy(), ValueError, r"alpha: expected either alpha or b"),
    (lambda: HyperbolicEntropy(1.0, b=2.0), ValueError, r"alpha: expected either alpha or b"),
    (lambda: HyperbolicEntropy(0.0), ValueError, r"alpha: expected positive numbers, found 0"),
    (lambda: HyperbolicEntropy(1e-200), ValueError, r"alpha: expected numbers whose squares float64 can hold"),
    (lambda: HyperbolicEntropy(b=[1.0, -2.0]), ValueError, r"b: expected positive numbers, found -2"),
    (lambda: HyperbolicEntropy(b=[1.0, 2.0])(jnp.ones(3)), ValueError, r"w: expected the shape of b, \(2,\)"),
    (lambda: Separable("log"), TypeError, r"function: expected a function of one number|Type-check error"),
    (lambda: Separable(lambda x: jnp.ones(3)), TypeError, r"function: expected a function from a scalar to a scalar"),
    (lambda: Separable(jnp.cosh, lambda s: (s, s)), TypeError, r"inverse_gradient: expected a function from a scalar"),
    (lambda: Separable(jnp.sin), ValueError, r"function: expected a strictly convex function on the interval"),
    (lambda: Separable(jnp.log, interval=(0, 1)), ValueError, r"function: expected a strictly convex function"),
    (lambda: Separable(jnp.cosh, interval=(1, 0)), ValueError, r"interval: expected two increasing numbers"),
    (lambda: Separable(jnp.cosh, interval=(0, math.nan)), ValueError, r"interval: expected a finite number"),
    (lambda: bregman_divergence(Entropy(), [1.0], [1.0, 2.0]), ValueError, r"z: expected the shape of x"),
    (lambda: bregman_divergence(Entropy(), [1.0, math.nan], [1.0, 2.0]), ValueError, r"x: expected finite numbers"),
    (lambda: bregman_divergence(Entropy(), [1.0], [0.0]), ValueError, r"z: .* inside the domain of Entropy \(positive"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
