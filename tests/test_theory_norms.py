"""The solutions of smallest l2 and l1 norm: by hand, by enumeration of supports, and where there is none or no one."""

import itertools

import numpy as np
import pytest
from contract import completion, sparse_completion
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow import theory

B, T = ut.problems, theory


def sparse_problem():
    """The oracle of the facts: 3 equations, 8 unknowns, a solution with two entries."""
    X = np.random.default_rng(0).standard_normal((3, 8))
    w = np.zeros(8)
    w[1], w[4] = 1, -0.5
    return B.LeastSquares(X, X @ w)


def vertices(A, b, nonnegative=False):
    """Every solution on a support of independent columns."""
    m, d = A.shape
    found = []
    for size in range(1, m + 1):
        for support in itertools.combinations(range(d), size):
            columns = A[:, support]
            if np.linalg.matrix_rank(columns) < size:
                continue
            values = np.linalg.lstsq(columns, b)[0]
            if np.linalg.norm(columns @ values - b) > 1e-9 * np.linalg.norm(b) or np.any(np.abs(values) < 1e-9):
                continue
            if not nonnegative or np.all(values > 0):
                w = np.zeros(d)
                w[list(support)] = values
                found.append(w)
    return found


# Smallest l2 norm ------------------------------------------------------------------------------


def test_minimum_norm_is_the_pseudoinverse():
    problem = sparse_problem()
    A, b = np.asarray(problem.A), np.asarray(problem.b)
    np.testing.assert_allclose(T.minimum_norm(problem), A.T @ np.linalg.solve(A @ A.T, b), rtol=1e-12)


def test_minimum_norm_of_redundant_and_of_contradicting_equations():
    np.testing.assert_allclose(
        T.minimum_norm(B.LeastSquares([[1.0, 2.0], [2.0, 4.0]], [5.0, 10.0])), [1, 2], rtol=1e-13
    )
    # Least squares: w_1 + 2 w_2 as near as possible to 5 and to 7.
    np.testing.assert_allclose(T.minimum_norm(B.LeastSquares([[1.0, 2.0], [1.0, 2.0]], [4.0, 6.0])), [1, 2], rtol=1e-13)


def test_minimum_norm_of_the_other_problems():
    np.testing.assert_allclose(T.minimum_norm(B.LineTarget(-1.0, -2.0, 15.0)), [3, 6], rtol=1e-13)
    target = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(T.minimum_norm(B.PointTarget(target)), target)
    for problem in (completion(), sparse_completion()):
        w = T.minimum_norm(problem)
        assert w.shape == problem.shape
        np.testing.assert_array_equal(w[problem.rows, problem.columns], problem.values)
        assert np.count_nonzero(w) == problem.values.size


def test_a_problem_of_another_kind_is_refused():
    class Other(B.Problem):
        shape = (2,)

        def loss(self, w):
            return (w**4).sum()

    for function in (T.minimum_norm, T.basis_pursuit, T.saddle_to_saddle):
        with pytest.raises(TypeError, match=r"problem: expected .*affine.*found Other"):
            function(Other())


# Smallest l1 norm ------------------------------------------------------------------------------


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_basis_pursuit_is_the_best_of_all_vertices(seed, nonnegative):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3, 7))
    b = A @ np.abs(rng.normal(size=7))
    best = min(vertices(A, b, nonnegative), key=lambda w: np.abs(w).sum())
    np.testing.assert_allclose(T.basis_pursuit(B.LeastSquares(A, b), nonnegative), best, rtol=1e-10, atol=1e-13)


def test_basis_pursuit_of_the_facts():
    w = T.basis_pursuit(sparse_problem())
    A, b = np.asarray(sparse_problem().A), np.asarray(sparse_problem().b)
    best = min(vertices(A, b), key=lambda w: np.abs(w).sum())
    np.testing.assert_allclose(w, best, rtol=1e-11)
    assert np.count_nonzero(w) == 3


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_planted_solution_is_recovered_at_every_scale(scale):
    rng = np.random.default_rng(3)
    A, truth = rng.normal(size=(40, 120)), np.zeros(120)
    truth[:6] = scale * rng.normal(size=6)
    A = A * np.logspace(-5, 5, 40)[:, None]  # nor do the units of the equations matter
    w = T.basis_pursuit(B.LeastSquares(A, A @ truth))
    np.testing.assert_allclose(w, truth, rtol=1e-8)
    assert np.count_nonzero(w) == 6


