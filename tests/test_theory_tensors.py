"""What theory says of tensor factorizations, against the flow itself and against counts by hand; and the CP rank."""

import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import simpson

import undertow as ut
from undertow.linalg import cp_rank

P, B, T = ut.parameterizations, ut.problems, ut.theory


def completion(shape, count, seed=0):
    rng = np.random.default_rng(seed)
    flat = rng.choice(np.prod(shape), count, replace=False)
    return B.TensorCompletion(shape, np.unravel_index(flat, shape), rng.normal(size=count))


def velocity_of_norms(problem, phi, params):
    """By automatic differentiation, through the parameters."""
    return np.asarray(_velocity_of_norms(problem, phi, params))


@eqx.filter_jit
def _velocity_of_norms(problem, phi, params):
    descent = jax.tree.map(jnp.negative, jax.grad(lambda p: problem.loss(phi(p)))(params))
    return jax.jvp(phi.component_norms, (params,), (descent,))[1]


# Velocities of components ------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("shape", [(5, 4), (4, 3, 2), (3, 2, 4, 2), (2, 3, 2, 2, 2)])
def test_the_velocity_of_balanced_components(shape):
    problem, phi = completion(shape, 12), P.CPTensor(shape, 6, "balanced")
    for scale in (1e-3, 1.0, 30.0):
        params = phi.init(jax.random.key(1), scale)
        found = T.component_velocity(problem, params)
        moved = velocity_of_norms(problem, phi, params)
        assert scale > 0.01 or ((moved > 0).any() and (moved < 0).any())  # large ones all shrink
        np.testing.assert_allclose(found.norms, phi.component_norms(params), rtol=1e-12)
        np.testing.assert_allclose(found.balanced, moved, rtol=1e-9)
        assert found.unbalancedness < 1e-12 * max(float(x.max()) for x in params) ** 2
        for bound in (found.lower, found.upper):
            np.testing.assert_allclose(bound, moved, rtol=1e-9)


@pytest.mark.parametrize("shape", [(5, 4), (4, 3, 2), (3, 2, 4, 2)])
@pytest.mark.parametrize("initialization", ["gaussian", "unbalanced"])
def test_unbalanced_components_keep_to_the_bounds(shape, initialization):
    problem, phi = completion(shape, 12), P.CPTensor(shape, 40, initialization)
    for scale in (1e-3, 1.0):
        params = phi.init(jax.random.key(2), scale)
        found, moved = T.component_velocity(problem, params), velocity_of_norms(problem, phi, params)
        squares = np.array([np.sum(np.asarray(x) ** 2, axis=0) for x in params])
        assert found.unbalancedness == pytest.approx(np.ptp(squares, axis=0).max(), rel=1e-12)
        slack = 1e-12 * np.abs(moved).max()
        assert np.all(found.lower <= moved + slack)
        assert np.all(moved <= found.upper + slack)
        assert np.any(np.abs(found.balanced - moved) > 0.01 * np.abs(moved))  # the formula for balanced ones is another


def test_more_unbalancedness_is_less_to_say():
    problem, params = completion((4, 3, 2), 12), P.CPTensor((4, 3, 2), 5).init(jax.random.key(0), 1.0)
    near, far = (T.component_velocity(problem, params, unbalancedness=e) for e in (1.0, 10.0))
    assert np.all(far.lower <= near.lower)
    assert np.all(near.upper <= far.upper)
    assert near.unbalancedness == 1.0


def test_a_component_of_zero_stands_still():
    problem = completion((4, 3, 2), 12)
    params = [x.at[:, 1].set(0) for x in P.CPTensor((4, 3, 2), 3).init(jax.random.key(0), 1.0)]
    found = T.component_velocity(problem, params)
    assert [found.norms[1], found.alignment[1], found.balanced[1], found.lower[1]] == [0, 0, 0, 0]


@pytest.mark.long
def test_along_a_flow_both_sides_are_one():
    """Differences of norms between times, against the integral of what the theorem says."""
    problem, phi = completion((5, 4, 3), 30, seed=3), P.CPTensor((5, 4, 3), 3, "balanced")
    times = np.linspace(0, 20, 81)
    run = ut.train(
        problem,
        phi,
        ut.dynamics.GradientFlow(rtol=1e-9, atol=1e-12),
        key=1,
        scale=0.3,
        stop=ut.Stop(loss=None, time=20.0),
        samples=times,
        probes=[ut.probes.Function("factors", lambda p: jnp.concatenate(p), of="params")],
    )
    factors = [np.split(x, [5, 9]) for x in run["factors"]]
    velocities = [T.component_velocity(problem, f) for f in factors]
    norms = np.array([velocity.norms for velocity in velocities])
    expected = simpson([velocity.balanced for velocity in velocities], run.times, axis=0)
    assert np.abs(norms[-1] - norms[0]).max() > 0.1
    np.testing.assert_allclose(norms[-1] - norms[0], expected, atol=2e-3)


# Conservation laws -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns", "width", "laws"),
    [(2, 2, 1, 1), (2, 2, 2, 3), (3, 3, 2, 3), (2, 2, 3, 6), (1, 1, 2, 3), (1, 1, 3, 5)],
)
def test_laws_of_a_product_of_two_matrices(rows, columns, width, laws):
    phi = P.DeepMatrix((rows, columns), 2, width)
    for seed, scale in ((0, 1.0), (1, 1e-3)):
        assert T.conservation_laws(phi, phi.init(jax.random.key(seed), scale)) == laws


