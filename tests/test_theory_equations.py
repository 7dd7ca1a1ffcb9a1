"""Equations as a capability: what a problem says of its points of zero error, and what theory does with it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from contract import PROBLEMS, rows

import undertow as ut
from undertow import theory

B, T = ut.problems, theory


class SumsOfRows(B.Problem):
    """A user's problem: the sums of the rows of a matrix, and a loss that is no square."""

    shape: tuple[int, ...] = eqx.field(static=True)
    sums: Any
    sparse: bool = eqx.field(default=False, static=True)

    def loss(self, w):
        return jnp.sum(jnp.cosh(w.sum(axis=1) - self.sums) - 1)

    def equations(self):
        A = np.kron(np.eye(self.shape[0]), np.ones(self.shape[1]))
        return B.Equations(scipy.sparse.csc_array(A) if self.sparse else A, self.sums)


class GivenEntries(SumsOfRows):
    """Some entries of it, by a sparse matrix that picks them."""

    def equations(self):
        return B.Equations(scipy.sparse.coo_array(([1.0, 1.0], ([0, 1], [0, 3])), shape=(2, 4)), self.sums)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_problem_of_the_users_own_has_all_the_answers(sparse):
    problem = SumsOfRows((2, 2), np.array([3.0, 8.0]), sparse)
    phi = ut.parameterizations.Power((2, 2), 2)
    start = np.array([[1.0, 2.0], [1.0, 3.0]])
    # The square map implies entropy: every row is scaled.
    expected = start * np.array([[1.0], [2.0]])
    np.testing.assert_allclose(T.limit(problem, phi, phi.lift(start)), expected, rtol=1e-9)
    np.testing.assert_allclose(T.bregman_projection(problem, ut.potentials.Entropy(), start), expected, rtol=1e-9)
    np.testing.assert_allclose(T.minimum_norm(problem), [[1.5, 1.5], [4, 4]], rtol=1e-12)
    np.testing.assert_allclose(T.basis_pursuit(problem, ties="entropy"), [[1.5, 1.5], [4, 4]], rtol=1e-9)
    np.testing.assert_allclose(T.minimum_nuclear_norm(problem), [[1.5, 1.5], [4, 4]], rtol=1e-6)
    with pytest.raises(TypeError, match="weight of the sum of squares"):
        T.saddle_to_saddle(problem)


def test_a_sparse_matrix_that_picks_entries_gives_them():
    problem = GivenEntries((2, 2), np.array([3.0, 8.0]))
    np.testing.assert_array_equal(T.minimum_norm(problem), [[3, 0], [0, 8]])
    np.testing.assert_array_equal(T.basis_pursuit(problem), [[3, 0], [0, 8]])


@rows(PROBLEMS)
def test_equations_are_those_of_the_points_of_zero_error(case):
    equations = case.instance.equations()
    gap = equations.matrix @ case.lift_w.ravel() - np.asarray(equations.b)
    np.testing.assert_allclose(gap, 0, atol=1e-10)


@rows([case for case in PROBLEMS if case.instance.equations().weight is not None])
def test_the_loss_is_half_the_weight_times_the_squares(case):
    problem = case.instance
    equations = problem.equations()
    w = np.random.default_rng(0).normal(size=problem.shape)
    gap = equations.matrix @ w.ravel() - np.asarray(equations.b)
    assert float(problem.loss(jnp.asarray(w))) == pytest.approx(equations.weight / 2 * float(gap @ gap), rel=1e-10)


class Other(SumsOfRows):
    def equations(self):
        return self.sums[0]  # what the test below is given


@pytest.mark.parametrize(
    ("equations", "message"),
    [
        (B.Equations(np.ones((1, 3)), np.ones(1)), r"A of shape \(m, 4\).*found shapes \(1, 3\) and \(1,\)"),
        (B.Equations(np.ones((2, 4)), np.ones(1)), r"found shapes \(2, 4\) and \(1,\) from the method `equations`"),
        (B.Equations(np.ones((1, 4)), np.array([np.nan])), "finite numbers"),
    ],
)
def test_equations_that_are_none_are_refused(equations, message):
    with pytest.raises(ValueError, match=message):
        T.minimum_norm(Other((2, 2), [equations]))


def test_equations_in_32_bit_are_solved_in_64():
    with jax.enable_x64(False):
        w = T.minimum_norm(B.LeastSquares([[1.0, 3.0]], [1.0]))
    np.testing.assert_allclose(w, [0.1, 0.3], rtol=1e-15)
