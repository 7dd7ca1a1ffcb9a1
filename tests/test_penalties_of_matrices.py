"""Penalties of singular values: values and derivatives, also where singular values are zero or repeated."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import compilations
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

import undertow as ut

N = ut.penalties
PENALTIES = {
    "nuclear": (N.Nuclear(1.0), lambda s: s.sum()),
    "ratio": (N.NuclearFrobeniusRatio(1.0), lambda s: s.sum() / np.sqrt((s**2).sum())),
    "half": (N.SchattenQuasiNorm(1.0, p=0.5), lambda s: (s**0.5).sum() ** 2),
    "three": (N.SchattenQuasiNorm(1.0, p=3), lambda s: (s**3).sum() ** (1 / 3)),
    "third over half": (
        N.SchattenRatio(1.0, p=1 / 3, q=1 / 2),
        lambda s: (s ** (1 / 3)).sum() ** 3 / (s**0.5).sum() ** 2,
    ),
}
RATIOS = ("ratio", "third over half")
KINDS = pytest.mark.parametrize("kind", PENALTIES)


@eqx.filter_jit
def value_of(penalty, w):
    return penalty(w)


def draw(shape, seed=0, rank=None):
    rng = np.random.default_rng(seed)
    if rank is None:
        return jnp.asarray(rng.normal(size=shape))
    return jnp.asarray(rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1])))


@KINDS
@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (5, 2), (1, 3), (1, 1)])
def test_values_are_those_of_the_singular_values(kind, shape):
    penalty, value = PENALTIES[kind]
    w = draw(shape)
    assert float(penalty(w)) == pytest.approx(value(np.linalg.svd(w, compute_uv=False)), rel=1e-12)
    assert float(penalty(w.T)) == pytest.approx(float(penalty(w)), rel=1e-12)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "shape"), [("half", (3, 4)), ("ratio", (4, 2))])
def test_derivatives_of_first_and_second_order(kind, shape):
    check_grads(lambda w: value_of(PENALTIES[kind][0], w), (draw(shape),), order=2, eps=1e-5, rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["nuclear", "third over half"])
def test_derivatives_where_singular_values_are_repeated(kind):
    w = jnp.asarray(np.linalg.qr(np.asarray(draw((4, 4))))[0])
    w = jnp.concatenate([2 * w, jnp.zeros((4, 2))], axis=1)
    check_grads(lambda w: value_of(PENALTIES[kind][0], w), (w,), order=2, eps=1e-5, rtol=1e-5, atol=1e-6)
    nearly = w.at[0, 0].add(1e-13)
    np.testing.assert_allclose(jax.grad(PENALTIES[kind][0])(nearly), jax.grad(PENALTIES[kind][0])(w), atol=1e-11)


def test_the_hessian_of_the_nuclear_norm_moves_singular_vectors_alone():
    """Along W itself the gradient stays, since it is the same for all multiples."""
    w = draw((4, 3))
    _, along = jax.jit(lambda w: jax.jvp(jax.grad(N.Nuclear(1.0)), (w,), (w,)))(w)
    np.testing.assert_allclose(along, 0, atol=1e-13)


value_and_slope = eqx.filter_jit(lambda penalty, w: jax.value_and_grad(penalty)(w))


@given(st.integers(0, 1000), st.integers(0, 3))
def test_a_subgradient_of_the_nuclear_norm_at_any_rank(seed, rank):
    """|Z|_* >= |W|_* + <G, Z - W> for every Z."""
    w, z = draw((4, 3), seed, rank), draw((4, 3), seed + 1)
    norm = N.Nuclear(1.0)
    (value, slope), other = value_and_slope(norm, w), value_and_slope(norm, z)[0]
    assert float(other) >= float(value) + float(np.vdot(slope, z - w)) - 1e-10
    singular = np.linalg.svd(slope, compute_uv=False)
    np.testing.assert_allclose(singular[:rank], 1, atol=1e-10)
    np.testing.assert_allclose(singular[rank:], 0, atol=1e-10)


@given(st.integers(0, 1000), st.integers(1, 4), st.sampled_from([1e-150, 1e-3, 7.0, 1e150]))
def test_ratios_are_the_same_for_all_multiples(seed, rank, unit):
    w = draw((4, 5), seed, rank)
    for kind in RATIOS:
        ratio = PENALTIES[kind][0]
        value, slope = (np.asarray(x) for x in value_and_slope(ratio, unit * w))
        assert float(value) == pytest.approx(float(value_and_slope(ratio, w)[0]), rel=1e-9)
        assert np.isfinite(slope).all()
        length = np.linalg.norm(w) * np.linalg.norm(slope * unit)
        assert abs(np.vdot(slope * unit, w)) <= 1e-11 * max(length, 1)
    value = float(value_and_slope(N.NuclearFrobeniusRatio(1.0), w)[0])
    assert 1 - 1e-12 <= value <= np.sqrt(rank) + 1e-12


@pytest.mark.long
def test_the_ratio_pulls_singular_values_apart_at_its_pivot():
    s = jnp.array([3.0, 2.0, 0.5])
    found = jnp.diag(jax.grad(N.NuclearFrobeniusRatio(1.0))(jnp.diag(s)))
    length = jnp.linalg.norm(s)
    np.testing.assert_allclose(found, (1 - s * s.sum() / length**2) / length, atol=1e-14)


@eqx.filter_jit
def with_derivatives(penalty, w):
    return jax.value_and_grad(penalty)(w), jax.jvp(penalty, (w,), (w,))[1]


@KINDS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rank", [0, 1])
def test_finite_at_low_rank_and_zero(kind, dtype, rank):
    w = draw((4, 5), rank=rank).astype(dtype)
    with jax.numpy_dtype_promotion("strict"):
        (value, slope), tangent = with_derivatives(PENALTIES[kind][0], w)
    assert value.dtype == slope.dtype == tangent.dtype == dtype
    expected = 0.0 if rank == 0 else float(PENALTIES[kind][1](np.linalg.svd(w, compute_uv=False)[:1]))
    assert float(value) == pytest.approx(expected, rel=1e-5)
    assert bool(jnp.isfinite(slope).all())
    if rank == 0:
        assert not slope.any()


@KINDS
def test_training_lowers_the_total(kind):
    target = draw((5, 4), rank=2)
    rows, columns = np.nonzero(np.random.default_rng(3).random((5, 4)) < 0.7)
    problem = ut.problems.MatrixCompletion((5, 4), rows, columns, target[rows, columns])
    phi = ut.parameterizations.DeepMatrix((5, 4), 2)
    params = phi.init(jax.random.key(0), 0.3)
    penalty = ut.penalties.Sum(PENALTIES[kind][0], N.L2(0.0))
    objective = ut.Objective(problem, phi, penalty)
    flows = [ut.dynamics.GradientFlow("explicit")] if kind == "ratio" else []
    for dynamics in (ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-3)), *flows):
        run = ut.train(problem, phi, dynamics, params=params, penalty=penalty, stop=ut.Stop(loss=None, steps=200))
        assert run.status in ("stopped", "stalled")
        assert float(objective(run.params)[0]) < float(objective(params)[0])


def test_weights_and_exponents_share_a_program():
    problem = ut.problems.MatrixCompletion((2, 2), [0, 1], [0, 1], [1.0, 2.0])
    phi = ut.parameterizations.Identity((2, 2))

    def run(weight, p):
        return ut.train(
            problem,
            phi,
            ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.1)),
            params=jnp.ones((2, 2)),
            penalty=N.SchattenQuasiNorm(weight, p),
            stop=ut.Stop(loss=None, steps=5),
        )

    first = run(0.1, 0.5)
    with compilations() as count:
        second = run(0.2, 0.7)
    assert count.programs == 0
    assert first.w.tolist() != second.w.tolist()


@KINDS
def test_what_is_no_matrix_is_refused(kind):
    penalty = PENALTIES[kind][0]
    with pytest.raises(ValueError, match=r"matrix, found w of shape \(3,\)"):
        ut.train(
            ut.problems.LeastSquares(np.eye(3), np.ones(3)),
            ut.parameterizations.Identity(3),
            ut.dynamics.GradientFlow(),
            params=jnp.ones(3),
            penalty=penalty,
        )
    with pytest.raises(ValueError, match=r"matrix, found params\['u'\] of shape \(3,\)"):
        ut.train(
            ut.problems.LeastSquares(np.eye(3), np.ones(3)),
            ut.parameterizations.Function(lambda p: p["u"], lambda key, scale: {"u": jnp.ones(3)}),
            ut.dynamics.GradientFlow(),
            params={"u": jnp.ones(3)},
            penalty=N.OnParameters(penalty) + N.L2(0.1),
        )


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, "a", None])
def test_weights_that_are_none(weight):
    for make in (
        N.Nuclear,
        N.NuclearFrobeniusRatio,
        lambda x: N.SchattenQuasiNorm(x, 0.5),
        lambda x: N.SchattenRatio(x, 0.5, 1),
    ):
        with pytest.raises((TypeError, ValueError), match="weight: "):
            make(weight)


@pytest.mark.parametrize(("p", "q", "name"), [(0, 1, "p"), (-1, 1, "p"), (1, np.nan, "q"), (2, 1, "q"), (1, 1, "q")])
def test_exponents_that_are_none(p, q, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        N.SchattenRatio(1.0, p, q)