def test_basis_pursuit_of_the_other_problems():
    np.testing.assert_allclose(T.basis_pursuit(B.LineTarget(-1.0, -2.0, 15.0)), [0, 7.5], rtol=1e-13)
    np.testing.assert_array_equal(T.basis_pursuit(B.PointTarget([[1.0, -2.0]])), [[1, -2]])
    problem = completion()
    np.testing.assert_allclose(T.basis_pursuit(problem), T.minimum_norm(problem), rtol=1e-15)
    np.testing.assert_array_equal(T.basis_pursuit(B.LeastSquares([[1.0, 2.0]], [0.0])), [0, 0])


@pytest.mark.parametrize(
    ("problem", "nonnegative"),
    [
        (B.LeastSquares([[1.0, 2.0]], [-1.0]), True),
        (B.LeastSquares([[1.0, 2.0], [2.0, 4.0]], [1.0, 3.0]), False),
        (B.LeastSquares([[0.0, 0.0]], [1.0]), False),
        (B.PointTarget([1.0, -1.0]), True),
    ],
)
def test_infeasible_is_said(problem, nonnegative):
    with pytest.raises(T.Infeasible, match=r"problem: no .*w solves"):
        T.basis_pursuit(problem, nonnegative)


# Ties ------------------------------------------------------------------------------------------

SIMPLEX = B.LeastSquares([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 2.0, 3.0]], [1.0, 1.2])


@pytest.mark.parametrize("nonnegative", [False, True])
def test_a_tie_is_said_and_shown(nonnegative):
    with pytest.raises(T.NotUnique, match=r"smallest l1 norm 1 is attained by more than one w") as caught:
        T.basis_pursuit(SIMPLEX, nonnegative)
    first, second = caught.value.points
    assert np.max(np.abs(first - second)) > 0.1
    for w in (first, second):
        np.testing.assert_allclose(SIMPLEX.A @ w, SIMPLEX.b, rtol=1e-12)
        assert np.abs(w).sum() == pytest.approx(1, rel=1e-12)


def test_the_tie_of_largest_entropy_is_that_of_the_facts():
    w = T.basis_pursuit(SIMPLEX, nonnegative=True, ties="entropy")
    np.testing.assert_allclose(w, [0.34743961, 0.27220765, 0.21326586, 0.16708688], atol=5e-9)
    np.testing.assert_allclose(np.diff(np.log(w)), np.log(w[1] / w[0]), rtol=1e-9)  # log w is in the row space
    np.testing.assert_allclose(T.basis_pursuit(SIMPLEX, ties="entropy"), w, rtol=1e-12)


def test_entries_that_are_zero_all_over_the_face_stay_zero():
    problem = B.LeastSquares([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 2.0]], [1.0, 0.0])
    np.testing.assert_allclose(T.basis_pursuit(problem, True, ties="entropy"), [0.5, 0.5, 0, 0], rtol=1e-12)


def test_a_tie_of_equal_columns():
    problem = B.LeastSquares([[1.0, 1.0, -1.0]], [3.0])
    with pytest.raises(T.NotUnique):
        T.basis_pursuit(problem)
    np.testing.assert_allclose(T.basis_pursuit(problem, ties="entropy"), [1, 1, -1], rtol=1e-12)
    with pytest.raises(ValueError, match="ties: unknown choice 'best'"):
        T.basis_pursuit(problem, ties="best")


@given(seed=st.integers(0, 10_000), nonnegative=st.booleans())
def test_uniqueness_is_that_of_the_vertices(seed, nonnegative):
    """Integer matrices have many ties; two optimal vertices, or one, by enumeration."""
    rng = np.random.default_rng(seed)
    A = rng.integers(-2, 3, size=(2, 5)).astype(float)
    b = A @ rng.integers(0 if nonnegative else -2, 3, size=5).astype(float)
    if not np.any(A) or not np.any(b):
        return
    problem = B.LeastSquares(A, b)
    found = vertices(A, b, nonnegative)
    smallest = min(np.abs(w).sum() for w in found)
    best = {tuple(w.round(9)) for w in found if np.abs(w).sum() < smallest + 1e-9}
    if len(best) == 1:
        np.testing.assert_allclose(T.basis_pursuit(problem, nonnegative), next(iter(best)), atol=1e-10)
    else:
        with pytest.raises(T.NotUnique):
            T.basis_pursuit(problem, nonnegative)
        w = T.basis_pursuit(problem, nonnegative, ties="entropy")
        assert np.abs(w).sum() == pytest.approx(smallest, rel=1e-9)
        np.testing.assert_allclose(A @ w, b, atol=1e-9)
