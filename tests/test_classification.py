"""Classification: losses by hand, gradients that are not lost, kinds of separation with proofs, refusals."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import CLASSIFICATIONS, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy.special import logsumexp

import undertow as ut
from undertow.problems._separation import separate

C = ut.problems.Classification
X = np.random.default_rng(0).normal(size=(12, 4))
SIGNS = np.where(np.arange(12) % 3 == 0, 1, -1)
CLASSES = np.arange(12) % 3


def some_w(problem, seed=0, scale=1.0):
    return scale * jnp.asarray(np.random.default_rng(seed).normal(size=problem.shape))


@pytest.mark.parametrize("normalization", ["sum", "mean"])
def test_binary_losses_by_hand(normalization):
    w = np.array([0.3, -1.0, 2.0, 0.5])
    m = SIGNS * (X @ w)
    share = 1 if normalization == "sum" else 1 / 12
    for loss, terms in {"exponential": np.exp(-m), "logistic": np.log1p(np.exp(-m))}.items():
        problem = C(X, SIGNS, loss, normalization=normalization)
        assert float(problem.loss(jnp.asarray(w))) == pytest.approx(share * terms.sum(), rel=1e-13)
        assert float(problem.log_loss(jnp.asarray(w))) == pytest.approx(np.log(share * terms.sum()), rel=1e-13)
    np.testing.assert_allclose(C(X, SIGNS).margins(jnp.asarray(w)), m, rtol=1e-13)


def test_multiclass_losses_by_hand():
    W = some_w(C(X, CLASSES))
    scores = X @ np.asarray(W).T
    own = scores[np.arange(12), CLASSES]
    excess = np.stack([np.delete(row, k) for row, k in zip(scores - own[:, None], CLASSES, strict=True)])
    assert float(C(X, CLASSES).loss(W)) == pytest.approx(np.exp(excess).sum(), rel=1e-13)
    entropy = (logsumexp(scores, axis=1) - own).sum()
    assert float(C(X, CLASSES, "logistic").loss(W)) == pytest.approx(entropy, rel=1e-13)
    np.testing.assert_allclose(C(X, CLASSES).margins(W), -excess.max(axis=1), rtol=1e-13)


@rows(CLASSIFICATIONS)
def test_the_rows_give_the_margins(case):
    problem = case.instance
    w = some_w(problem)
    products = np.asarray(problem.rows() @ np.ravel(w)).reshape(problem.points, -1)
    np.testing.assert_allclose(products.min(axis=1), problem.margins(w), rtol=1e-12)


@rows(CLASSIFICATIONS)
def test_gradients_are_those_of_finite_differences(case):
    problem = case.instance
    for f in (problem.loss, problem.log_loss):
        check_grads(jax.jit(lambda w, f=f: f(w)), (some_w(problem, scale=0.3),), order=1, eps=1e-6, rtol=1e-6)


@rows(CLASSIFICATIONS)
def test_the_logarithm_is_that_of_the_loss_and_parts_add_up(case):
    problem, w = case.instance, some_w(case.instance)
    assert float(problem.log_loss(w)) == pytest.approx(float(jnp.log(problem.loss(w))), rel=1e-12)
    parts = [problem.part(jnp.array([k]), jnp.ones(1)) for k in range(problem.points)]
    assert sum(float(p.loss(w)) for p in parts) == pytest.approx(float(problem.loss(w)), rel=1e-12)
    whole = problem.part(jnp.arange(problem.points)[::-1], jnp.ones(problem.points))
    assert float(whole.log_loss(w)) == pytest.approx(float(problem.log_loss(w)), rel=1e-12)


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_logarithm_and_its_gradient_where_the_loss_underflows(loss, dtype):
    # One point: log L = -m, but for what is far below rounding, and its gradient -x.
    problem = C(jnp.array([[1.0, 2.0], [1.0, 2.0]], dtype), [1, -1], loss, separation="overlap")
    problem = problem.part(jnp.array([0]), jnp.ones(1, dtype))
    both = jax.jit(jax.value_and_grad(problem.log_loss))
    for size in (20.0, 200.0, 2000.0, 2e6):
        found, gradient = both(np.array([size, 0.0], dtype))
        assert float(found) == pytest.approx(-size, rel=1e-6)
        np.testing.assert_allclose(gradient, [-1, -2], rtol=1e-6)


def test_gradient_at_the_true_class_is_minus_the_sum_of_the_others():
    # As a probability less one it would be 0 here, and sign descent would leave the row of the true class alone.
    problem = C(np.eye(3), [0, 1, 2], "logistic")
    gradient = np.asarray(jax.grad(problem.loss)(50 * jnp.eye(3)))
    np.testing.assert_allclose(np.diag(gradient), -2 * np.exp(-50), rtol=1e-10)
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-36)


# Separation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "labels", "kind"),
    [
        ([[1.0], [2.0], [-1.0]], [1, 1, -1], "complete"),
        ([[1.0], [2.0]], [1, -1], "overlap"),
        ([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [1, -1, 1], "quasi-complete"),
        ([[1.0, 2.0], [1.0, 2.0]], [1, -1], "overlap"),  # in the one direction that there is
        (np.eye(3), [0, 1, 2], "complete"),
        (np.ones((3, 2)), [0, 1, 2], "overlap"),
        ([[1e-200, 1e200], [2e-200, -1e200]], [1, -1], "complete"),
        (np.random.default_rng(0).normal(size=(5, 40)), [1, -1, 1, 1, -1], "complete"),
    ],
)
def test_kinds_of_separation(points, labels, kind):
    problem = C(points, labels)
    assert problem.separation == kind
    assert problem.attained == (kind == "overlap")


def test_an_intercept_can_separate():
    assert C([[1.0], [2.0]], [1, -1], intercept=True).separation == "complete"
    assert C([[1.0], [2.0]], [1, -1], intercept=True).shape == (2,)
    assert C([[0.0], [1.0], [2.0]], [0, 1, 2], intercept=True).shape == (3, 2)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 5), st.integers(-6, 6))
def test_separation_is_proved(seed, n, d, exponent):
    rng = np.random.default_rng(seed)
    R = rng.integers(-2, 3, size=(n, d)) * 10.0**exponent
    R = R[np.any(R != 0, axis=1)]
    if not len(R):
        return
    found = separate(R)
    assert found is not None
    products, weights = R @ found.w, found.weights
    if found.kind == "complete":
        assert np.all(products > 0)
    else:
        assert np.max(np.abs(R.T @ weights)) <= 1e-8 * np.max(np.abs(R)) * weights.sum()
        assert np.all((weights > 0) | (products > 0))
        assert np.all(products >= -1e-6 * np.max(np.abs(R)) * np.max(np.abs(found.w)))
        assert (found.kind == "overlap") == bool(np.all(weights > 0))


# Runs ------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_flow_in_log_time_against_the_generic_oracle(loss):
    # facts: w - what log t -> (0.3038693, 0.3038693), and t L -> |what|^2 = 25/18.
    # In other units w is in one over them, after their square less time: from 1e-100 to 1e150 by one program.
    points = np.array([[1.0, 0.2], [0.2, 1.0], [2.0, 1.5], [-2.0, -1.5]])
    flow, phi = ut.dynamics.GradientFlow(rtol=1e-9), ut.parameterizations.Identity(2)
    for unit in (1.0, 1e-100, 1e150):
        problem = C(unit * points, [1, 1, 1, -1], loss)
        assert problem.separation == "complete"
        stop = ut.Stop(loss=None, log_time=40.0 - 2 * np.log(unit))
        run = ut.train(problem, phi, flow, params=jnp.zeros(2), stop=stop, samples=8)
        assert run.status == "stopped"
        residual = unit * np.asarray(run.w) - 40 * 5 / 6
        np.testing.assert_allclose(residual, 0.30386926, atol=1e-6)
        assert float(np.exp(40 + run["log_loss"][-1])) == pytest.approx(25 / 18, rel=1e-6)


@pytest.mark.long
def test_overlapping_points_have_a_minimizer_that_runs_converge_to():
    problem = C(np.r_[X, X], np.r_[SIGNS, -SIGNS], "logistic")
    run = ut.train(
        problem,
        ut.parameterizations.Identity(4),
        ut.dynamics.GradientFlow(),
        params=jnp.ones(4),
        stop=ut.Stop(loss=None, gradient=1e-8),
    )
    assert run.status == "converged"
    np.testing.assert_allclose(run.w, 0, atol=1e-7)


@pytest.mark.long
def test_where_some_points_overlap_only_the_others_go_to_infinity():
    # On the line x_2 = 0 the labels +1 at 1 and 2 and -1 at 1: exp(-w) + exp(-2 w) + exp(w) is least where
    # r = exp(w) solves r^3 = r + 2. Beside the line, the nearest point is off by 0.5: w_2 grows by 2 log t.
    problem = C([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [1.0, 0.5], [-1.0, 1.5]], [1, 1, -1, 1, 1])
    assert (problem.separation, problem.attained) == ("quasi-complete", False)
    ends = []
    for log_time in (60.0, 80.0):
        stop = ut.Stop(loss=None, log_time=log_time)
        phi, flow = ut.parameterizations.Identity(2), ut.dynamics.GradientFlow(rtol=1e-8)
        run = ut.train(problem, phi, flow, params=jnp.zeros(2), stop=stop)
        assert run.status == "stopped"
        ends.append(np.asarray(run.w))
    root = np.roots([1.0, 0.0, -1.0, -2.0])  # of exp(w)
    at_rest = np.log(root[np.abs(root.imag) < 1e-12].real[0])
    np.testing.assert_allclose([end[0] for end in ends], at_rest, rtol=1e-6)
    assert (ends[1] - ends[0])[1] == pytest.approx(2 * 20, rel=1e-4)


@pytest.mark.parametrize(
    ("phi", "problem"),
    [
        (ut.parameterizations.SignedPower(4, 2), C(X, SIGNS)),
        (ut.parameterizations.Hadamard(4, 2), C(X, SIGNS)),
        (ut.parameterizations.DeepMatrix((1, 4), 2), C(X[:, None], SIGNS)),
        (ut.parameterizations.DeepMatrix((3, 4), 3), C(X, CLASSES)),
    ],
    ids=["SignedPower", "Hadamard", "DeepMatrix", "DeepMatrix-classes"],
)
def test_every_parameterization_takes_mini_batches(phi, problem):
    descent = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.01), batch_size=5)
    stop = ut.Stop(loss=None, steps=300)
    run = ut.train(problem, phi, descent, key=0, scale=0.3, stop=stop)
    assert run["loss"][-1] < run["loss"][0]


# Bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, [1] * 12), "y: expected both labels, -1 and 1, found 1 alone"),
        ((X, [0, 1] * 6), "give 2 * y - 1 for one vector w, or classes=2"),
        ((X, [2] * 12), "y: expected points of two classes at least, found class 2 alone"),
        ((X, [1, 2, 3] * 4), "found none of class 0"),
        ((X, [1, -1, 0] * 4), "y: expected labels -1 and 1, or classes 0, 1, 2, ..., found [-1, 0, 1]"),
        ((X, [0.5, 1.5] * 6), "numbers them"),
        ((X, ["cat", "dog"] * 6), "numbers them"),
        ((X, [1, -1, np.nan] * 4), "found float64 such as nan; numpy.unique"),
        ((X, [1, -1, np.inf] * 4), "found float64 such as inf; numpy.unique"),
        ((X, [0, 1, 2_000_000_000] * 4), "from 0 to 2000000000, found none of class 2;"),
        ((X, [1, -1]), "y: expected one label for each of the 12 points"),
        ((np.zeros((0, 3)), []), "X: expected at least one point of one feature"),
        ((X[:, 0], SIGNS), "X: expected at least one point of one feature"),
        ((np.r_[X[:-1], np.zeros((1, 4))], SIGNS), "X: expected points that are not zero, found row 11"),
        ((np.r_[X[:-1], [[np.nan] * 4]], SIGNS), "X: expected finite numbers"),
        ((X, SIGNS, "hinge"), "loss: unknown choice 'hinge'"),
        ((X[:, None], SIGNS, "logistic", True), "intercept: expected points that are vectors"),
        ((X[:, None], CLASSES), "X: expected points that are vectors where labels are classes"),
        ((X, CLASSES, "logistic", False, 2), "y: expected classes from 0 to 1, found 2"),
        ((X, SIGNS, "logistic", False, None, "half_sum"), "normalization: unknown choice"),
        ((X, SIGNS, "logistic", False, None, "sum", "some"), "separation: unknown choice"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        C(*arguments)


def test_an_intercept_takes_points_that_are_zero():
    assert C([[0.0], [1.0]], [-1, 1], intercept=True).separation == "complete"
