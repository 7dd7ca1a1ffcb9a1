"""Mirror descent and mirror flow: the flows that they are, what they conserve, where they end and how."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract import assert_same_bits, compilations
from scipy.linalg import expm
from scipy.optimize import nnls

import undertow as ut
from undertow.objective import Objective
from undertow.potentials import Burg, Entropy, Euclidean, HyperbolicEntropy, PNorm, Separable, SpectralEntropy

B, P, M, D = ut.problems, ut.parameterizations, ut.probes, ut.dynamics
GradientFlow, MirrorDescent, MirrorFlow = D.GradientFlow, D.MirrorDescent, D.MirrorFlow

_rng = np.random.default_rng(0)
A = _rng.normal(size=(3, 7))
POSITIVE = B.LeastSquares(A, A @ np.array([0, 1.0, 0, 0, 0.5, 0, 0]))
SIGNED = B.LeastSquares(A, A @ np.array([0, 1.0, 0, 0, -0.5, 0, 0]))
PHI = P.Identity(7)
W = M.Function("w", lambda w: w)


def flow(potential, start, problem=POSITIVE, *, rtol=1e-10, stop=None, solver="explicit", **options):
    stop = ut.Stop(loss=1e-24) if stop is None else stop
    return ut.train(problem, PHI, MirrorFlow(potential, solver, rtol), params=jnp.asarray(start), stop=stop, **options)


def until(time):
    return ut.Stop(loss=None, time=time)


def off_the_rows(x):
    """The part of x that is not in the range of A^T, relative to x."""
    return np.linalg.norm(x - np.linalg.pinv(A) @ (A @ x)) / np.linalg.norm(x)


# The same curve as gradient flow ------------------------------------------------------------------


ALPHA = 0.01
SHAPE = np.linspace(0.5, 2.0, 7)
CURVES = {
    "square": (P.Power(7, 2), Entropy(), 4, POSITIVE, np.full(7, ALPHA)),
    "cube": (
        P.Power(7, 3),
        # phi' = x^(2/N - 1) / (N^2 (2/N - 1)), N = 3
        Separable(lambda x: -(3 / 2) * x ** (2 / 3) / 3, lambda s: (-3 * s) ** -3, interval=(0, math.inf)),
        1,
        POSITIVE,
        np.full(7, 0.2),
    ),
    "exponential": (P.Exponential(7), Burg(), 1, POSITIVE, np.full(7, -1.0)),
    "weighted squares": (
        P.SignedPower(7, 2),
        HyperbolicEntropy(b=2 * 0.1**2 * SHAPE**2),
        4,
        SIGNED,
        (0.1 * SHAPE, 0.1 * SHAPE),
    ),
}


@pytest.mark.long
@pytest.mark.parametrize(("phi", "potential", "clock", "problem", "start"), CURVES.values(), ids=list(CURVES))
def test_mirror_flow_is_the_gradient_flow_of_a_parameterization(phi, potential, clock, problem, start):
    start, time = jax.tree.map(jnp.asarray, start), 2.0
    options = {"stop": until(time), "probes": [W], "samples": [0.1, 0.5, 1.0]}
    expected = ut.train(problem, phi, GradientFlow("explicit", rtol=1e-11), params=start, **options)
    options |= {"stop": until(clock * time), "samples": [clock * t for t in options["samples"]]}
    found = flow(potential, phi(start), problem, rtol=1e-11, **options)
    np.testing.assert_allclose(found.w, expected.w, atol=3e-10)
    np.testing.assert_allclose(found["w"], expected["w"], atol=1e-8)  # between the steps too


def test_euclidean_flow_is_its_closed_form():
    """x(t) = x(0) + A^T (AA^T)^(-1) (I - exp(-AA^T t)) (b - A x(0))."""
    x0, gram, times = np.linspace(-1, 1, 7), A @ A.T, [0.01, 0.1, 1.0]
    run = flow(Euclidean(), x0, SIGNED, stop=until(2.0), probes=[W], samples=times)
    for t, x in zip([0, *times, 2.0], run["w"], strict=True):
        decay = np.eye(3) - expm(-gram * t)
        exact = x0 + A.T @ np.linalg.solve(gram, decay @ (np.asarray(SIGNED.b) - A @ x0))
        np.testing.assert_allclose(x, exact, atol=1e-8)


# Discrete -----------------------------------------------------------------------------------------


def test_mirror_descent_is_the_update_of_its_definition():
    step, w = 0.03, jnp.full(7, 0.1)
    run = ut.train(
        POSITIVE, PHI, MirrorDescent(Entropy(), step), params=w, stop=ut.Stop(loss=None, steps=5), probes=[W], samples=6
    )
    for found in run["w"]:
        np.testing.assert_allclose(found, w, rtol=1e-13)
        w = w * jnp.exp(-step * jax.grad(POSITIVE.loss)(w))
    np.testing.assert_allclose(run.times, step * np.arange(6), rtol=1e-14)
    assert run.steps.tolist() == list(range(6))


@pytest.mark.long
def test_mirror_descent_approaches_the_flow_with_order_one():
    start, time = jnp.full(7, 0.01), 2.0
    exact = flow(Entropy(), start, stop=until(time)).w
    steps = np.array([200, 400, 800, 1600])
    data = ut.sweep(
        lambda count: ut.train(
            POSITIVE,
            PHI,
            MirrorDescent(Entropy(), time / count),
            params=start,
            stop=ut.Stop(loss=None, steps=int(count)),
            probes=[M.DistanceTo(exact)],
            samples=2,
        ),
        over={"count": steps},
    )
    orders = np.log2(data.final_distance.values[:-1] / data.final_distance.values[1:])
    np.testing.assert_allclose(orders, 1, atol=0.1)


def test_the_end_does_not_depend_on_the_steps():
    """And is where the flow ends."""
    start, stop = jnp.full(7, 0.1), ut.Stop(loss=1e-22)
    schedule = optax.exponential_decay(0.05, 50, 0.7, end_value=0.005)
    runs = [
        ut.train(POSITIVE, PHI, MirrorDescent(Entropy(), step), params=start, stop=stop) for step in (0.01, schedule)
    ]
    assert [run.status for run in runs] == ["converged", "converged"]
    np.testing.assert_allclose(runs[0].w, runs[1].w, rtol=0, atol=1e-8)
    np.testing.assert_allclose(runs[0].w, flow(Entropy(), start).w, rtol=0, atol=1e-8)


# What is conserved ---------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    ("potential", "start"),
    [
        (PNorm(1.5), np.linspace(-1, 1, 7)),
        (Separable(jnp.cosh), np.zeros(7)),
    ],
    ids=["PNorm", "Separable"],
)
def test_the_dual_moves_in_the_row_space(potential, start):
    """grad phi(x_t) - grad phi(x_1) is in range(A^T) for every t: with A x = b, the conditions of the projection."""
    run = flow(potential, start, rtol=1e-5, probes=[W], samples=20, stop=ut.Stop(loss=1e-20))
    duals = [np.asarray(potential.gradient(jnp.asarray(w))) for w in run["w"]]
    assert run.status == "converged"
    assert max(off_the_rows(s - duals[0]) for s in duals[1:]) < 1e-11
    np.testing.assert_allclose(A @ run.w, POSITIVE.b, atol=1e-9)


@pytest.mark.long
def test_of_equal_fits_entropy_ends_at_the_largest():
    """Every feasible point has l1 norm 1; the limit is the distribution of largest entropy.

    By implicit steps, whose derivative of the field is the true one, or there would be many.
    """
    problem = B.LeastSquares([[1.0, 1, 1, 1], [0, 1, 2, 3]], [1.0, 1.2])
    run = ut.train(
        problem,
        P.Identity(4),
        MirrorFlow(Entropy(), "implicit", rtol=1e-7),
        params=jnp.full(4, 1e-6),
        stop=ut.Stop(loss=1e-20),
    )
    np.testing.assert_allclose(run.w, [0.34743961, 0.27220765, 0.21326586, 0.16708688], atol=1e-8)
    assert run.steps[-1] < 300


@pytest.mark.long
def test_a_matrix_stays_positive_definite_and_its_dual_in_the_measurements():
    rng = np.random.default_rng(1)
    measurements = [(m + m.T) / 2 for m in rng.normal(size=(3, 4, 4))]
    v = rng.normal(size=(4, 1))
    rows = np.stack([m.ravel() for m in measurements])
    problem = B.LeastSquares(rows, rows @ (v @ v.T).ravel())
    phi = SpectralEntropy()
    run = ut.train(
        problem,
        P.Function(jnp.ravel, shape=16),
        MirrorFlow(phi, "explicit", rtol=1e-8),
        params=1e-6 * jnp.eye(4),
        probes=[W],
        stop=ut.Stop(loss=1e-20),
        samples=30,
    )
    assert run.status == "converged"
    assert min(np.linalg.eigvalsh(w.reshape(4, 4)).min() for w in run["w"]) > 0
    dual = np.asarray(phi.gradient(run.params) - phi.gradient(1e-6 * jnp.eye(4))).ravel()
    assert np.linalg.norm(dual - np.linalg.pinv(rows) @ (rows @ dual)) < 1e-7 * np.linalg.norm(dual)
    # From the smallest multiples of the identity: smallest trace.
    assert np.trace(run.params) <= 1.05 * np.sum(v**2)


# How runs end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dynamics", [MirrorFlow(Entropy(), "explicit"), MirrorDescent(Entropy(), 0.01)], ids=["flow", "descent"]
)
def test_where_nothing_nonnegative_fits_the_run_stalls_at_the_best(dynamics):
    """The dual goes to minus infinity where w goes to zero."""
    problem = B.LeastSquares(np.abs(A), [1.0, -1.0, 0.5])
    best, residual = nnls(np.abs(A), np.array([1.0, -1.0, 0.5]))
    run = ut.train(problem, PHI, dynamics, params=jnp.full(7, 0.1), stop=ut.Stop(loss=1e-10))
    assert run.status == "stalled"
    assert run["loss"][-1] == pytest.approx(residual**2 / 2, rel=1e-3)
    np.testing.assert_allclose(run.w, best, atol=0.02)
    assert bool((run.w >= 0).all())


def test_descent_with_too_long_steps_diverges():
    run = ut.train(POSITIVE, PHI, MirrorDescent(Entropy(), 10.0), params=jnp.full(7, 0.1))
    assert run.status == "diverged"
    assert np.isfinite(run.w).all()


@pytest.mark.parametrize("dynamics", [MirrorFlow(Entropy()), MirrorDescent(Entropy(), 0.1)], ids=["flow", "descent"])
def test_the_start_must_be_inside_the_domain(dynamics):
    for bad in (jnp.zeros(7), jnp.full(7, -1.0), jnp.ones(7).at[3].set(0)):
        with pytest.raises(ValueError, match=r"params: expected"):
            ut.train(POSITIVE, PHI, dynamics, params=bad)
        with pytest.raises(ValueError, match=r"params: expected a point inside the domain of Entropy \(positive\)"):
            dynamics.check(Objective(POSITIVE, PHI), bad)
    dynamics.check(Objective(POSITIVE, PHI), jnp.ones(7))


def test_the_potential_acts_on_all_parameters_and_a_penalty_counts():
    """Mirror descent of (u, v) with the Euclidean potential is gradient descent of them."""
    options = {
        "params": (jnp.full(7, 0.1), jnp.full(7, 0.2)),
        "stop": ut.Stop(loss=None, steps=30),
        "penalty": lambda w: 0.5 * jnp.sum(w**2),
    }
    ours = ut.train(SIGNED, P.SignedPower(7, 2), MirrorDescent(Euclidean(), 0.05), **options)
    theirs = ut.train(SIGNED, P.SignedPower(7, 2), D.GradientDescent(ut.optimizers.make("sgd", 0.05)), **options)
    for u, v in zip(ours.params, theirs.params, strict=True):
        np.testing.assert_allclose(u, v, rtol=1e-13)


def test_entries_are_asked_of_the_dual():
    problem = B.MatrixCompletion((3, 3), [0, 1], [1, 2], [2.0, 0.5])
    run = ut.train(
        problem, P.Identity((3, 3)), MirrorDescent(Entropy(), 0.1), params=jnp.ones((3, 3)), stop=ut.Stop(loss=1e-20)
    )
    expected = np.ones((3, 3))
    expected[0, 1], expected[1, 2] = 2.0, 0.5
    np.testing.assert_allclose(run.w, expected, atol=1e-8)


# As all dynamics -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dynamics", [MirrorFlow(Entropy(), "explicit"), MirrorDescent(Entropy(), 0.02)], ids=["flow", "descent"]
)
def test_chunks_of_any_length_give_the_same_bits(dynamics):
    objective, stop = Objective(POSITIVE, PHI), ut.Stop(loss=None, steps=2500)
    by_time = dynamics.samples_by == "time"
    targets = jnp.array([0.3, 1.0, 2.5, 1e9]) if by_time else jnp.array([1, 4, 999, 10**6], jnp.int32)

    @eqx.filter_jit
    def advance(state, passed, limit):
        return dynamics.advance(dynamics.modes[0], objective, state, stop, targets, passed, limit)

    def run(state, limit):
        passed, buffer = 0, [None] * 4
        while int(state.status) == 0:
            state, samples = advance(state, jnp.asarray(passed, jnp.int32), jnp.asarray(limit, jnp.int32))
            for i in np.flatnonzero(samples.taken):
                buffer[i] = jax.tree.map(lambda x, i=i: np.asarray(x[i]), (samples.params, samples.time, samples.steps))
            passed += int(samples.taken.sum())
        return state, buffer

    start = eqx.filter_jit(dynamics.start)(objective, jnp.full(7, 1e-3), stop)
    once = run(start, 100_000)
    assert sum(sample is not None for sample in once[1]) == 3
    assert once[0].steps > 1000
    for limit in (7, 1000):
        assert_same_bits(once, run(start, limit))


@pytest.mark.long
def test_a_sweep_over_potential_step_and_start_is_one_program():
    """Array-valued axes share a program, and agree with runs one by one."""

    def run(alpha, eta, size):
        return ut.train(
            SIGNED,
            PHI,
            MirrorDescent(HyperbolicEntropy(alpha), eta),
            params=size * jnp.ones(7),
            stop=ut.Stop(loss=1e-6, steps=20_000),
            samples=4,
        )

    axes = {"alpha": [0.1, 0.3], "eta": [0.01, 0.02], "size": [0.0, 0.1]}
    with compilations() as count:
        data = ut.sweep(run, over=axes)
    with compilations() as again:
        ut.sweep(run, over={**axes, "alpha": [0.2, 0.4]})
    assert again.programs == 0 < count.programs
    alone = run(0.3, 0.02, 0.1)
    assert data.status.values[1, 1, 1] == alone.status == "converged"
    assert float(data.final_loss[1, 1, 1]) == pytest.approx(alone["loss"][-1], rel=1e-9)


def test_it_goes_on_from_a_checkpoint(tmp_path):
    path, start = tmp_path / "run.npz", jnp.full(7, 1e-3)
    run = lambda steps, checkpoint: ut.train(
        POSITIVE,
        PHI,
        MirrorFlow(Entropy(), "explicit"),
        params=start,
        stop=ut.Stop(loss=1e-12, steps=steps),
        checkpoint=checkpoint,
    )
    assert run(50, path).status == "stopped"
    resumed, whole = run(100_000, path), run(100_000, None)
    assert_same_bits((resumed.params, resumed.status), (whole.params, whole.status))
    np.testing.assert_array_equal(resumed["loss"], whole["loss"])


def test_early_stopping_keeps_the_best():
    run = ut.train(
        POSITIVE,
        PHI,
        MirrorFlow(Entropy(), "explicit"),
        params=jnp.full(7, 1e-3),
        probes=[M.DistanceTo(jnp.full(7, 0.1))],
        early_stopping=ut.EarlyStopping("distance", patience=5),
        stop=ut.Stop(loss=1e-20),
        samples=64,
    )
    assert run.status == "stopped"
    assert run["distance"][run.chosen] == run["distance"].min() < run["distance"][-1]
    assert float(jnp.linalg.norm(run.w - 0.1)) == pytest.approx(run["distance"].min(), rel=1e-12)


@pytest.mark.long
@pytest.mark.two_types
def test_float32_stays_float32():
    for dynamics in (MirrorFlow(Entropy(), "explicit"), MirrorDescent(PNorm(3), 0.01)):
        run = ut.train(
            B.LeastSquares(A.astype(np.float32), np.asarray(POSITIVE.b, np.float32)),
            PHI,
            dynamics,
            params=jnp.full(7, 0.1, jnp.float32),
            stop=ut.Stop(loss=1e-6),
        )
        assert run.status == "converged"
        assert run.w.dtype == jnp.float32


BAD = [
    (lambda: MirrorFlow(Entropy(), "explict"), ValueError, r"solver: .*did you mean 'explicit'"),
    (lambda: MirrorFlow(Entropy(), rtol=0), ValueError, r"rtol: expected a finite number above 0"),
    (lambda: MirrorFlow(Entropy(), atol=-1), ValueError, r"atol: expected a finite number above 0"),
    (lambda: MirrorDescent(Entropy(), 0), ValueError, r"step_size: expected a finite number above 0"),
    (lambda: MirrorDescent(Entropy(), "0.1"), TypeError, r"step_size: expected a finite number above 0"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
