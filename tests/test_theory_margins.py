"""Margins in theory: closed forms, other solvers, optimality conditions, the flow in log time, laws, refusals."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import SVC

import undertow as ut
from undertow.theory import NotSeparable, NotUnique, hard_margin_rate, maximum_margin, separation

C = ut.problems.Classification
GENERIC = np.array([[1.0, 0.2], [0.2, 1.0], [2.0, 1.5]])
DEGENERATE = np.array([[1.0, 0.5], [2.0, -1.0], [0.5, 1.5]])
NORMS = {
    "l1": lambda W: np.abs(W).sum(),
    "l2": np.linalg.norm,
    "linf": lambda W: np.abs(W).max(),
    "spectral": lambda W: np.linalg.norm(W, 2),
    "nuclear": lambda W: np.linalg.norm(W, "nuc"),
    "frobenius": np.linalg.norm,
}


def folded(points, **options):
    """A problem of these points times their labels: the last is given label -1."""
    labels = np.ones(len(points), int)
    labels[-1] = -1
    return C(np.asarray(points) * labels[:, None], labels, **options)


def two_classes(n, d, seed):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n, d)), rng.normal(size=d)
    return X, np.where(X @ w > 0, 1, -1)


def some_classes(n=25, d=10, k=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)), np.arange(n) % k


# Closed forms ------------------------------------------------------------------------------------


def test_one_direction():
    x = np.array([3.0, -1.0, 2.0])
    problem = C([x, -2 * x], [1, -1])  # the second is twice as far
    np.testing.assert_allclose(maximum_margin(problem), x / (x @ x), rtol=1e-14)
    np.testing.assert_allclose(maximum_margin(problem, "l1"), [1 / 3, 0, 0], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(maximum_margin(problem, "linf"), np.sign(x) / 6, rtol=1e-13)


def test_three_points_of_the_oracle():
    # facts: what = (5/6, 5/6), gamma = 0.848528, wtilde = (0.3038693, 0.3038693).
    for normalization, points in (("sum", 1), ("mean", 3)):
        rate = hard_margin_rate(folded(GENERIC, normalization=normalization))
        np.testing.assert_allclose(rate.w_hat, [5 / 6, 5 / 6], rtol=1e-14)
        assert rate.margin == pytest.approx(0.6 * np.sqrt(2), rel=1e-14)
        a = 25 / 36  # what = a x1 + a x2
        np.testing.assert_allclose(rate.duals, [a, a, 0], rtol=1e-13)
        assert rate.support.tolist() == [True, True, False]
        np.testing.assert_allclose(rate.w_tilde, -np.log(points * a) / 1.2 * np.ones(2), rtol=1e-13)
        assert not rate.degenerate
        assert rate.spans
    assert hard_margin_rate(folded(GENERIC)).w_tilde == pytest.approx([0.3038693] * 2, abs=5e-8)


def test_a_support_of_dual_zero_is_told():
    rate = hard_margin_rate(folded(DEGENERATE))
    np.testing.assert_allclose(rate.w_hat, [0.8, 0.4], rtol=1e-14)
    np.testing.assert_allclose(rate.duals, [0.8, 0, 0], atol=1e-14)
    assert rate.support.tolist() == [True, False, True]
    assert rate.degenerate
    assert rate.w_tilde is None


def test_equal_points_share_their_dual():
    # Two times x: each has dual 1 / (2 |x|^2), and 2 exp(-x . w) = 1 / |x|^2.
    x = np.array([1.0, 2.0])
    rate = hard_margin_rate(C([x, -x], [1, -1]))
    np.testing.assert_allclose(rate.duals, [0.1, 0.1], rtol=1e-12)
    np.testing.assert_allclose(rate.w_tilde, np.log(10) * x / 5, rtol=1e-12)
    assert not rate.degenerate


def test_the_identity_in_three_classes():
    W = np.eye(3) - 1 / 3
    problem = C(np.eye(3), [0, 1, 2])
    for norm in ("l2", "frobenius", "spectral", "nuclear"):
        np.testing.assert_allclose(maximum_margin(problem, norm), W, atol=1e-8)
    rate = hard_margin_rate(problem)
    np.testing.assert_allclose(rate.duals, (1 - np.eye(3)) / 3, rtol=1e-12)  # by point and class
    # exp(-m) = 1/3 for each margin: w_tilde is what along, log 3 long.
    np.testing.assert_allclose(rate.w_tilde, np.log(3) * W, atol=1e-12)
    assert rate.basis.shape == (6, 3, 3)


@pytest.mark.parametrize("norm", ["spectral", "nuclear"])
def test_one_row_of_rank_one(norm):
    # All that is asked is <W, R> >= 1 with R = (e_0 - e_1) x^T, whose norms are all sqrt(2) |x|: W = R / |R|^2 is one
    # of least norm. In the nuclear norm the only one; in the spectral norm (1, 1) z^T may be added, for a small z.
    x = np.array([3.0, -1.0, 2.0])
    R = np.outer([1, -1], x)
    problem = C([x, -x], [0, 1], classes=2)
    W = maximum_margin(problem, norm)
    assert NORMS[norm](W) == pytest.approx(1 / np.linalg.norm(R), rel=1e-7)
    np.testing.assert_allclose(np.sum(W * R), 1, rtol=1e-12)
    beside = W - R / np.sum(R**2)
    if norm == "nuclear":
        np.testing.assert_allclose(beside, 0, atol=1e-6)
    else:
        np.testing.assert_allclose(beside @ x, 0, atol=1e-6)
        np.testing.assert_allclose([1, -1] @ beside, 0, atol=1e-6)


@pytest.mark.parametrize("norm", ["spectral", "nuclear"])
def test_a_simplex_has_equal_singular_values(norm):
    classes = 4
    # One point a class, at the corners of a regular simplex: the permutations of its corners act irreducibly, and the
    # mean of a W over them is no longer and a multiple of X. All margins are tight, so that there is no other W.
    Q = np.linalg.qr(np.random.default_rng(3).normal(size=(classes - 1, classes - 1)))[0]
    centered = np.linalg.qr(np.hstack([np.ones((classes, 1)), np.eye(classes)[:, :-1]]))[0][:, 1:]
    X = centered @ Q / np.linalg.norm(centered[0])
    W = maximum_margin(C(X, np.arange(classes)), norm)
    np.testing.assert_allclose(W, (classes - 1) / classes * X, atol=1e-6)
    singular = np.sqrt((classes - 1) / classes)
    assert NORMS[norm](W) == pytest.approx(singular * (1 if norm == "spectral" else classes - 1), rel=1e-7)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_a_ray_in_the_way_of_the_intercept(norm):
    # Points 1 and 3: counted, the intercept is 1 per unit of feature; free, the boundary is half way.
    problem = C([[1.0], [3.0]], [-1, 1], intercept=True)
    np.testing.assert_allclose(maximum_margin(problem, norm, free_intercept=True), [1, -2], rtol=1e-12)
    assert np.min(problem.margins(jnp.asarray(maximum_margin(problem, norm)))) == pytest.approx(1)


# Other solvers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(60, 4), (15, 40), (700, 5)])
def test_a_free_intercept_gives_the_support_vector_machine(n, d):
    X, y = two_classes(n, d, seed=n)
    w = maximum_margin(C(X, y, intercept=True), free_intercept=True)
    machine = SVC(kernel="linear", C=1e10, tol=1e-9).fit(X, y)
    found = np.concatenate([machine.coef_[0], machine.intercept_])
    # The machine ends at its tolerance; ours is to be no longer, for the margin that it has.
    np.testing.assert_allclose(w, found, rtol=1e-4, atol=1e-4 * np.max(np.abs(found)))
    assert np.linalg.norm(w[:-1]) <= np.linalg.norm(machine.coef_) / np.min(y * machine.decision_function(X)) * (
        1 + 1e-9
    )
    assert np.min(y * (X @ w[:-1] + w[-1])) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_linear_programs_written_as_the_other_problem(norm):
    # The largest margin over the ball of w, an interior-point method, instead of the least w of margin 1.
    X, y = two_classes(30, 6, seed=1)
    n, d = X.shape
    R = y[:, None] * X
    if norm == "l1":
        A = np.block([[-R, R, np.ones((n, 1))], [np.ones((1, 2 * d)), np.zeros((1, 1))]])
        b, bounds = np.concatenate([np.zeros(n), [1]]), [(0, None)] * (2 * d) + [(None, None)]
    else:
        A, b, bounds = np.hstack([-R, np.ones((n, 1))]), np.zeros(n), [(-1, 1)] * d + [(None, None)]
    found = scipy.optimize.linprog(-np.eye(A.shape[1])[-1], A_ub=A, b_ub=b, bounds=bounds, method="highs-ipm")
    w = found.x[:d] - found.x[d : 2 * d] if norm == "l1" else found.x[:d]
    np.testing.assert_allclose(maximum_margin(C(X, y), norm), w / found.x[-1], rtol=1e-7, atol=1e-7 / found.x[-1])


@pytest.mark.parametrize("norm", ["spectral", "nuclear"])
@pytest.mark.parametrize("free", [False, True])
def test_matrix_norms_against_descent_on_the_margin(norm, free):
    # No direction nearby has a larger margin in the norm, by a solver that knows nothing of cones.
    X, y = some_classes(n=12, d=8, k=3)
    problem = C(X, y, intercept=free)
    W = maximum_margin(problem, norm, free_intercept=free)
    part = W[:, :-1] if free else W
    R = np.asarray(problem.rows().todense())
    assert np.min(R @ W.ravel()) == pytest.approx(1, abs=1e-8)
    rng = np.random.default_rng(0)
    for _ in range(300):
        step = W + 10.0 ** rng.uniform(-4, 0) * rng.normal(size=W.shape)
        short = np.min(R @ step.ravel())
        if short > 0:
            size = NORMS[norm](step[:, :-1] if free else step)
            assert size / short >= NORMS[norm](part) * (1 - 1e-8)


# Optimality ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
@pytest.mark.parametrize("classes", [2, 5])
def test_conditions_of_the_least_norm_and_of_the_constant(loss, classes):
    X, y = two_classes(80, 7, seed=3) if classes == 2 else some_classes()
    for intercept in (False, True):
        problem = C(X, y, loss, intercept=intercept, normalization="mean")
        rate = hard_margin_rate(problem)
        R = np.asarray(problem.rows() @ np.eye(int(np.prod(problem.shape))))
        own = np.arange(classes) == y[:, None]
        a, support = (v if classes == 2 else v[~own] for v in (rate.duals, rate.support))
        if classes > 2:
            assert not np.any(rate.duals[own])
        margins = R @ rate.w_hat.ravel()
        assert np.min(margins) == pytest.approx(1, abs=1e-12)
        assert np.all(a >= 0)
        assert np.all(a[~support] == 0)
        np.testing.assert_allclose(R.T @ a, rate.w_hat.ravel(), rtol=1e-9, atol=1e-11 * np.max(a))
        np.testing.assert_allclose(np.exp(-(R @ rate.w_tilde.ravel())[support]), len(X) * a[support], rtol=1e-9)
        basis = rate.basis.reshape(len(rate.basis), -1)
        np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-12)
        np.testing.assert_allclose(basis.T @ (basis @ rate.w_tilde.ravel()), rate.w_tilde.ravel(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("free", [False, True])
def test_the_norms_of_one_problem_are_in_order(free):
    X, y = some_classes()
    problem = C(X, y, intercept=free)
    part = lambda W: W[:, :-1] if free else W
    least = {norm: maximum_margin(problem, norm, free_intercept=free, ties="any") for norm in NORMS}
    for norm, W in least.items():
        assert np.min(problem.margins(jnp.asarray(W))) == pytest.approx(1, abs=1e-8)
        for other in least.values():
            assert NORMS[norm](part(W)) <= NORMS[norm](part(other)) * (1 + 1e-8)
    np.testing.assert_allclose(least["l2"], least["frobenius"], rtol=1e-12)
    np.testing.assert_allclose(least["l2"].sum(axis=0), 0, atol=1e-11)
    assert NORMS["spectral"](part(least["l2"])) > 1.05 * NORMS["spectral"](part(least["spectral"]))


def test_many_points_are_taken_a_few_at_a_time():
    X, y = two_classes(4000, 6, seed=0)
    w = maximum_margin(C(X, y, separation="complete"))
    margins = y * (X @ w)
    assert np.min(margins) == pytest.approx(1, abs=1e-11)
    a, error = scipy.optimize.nnls((y[:, None] * X)[margins < 1 + 1e-9].T, w)
    assert error < 1e-10 * np.linalg.norm(w)
    assert a.sum() == pytest.approx(w @ w, rel=1e-9)


# The flow -----------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_flow_in_log_time_goes_there():
    problem = folded(GENERIC, loss="logistic")
    rate = hard_margin_rate(problem)
    late = 40.0
    run = ut.train(
        problem,
        ut.parameterizations.Identity(problem.shape),
        ut.dynamics.GradientFlow(rtol=1e-9),
        params=jnp.zeros(problem.shape),
        stop=ut.Stop(loss=None, log_time=late),
        samples=2,
        probes=[ut.probes.Function("w", lambda w: w)],
    )
    w, predicted = np.asarray(run["w"][-1]), rate.w_hat * late + rate.w_tilde
    np.testing.assert_allclose(w - rate.w_hat * late, rate.w_tilde, atol=1e-6)
    np.testing.assert_allclose(w / np.linalg.norm(w), predicted / np.linalg.norm(predicted), atol=1e-6)


# Ties ---------------------------------------------------------------------------------------------


def test_ties_are_told_and_both_are_minimizers():
    problem = C([[1.0, 1.0], [-2.0, -2.0]], [1, -1])
    with pytest.raises(NotUnique, match="ties='any'") as caught:
        maximum_margin(problem, "l1")
    one, other = caught.value.points
    assert np.max(np.abs(one - other)) > 1e-3
    for w in (one, other, maximum_margin(problem, "l1", ties="any")):
        assert np.abs(w).sum() == pytest.approx(1)
        assert np.min(problem.margins(jnp.asarray(w))) == pytest.approx(1)
    np.testing.assert_allclose(maximum_margin(problem, "linf"), [0.5, 0.5], rtol=1e-12)
    with pytest.raises(NotUnique):  # the second entry is for nothing
        maximum_margin(C([[1.0, 0.0], [-1.0, 0.0]], [1, -1]), "linf")


# Laws ----------------------------------------------------------------------------------------------


@pytest.mark.long
@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 6), st.integers(-140, 140))
def test_the_units_and_the_order_of_the_points_do_not_matter(seed, n, d, exponent):
    X, y = two_classes(n, d, seed)
    if len(set(y)) == 1:
        y[0], X[0] = -y[0], -X[0]
    order = np.random.default_rng(seed).permutation(n)
    c = 10.0**exponent
    for norm in ("l1", "l2", "linf"):
        w = maximum_margin(C(X, y), norm, ties="any")
        size = NORMS[norm](w)
        for scaled in (C(c * X, y), C(c * X[order], y[order])):
            other = maximum_margin(scaled, norm, ties="any") * c
            assert NORMS[norm](other) == pytest.approx(size, rel=1e-8)
            if norm == "l2":
                np.testing.assert_allclose(other, w, rtol=1e-7, atol=1e-8 * size)


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1e8, 1e150])
@pytest.mark.parametrize("norm", list(NORMS))
def test_huge_and_tiny_points(scale, norm):
    X, y = some_classes(n=12, d=5, k=3)
    W = maximum_margin(C(X, y), norm, ties="any")
    other = maximum_margin(C(scale * X, y), norm, ties="any")
    assert NORMS[norm](other * scale) == pytest.approx(NORMS[norm](W), rel=1e-8)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_huge_and_tiny_rates(scale):
    rate, other = (hard_margin_rate(folded(c * GENERIC)) for c in (1, scale))
    np.testing.assert_allclose(other.w_hat * scale, rate.w_hat, rtol=1e-13)
    np.testing.assert_allclose(other.duals * scale**2, rate.duals, rtol=1e-12)
    # exp(-c x . w) = a / c^2
    np.testing.assert_allclose(other.w_tilde * scale, rate.w_tilde + 2 * np.log(scale) / 1.2, rtol=1e-12)


def test_points_of_unlike_sizes():
    # One point a million times as far as the others is no constraint, and one as near decides alone.
    X, y = two_classes(20, 3, seed=5)
    far, near = X.copy(), X.copy()
    far[4] *= 1e120
    near[4] *= 1e-120
    rest = np.arange(20) != 4
    np.testing.assert_allclose(maximum_margin(C(far, y)) @ X[4] * y[4] > 0, True)
    assert np.min(y[rest] * (X[rest] @ maximum_margin(C(far, y)))) == pytest.approx(1, abs=1e-10)
    np.testing.assert_allclose(y[4] * near[4] @ maximum_margin(C(near, y)), 1, rtol=1e-10)


# Not separable, and other refusals -----------------------------------------------------------------


def test_separation_gives_shapes_and_proofs():
    X, y = some_classes()
    found = separation(C(X, y))
    assert (found.kind, found.w.shape, found.weights.shape) == ("complete", (5, 10), (25, 5))
    assert np.min(C(X, y).margins(jnp.asarray(found.w))) > 0
    X, y = some_classes(n=40, d=2, k=3)
    problem = C(X, y)
    found = separation(problem)
    assert found.kind == "overlap"
    assert not np.any(found.weights[np.arange(40), y])
    weights = found.weights[np.arange(3) != y[:, None]]
    assert np.max(np.abs(problem.rows().T @ weights)) < 1e-8 * weights.sum()


@pytest.mark.parametrize("norm", list(NORMS))
def test_what_cannot_be_separated_is_proved_by_few_points(norm):
    X, y = some_classes(n=60, d=2, k=3)
    problem = C(X, y)
    with pytest.raises(NotSeparable, match=r"overlap.*against class") as caught:
        maximum_margin(problem, norm)
    table = caught.value.weights
    assert table.shape == (60, 3)
    weights = table[np.arange(3) != y[:, None]]
    assert np.all(weights >= 0)
    assert weights.sum() == pytest.approx(1)
    assert 0 < np.count_nonzero(weights) <= 2 * 3 + 1
    assert np.max(np.abs(problem.rows().T @ weights)) < 1e-9


@pytest.mark.parametrize("told", [None, "complete"])
def test_it_is_found_whatever_the_problem_says(told):
    for points, kind in (
        ([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], "quasi-complete"),
        ([[1.0, 0.0], [-1.0, 1e-3], [0.0, -1.0]], "overlap"),
    ):
        with pytest.raises(NotSeparable, match=rf"{kind}.*points 0"):
            hard_margin_rate(folded(points, separation=told))


def test_equal_points_of_different_labels_are_named():
    X, y = two_classes(30, 3, seed=0)
    X[7], y[7], y[21] = -0.0, 1, -1
    X[21] = 0.0
    problem = C(X, y, intercept=True)
    with pytest.raises(NotSeparable, match="points 7 and 21 are equal, with labels 1 and -1") as caught:
        maximum_margin(problem)
    assert np.flatnonzero(caught.value.weights).tolist() == [7, 21]
    assert np.max(np.abs(problem.rows().T @ caught.value.weights)) == 0
    X, y = some_classes(n=12, d=3, k=3)
    X[5] = X[1]
    with pytest.raises(NotSeparable, match="points 1 and 5") as caught:
        maximum_margin(C(X, y, separation="complete"), "spectral")
    weights = caught.value.weights[np.arange(3) != y[:, None]]
    assert np.max(np.abs(C(X, y).rows().T @ weights)) == 0
    assert weights.sum() == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"norm": "l3"}, ValueError, "norm: "),
        ({"norm": "spectral"}, ValueError, "norm: expected one of l1, l2 and linf where w is no matrix"),
        ({"ties": "first"}, ValueError, "ties: "),
        ({"free_intercept": True}, ValueError, "free_intercept: expected a problem with intercept=True"),
        ({"problem": ut.problems.LineTarget(1.0, 1.0, 2.0)}, TypeError, "problem: expected a Classification"),
    ],
)
def test_refusals(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        maximum_margin(**({"problem": folded(GENERIC)} | arguments))


def test_a_matrix_of_one_row_has_one_norm_for_all():
    X, y = two_classes(10, 4, seed=2)
    w = maximum_margin(C(X, y))
    problem = C(X[:, None, :], y)
    for norm in ("l2", "spectral", "nuclear", "frobenius"):
        np.testing.assert_allclose(maximum_margin(problem, norm), w[None], rtol=1e-12)