@pytest.mark.parametrize(
    ("shape", "components", "laws"),
    [
        ((2, 2, 2), 1, 2),
        ((2, 2, 2), 2, 4),
        ((3, 2, 2), 3, 6),  # differences of squared norms: R (N - 1)
        ((2, 2, 2, 2), 2, 6),
        ((1, 1, 1), 2, 5),  # one field alone
        ((3, 2), 2, 3),  # of a matrix: U^T U - V^T V
    ],
)
def test_laws_of_cp_tensors(shape, components, laws):
    phi = P.CPTensor(shape, components)
    assert T.conservation_laws(phi, phi.init(jax.random.key(3), 1.0)) == laws


@pytest.mark.parametrize(
    ("phi", "laws"),
    [
        (P.Identity(3), 0),
        (P.Power(3, 2), 0),
        (P.SignedPower(3, 2), 3),  # u v
        (P.Hadamard(2, 3), 4),
        (P.Gram(3, 2), 0),
        (P.DeepMatrix((2, 2), 3), 6),
        (P.HierarchicalTensor((2, 2, 2, 2), widths=1), 6),  # of three vectors at each of three nodes, two differences
    ],
    ids=lambda x: type(x).__name__ if not isinstance(x, int) else str(x),
)
def test_laws_of_other_maps(phi, laws):
    assert T.conservation_laws(phi, phi.init(jax.random.key(4), 1.0)) == laws


def test_laws_do_not_hang_on_what_is_trained_and_hold_in_float32():
    phi = P.DeepMatrix((2, 2), 2)
    params = phi.init(jax.random.key(0), 1.0)
    assert T.conservation_laws(phi, jax.tree.map(lambda x: x.astype(jnp.float32), params)) == 3


def test_where_laws_cannot_be_counted():
    phi = P.CPTensor((2, 2, 2), 2)
    with pytest.raises(ValueError, match=r"params: expected a point whose surroundings look like it"):
        T.conservation_laws(phi, jax.tree.map(jnp.zeros_like, phi.init(jax.random.key(0), 1.0)))
    with pytest.raises(T.Unsolved, match=r"max_depth: .* ask for more"):
        T.conservation_laws(phi, phi.init(jax.random.key(0), 1.0), max_depth=1)


# CP rank -----------------------------------------------------------------------------------------


def random_tensor(shape, rank, seed=0):
    rng = np.random.default_rng(seed)
    return sum(functools.reduce(np.multiply.outer, [rng.normal(size=n) for n in shape]) for _ in range(rank))


@pytest.mark.parametrize(("shape", "rank"), [((8, 8, 8), 1), ((8, 8, 8), 3), ((6, 5, 4, 3), 3), ((10, 10, 10), 5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_rank_of_a_sum_of_few_components(shape, rank, seed):
    found = cp_rank(random_tensor(shape, rank, seed), 1e-3)
    assert (found.rank, found.at_least) == (rank, rank)
    assert found.error <= 1e-3


def test_a_rank_above_those_of_all_matricizations():
    """The product of complex numbers as a 2 x 2 x 2 tensor: of rank 3, its matricizations of rank 2."""
    product = np.zeros((2, 2, 2))
    product[0, 0, 0], product[1, 1, 0], product[0, 1, 1], product[1, 0, 1] = 1, -1, 1, 1
    assert cp_rank(product, 1e-4)[:2] == (3, 2)


def test_a_matrix_and_zero_are_exact():
    matrix = np.diag([4.0, 2.0, 1.0])
    assert cp_rank(matrix, 0.3)[:2] == (2, 2)
    assert cp_rank(matrix, 0.3).error == pytest.approx(1 / np.sqrt(21), rel=1e-12)
    assert cp_rank(matrix, 1e-12).rank == 3
    assert cp_rank(np.zeros((2, 2, 2)), 0.1) == (0, 0, 0.0)


def test_one_entry_a_fiber_is_never_more_than_one_component_each():
    tensor = np.zeros((8, 8, 8))
    tensor[np.arange(8), np.arange(8), np.arange(8)] = np.arange(1.0, 9.0)
    assert cp_rank(tensor, 1e-6)[:2] == (8, 8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cp_rank([1.0, 2.0], 0.1), ValueError, "tensor: expected finite entries and two axes or more"),
        (lambda: cp_rank(np.full((2, 2), np.nan), 0.1), ValueError, "with entries that are not finite"),
        (lambda: cp_rank(np.ones((2, 0)), 0.1), ValueError, "tensor: expected finite entries"),
        (lambda: cp_rank(np.ones((2, 2)) * 1j, 0.1), TypeError, "tensor: expected an array of real numbers"),
        (lambda: cp_rank(np.ones((2, 2)), 0.0), ValueError, "tolerance: expected a finite number above 0"),
        (lambda: cp_rank(np.ones((2, 2)), 1.0), ValueError, "tolerance: expected a number below 1, found 1.0"),
        (lambda: cp_rank(np.ones((2, 2)), 0.1, starts=0), ValueError, "starts: expected an integer of at least 1"),
        (
            lambda: T.component_velocity(completion((4, 3, 2), 5), [np.ones((4, 2)), np.ones((3, 2))]),
            ValueError,
            "factors: expected a matrix for each axis of (4, 3, 2)",
        ),
        (
            lambda: T.component_velocity(completion((4, 3), 5), [np.ones((4, 2)), np.ones((3, 1))]),
            ValueError,
            "factors: expected a matrix for each axis of (4, 3), with as many columns each, found shapes",
        ),
        (
            lambda: T.component_velocity(completion((4, 3), 5), [np.ones((4, 2)), np.ones((3, 2))], -1.0),
            ValueError,
            "unbalancedness: expected a finite number of at least 0",
        ),
        (
            lambda: T.conservation_laws(P.Identity(2), jnp.ones(2), max_depth=0),
            ValueError,
            "max_depth: expected an integer of at least 1",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
