"""Weight decay moves the implied potential: predicted, and trained with decay for a while and then without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import undertow as ut
from undertow import theory

B, P, T = ut.problems, ut.parameterizations, theory
X = np.random.default_rng(0).standard_normal((3, 8))
SPARSE = B.LeastSquares(X, X[:, 1] - 0.5 * X[:, 4])
POSITIVE = B.LeastSquares(X, X @ np.array([0.5, 1, 0.2, 0.1, 2, 0.3, 0.4, 1]))
DRAW = 0.3 + np.random.default_rng(1).uniform(size=(3, 8))
ROTATION = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]


def trained(problem, phi, params, *phases):
    """The end of a flow with phases of (rate of decay, time), and then none."""
    flow = ut.dynamics.GradientFlow("explicit", rtol=1e-11)
    for rate, time in phases:
        decay = ut.penalties.OnParameters(ut.penalties.L2(rate))
        stop = ut.Stop(time=time, loss=None)
        run = ut.train(problem, phi, flow, params=params, penalty=decay, stop=stop, samples=2)
        assert run.times[-1] == pytest.approx(time, rel=1e-12)
        assert run["loss"][-1] > 1e-5  # the loss still pulls
        params = run.params
    run = ut.train(problem, phi, flow, params=params, stop=ut.Stop(loss=1e-21), samples=2)
    assert run.status == "converged"
    return run.w


# Predictions ------------------------------------------------------------------------------------


@pytest.mark.long
def test_decay_by_log_10_takes_alpha_from_1_to_a_tenth():
    """Facts, diagonal-and-sparse, section 4, the row of 0.1; trained at two rates of decay."""
    phi, ones = P.SignedPower(8, 2), jnp.ones(8)
    decay = np.log(10)
    w = T.limit(SPARSE, phi, (ones, ones), decay=decay)
    np.testing.assert_allclose(w, T.limit(SPARSE, phi, (ones / 10, ones / 10)), rtol=0, atol=1e-12)
    assert np.abs(w).sum() / np.abs(T.basis_pursuit(SPARSE)).sum() == pytest.approx(1.14062, abs=5.1e-6)
    for rate in (0.5, 5.0):
        np.testing.assert_allclose(trained(SPARSE, phi, (ones, ones), (rate, decay / rate)), w, rtol=0, atol=1e-8)


# The map, the start, and the problem.
HOMOGENEOUS = {
    "u^2 - v^2": (P.SignedPower(8, 2), (DRAW[0], DRAW[1]), SPARSE),
    "u^3 - v^3": (P.SignedPower(8, 3), (DRAW[0], DRAW[1]), SPARSE),
    "u^2.5 - v^2.5": (P.SignedPower(8, 2.5), (DRAW[0], DRAW[1]), SPARSE),
    "u^2": (P.Power(8, 2), DRAW[0], POSITIVE),
    "u^3": (P.Power(8, 3), DRAW[0], POSITIVE),
    "u": (P.Identity(8), DRAW[0], SPARSE),
    "u v": (P.Hadamard(8, 2), DRAW[:2], SPARSE),
    "u v w": (P.Hadamard(8, 3), DRAW, SPARSE),
    "u v + w^2": (P.Function(lambda p: p[0] * p[1] + p[2] ** 2, shape=8), DRAW, SPARSE),
    "Q (u^2 - v^2)": (
        P.Function(lambda p: jnp.asarray(ROTATION) @ (p[0] ** 2 - p[1] ** 2), shape=8), DRAW[:2], SPARSE,
    ),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_the_flow_that_had_decay_ends_where_predicted(name):
    """From starts with parts of different size; whatever the degree, and before, while or after the loss falls."""
    phi, start, problem = HOMOGENEOUS[name]
    start = jax.tree.map(jnp.asarray, start)
    w = T.limit(problem, phi, start, decay=0.5)
    assert np.abs(w - T.limit(problem, phi, start)).max() > 1e-3  # so that the check discriminates
    np.testing.assert_allclose(trained(problem, phi, start, (1.0, 0.5)), w, rtol=0, atol=1e-8)
    np.testing.assert_allclose(trained(problem, phi, start, (0.0, 0.1), (5.0, 0.1)), w, rtol=0, atol=1e-8)


@pytest.mark.long
def test_the_potential_has_the_shifted_reference():
    w = jnp.linspace(0.1, 3.0, 8)
    u, v, decay = DRAW[0], DRAW[1], 0.7
    small = np.exp(-2 * decay)
    cases = [
        (P.SignedPower(8, 2), (u, v), lambda w: np.arcsinh(w / (2 * small * u * v)) / 4, small * (u**2 - v**2)),
        (P.Power(8, 2), u, lambda w: np.log(w) / 4, small * u**2),
        (P.Hadamard(8, 2), DRAW[:2], lambda w: np.arcsinh(2 * w / (small * np.abs(u**2 - v**2))) / 2, small * u * v),
    ]
    for phi, start, gradient, reference in cases:
        potential = T.implied_potential(phi, jax.tree.map(jnp.asarray, start), decay=decay)
        np.testing.assert_allclose(potential.gradient(w), gradient(w) - gradient(reference), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(potential.gradient(jnp.asarray(reference)), 0, atol=1e-10)
        np.testing.assert_allclose(potential.inverse_gradient(jnp.zeros(8)), reference, rtol=1e-12)


def test_without_decay_nothing_changes():
    phi, start = P.Exponential(8), jnp.zeros(8)
    np.testing.assert_array_equal(T.limit(POSITIVE, phi, start, decay=0), T.limit(POSITIVE, phi, start))


# Where no statement is known --------------------------------------------------------------------


@pytest.mark.long
def test_for_the_exponential_the_integral_of_the_rate_does_not_decide():
    """So there is nothing to predict: the same integral, and another end."""
    phi, start = P.Exponential(8), jnp.asarray(np.log(DRAW[0]))
    ends = [trained(POSITIVE, phi, start, (rate, 0.5 / rate)) for rate in (0.5, 5.0)]
    assert np.abs(ends[0] - ends[1]).max() > 1e-3


def degrees(p):
    """Each entry is homogeneous, of degrees from 2 to 3."""
    return p ** jnp.linspace(2, 3, 8)


@pytest.mark.parametrize(
    ("phi", "start"),
    [
        (P.Exponential(8), np.zeros(8)),
        (P.Polar(), np.array([1.0, 0.5])),
        (P.Function(jnp.sinh, shape=8), DRAW[0]),
        (P.Function(lambda u: u + u**3, shape=8), DRAW[0]),
        (P.Function(lambda p: p[0] ** 3 + p[1], shape=8), DRAW[:2]),
        (P.Function(lambda u: u**2 + 1e-3, shape=8), DRAW[0]),
        (P.Function(degrees, shape=8), DRAW[0]),
        (P.Function(lambda u: jnp.where(u > 0.2, u**2, 0.2 * u), shape=8), DRAW[0]),
    ],
)
def test_maps_that_are_not_homogeneous_are_refused(phi, start):
    name = type(phi).__name__
    with pytest.raises(ValueError, match=rf"decay: expected 0 for {name}, found 2; .* and this one is not"):
        T.implied_potential(phi, jnp.asarray(start), decay=2)


def test_a_homogeneous_map_may_imply_no_potential():
    phi = P.DeepMatrix((2, 2), 2)
    with pytest.raises(T.NotAMirrorFlow):
        T.implied_potential(phi, phi.init(jax.random.key(0), 1.0), decay=0.5)


@pytest.mark.long
def test_decay_to_the_end_of_the_range_of_numbers():
    phi, ones = P.SignedPower(8, 2), jnp.ones(8)
    w = T.limit(SPARSE, phi, (ones, ones), decay=150)
    np.testing.assert_allclose(w, T.basis_pursuit(SPARSE), atol=1e-9)
    with pytest.raises(ValueError, match="params: expected a point from which every entry of w can move"):
        T.limit(SPARSE, phi, (ones, ones), decay=1000)


@pytest.mark.parametrize("decay", [-0.1, np.nan, np.inf, "much", None, [0.1]])
def test_a_decay_that_is_no_number_is_refused(decay):
    with pytest.raises((TypeError, ValueError), match="decay: expected a finite number of at least 0"):
        T.limit(SPARSE, P.Identity(8), jnp.zeros(8), decay=decay)
