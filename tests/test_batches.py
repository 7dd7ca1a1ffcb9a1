"""Mini-batches: parts of a sum, what a step looks at, and the whole that a run is judged by."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import assert_same_bits, compilations
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow.dynamics import _batches
from undertow.dynamics._batches import Batches, whole
from undertow.objective import Objective
from undertow.training import _run

B, P = ut.problems, ut.parameterizations
RNG = np.random.default_rng(0)
NORMALIZATIONS = ("mean", "half_sum")


def sums(normalization: str) -> list[B.Problem]:
    """Every problem that is a sum, with seven terms; the last keeps a large matrix sparse."""
    values, (left, right) = RNG.normal(size=7), RNG.normal(size=(2, 7, 3))
    rows = np.array([0, 0, 1, 1, 2, 2, 3])
    return [
        B.LeastSquares(RNG.normal(size=(7, 12)), values, normalization),
        B.MatrixCompletion((4, 3), rows, [0, 1, 1, 2, 0, 2, 1], values, normalization=normalization),
        B.MatrixSensing(RNG.normal(size=(7, 4, 3)), values, normalization=normalization),
        B.MatrixSensing.rank_one(left, right, values, normalization=normalization),
        B.MatrixCompletion((600, 500), 100 * rows, 50 * np.arange(7), values, normalization=normalization),
    ]


def map_for(problem: B.Problem) -> P.Parameterization:
    return P.Identity(problem.shape) if len(problem.shape) == 1 else P.DeepMatrix(problem.shape, 2, width=2)


# Parts of a sum ------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_average_over_an_epoch_is_the_whole_gradient(normalization):
    for problem in sums(normalization):
        phi = map_for(problem)
        objective = Objective(problem, phi, ut.penalties.L2(0.3))
        params, key = phi.init(jax.random.key(1), 1.0), jax.random.key(2)
        gradient = eqx.filter_jit(lambda o, p: jax.grad(lambda p: o(p)[0])(p))
        expected = gradient(objective, params)
        for size in (3, 7):
            batches = Batches(size, 7, replacement=False)
            order = batches.order(key, jnp.asarray(4))
            drawn = [objective.part(*batches.draw(key, order, jnp.asarray(i))) for i in range(batches.per_epoch)]
            gradients = [gradient(part, params) for part in drawn]
            average = jax.tree.map(lambda *gs: sum(np.asarray(g) for g in gs) / len(gs), *gradients)
            for a, b in zip(jax.tree.leaves(average), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12 * np.abs(b).max())


@pytest.mark.long
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**31 - 1), st.integers(0, 100))
def test_an_epoch_takes_every_term_once(terms, size, seed, epoch):
    batches, key = Batches(min(size, terms), terms, replacement=False), jax.random.key(seed)
    order = batches.order(key, jnp.asarray(epoch))
    first = epoch * batches.per_epoch
    seen = np.zeros(terms)
    for step in range(first, first + batches.per_epoch):
        positions, counts = batches.draw(key, order, jnp.asarray(step))
        np.add.at(seen, np.asarray(positions), np.asarray(counts) / batches.per_epoch)
    np.testing.assert_allclose(seen, 1.0, rtol=1e-12)


def test_draws_with_replacement_average_to_the_whole():
    """Of 4,000 draws of 3 out of 7, each term's count is 1 on average, with a standard deviation of 1.41 a draw."""
    batches, key = Batches(3, 7, replacement=True), jax.random.key(0)
    nothing = batches.order(key, jnp.asarray(0))
    positions, counts = jax.vmap(lambda step: batches.draw(key, nothing, step))(jnp.arange(4_000))
    mean = np.bincount(np.ravel(positions), np.ravel(counts), minlength=7) / 4_000
    assert np.abs(mean - 1).max() < 5 * 1.41 / np.sqrt(4_000)
    assert len(np.unique(np.asarray(positions), axis=0)) > 300  # of 343: draws differ from step to step


