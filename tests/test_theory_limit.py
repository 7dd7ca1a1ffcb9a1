"""Where gradient flow ends: the tables of the facts, and the trained flow for maps that nobody has worked out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import completion

import undertow as ut
from undertow import theory

B, P, T = ut.problems, ut.parameterizations, theory
LINE = B.LineTarget(-1.0, -2.0, 15.0)


# Tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "alpha", "expected"),
    [
        (0.25, 1e-2, (4.675550, 5.162225)),
        (0.25, 1e-4, (4.675550, 5.162225)),
        (0.5, 1e-2, (4.261555, 5.369223)),
        (0.5, 1e-4, (4.261555, 5.369223)),
        (1, 1e-2, (3.004, 5.998)),
        (1, 1e-4, (3.00004, 5.99998)),
        (1.5, 1e-2, (1.190445, 6.904778)),
        (1.5, 1e-4, (0.943928, 7.028036)),
        (2, 1e-2, (0.271373, 7.364314)),
        (2, 1e-4, (0.0273611, 7.4863194)),
        (3, 1e-2, (0.058463, 7.470769)),
        (3, 1e-4, (7.45685e-4, 7.499627)),
        (4, 1e-2, (0.037228, 7.481386)),
        (4, 1e-4, (3.97095e-4, 7.499801)),
        (6, 1e-2, (0.027777, 7.486111)),
        (6, 1e-4, (2.82604e-4, 7.499859)),
        (None, 1e-2, (0.0199733, 7.4900133)),
        (None, 1.0, (1.737913, 6.631044)),
    ],
)
def test_end_points_on_the_line(depth, alpha, expected):
    """Facts, parameterizations, section 2; their last digit is the sixth after the point."""
    phi = P.Exponential(2) if depth is None else P.Power(2, depth)
    w = T.limit(LINE, phi, phi.lift([alpha, alpha]))
    np.testing.assert_allclose(w, expected, atol=1e-6)
    assert w @ [-1.0, -2.0] == pytest.approx(-15, rel=1e-10)


X = np.random.default_rng(0).standard_normal((3, 8))
SPARSE = B.LeastSquares(X, X[:, 1] - 0.5 * X[:, 4])


@pytest.mark.parametrize(
    ("alpha", "ratios"),
    [
        (3.0, [(1.25774, 1.000000), (1.25774, 1.000000), (1.25774, 1.000000)]),
        (1.0, [(1.25764, 1.000000), (1.25752, 1.000000), (1.25745, 1.000000)]),
        (0.3, [(1.24693, 1.000198), (1.17272, 1.019774), (1.07509, 1.106136)]),
        (0.1, [(1.14062, 1.036079), (1.02611, 1.240196), (1.00244, 1.389499)]),
        (0.03, [(1.05040, 1.135876), (1.00176, 1.391625), (1.0000229, 1.408158)]),
    ],
)
def test_diagonal_networks_from_kernel_to_rich(alpha, ratios):
    """Facts, diagonal-and-sparse, section 4: the l1 norm and the squared l2 norm over the smallest ones."""
    smallest_l1 = np.abs(T.basis_pursuit(SPARSE)).sum()
    smallest_l2 = np.sum(T.minimum_norm(SPARSE) ** 2)
    for depth, (l1, l2) in zip((2, 3, 4), ratios, strict=True):
        w = T.limit(SPARSE, P.SignedPower(8, depth), (jnp.full(8, alpha), jnp.full(8, alpha)))
        assert np.abs(w).sum() / smallest_l1 == pytest.approx(l1, abs=1e-7 if l1 == 1.0000229 else 5.1e-6)
        assert np.sum(w**2) / smallest_l2 == pytest.approx(l2, abs=1.1e-6)


def test_the_square_map_ends_at_the_largest_entropy():
    problem = B.LeastSquares([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 2.0, 3.0]], [1.0, 1.2])
    w = T.limit(problem, P.Power(4, 2), jnp.full(4, 1e-3))
    np.testing.assert_allclose(w, [0.34743961, 0.27220765, 0.21326586, 0.16708688], atol=5e-9)


@pytest.mark.long
@pytest.mark.parametrize(("depth", "alpha", "tolerance"), [(2, 1e-8, 1e-4), (2, 1e-20, 1e-12), (4, 1e-4, 1e-6)])
def test_a_vanishing_initialization_ends_at_basis_pursuit(depth, alpha, tolerance):
    """Twenty equations, and a solution of three entries."""
    rng = np.random.default_rng(1)
    A, truth = rng.normal(size=(20, 50)), np.zeros(50)
    truth[:3] = [1.0, -2.0, 0.5]
    w = T.limit(B.LeastSquares(A, A @ truth), P.SignedPower(50, depth), (jnp.full(50, alpha), jnp.full(50, alpha)))
    np.testing.assert_allclose(w, truth, atol=tolerance)


@pytest.mark.long
def test_observed_entries_end_at_their_values_and_the_others_stay():
    problem = completion()
    phi = P.SignedPower(problem.shape, 2)
    params = phi.init(jax.random.key(1), 0.1)
    expected = np.array(phi(params))
    expected[problem.rows, problem.columns] = problem.values
    np.testing.assert_allclose(T.limit(problem, phi, params), expected, rtol=1e-9)
    target = B.PointTarget([[1.0, -2.0]])
    np.testing.assert_allclose(T.limit(target, P.Identity((1, 2)), jnp.zeros((1, 2))), target.target, rtol=1e-12)


# Against the trained flow ----------------------------------------------------------------------


def entrywise(f):
    return P.Function(f, shape=8)


# The map, how many parameters an entry has, and the parameters of a draw of size 1.
UNKNOWN = {
    "sinh": (entrywise(jnp.sinh), 1, lambda draw: draw),
    "u + u^3": (entrywise(lambda u: u + u**3), 1, lambda draw: draw),
    "softplus": (entrywise(jax.nn.softplus), 1, lambda draw: jnp.log(jnp.expm1(jnp.abs(draw)))),
    "u^3 + v": (entrywise(lambda p: p[0] ** 3 + p[1]), 2, lambda draw: draw),
    "u^2 - v^2 + sinh": (entrywise(lambda p: p[0] ** 2 - p[1] ** 2 + jnp.sinh(p[2])), 3, lambda draw: draw),
    "u v": (entrywise(lambda p: p[0] * p[1]), 2, lambda draw: draw),
}


@pytest.mark.long
@pytest.mark.parametrize("name", UNKNOWN)
def test_the_trained_flow_ends_where_predicted(name):
    """Random problems and random starts from 1e-3 to 10; the issue asks for 1e-4."""
    phi, count, params_of = UNKNOWN[name]
    # Not "explicit": from entries of 3e4 sinh is stiff, and explicit steps hover at an error that goes with rtol.
    flow = ut.dynamics.GradientFlow(rtol=1e-8)
    for seed, size in enumerate([1e-3, 0.03, 1.0, 10.0]):
        rng = np.random.default_rng(seed)
        A, truth = rng.normal(size=(3, 8)), rng.normal(size=8)
        problem = B.LeastSquares(A, A @ (np.abs(truth) if name == "softplus" else truth))
        draw = size * rng.normal(size=(count, 8) if count > 1 else 8)
        params = params_of(jnp.asarray(draw))
        w = T.limit(problem, phi, params)
        run = ut.train(problem, phi, flow, params=params, stop=ut.Stop(loss=1e-18), samples=2)
        assert run.status == "converged"
        assert np.linalg.norm(w - run.w) < 1e-6 * np.linalg.norm(w), size
        np.testing.assert_allclose(A @ w, problem.b, atol=1e-10 * np.linalg.norm(problem.b))


# Where there is none ---------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("depth", [2, 3, 2.5])
def test_a_solution_out_of_reach_is_said(depth):
    """The flow of u^3 from u > 0 does not pass u = 0 either."""
    with pytest.raises(T.Infeasible, match="no point with zero error was found within the domain"):
        T.limit(B.LeastSquares([[1.0, 1.0]], [-1.0]), P.Power(2, depth), jnp.ones(2))


def test_contradicting_equations_are_said():
    with pytest.raises(T.Infeasible, match=r"its 2 equations A w = b, of rank 1, contradict each other"):
        T.limit(B.LeastSquares([[1.0, 2.0], [2.0, 4.0]], [1.0, 3.0]), P.Identity(2), jnp.ones(2))


def test_no_potential_no_prediction():
    with pytest.raises(T.NotAMirrorFlow):
        T.limit(LINE, P.Polar(), jnp.array([1.0, 0.5]))


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"parameterization: expected shape \(2,\), as LineTarget has, found \(3,\)"):
        T.limit(LINE, P.Power(3, 2), jnp.ones(3))
    with pytest.raises(ValueError, match="params: "):
        T.limit(LINE, P.Power(2, 2), jnp.ones(3))
