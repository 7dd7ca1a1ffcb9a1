"""Saddle to saddle: by hand, the rules of the path, where it ends, and the flow from vanishing initializations."""

import jax.numpy as jnp
import numpy as np
import pytest
from contract import completion
from scipy.optimize import linprog

import undertow as ut
from undertow import theory

B, P, T = ut.problems, ut.parameterizations, theory


def random_problem(seed, m, d, normalization="half_sum"):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(m, d))
    return B.LeastSquares(A, A @ rng.normal(size=d), normalization)


def test_orthogonal_columns_are_learned_one_by_one():
    """Entry i alone: w' = (w*_i - w_i) c, so that it jumps to w*_i at 1 / (2 c |w*_i|)."""
    path = T.saddle_to_saddle(B.PointTarget([[2.0, 0.0], [-1.0, 8.0]]))
    np.testing.assert_allclose(path.times, [0, 1 / 16, 1 / 4, 1 / 2], rtol=1e-14)
    expected = np.zeros((4, 2, 2))
    expected[1:, 1, 1], expected[2:, 0, 0], expected[3:, 1, 0] = 8, 2, -1
    np.testing.assert_allclose(path.points, expected, rtol=1e-14)


def test_the_line_of_the_primer():
    """The gradient at 0 is (a, b) c / (a^2 + b^2) = (-3, -6): the larger entry jumps at 1 / 12, and that is all."""
    path = T.saddle_to_saddle(B.LineTarget(-1.0, -2.0, 15.0))
    np.testing.assert_allclose(path.times, [0, 1 / 12], rtol=1e-14)
    np.testing.assert_allclose(path.points, [[0, 0], [0, 7.5]], rtol=1e-14)


def test_the_clock_is_that_of_the_normalization():
    times = {name: T.saddle_to_saddle(random_problem(1, 3, 6, name)).times for name in ("half_sum", "sum", "mean")}
    np.testing.assert_allclose(times["sum"], times["half_sum"] / 2, rtol=1e-12)
    np.testing.assert_allclose(times["mean"], times["half_sum"] * 3 / 2, rtol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_the_rules_of_the_path_and_its_end(seed):
    problem = random_problem(seed, 4, 9)
    A, b = np.asarray(problem.A), np.asarray(problem.b)
    times, points = T.saddle_to_saddle(problem)
    integral = np.zeros(9)
    losses = [np.sum((A @ w - b) ** 2) for w in points]
    assert np.all(np.diff(losses) < 0)
    for k, w in enumerate(points):
        gradient = A.T @ (A @ w - b)
        assert np.all(np.abs(integral) <= 0.5 + 1e-12)
        # An entry that is not zero has its integral at the bound of its sign, and no gradient.
        np.testing.assert_allclose(integral[w != 0], np.sign(w[w != 0]) / 2, rtol=1e-12)
        np.testing.assert_allclose(gradient[w != 0], 0, atol=1e-12 * np.linalg.norm(b))
        if k + 1 < len(points):
            integral = integral - (times[k + 1] - times[k]) * gradient
    np.testing.assert_allclose(points[-1], T.basis_pursuit(problem), rtol=1e-8, atol=1e-12)
    # The integral at the end certifies it: in the row space, at most 1/2, and +-1/2 on the support.
    assert np.linalg.norm(A.T @ np.linalg.lstsq(A.T, integral)[0] - integral) < 1e-12 * np.linalg.norm(integral)


def test_inconsistent_equations_end_at_the_least_loss():
    rng = np.random.default_rng(3)
    A, b = rng.normal(size=(6, 4)), rng.normal(size=6)
    _, points = T.saddle_to_saddle(B.LeastSquares(A, b))
    np.testing.assert_allclose(points[-1], np.linalg.lstsq(A, b)[0], rtol=1e-10)


def test_completion_learns_the_largest_entries_first():
    problem = completion()
    _, points = T.saddle_to_saddle(problem)
    steps = np.max(np.abs(np.diff(points, axis=0)), axis=(1, 2))
    np.testing.assert_allclose(steps, np.sort(np.abs(problem.values))[::-1], rtol=1e-12)
    np.testing.assert_array_equal(np.count_nonzero(points, axis=(1, 2)), np.arange(6))


@pytest.mark.long
@pytest.mark.parametrize("depth", [2, 3, 2.5])
def test_asymmetric_and_deep_paths_end_at_a_weighted_l1_norm_and_the_flow_rests_where_they_do(depth):
    """The end by a linear program of its own; the flow at an alpha at which jumps are sharp."""
    problem = random_problem(5, 3, 5)
    A, b = np.asarray(problem.A), np.asarray(problem.b)
    p, q = np.random.default_rng(0).uniform(0.5, 1.5, (2, 5))
    path = T.saddle_to_saddle(problem, depth, **{"exponents" if depth == 2 else "sizes": (p, q)})
    cost = [x / 2 if depth == 2 else x ** (2 - depth) / (depth * (depth - 2)) for x in (p, q)]
    x = linprog(np.concatenate(cost), A_eq=np.hstack([A, -A]), b_eq=b).x
    np.testing.assert_allclose(path.points[-1], x[:5] - x[5:], atol=1e-8)
    alpha = {2: 1e-60, 2.5: 1e-8, 3: 1e-4}[depth]
    clock = -np.log(alpha) if depth == 2 else alpha ** (2 - depth)
    start = (alpha**p, alpha**q) if depth == 2 else (alpha * p, alpha * q)
    rests = np.append((path.times[:-1] + path.times[1:]) / 2, 1.3 * path.times[-1])
    run = ut.train(
        problem,
        P.SignedPower(5, depth),
        ut.dynamics.GradientFlow("auto", rtol=1e-7),
        params=tuple(map(jnp.asarray, start)),
        probes=[ut.probes.Function("w", lambda w: w)],
        stop=ut.Stop(loss=None, time=rests[-1] * clock),
        samples=rests[:-1] * clock,
    )
    # At depth 2 by powers of alpha as large as a rest is long in units of the clock: as wide as for alike starts above.
    np.testing.assert_allclose(run["w"][1:], path.points, atol=0.05 if depth == 2 else 5e-3)


def test_alike_starts_take_the_same_path_at_every_depth():
    """At depth 3 in a time of 2 / 3, since an entry grows at 1 / 3 instead of 1 / 2."""
    problem = random_problem(1, 3, 6)
    two, three = T.saddle_to_saddle(problem), T.saddle_to_saddle(problem, 3)
    np.testing.assert_allclose(three.points, two.points, rtol=1e-12)
    np.testing.assert_allclose(three.times, two.times * 2 / 3, rtol=1e-12)


def test_a_half_that_is_zero_never_grows():
    entries = B.PointTarget([2.0, -1.0])
    for depth, given in ((2, {"exponents": (1.0, None)}), (3, {"sizes": (1.0, None)})):
        assert T.saddle_to_saddle(entries, depth, **given).points.tolist() == [[0, 0], [2, 0]]
        _, points = T.saddle_to_saddle(random_problem(0, 4, 3), depth, **given)
        assert np.all(points >= 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"depth": 1.5}, ValueError, "depth: expected a finite number of at least 2"),
        ({"sizes": (1.0, 2.0)}, ValueError, "sizes: expected none at depth 2"),
        ({"depth": 3, "exponents": (1.0, 2.0)}, ValueError, "exponents: expected none at depth 3"),
        ({"exponents": (0.0, 1.0)}, ValueError, "exponents: expected numbers above 0"),
        ({"depth": 3, "sizes": (np.ones(3), 1.0)}, ValueError, r"of the shape of the problem, \(2,\), found \(3,\)"),
        ({"depth": 9, "sizes": (1e-100, 1.0)}, T.Unsolved, "beyond the range of float64"),
    ],
)
def test_starts_that_say_nothing_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        T.saddle_to_saddle(B.PointTarget([2.0, -1.0]), **arguments)