@pytest.mark.long
@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_the_whole_in_pieces_is_the_whole(piece, monkeypatch):
    monkeypatch.setattr(_batches, "PIECE", piece)
    for problem in sums("mean"):
        phi = map_for(problem)
        for penalty in (None, ut.penalties.L2(0.3)):
            objective = Objective(problem, phi, penalty)
            params = phi.init(jax.random.key(1), 1.0)
            evaluate = lambda o, params=params: jax.value_and_grad(o, has_aux=True)(params)
            a, b = jax.tree.leaves(whole(objective, params, evaluate)), jax.tree.leaves(evaluate(objective))
            for x, y in zip(a, b, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-13)


# The exact end of descent ------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(("batch_size", "rate"), [(None, 0.5), (1, 0.1)], ids=["gd", "sgd"])
def test_descent_on_a_diagonal_network_ends_where_its_steps_say(batch_size, rate):
    r"""(S)GD on w = u^2 - v^2: u, v change by the factors 1 -+ 2 eta g, so that every end is a Bregman projection.

    Even, Pesme, Gunasekar, Flammarion. (S)GD over Diagonal Linear Networks. NeurIPS 2023, Theorem 1.
    """
    rng = np.random.default_rng(0)
    X, truth, alpha = rng.standard_normal((10, 30)), np.zeros(30), 0.1 / np.sqrt(2)
    truth[:3] = 1, -1, 0.5
    y = X @ truth
    problem, phi = B.LeastSquares(X, y, "half_mean"), P.SignedPower(30, 2)
    start = (jnp.full(30, alpha), jnp.full(30, alpha))
    # w of the source moves at a quarter of the rate in its parameters, which are twice as large.
    dynamics = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate / 2), batch_size)
    run = ut.train(problem, phi, dynamics, params=start, key=3, stop=ut.Stop(loss=1e-22, steps=60_000))
    assert run.status == "converged"

    # The same steps in NumPy, row by row as the run's key draws them.
    batches, key = Batches(1, 10, replacement=False), jax.random.fold_in(jax.random.key(3), 1)
    u, v, exponents = np.full(30, alpha), np.full(30, alpha), np.zeros((2, 30))
    rows = slice(None)
    for step in range(run.steps[-1]):
        if batch_size:
            if step % 10 == 0:
                order = np.asarray(batches.order(key, jnp.asarray(step // 10)))
            rows = order[step % 10 : step % 10 + 1]
        gradient = X[rows].T @ (X[rows] @ (u**2 - v**2) - y[rows]) / len(X[rows])
        x = rate * gradient
        exponents -= np.stack([-2 * x - np.log((1 - x) ** 2), 2 * x - np.log((1 + x) ** 2)])
        u, v = u * (1 - x), v * (1 + x)
    np.testing.assert_allclose(run.w, u**2 - v**2, rtol=0, atol=1e-9)
    plus, minus = alpha**2 * np.exp(exponents)
    potential = ut.potentials.HyperbolicEntropy(b=2 * np.sqrt(plus * minus))
    predicted = ut.theory.bregman_projection(problem, potential, plus - minus)
    np.testing.assert_allclose(run.w, predicted, rtol=0, atol=1e-9)
    flow = ut.theory.limit(problem, phi, start)
    assert np.abs(predicted - flow).max() > 1e-4  # so that the check discriminates


# Runs ----------------------------------------------------------------------------------------------

PROBLEM = sums("mean")[0]
PHI = P.Identity(12)
SGD = ut.optimizers.make("sgd", 0.1)


def run(replacement=False, key: Any = 0, size=3, steps=400, **options: Any) -> ut.Trajectory:
    dynamics = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 0.01), size, replacement)
    stop = options.pop("stop", ut.Stop(loss=None, steps=steps))
    return ut.train(PROBLEM, PHI, dynamics, key=key, scale=0.1, stop=stop, **options)


@pytest.mark.parametrize("replacement", [False, True])
def test_stopping_looks_at_the_whole_once_an_epoch(replacement):
    found = run(replacement, stop=ut.Stop(loss=1e-6))
    assert found.status == "converged"
    assert found.steps[-1] % 3 == 0
    assert found["loss"][-1] == pytest.approx(float(PROBLEM.loss(found.w)), rel=1e-12)
    assert found["loss"][-1] <= 1e-6
    by_gradient = run(replacement, stop=ut.Stop(loss=None, gradient=1e-3))
    assert by_gradient.status == "converged"
    assert float(jnp.linalg.norm(jax.grad(PROBLEM.loss)(by_gradient.w))) <= 1e-3


@pytest.mark.long
@pytest.mark.parametrize("replacement", [False, True])
def test_samples_and_chunks_change_no_bit(replacement, tmp_path, monkeypatch):
    found = run(replacement)
    few = run(replacement, samples=[7, 250])
    assert_same_bits(found.params, few.params)
    monkeypatch.setattr(_run, "CHUNK_SECONDS", 1e-6)
    assert_same_bits(found.params, run(replacement).params)
    path = tmp_path / "run.npz"
    for steps in (17, 100, 400):
        further = run(replacement, steps=steps, checkpoint=path)
    assert_same_bits((found.params, found.records), (further.params, further.records))
    with pytest.raises(ValueError, match="belongs to another run"):
        run(replacement, key=1, checkpoint=path)


def test_a_sweep_over_keys_draws_what_each_run_draws():
    together = ut.sweep(lambda key: run(key=key), over={"key": [0, 1, 2]})
    for key in (0, 1, 2):
        np.testing.assert_allclose(together["final_loss"][key], run(key=key)["loss"][-1], rtol=1e-9)
    assert len(set(together["final_loss"].values.tolist())) == 3


def test_params_together_with_a_key():
    dynamics = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.01), 3)
    start, stop = jnp.ones(12), ut.Stop(loss=None, steps=5)
    a, b, c = (ut.train(PROBLEM, PHI, dynamics, params=start, key=key, stop=stop).w for key in (0, 0, 1))
    assert_same_bits(a, b)
    assert np.abs(a - c).max() > 0


