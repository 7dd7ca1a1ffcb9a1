"""Steepest descent: the law of its directions, descents by hand, and the margins that it ends at."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import assert_same_bits, compilations
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

import undertow as ut

B, P, Steepest = ut.problems, ut.parameterizations, ut.dynamics.SteepestDescent
W = ut.probes.Function("w", lambda w: w)


def singular_values(a):
    return np.linalg.svd(a, compute_uv=False)


NORM = {
    "l1": lambda arrays: sum(np.abs(a).sum() for a in arrays),
    "l2": lambda arrays: np.sqrt(sum((a**2).sum() for a in arrays)),
    "linf": lambda arrays: max(np.abs(a).max() for a in arrays),
    "spectral": lambda arrays: max(singular_values(a)[0] for a in arrays),
    "nuclear": lambda arrays: sum(singular_values(a).sum() for a in arrays),
}
DUAL = {"l1": "linf", "l2": "l2", "linf": "l1", "spectral": "nuclear", "nuclear": "spectral"}
norms = pytest.mark.parametrize("norm", list(NORM))


def decreasing(k):
    return 1 / jnp.sqrt(1.0 + k)  # 1 + k is an integer, whose root JAX rounds to float32


# Directions --------------------------------------------------------------------------------------

SHAPES = {
    "vector": [(7,)],
    "matrix": [(4, 3)],
    "wide": [(2, 5)],
    "row": [(1, 4)],
    "matrices": [(3, 3), (2, 4), (4, 1)],
    "arrays": [(3, 2), (4,), ()],
}
CASES = [
    pytest.param(norm, shapes, id=f"{norm}-{name}")
    for norm in NORM
    for name, shapes in SHAPES.items()
    if norm in ("l1", "l2", "linf") or all(len(shape) == 2 for shape in shapes)
]


@pytest.mark.parametrize(("norm", "shapes"), CASES)
@given(seed=st.integers(0, 2**31), exponent=st.sampled_from([-250, -8, 0, 8, 250]), rank_one=st.booleans())
def test_a_direction_has_norm_one_and_the_largest_inner_product(norm, shapes, seed, exponent, rank_one):
    """<g, Delta> is the dual norm of g; and the scale of g does not matter, be it that where squares underflow."""
    rng = np.random.default_rng(seed)
    draw = lambda shape: (
        rng.normal(size=(*shape[:1], 1)) * rng.normal(size=(1, *shape[1:]))
        if rank_one and len(shape) == 2
        else rng.normal(size=shape)
    )
    gradient = {f"array {i}": draw(shape) for i, shape in enumerate(shapes)}
    found = direction(Steepest(norm, 1.0), jax.tree.map(lambda g: g * 2.0**exponent, gradient))
    arrays, delta = jax.tree.leaves(gradient), [np.asarray(x) for x in jax.tree.leaves(found)]
    assert [x.shape for x in delta] == shapes
    np.testing.assert_allclose(NORM[norm](delta), 1, rtol=1e-13)
    inner = sum(np.sum(a * b) for a, b in zip(arrays, delta, strict=True))
    np.testing.assert_allclose(inner, NORM[DUAL[norm]](arrays), rtol=1e-12)
    assert_same_bits(found, direction(Steepest(norm, 1.0), gradient))


direction = eqx.filter_jit(lambda steepest, gradient: steepest.direction(gradient))


@norms
def test_a_gradient_of_zero_gives_no_step(norm):
    zero = {"a": jnp.zeros((3, 2)), "b": jnp.zeros((2, 2))}
    assert_same_bits(Steepest(norm, 1.0).direction(zero), zero)


def test_ties():
    direction = lambda norm, g: Steepest(norm, 1.0).direction(jnp.asarray(g)).tolist()
    assert direction("l1", [1.0, -2.0, 2.0]) == [0, -1, 0]
    assert direction("linf", [0.0, -2.0, 1e-300]) == [0, -1, 1]
    assert direction("nuclear", [[0.0, 2.0], [0.0, 0.0]]) == [[0, 1], [0, 0]]
    equal = {"a": jnp.eye(2)[:1], "b": jnp.eye(2)[1:]}
    assert Steepest("nuclear", 1.0).direction(equal)["b"].tolist() == [[0, 0]]


def test_directions_go_through_vmap():
    batch = jax.random.normal(jax.random.key(0), (4, 3, 2))
    for norm in NORM:
        direction = Steepest(norm, 1.0).direction
        expected = np.stack([direction(g) for g in batch])
        np.testing.assert_allclose(jax.vmap(direction)(batch), expected, atol=1e-14)


# By hand -----------------------------------------------------------------------------------------

_rng = np.random.default_rng(0)
LABELS = np.arange(25) % 5
POINTS = _rng.normal(size=(5, 10))[LABELS] + 0.5 * _rng.normal(size=(25, 10))
FIVE = B.Classification(POINTS, LABELS)
IDENTITY, ZERO = P.Identity((5, 10)), jnp.zeros((5, 10))
TARGET = B.LeastSquares(_rng.normal(size=(3, 4)), _rng.normal(size=3))


def coordinate(g):
    step, i = np.zeros_like(g), np.argmax(np.abs(g))
    step[i] = 1.0 if g[i] > 0 else -1.0
    return step


@pytest.mark.parametrize(
    ("norm", "delta"),
    [("l1", coordinate), ("linf", np.sign), ("l2", lambda g: g / np.linalg.norm(g))],
    ids=["coordinate", "sign", "normalized"],
)
@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_steps_are_those_by_hand(norm, delta, momentum):
    A, b, rate, count = np.asarray(TARGET.A), np.asarray(TARGET.b), 0.05, 12
    run = ut.train(
        TARGET,
        P.Identity(4),
        Steepest(norm, rate, momentum),
        params=jnp.ones(4),
        stop=ut.Stop(loss=None, steps=count),
        probes=[W],
        samples=np.arange(1, count),
    )
    w, average = np.ones(4), np.zeros(4)
    for found in run["w"]:
        np.testing.assert_allclose(found, w, rtol=0, atol=1e-13)
        gradient = A.T @ (A @ w - b)
        average = momentum * average + (1 - momentum) * gradient
        w = w - rate * delta(average)
    np.testing.assert_allclose(run.times, rate * run.steps, rtol=1e-14)


def test_momentum_averages_gradients_of_the_logarithm():
    problem, count = B.Classification([[1.0, 0.2], [-0.3, 1.0], [-2.0, -1.0]], [1, 1, -1]), 10
    run = ut.train(
        problem, P.Identity(2), Steepest("l2", decreasing, 0.9), params=jnp.zeros(2), stop=ut.Stop(None, count)
    )
    w, average, rows = np.zeros(2), np.zeros(2), problem.rows()
    for k in range(count):
        p = np.exp(-rows @ w)
        average = 0.9 * average - 0.1 * rows.T @ p / p.sum()
        w = w - average / np.linalg.norm(average) / np.sqrt(1 + k)
    np.testing.assert_allclose(run.w, w, rtol=1e-12)
    assert run.times[-1] == count


# Margins -----------------------------------------------------------------------------------------


def descend(problem, norm, steps=40_000, **options):
    stop = ut.Stop(loss=None, steps=steps)
    dynamics = Steepest(norm, decreasing, **options)
    return ut.train(problem, IDENTITY, dynamics, params=ZERO, stop=stop, probes=[W])


@functools.cache
def shortly(loss, norm):
    """Where each norm is after a tenth of the steps."""
    return descend(B.Classification(POINTS, LABELS, loss=loss), norm, 4_000).w


def margin(problem, w, norm):
    return np.asarray(problem.margins(jnp.asarray(w))).min() / NORM[norm]([np.asarray(w)])


def bound(problem, ws, norm):
    """No w has a larger margin: weights p of the rows, of sum 1, bound it by the dual norm of their mean R^T p."""
    rows = problem.rows().toarray()
    margins = ws.reshape(len(ws), -1) @ rows.T
    p = np.exp(margins.min(axis=1, keepdims=True) - margins)
    p = (p / p.sum(axis=1, keepdims=True)).mean(axis=0)
    return NORM[DUAL[norm]]([(p @ rows).reshape(problem.shape)])


def largest_margin(problem, norm):
    """In l1 or l-infinity, by linear programming."""
    rows = problem.rows().toarray()
    m, n = rows.shape
    if norm == "linf":
        sides = [(-1, 1)] * n + [(None, None)]
        return -linprog(np.r_[np.zeros(n), -1], A_ub=np.c_[-rows, np.ones(m)], b_ub=np.zeros(m), bounds=sides).fun
    A = np.vstack([np.c_[-rows, rows, np.ones(m)], np.r_[np.ones(2 * n), 0]])
    return -linprog(np.r_[np.zeros(2 * n), -1], A_ub=A, b_ub=np.r_[np.zeros(m), 1]).fun


@pytest.mark.long
@norms
@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_each_norm_reaches_its_own_maximum_margin(norm, loss):
    """40,000 steps of 1 / sqrt(k + 1); proved by a bound from the dual."""
    problem = B.Classification(POINTS, LABELS, loss=loss)
    run = descend(problem, norm)
    found, most = margin(problem, run.w, norm), bound(problem, run["w"][run.steps > 20_000], norm)
    assert 0.97 * most < found < most
    if norm in ("l1", "linf"):
        assert found < largest_margin(problem, norm) < most
    others = [margin(problem, run.w, other) / margin(problem, shortly(loss, other), other) for other in NORM]
    assert min(others) < 0.9  # and not that of every norm


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "share"),
    [({"momentum": 0.9}, 0.97), ({"orthogonalization": "newton_schulz"}, 0.95)],
    ids=["momentum", "newton-schulz"],
)
def test_muon_reaches_the_spectral_margin(options, share):
    run, exact = descend(FIVE, "spectral", **options), descend(FIVE, "spectral")
    assert margin(FIVE, run.w, "spectral") > share * bound(FIVE, exact["w"][exact.steps > 20_000], "spectral")


class CrossEntropy(B.Problem):
    """The cross-entropy as it is often written: the gradient at the true class is p - 1."""

    shape: tuple[int, ...] = eqx.field(static=True, default=(5, 10))
    attained = False

    def loss(self, w):
        scores = jnp.asarray(POINTS) @ w.T
        return -jax.nn.log_softmax(scores)[jnp.arange(25), jnp.asarray(LABELS)].sum()


@pytest.mark.long
def test_sign_descent_does_not_stall():
    """Where the gradient of the true class is computed as p - 1, it is lost once p is 1 but for rounding."""
    most = largest_margin(FIVE, "linf")
    stop, dynamics = ut.Stop(loss=None, steps=40_000), Steepest("linf", decreasing)
    naive = ut.train(CrossEntropy(), IDENTITY, dynamics, params=ZERO, stop=stop)
    assert margin(FIVE, naive.w, "linf") < 0.93 * most
    for loss in ("exponential", "logistic"):
        run = descend(B.Classification(POINTS, LABELS, loss=loss), "linf")
        assert margin(FIVE, run.w, "linf") > 0.975 * most


# Beyond all numbers ------------------------------------------------------------------------------


@norms
def test_losses_below_all_numbers_are_followed(norm):
    stop = ut.Stop(log_loss=-2000.0)
    # By steps of 1 and no momentum, coordinate descent goes back and forth.
    run = ut.train(FIVE, IDENTITY, Steepest(norm, 1.0, 0.5), params=ZERO, stop=stop)
    assert run.status == "stopped"  # the minimizer is at infinity
    assert run["loss"][-1] == 0
    assert run["log_loss"][-1] <= -2000 < run["log_loss"][-2]
    np.testing.assert_allclose(run["log_loss"][-1], FIVE.log_loss(run.w), rtol=1e-13)


@pytest.mark.long
@pytest.mark.two_types
def test_float32_goes_as_far():
    problem = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, FIVE)
    stop = ut.Stop(log_loss=-2000.0)
    for norm in NORM:
        run = ut.train(
            problem, IDENTITY, Steepest(norm, 1.0, 0.5), params=ZERO.astype(jnp.float32), stop=stop, samples=2
        )
        assert run.w.dtype == jnp.float32
        assert (run.status, run["loss"][-1]) == ("stopped", 0)
        assert run["log_loss"][-1] <= -2000


def test_large_points_are_no_divergence():
    """A step may take the loss beyond all numbers; the next ones bring it back."""
    problem = B.Classification([[1e5, 0.0], [1.0, -1.0]], [1, -1])
    run = ut.train(problem, P.Identity(2), Steepest("linf", 0.5), params=jnp.array([1e-3, -10.0]))
    assert run["loss"].max() == np.inf
    assert run.status == "stopped"
    assert run["loss"][-1] <= 1e-6


def test_stops_by_the_gradient_of_the_loss():
    run = ut.train(FIVE, IDENTITY, Steepest("l2", 0.1), params=ZERO, stop=ut.Stop(loss=None, gradient=1e-5))
    slope = lambda w: float(jnp.linalg.norm(jax.grad(FIVE.loss)(w)))
    assert run.status == "stopped"
    assert 5e-6 < slope(run.w) <= 1e-5


def test_overlapping_points_converge():
    problem = B.Classification([[1.0], [2.0], [1.0]], [1, 1, -1])
    assert problem.attained
    run = ut.train(
        problem,
        P.Identity(1),
        Steepest("linf", lambda k: 0.5 / (1 + k)),
        params=jnp.zeros(1),
        stop=ut.Stop(None, gradient=1e-2),
    )
    assert run.status == "converged"
    assert "log_loss" not in run.records


# Runs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"batch_size": 7}], ids=["whole", "batches"])
def test_a_run_goes_on_to_the_bit(options, tmp_path):
    dynamics = Steepest("spectral", decreasing, 0.9, **options)

    def run(steps, **more):
        stop = ut.Stop(loss=None, steps=steps)
        return ut.train(FIVE, IDENTITY, dynamics, params=ZERO, key=3, stop=stop, samples=[5, 50], **more)

    whole = run(100)
    run(37, checkpoint=tmp_path / "run")
    parts = run(100, checkpoint=tmp_path / "run")
    assert_same_bits(whole.params, parts.params)
    assert whole["log_loss"][-1] == parts["log_loss"][-1]


@pytest.mark.long
def test_a_sweep_over_numbers_and_keys_is_one_program():
    def run(step_size, momentum, key):
        dynamics = Steepest("linf", step_size, momentum, batch_size=5)
        stop = ut.Stop(loss=None, steps=40)
        return ut.train(FIVE, IDENTITY, dynamics, params=ZERO, key=key, stop=stop, samples=2)

    over = {"step_size": [0.01, 0.1], "momentum": [0.0, 0.9], "key": [0, 1]}
    data = ut.sweep(run, over=over)
    with compilations() as count:
        ut.sweep(run, over={**over, "step_size": [0.02, 0.2]})
    assert count.programs == 0
    alone = run(0.1, 0.9, 1)["log_loss"][-1]
    np.testing.assert_allclose(data.final_log_loss.sel(step_size=0.1, momentum=0.9, key=1), alone, rtol=1e-9)
    assert np.unique(data.final_log_loss.values).size == 8


@pytest.mark.long
def test_mini_batches_reach_the_margin_too():
    stop = ut.Stop(loss=None, steps=40_000)
    run = ut.train(FIVE, IDENTITY, Steepest("linf", decreasing, 0.9, batch_size=5), params=ZERO, key=0, stop=stop)
    assert margin(FIVE, run.w, "linf") > 0.8 * largest_margin(FIVE, "linf")
    np.testing.assert_allclose(run["log_loss"][-1], FIVE.log_loss(run.w), rtol=1e-12)


def test_a_penalty_is_descended_with_the_loss():
    """Then the gradient is that of the sum, and no logarithm."""
    penalty = lambda w: 0.5 * jnp.sum(w**2)
    run = ut.train(
        FIVE, IDENTITY, Steepest("l2", 0.1), params=ZERO + 0.2, penalty=penalty, stop=ut.Stop(loss=None, steps=5)
    )
    w = ZERO + 0.2
    for _ in range(5):
        slope = jax.grad(lambda w: FIVE.loss(w) + penalty(w))(w)
        w = w - 0.1 * slope / jnp.linalg.norm(slope)
    np.testing.assert_allclose(run.w, w, rtol=1e-11)
    assert "log_loss" not in run.records


def test_products_of_matrices_move_by_their_polar_factors():
    problem = B.Classification(POINTS[:, None], np.where(LABELS < 2, 1, -1))
    phi = P.DeepMatrix((1, 10), 2)
    run = ut.train(problem, phi, Steepest("spectral", 0.01), key=0, scale=0.1, stop=ut.Stop())
    assert run.status == "stopped"
    assert problem.margins(run.w).min() > 0


# Refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("spectrum", 0.1), "norm: unknown choice 'spectrum'.*did you mean 'spectral'"),
        (("l2", 0.0), "step_size: expected a finite number above 0"),
        (("l2", "fast"), "step_size: expected a finite number"),
        (("l2", 0.1, -0.1), "momentum: expected a finite number of at least 0"),
        (("l2", 0.1, 1.0), "momentum: expected a number below 1"),
        (("spectral", 0.1, 0.0, "qr"), "orthogonalization: unknown choice 'qr'"),
        (("l2", 0.1, 0.0, "newton_schulz"), "orthogonalization: expected 'svd' but for 'spectral', found"),
        (("l2", 0.1, 0.0, "svd", 0), "batch_size: expected an integer of at least 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Steepest(*arguments)


@pytest.mark.parametrize("norm", ["spectral", "nuclear"])
def test_norms_of_matrices_refuse_vectors(norm):
    with pytest.raises(ValueError, match=rf"norm: expected .* matrices for '{norm}', found one of shape \(4,\)"):
        ut.train(TARGET, P.Identity(4), Steepest(norm, 0.1), params=jnp.ones(4))


def test_batches_are_checked_at_the_start():
    with pytest.raises(ValueError, match="batch_size: expected at most 25"):
        ut.train(FIVE, IDENTITY, Steepest("l2", 0.1, batch_size=26), params=ZERO, key=0)
    with pytest.raises(ValueError, match="key: expected a random key"):
        ut.train(FIVE, IDENTITY, Steepest("l2", 0.1, batch_size=5), params=ZERO)