def test_nothing_to_learn_is_no_path():
    times, points = T.saddle_to_saddle(B.LeastSquares([[1.0, 2.0]], [0.0]))
    assert times.tolist() == [0]
    assert points.tolist() == [[0, 0]]


def test_a_jump_that_is_not_unique_is_said():
    with pytest.raises(T.NotUnique, match=r"on the entries \[0, 1\] is not unique") as caught:
        T.saddle_to_saddle(B.LeastSquares([[1.0, 1.0, 0.5]], [2.0]))
    first, second = caught.value.points
    assert np.max(np.abs(first - second)) > 0.1
    np.testing.assert_allclose([first.sum(), second.sum()], 2, rtol=1e-12)


# The flow --------------------------------------------------------------------------------------


def flow(problem, alpha, times):
    """w of the trained flow at these times, in units of log(1 / alpha)."""
    clock = np.log(1 / alpha)
    d = problem.shape[0]
    run = ut.train(
        problem,
        P.SignedPower(d, 2),
        ut.dynamics.GradientFlow("explicit", rtol=1e-8),
        params=(jnp.full(d, alpha), jnp.full(d, alpha)),
        probes=[ut.probes.Function("w", lambda w: w)],
        stop=ut.Stop(loss=None, time=times[-1] * clock),
        samples=np.asarray(times) * clock,
    )
    assert run.status == "stopped"
    return np.asarray(run["w"])[1:]


def test_the_flow_rests_where_the_path_does():
    """Four saddles; one of them is left by an entry that returns to zero."""
    problem = random_problem(5, 3, 5)
    path = T.saddle_to_saddle(problem)
    assert len(path.times) == 6
    assert np.any((path.points[:-1] != 0) & (path.points[1:] == 0))
    rests = np.append((path.times[:-1] + path.times[1:]) / 2, path.times[-1] + 1)
    gaps = [np.max(np.abs(flow(problem, alpha, rests) - path.points), axis=1) for alpha in (1e-12, 1e-16, 1e-20)]
    assert np.all(gaps[0] < 0.05)
    assert np.all(gaps[2] < 0.025)
    assert np.all(gaps[2] <= gaps[1] + 1e-6)
    assert np.all(gaps[1] <= gaps[0] + 1e-6)


def test_the_jumps_are_late_by_a_share_of_one_over_log_alpha():
    """The time at which the first entry passes half of its first value."""
    problem = random_problem(1, 3, 6)
    path = T.saddle_to_saddle(problem)
    entry = int(np.argmax(np.abs(path.points[1])))
    times = np.linspace(0.8, 1.2, 400) * path.times[1]
    delays = []
    for alpha in (1e-12, 1e-24, 1e-48):
        w = flow(problem, alpha, times)[:, entry] / path.points[1][entry]
        delays.append((np.interp(0.5, w, times) / path.times[1] - 1) * np.log(1 / alpha))
    # What is late by a share c / log(1 / alpha), to leading order, has c as the limit of these.
    assert abs(delays[2] - delays[1]) < 0.5 * abs(delays[1] - delays[0]) < 0.05
    assert 0.1 < delays[2] < 0.5