def test_a_batch_size_of_numpys_is_a_number():
    assert ut.dynamics.GradientDescent(SGD, np.int64(3)).batch_size == 3


def test_another_key_compiles_nothing():
    run(key=7)
    with compilations() as count:
        run(key=8)
    assert count.programs == 0


class Rows(B.ObservedEntries):
    """The user's own: rows of w against rows of a table."""

    shape: tuple[int, ...] = eqx.field(static=True)
    indices: Any
    values: Any
    counts: Any

    @property
    def terms(self):
        return 6

    def loss_of_entries(self, entries):
        return (self.counts[:, None] * (entries - self.values) ** 2).sum()

    def part(self, positions, counts):
        return Rows(self.shape, (self.indices[0][positions],), self.values[positions], counts)


@pytest.mark.parametrize("phi", [P.Identity((6, 2)), P.DeepMatrix((6, 2), 3)], ids=["identity", "deep"])
def test_rows_are_entries_of_a_problem_of_the_users_own(phi):
    problem = Rows((6, 2), (jnp.arange(6),), jnp.asarray(RNG.normal(size=(6, 2))), jnp.ones(6))
    dynamics = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 0.02), 4)
    found = ut.train(problem, phi, dynamics, key=0, scale=0.5)
    assert found.status == "converged"
    np.testing.assert_allclose(found.w, problem.values, atol=2e-3)


# Wrong input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ut.dynamics.GradientDescent(SGD, 0), "batch_size: expected an integer of at least 1"),
        (lambda: ut.dynamics.GradientDescent(SGD, 2, replacement=None), "replacement"),
        (lambda: run(size=8), "batch_size: expected at most 7, as many terms as LeastSquares has, found 8"),
        (
            lambda: ut.train(PROBLEM, PHI, ut.dynamics.GradientDescent(SGD, 2), params=jnp.ones(12)),
            "key: expected a random key or a seed, by which GradientDescent draws; found None",
        ),
        (
            lambda: ut.train(
                B.PointTarget(np.ones(2)), P.Identity(2), ut.dynamics.GradientDescent(SGD, 1), key=0, scale=1.0
            ),
            "batch_size: expected None, since the loss of PointTarget is no sum over terms",
        ),
        (lambda: B.PointTarget(np.ones(2)).part(jnp.zeros(1, int), jnp.ones(1)), "part: the loss of PointTarget"),
    ],
)
def test_wrong_batches_are_named(make, message):
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=message):
        make()
