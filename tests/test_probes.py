"""Every probe against the same number by numpy, on a deep matrix."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import PROBES, completion, exported, rows, sparse_completion

import undertow as ut

M, P = ut.probes, ut.parameterizations
PROBLEM, PHI = completion(), P.DeepMatrix((4, 3), 2)
KEYS = jax.random.split(jax.random.key(5), 2)
BATCH = jax.tree.map(lambda *xs: jnp.stack(xs), *(PHI.init(key, 1.0) for key in KEYS))
POINT = ut.problems.PointTarget([3.0, 6.0])


def params_of(i, batch=BATCH):
    return jax.tree.map(lambda x: x[i], batch)


def batch_of(case):
    return jax.tree.map(lambda *xs: jnp.stack(xs), *(case.phi.init(key, 1.0) for key in KEYS))


def test_every_class_has_a_row():
    assert exported(M, M.Probe) == {type(case.instance) for case in PROBES}


# Laws ------------------------------------------------------------------------------------------


@rows(PROBES)
def test_value_is_that_of_numpy_under_jit_and_vmap(case):
    case.instance.check(case.problem, case.phi)
    call = eqx.filter_jit(lambda probe, batch: jax.vmap(lambda p: probe(case.problem, case.phi, p))(batch))
    batch = batch_of(case)
    found = call(case.instance, batch)
    for i in range(2):
        factors = [np.asarray(x) for x in params_of(i, batch)]
        expected = case.oracle(case.w(factors), factors)
        np.testing.assert_allclose(found[i], expected, rtol=1e-10)
        np.testing.assert_allclose(case.instance(case.problem, case.phi, params_of(i, batch)), expected, rtol=1e-10)


@pytest.mark.two_types
@rows(PROBES)
def test_float32(case):
    params = jax.tree.map(lambda x: x.astype(jnp.float32), params_of(0, batch_of(case)))
    factors = [np.asarray(x, np.float64) for x in params]
    found = eqx.filter_jit(lambda probe, params: probe(case.problem, case.phi, params))(case.instance, params)
    np.testing.assert_allclose(found, case.oracle(case.w(factors), factors), rtol=1e-4)


def test_names_are_different():
    twice = ("SingularValues-2", "MatricizationRanks-matrix", "Balancedness-components", "TestError-tensor")
    names = [case.instance.name for case in PROBES if case.id not in twice]
    assert len(set(names)) == len(names)
    assert all(isinstance(name, str) and name for name in names)


def test_parameterized_names():
    assert M.SchattenNorm(2).name == "schatten_2"
    assert M.Entry(0, 11).name == "entry_0_11"
    assert M.TestError(label="validation").name == "validation"


# Relations that must hold ------------------------------------------------------------------------


def test_schatten_norms_that_have_names_of_their_own():
    p = params_of(0)
    assert M.SchattenNorm(1)(PROBLEM, PHI, p) == pytest.approx(float(M.NuclearNorm()(PROBLEM, PHI, p)), rel=1e-12)
    assert M.SchattenNorm(2)(PROBLEM, PHI, p) == pytest.approx(float(M.FrobeniusNorm()(PROBLEM, PHI, p)), rel=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_ranks_of_a_partial_isometry_are_its_rank(rank):
    phi = P.Identity((4, 3))
    w = jnp.asarray(np.eye(4)[:, :rank] @ np.eye(3)[:rank] * 5)
    assert M.EffectiveRank()(PROBLEM, phi, w) == pytest.approx(rank, rel=1e-12)
    assert M.StableRank()(PROBLEM, phi, w) == pytest.approx(rank, rel=1e-12)


def test_ranks_of_the_zero_matrix_are_zero():
    phi = P.Identity((4, 3))
    assert M.EffectiveRank()(PROBLEM, phi, jnp.zeros((4, 3))) == 0
    assert M.StableRank()(PROBLEM, phi, jnp.zeros((4, 3))) == 0


def test_vectors_of_a_matrix_that_shares_them_with_the_gradient_are_aligned():
    # At a multiple of the target the gradient is a multiple of it too.
    target = np.asarray(jax.random.normal(KEYS[0], (4, 3)))
    problem, phi = ut.problems.PointTarget(target), P.Identity((4, 3))
    np.testing.assert_allclose(M.SingularVectorAlignment()(problem, phi, jnp.asarray(0.5 * target)), 1, rtol=1e-12)
    np.testing.assert_allclose(M.SingularVectorAlignment()(problem, phi, jnp.asarray(2 * target)), -1, rtol=1e-12)
    np.testing.assert_array_equal(M.SingularVectorAlignment()(problem, phi, jnp.asarray(target)), 0)


def test_singular_values_and_vectors_make_the_matrix():
    p = params_of(0)
    left, right = (np.asarray(M.SingularVectors(side)(PROBLEM, PHI, p)) for side in ("left", "right"))
    np.testing.assert_allclose(left * np.asarray(M.SingularValues()(PROBLEM, PHI, p)) @ right.T, PHI(p), rtol=1e-12)


def test_determinant_of_the_whole():
    assert M.Determinant()(PROBLEM, P.Identity((2, 2)), jnp.array([[1.0, 2.0], [3.0, 4.0]])) == pytest.approx(-2.0)


def test_determinant_of_a_product_that_is_nearly_singular():
    # The entries of W round away what the determinant is made of.
    factors = (jnp.array([[1e9, 1.0], [0.0, 1e-9]]),) * 2
    assert M.Determinant()(PROBLEM, P.DeepMatrix((2, 2), 2), factors) == pytest.approx(1.0, rel=1e-12)


def test_balanced_factors_are_balanced():
    phi = P.DeepMatrix((4, 3), 3, initialization="balanced")
    assert M.Balancedness()(PROBLEM, phi, phi.init(KEYS[0], 1.0)) < 1e-13


def test_balancedness_is_the_worst_pair():
    phi = P.DeepMatrix((2, 2), 3)
    factors = (jnp.eye(2), jnp.eye(2), 2 * jnp.eye(2))
    assert M.Balancedness()(PROBLEM, phi, factors) == pytest.approx(np.sqrt(2) * 3, rel=1e-12)


def test_gradient_norm_of_the_primer():
    # w = u^2 at (1, 8), target (3, 6): the gradient is 2 u (w - w*) = (2 * 1 * -2, 2 * sqrt(8) * 2).
    phi = P.Power(2, 2)
    expected = np.hypot(4, 8 * np.sqrt(2))
    assert M.GradientNorm()(POINT, phi, phi.lift([1.0, 8.0])) == pytest.approx(expected, rel=1e-12)


@pytest.mark.long
def test_probes_of_a_sparse_problem_ask_for_entries_alone():
    """Nothing of the size of the whole matrix is made."""
    problem = sparse_completion()
    phi = P.DeepMatrix(problem.shape, 2, width=3)
    params = phi.init(KEYS[0], 1.0)
    for probe in (M.Loss(), M.GradientNorm(), M.TestError(problem), M.Entry(3, 4)):
        probe.check(problem, phi)
        text = str(jax.make_jaxpr(lambda p, probe=probe: probe(problem, phi, p))(params))
        assert "600,500" not in text
        assert "300000" not in text
    found = M.GradientNorm()(problem, phi, params)
    gradient = jax.grad(lambda p: problem.loss(phi(p)))(params)
    expected = np.sqrt(sum(np.sum(np.asarray(g) ** 2) for g in gradient))
    assert found == pytest.approx(expected, rel=1e-10)


# Wrong input -----------------------------------------------------------------------------------

VECTOR = P.Identity(2)
FULL = ut.problems.MatrixCompletion((1, 2), [0, 0], [0, 1], [1.0, 2.0], truth=[[1.0, 2.0]])
BAD = [
    (lambda: M.TestError().check(POINT, VECTOR), ValueError, "TestError: expected a problem with truth"),
    (lambda: M.TestError().check(completion(None), PHI), ValueError, "found MatrixCompletion without"),
    (lambda: M.TestError().check(FULL, P.Identity((1, 2))), ValueError, "held_out: expected a problem, since training"),
    (lambda: M.TestError(POINT).check(PROBLEM, PHI), ValueError, "held_out: expected shape (4, 3), found (2,)"),
    (lambda: M.TestError(3.0), TypeError, "held_out"),
    (lambda: M.TestError(label=""), TypeError, "label: expected a name"),
    (lambda: M.ReconstructionError().check(POINT, VECTOR), ValueError, "ReconstructionError: expected a problem"),
    (lambda: M.EffectiveRank().check(POINT, VECTOR), ValueError, "effective_rank: expected w to be a matrix"),
    (lambda: M.SingularValues(0), ValueError, "count: expected an integer of at least 1, found 0"),
    (lambda: M.SingularVectors("up"), ValueError, "side: unknown choice 'up'; expected one of left, right"),
    (lambda: M.SingularVectors().check(POINT, VECTOR), ValueError, "left_singular_vectors: expected w to be a matrix"),
    (lambda: M.SingularVectorAlignment(0), ValueError, "count: expected an integer of at least 1, found 0"),
    (lambda: M.DistanceFromRank(-1), ValueError, "rank: expected an integer of at least 0, found -1"),
    (lambda: M.Determinant().check(PROBLEM, PHI), ValueError, "determinant: expected w to be a square matrix"),
    (lambda: M.Determinant(4).check(PROBLEM, PHI), ValueError, "size: expected at most 3 for shape (4, 3), found 4"),
    (lambda: M.SchattenNorm(0.0), ValueError, "p: expected a finite number above 0, found 0"),
    (lambda: M.SchattenNorm(float("inf")), ValueError, "p: expected a finite number above 0"),
    (lambda: M.Entry(), TypeError, "index: expected integers, found ()"),
    (lambda: M.Entry(2).check(POINT, VECTOR), ValueError, "index: expected an entry of shape (2,)"),
    (lambda: M.Entry(-1).check(POINT, VECTOR), ValueError, "index: expected an entry of shape (2,)"),
    (lambda: M.Entry(0, 0).check(POINT, VECTOR), ValueError, "index: expected an entry of shape (2,)"),
    (lambda: M.Balancedness().check(POINT, VECTOR), ValueError, "balancedness: expected a DeepMatrix"),
    (lambda: M.Balancedness().check(PROBLEM, P.DeepMatrix((4, 3), 1)), ValueError, "of depth 2 at least"),
    (lambda: M.DistanceTo([1.0, 2.0, 3.0]).check(POINT, VECTOR), ValueError, "target: expected shape (2,), found (3,)"),
    (lambda: M.DistanceTo([float("nan")]), ValueError, "target: expected finite numbers, found nan"),
    (lambda: M.Function("", jnp.sum), TypeError, "label: expected a name"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
