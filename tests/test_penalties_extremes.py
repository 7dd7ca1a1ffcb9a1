"""Penalties of singular values at extreme scales and exponents, at low rank, by a polar factor from outside."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import compilations

import undertow as ut

N = ut.penalties
PENALTIES = {
    "nuclear": N.Nuclear(1.0),
    "ratio": N.NuclearFrobeniusRatio(1.0),
    "half": N.SchattenQuasiNorm(1.0, p=0.5),
    "third over half": N.SchattenRatio(1.0, p=1 / 3, q=1 / 2),
}
BY_POLAR = ("nuclear", "ratio")
RATIOS = ("ratio", "third over half")
KINDS = pytest.mark.parametrize("kind", PENALTIES)
KINDS_BY_POLAR = pytest.mark.parametrize("kind", BY_POLAR)


value_and_slope = eqx.filter_jit(lambda penalty, w: jax.value_and_grad(penalty)(w))


def draw(rank, shape=(4, 5), seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1])))


@KINDS
@pytest.mark.parametrize(
    ("dtype", "unit"), [("float32", 1e-30), ("float32", 1e30), ("float64", 1e-150), ("float64", 1e150)]
)
@pytest.mark.parametrize("rank", [2, 4])
def test_the_scale_of_w_has_no_say(kind, dtype, unit, rank):
    """Norms are of degree 1, with gradients of degree 0; ratios of degree 0, with gradients of degree -1."""
    penalty, w = PENALTIES[kind], draw(rank).astype(dtype)
    value, slope = value_and_slope(penalty, w)
    scaled, scaled_slope = value_and_slope(penalty, w * jnp.asarray(unit, dtype))
    # Singular values of the scaled matrix differ by rounding, which the smallest of four turns into 1e-5 in float32.
    rtol = 1e-4 if dtype == "float32" else 1e-12
    assert float(scaled) / (1 if kind in RATIOS else unit) == pytest.approx(float(value), rel=rtol)
    # Where the rank is 2, rounding of what is zero is multiplied by up to 106,300 on the way to the polar factor.
    amplified = kind in BY_POLAR and rank == 2 and dtype == "float32"
    atol = 106_300 * float(jnp.finfo(dtype).eps) if amplified else rtol
    np.testing.assert_allclose(
        scaled_slope * (unit if kind in RATIOS else 1), slope, rtol=rtol, atol=atol * float(jnp.abs(slope).max())
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [0.1, 20.0, 200.0])
def test_powers_of_extreme_exponents_are_not_lost(p, dtype):
    """Of the identity of size n the norm is n^(1/p), and its gradient the identity times n^(1/p - 1)."""
    n = 30
    eye = jnp.eye(n, dtype=dtype)
    rtol = 100 * float(jnp.finfo(dtype).eps)
    value, slope = value_and_slope(N.SchattenQuasiNorm(1.0, p), eye)
    np.testing.assert_allclose([value, slope[0, 0]], [n ** (1 / p), n ** (1 / p - 1)], rtol=rtol)
    ratio, slope = value_and_slope(N.SchattenRatio(1.0, p, 2 * p), eye)
    assert float(ratio) == pytest.approx(n ** (1 / p - 1 / (2 * p)), rel=rtol)
    np.testing.assert_allclose(slope, 0, atol=rtol * float(ratio))
    # Entries of 1 make a singular value of n, whose power alone is more than float32 holds.
    ones, slope = value_and_slope(N.SchattenQuasiNorm(1.0, p), jnp.ones((n, n), dtype))
    np.testing.assert_allclose([ones, slope[0, 0]], [n, 1 / n], rtol=rtol)


def test_a_ratio_is_there_where_its_norms_are_not():
    """(30^(1/0.03), 30^(1/0.04)) are 1e49 and 1e36: the first is more than float32 holds, the ratio 1e12 is not."""
    ratio, slope = jax.value_and_grad(N.SchattenRatio(1.0, 0.03, 0.04))(jnp.eye(30, dtype="float32"))
    assert float(ratio) == pytest.approx(30 ** (1 / 0.03 - 1 / 0.04), rel=1e-4)  # the exponents are rounded too
    assert bool(jnp.isfinite(slope).all())


@KINDS
def test_what_is_no_number_is_seen(kind):
    for bad in (jnp.nan, jnp.inf):
        value, slope = jax.value_and_grad(PENALTIES[kind])(draw(4).at[1, 2].set(bad))
        assert not bool(jnp.isfinite(value))
        assert not bool(jnp.isfinite(slope).all())


@pytest.mark.parametrize("rank", [0, 1, 2, 4])
@pytest.mark.parametrize("shape", [(4, 4), (4, 5), (6, 4)])
def test_the_gradient_of_the_nuclear_norm_is_the_polar_factor(shape, rank):
    w = draw(rank, shape)
    np.testing.assert_allclose(jax.grad(PENALTIES["nuclear"])(w), ut.linalg.polar_factor(w), atol=1e-13)


@KINDS_BY_POLAR
@pytest.mark.parametrize("rank", [0, 2, 4])
def test_value_and_gradient_by_a_polar_factor_from_outside(kind, rank):
    penalty, w = PENALTIES[kind], draw(rank)
    polar = ut.linalg.polar_factor(w)
    value, slope = jax.value_and_grad(lambda w: penalty.value_by(polar, w))(w)
    expected, expected_slope = jax.value_and_grad(penalty)(w)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(slope, expected_slope, atol=1e-13)
    tangent = jax.jvp(lambda w: penalty.value_by(polar, w), (w,), (w + 1,))[1]
    np.testing.assert_allclose(tangent, jnp.vdot(expected_slope, w + 1), atol=1e-12)
    # To first order the value does not ask how the factor was found: a derivative of it has no say.
    through = jax.grad(lambda w: penalty.value_by(polar + w - jax.lax.stop_gradient(w), w))(w)
    np.testing.assert_allclose(through, slope, atol=1e-14)


@KINDS_BY_POLAR
def test_a_factor_that_is_off_makes_the_nuclear_norm_too_small(kind):
    """No matrix of spectral norm 1 has a larger inner product with W than its polar factor."""
    penalty, w = PENALTIES[kind], draw(4)
    for seed in range(20):
        other = ut.linalg.polar_factor(w + 0.3 * draw(4, seed=seed + 1))
        assert float(penalty.value_by(other, w)) < float(penalty(w))


def test_the_slope_of_the_ratio_is_orthogonal_to_w_whatever_the_factor():
    ratio, w = PENALTIES["ratio"], 1e-3 * draw(4)
    for factor in (ut.linalg.polar_factor(w), draw(3, seed=5), jnp.ones((4, 5))):
        slope = jax.grad(lambda w, q: ratio.value_by(q, w))(w, factor)
        assert abs(float(jnp.vdot(slope, w))) <= 1e-14 * float(jnp.linalg.norm(slope) * jnp.linalg.norm(w))
    assert jax.grad(lambda w: ratio.value_by(jnp.ones((4, 5)), w))(jnp.zeros((4, 5))).tolist() == [[0.0] * 5] * 4


@pytest.mark.parametrize("make", [lambda: N.SchattenQuasiNorm(1.0, p=2), lambda: N.SchattenQuasiNorm(1.0, p=4)])
@pytest.mark.parametrize("rank", [1, 2])
def test_second_derivatives_at_low_rank_where_the_norm_is_smooth(make, rank):
    """(sum sigma^p)^(1/p) for even p is a root of a polynomial in the entries, zero singular values or not."""
    w, dw = draw(rank), draw(4, seed=3)
    p = float(make().p)

    def by_entries(w):
        gram = w @ w.T
        return jnp.trace(gram if p == 2 else gram @ gram) ** (1 / p)

    np.testing.assert_allclose(jax.grad(make())(w), jax.grad(by_entries)(w), atol=1e-13)
    found = jax.jvp(jax.grad(make()), (w,), (dw,))[1]
    np.testing.assert_allclose(found, jax.jvp(jax.grad(by_entries), (w,), (dw,))[1], atol=1e-12)


@KINDS
@pytest.mark.parametrize("zeros", [0, 2])
def test_forward_and_reverse_agree_to_second_order_where_values_are_repeated(kind, zeros):
    """Also where some are zero: whatever the choice that is made there, it is one."""
    s = jnp.diag(jnp.where(jnp.arange(4) < 4 - zeros, jnp.array([2.0, 2.0, 1.0, 1.0]), 0.0))
    left, right = (jnp.linalg.qr(draw(4, (4, 4), seed))[0] for seed in (1, 2))
    w = jnp.concatenate([left @ s @ right, jnp.zeros((4, 1))], axis=1)
    forward, mixed, reverse = second_order(kind)(w, draw(4, seed=3), draw(4, seed=4))
    np.testing.assert_allclose([mixed, reverse], [forward, forward], rtol=1e-9)


@functools.cache
def second_order(kind):
    f = PENALTIES[kind]

    def both_modes(w, d, e):
        forward = jax.jvp(lambda w: jax.jvp(f, (w,), (d,))[1], (w,), (e,))[1]
        mixed = jnp.vdot(d, jax.jvp(jax.grad(f), (w,), (e,))[1])
        reverse = jnp.vdot(e, jax.grad(lambda w: jnp.vdot(jax.grad(f)(w), d))(w))
        return forward, mixed, reverse

    return jax.jit(both_modes)


@pytest.mark.long
@KINDS
@pytest.mark.parametrize("dynamics", ["descent", "flow"])
def test_training_of_the_matrix_itself_lowers_the_total(kind, dynamics):
    target = draw(2)
    rows, columns = np.nonzero(np.random.default_rng(3).random((4, 5)) < 0.7)
    problem = ut.problems.MatrixCompletion((4, 5), rows, columns, target[rows, columns])
    phi, params = ut.parameterizations.Identity((4, 5)), 0.3 * draw(4, seed=7)
    objective = ut.Objective(problem, phi, PENALTIES[kind])
    moves = ut.dynamics.GradientFlow()
    if dynamics == "descent":
        moves = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-2))
    stop = ut.Stop(loss=None, steps=100)
    run = ut.train(problem, phi, moves, params=params, penalty=PENALTIES[kind], stop=stop)
    assert run.status in ("stopped", "stalled")
    assert bool(jnp.isfinite(run.w).all())
    assert float(objective(run.params)[0]) < float(objective(params)[0])


@pytest.mark.parametrize("make", [N.Nuclear, N.NuclearFrobeniusRatio, lambda x: N.SchattenRatio(x, 0.5, 1)])
def test_a_sweep_over_weights_is_one_program(make):
    problem, phi = ut.problems.PointTarget(draw(2, (3, 2))), ut.parameterizations.Identity((3, 2))
    descent = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.01))

    def run(weight):
        stop = ut.Stop(loss=None, steps=20)
        return ut.train(problem, phi, descent, params=draw(2, (3, 2), 1), penalty=make(weight), stop=stop)

    with compilations() as first:
        ut.sweep(run, over={"weight": [0.0, 0.1]})
    with compilations() as second:
        losses = ut.sweep(run, over={"weight": [0.3, 0.6]})["final_loss"]
    assert first.programs > second.programs == 0
    assert float(losses[1]) != float(losses[0])


@KINDS
def test_what_is_no_matrix_is_refused_on_its_own_too(kind):
    for shape in ((3,), (2, 3, 3), ()):
        with pytest.raises(ValueError, match=r"matrix, found w of shape .*; L1 and L2 are of any shape"):
            PENALTIES[kind](jnp.ones(shape))
