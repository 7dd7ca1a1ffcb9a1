"""The laws of problems over the whole table, and the losses by hand."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import CLASSIFICATIONS, PROBLEMS, completion, exported, rows, sparse_completion
from jax.test_util import check_grads

import undertow
from undertow.linalg import EntryPattern

B = undertow.problems
OBSERVED = [case for case in PROBLEMS if isinstance(case.instance, B.ObservedEntries)]


def some_w(problem, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=problem.shape))


def test_every_class_has_a_row():
    assert exported(B, B.Problem) == {type(case.instance) for case in [*PROBLEMS, *CLASSIFICATIONS]}


# Laws ------------------------------------------------------------------------------------------


@rows(PROBLEMS)
def test_loss_is_a_nonnegative_scalar_and_zero_at_a_solution(case):
    problem = case.instance
    for seed in range(5):
        loss = problem.loss(some_w(problem, seed))
        assert loss.shape == ()
        assert loss > 0
    assert problem.loss(jnp.asarray(case.lift_w)) == pytest.approx(0, abs=1e-28)


@rows(PROBLEMS)
def test_gradient_is_that_of_finite_differences_and_zero_at_a_solution(case):
    problem = case.instance
    loss = jax.jit(lambda w: problem.loss(w))
    check_grads(loss, (some_w(problem),), order=1, eps=1e-6, rtol=1e-7)
    np.testing.assert_allclose(jax.grad(loss)(case.lift_w), 0, atol=1e-13)


@rows([*PROBLEMS, *CLASSIFICATIONS])
def test_jit_and_vmap_agree_with_plain_calls(case):
    problem = case.instance
    batch = jnp.stack([some_w(problem, seed) for seed in range(3)])
    expected = [float(problem.loss(w)) for w in batch]
    found = eqx.filter_jit(lambda problem, batch: jax.vmap(problem.loss)(batch))(problem, batch)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@rows(PROBLEMS)
def test_float32_stays_float32(case):
    problem = jax.tree.map(
        lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, case.instance
    )
    w = some_w(problem).astype(jnp.float32)
    loss = problem.loss(w)
    assert loss.dtype == jnp.float32
    assert loss == pytest.approx(float(case.instance.loss(w.astype(jnp.float64))), rel=1e-5)


@rows(OBSERVED)
def test_loss_of_entries_is_the_loss(case):
    problem, w = case.instance, some_w(case.instance)
    assert problem.loss_of_entries(w[problem.indices]) == problem.loss(w)


# Values ----------------------------------------------------------------------------------------


def test_point_target_by_hand():
    assert B.PointTarget([3.0, 6.0]).loss(jnp.array([1.0, 8.0])) == (4 + 4) / 2


@pytest.mark.parametrize(("a", "b", "c"), [(-1, -2, 15), (-1, -1, 10), (0, 3, 1), (2.5, 0, -1)])
def test_line_target_is_half_the_squared_distance(a, b, c):
    w = np.array([1.0, 8.0])
    distance = abs(a * w[0] + b * w[1] + c) / np.hypot(a, b)
    assert B.LineTarget(a, b, c).loss(jnp.asarray(w)) == pytest.approx(distance**2 / 2, rel=1e-14)


NORMALIZATIONS = {"sum": 1.0, "half_sum": 0.5, "mean": 1 / 5, "half_mean": 1 / 10}


@pytest.mark.parametrize(("normalization", "factor"), NORMALIZATIONS.items())
def test_normalizations(normalization, factor):
    rng = np.random.default_rng(2)
    A, b, w = rng.normal(size=(5, 3)), rng.normal(size=5), rng.normal(size=3)
    found = B.LeastSquares(A, b, normalization).loss(jnp.asarray(w))
    assert found == pytest.approx(factor * np.sum((A @ w - b) ** 2), rel=1e-13)
    problem, full = completion(normalization=normalization), rng.normal(size=(4, 3))
    residual = full[problem.rows, problem.columns] - np.asarray(problem.values)
    assert problem.loss(jnp.asarray(full)) == pytest.approx(factor * np.sum(residual**2), rel=1e-13)


def test_defaults_are_the_documented_normalizations():
    assert B.LeastSquares([[1.0]], [1.0]).normalization == "half_sum"
    assert completion().normalization == "mean"


def test_completion_sorts_its_entries():
    problem = B.MatrixCompletion((2, 3), [1, 0, 0], [0, 2, 1], [3.0, 2.0, 1.0])
    assert (problem.rows.tolist(), problem.columns.tolist()) == ([0, 0, 1], [1, 2, 0])
    assert problem.values.tolist() == [1.0, 2.0, 3.0]


def test_the_sparse_layout_gives_the_loss_of_the_dense_one():
    problem = sparse_completion()
    assert isinstance(problem.indices, EntryPattern)
    phi = undertow.parameterizations.DeepMatrix(problem.shape, 3, width=2)
    params = phi.init(jax.random.key(0), 1.0)
    residual = np.asarray(phi(params))[problem.rows, problem.columns] - np.asarray(problem.values)
    expected = np.mean(residual**2)
    assert problem.loss(phi(params)) == pytest.approx(expected, rel=1e-12)
    assert problem.loss_of_entries(phi.entries(params, problem.indices)) == pytest.approx(expected, rel=1e-12)


def test_truth_has_no_part_in_the_loss():
    w = some_w(completion())
    assert completion().loss(w) == completion(truth=None).loss(w)


@pytest.mark.two_types
@pytest.mark.parametrize("convert", [list, tuple, np.asarray, jnp.asarray, lambda x: np.asarray(x, np.float32)])
def test_numbers_of_any_make(convert):
    """Lists, tuples and arrays of either library, of integers too: the same problem."""
    w = jnp.array([1.0, 8.0])
    assert B.PointTarget(convert([3, 6])).loss(w) == 4
    assert B.LeastSquares(convert([convert([1.0, 1.0])]), convert([3.0])).loss(w) == 18
    completed = B.MatrixCompletion((1, 2), np.asarray(convert([0]), int), [1], convert([6.0]))
    assert completed.loss(w[None]) == 4


def test_constructors_go_through_vmap():
    """A sweep over targets makes its problems inside of traced code."""

    def loss(target, b, c):
        w = jnp.array([1.0, 8.0])
        line = B.LineTarget(-1.0, -2.0, c).loss(w)
        return B.PointTarget(target).loss(w) + B.LeastSquares(jnp.eye(2), b).loss(w) + line

    targets, bs, cs = jnp.array([[3.0, 6.0], [1.0, 8.0]]), jnp.array([[1.0, 8.0], [1.0, 9.0]]), jnp.array([17.0, 7.0])
    np.testing.assert_allclose(jax.vmap(loss)(targets, bs, cs), [4.0, 0.5 + 10.0], rtol=1e-14)


# Wrong input -----------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
BAD = [
    (lambda: B.PointTarget([]), ValueError, "target: expected at least one entry"),
    (lambda: B.PointTarget([1.0, NAN]), ValueError, r"target: expected finite numbers, found nan at index [1]"),
    (lambda: B.PointTarget([[1.0, 2.0], [INF, 0.0]]), ValueError, "found inf at index [1, 0]"),
    (lambda: B.PointTarget(np.array([1j])), TypeError, "target: expected an array of real numbers"),
    (lambda: B.PointTarget(["a", "b"]), TypeError, "target: expected an array of real numbers"),
    (lambda: B.PointTarget([[1.0], [2.0, 3.0]]), TypeError, "target: expected an array of numbers, found list"),
    (lambda: B.PointTarget([True, False]), TypeError, "target: expected an array of real numbers, found dtype bool"),
    (lambda: B.LineTarget(0.0, 0.0, 1.0), ValueError, "a, b: expected at least one that is not zero"),
    (lambda: B.LineTarget(1.0, NAN, 1.0), ValueError, "b: expected a finite number, found nan"),
    (lambda: B.LineTarget(1.0, 1.0, INF), ValueError, "c: expected a finite number, found inf"),
    (lambda: B.LineTarget(np.ones(2), 1.0, 1.0), TypeError, "a: expected a finite number"),
    (lambda: B.LeastSquares(np.ones(3), np.ones(3)), ValueError, "A: expected 2 dimension(s), found shape (3,)"),
    (
        lambda: B.LeastSquares(np.ones((2, 3)), np.ones((2, 1))),
        ValueError,
        "b: expected 1 dimension(s), found shape (2, 1); a single column is b.ravel()",
    ),
    (lambda: B.LeastSquares(np.ones((2, 3)), np.ones(3)), ValueError, "b: expected one entry for each of the 2 rows"),
    (lambda: B.LeastSquares(np.ones((0, 3)), np.ones(0)), ValueError, "A: expected at least one row"),
    (lambda: B.LeastSquares([[NAN]], [1.0]), ValueError, "A: expected finite numbers, found nan at index [0, 0]"),
    (
        lambda: B.LeastSquares([[1.0]], [1.0], "means"),
        ValueError,
        "normalization: unknown choice 'means' (did you mean",
    ),
]


def _completion(rows=(0, 1), columns=(1, 0), values=(1.0, 2.0), shape=(2, 2), **options):
    return B.MatrixCompletion(shape, list(rows), list(columns), list(values), **options)


BAD += [
    (lambda: _completion((), (), ()), ValueError, "values: expected at least one observed entry"),
    (lambda: _completion(values=(1.0,)), ValueError, "expected equal lengths, found 2 rows, 2 columns, 1 values"),
    (lambda: _completion(rows=(0, 2)), ValueError, "rows: expected indices from 0 to 1, found 2 at position 1"),
    (lambda: _completion(columns=(-1, 0)), ValueError, "columns: expected indices from 0 to 1, found -1 at position 0"),
    (lambda: _completion((0, 0), (1, 1)), ValueError, "expected every entry once, found (0, 1) at positions 0 and 1"),
    (lambda: _completion(rows=(0.0, 1.0)), TypeError, "rows: expected integers, found dtype float64"),
    (lambda: _completion(rows=(True, False)), TypeError, "rows: expected integers, found dtype bool"),
    (lambda: _completion(rows=([0], [1])), ValueError, "rows: expected a vector of integers, found shape (2, 1)"),
    (lambda: _completion(values=(1.0, NAN)), ValueError, "values: expected finite numbers, found nan at index [1]"),
    (lambda: _completion(shape=(2, 0)), ValueError, "shape: expected 2 positive integers, found (2, 0)"),
    (lambda: _completion(truth=np.ones((2, 3))), ValueError, "truth: expected shape (2, 2), found (2, 3)"),
    (lambda: _completion(truth=np.full((2, 2), NAN)), ValueError, "truth: expected finite numbers"),
    (lambda: _completion(normalization=""), ValueError, "normalization: unknown choice ''"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_indices_that_are_traced_are_refused():
    with pytest.raises(TypeError, match="rows: expected known integers"):
        jax.jit(lambda rows: B.MatrixCompletion((2, 2), rows, [0, 1], [1.0, 2.0]).values)(jnp.array([0, 1]))


def test_float32_cannot_hold_what_float64_can():
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"target: .* which float32 cannot hold"):
        B.PointTarget([1.0, 1e300])
