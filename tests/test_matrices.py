"""Gram matrices and matrix sensing: laws of their own, beside those that all parts share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import undertow as ut

P, B = ut.parameterizations, ut.problems


def test_the_velocity_of_a_gram_matrix_is_its_formula():
    rng = np.random.default_rng(0)
    Y, measurements = rng.normal(size=(4, 3)), rng.normal(size=(6, 4, 4))
    problem = B.MatrixSensing(measurements, rng.normal(size=6))
    gradient = jax.grad(problem.loss)(jnp.asarray(Y @ Y.T))
    G = gradient + gradient.T
    expected = -(G @ (Y @ Y.T) + (Y @ Y.T) @ G)
    np.testing.assert_allclose(ut.velocity(problem, P.Gram(4, 3), jnp.asarray(Y)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("width", [2, 4, 9])
def test_entries_without_the_matrix(width):
    phi, rng = P.Gram(60, width), np.random.default_rng(1)
    Y = jnp.asarray(rng.normal(size=(60, width)))
    rows, columns = jnp.asarray(rng.integers(60, size=20)), jnp.asarray(rng.integers(60, size=20))
    np.testing.assert_allclose(phi.entries(Y, (rows, columns)), (Y @ Y.T)[rows, columns], rtol=1e-12)


@pytest.mark.long
def test_commuting_measurements_end_at_the_smallest_trace():
    """Diagonal measurements make each eigenvalue a square of its own: the limit is the nonnegative least l1 norm."""
    rng = np.random.default_rng(2)
    A = rng.normal(size=(3, 8))
    truth = np.zeros(8)
    truth[[1, 5]] = [1.0, 2.0]
    problem = B.MatrixSensing(np.stack([np.diag(row) for row in A]), A @ truth)
    phi = P.Gram(8, initialization="identity")
    run = ut.train(problem, phi, ut.dynamics.GradientFlow(rtol=1e-8), key=0, scale=1e-10, stop=ut.Stop(loss=1e-16))
    least = ut.theory.basis_pursuit(B.LeastSquares(A, A @ truth), nonnegative=True)
    np.testing.assert_allclose(run.w, np.diag(least), atol=2e-3)


def test_sensing_entries_is_completion():
    rng = np.random.default_rng(3)
    w, rows, columns = rng.normal(size=(4, 3)), np.array([0, 1, 3]), np.array([2, 0, 1])
    measurements = np.zeros((3, 4, 3))
    measurements[np.arange(3), rows, columns] = 1
    for normalization in ("mean", "half_mean", "sum", "half_sum"):
        sensing = B.MatrixSensing(measurements, [1.0, 2.0, 3.0], normalization=normalization)
        completion = B.MatrixCompletion((4, 3), rows, columns, [1.0, 2.0, 3.0], normalization=normalization)
        assert float(sensing.loss(jnp.asarray(w))) == pytest.approx(float(completion.loss(jnp.asarray(w))), rel=1e-14)
        np.testing.assert_allclose(ut.theory.minimum_norm(sensing), ut.theory.minimum_norm(completion), atol=1e-14)


def test_measurements_of_rank_one_are_what_they_are_written_out():
    rng = np.random.default_rng(4)
    left, right, w = rng.normal(size=(5, 4)), rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    short = B.MatrixSensing.rank_one(left, right, np.arange(5.0))
    whole = B.MatrixSensing(np.einsum("mi,mj->mij", left, right), np.arange(5.0))
    np.testing.assert_allclose(short.matrices, whole.matrices, rtol=1e-15)
    assert float(short.loss(jnp.asarray(w))) == pytest.approx(float(whole.loss(jnp.asarray(w))), rel=1e-13)
    np.testing.assert_allclose(ut.theory.minimum_norm(short), ut.theory.minimum_norm(whole), atol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: P.Gram(0), "size"),
        (lambda: P.Gram(3, 0), "width"),
        (lambda: P.Gram(3, initialization="gausian"), "initialization"),
        (lambda: P.Gram(2).lift([[0.0, 1.0], [0.0, 0.0]]), "w: expected a symmetric matrix"),
        (lambda: P.Gram(2).lift([[1.0, 0.0], [0.0, -1.0]]), "w: expected a positive semidefinite matrix"),
        (lambda: P.Gram(2, 1).lift(np.eye(2)), "w: expected rank at most the width 1, found rank 2"),
        (lambda: B.MatrixSensing.rank_one(np.ones((2, 2)), np.ones((3, 2)), [1.0]), "left, right: expected equal len"),
        (lambda: B.MatrixSensing.rank_one(np.ones((0, 2)), np.ones((0, 2)), []), "measurements: expected at least one"),
        (lambda: B.MatrixSensing(np.zeros((0, 2, 2)), []), "measurements: expected at least one matrix"),
        (lambda: B.MatrixSensing(np.ones((2, 2, 2)), [1.0]), "values: expected one number for each of the 2"),
        (lambda: B.MatrixSensing(np.ones((2, 2)), [1.0]), "measurements"),
        (lambda: B.MatrixSensing(np.ones((1, 2, 2)), [1.0], truth=np.ones((3, 2))), "truth: expected shape"),
        (lambda: B.MatrixSensing(np.full((1, 2, 2), np.nan), [1.0]), "measurements"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
