"""Noise of descent, in labels and in gradients: its size, what it follows from, and what it is refused for."""

import jax.numpy as jnp
import numpy as np
import pytest
from contract import assert_same_bits, compilations, completion

import undertow as ut
from undertow.training import _run

B, P, D = ut.problems, ut.parameterizations, ut.dynamics
A = np.random.default_rng(0).normal(size=(7, 12))
PROBLEM, PHI = B.LeastSquares(A, A @ np.ones(12), "half_mean"), P.Identity(12)


def descent(**noise):
    return D.GradientDescent(ut.optimizers.make("sgd", 0.1), **noise)


def run(key=0, steps=400, start=0.0, **options):
    noise = {"batch_size": 3, "label_noise": 0.3, "gradient_noise": 0.2} | options.pop("noise", {})
    stop = ut.Stop(loss=None, steps=steps)
    return ut.train(PROBLEM, PHI, descent(**noise), params=jnp.full(12, start), key=key, stop=stop, **options)


# Its size ------------------------------------------------------------------------------------------


@pytest.mark.long
def test_noise_in_the_gradient_is_that_of_langevin_dynamics():
    """At rest u <- (1 - eta) u + eta s xi has the variance eta s^2 / (2 - eta): of 20,000 chains, to five sigmas."""
    n, eta, sigma = 20_000, 0.2, 1.5
    problem, phi = B.PointTarget(np.zeros(n)), P.Identity(n)
    dynamics = D.GradientDescent(ut.optimizers.make("sgd", eta), gradient_noise=sigma)
    found = ut.train(problem, phi, dynamics, params=jnp.zeros(n), key=1, stop=ut.Stop(loss=None, steps=100), samples=2)
    expected = eta * sigma**2 / (2 - eta)
    assert float(jnp.mean(found.w**2)) == pytest.approx(expected, rel=5 * np.sqrt(2 / n))
    assert abs(float(jnp.mean(found.w))) < 5 * np.sqrt(expected / n)
    assert found["loss"][-1] == pytest.approx(float(problem.loss(found.w)), rel=1e-12)


@pytest.mark.parametrize("batch_size", [None, 7_000], ids=["all", "batches"])
def test_noise_in_the_labels_moves_the_gradient_by_as_much(batch_size):
    """One step from the fit is by eta times the mean of the noise that is drawn, entry by entry."""
    n = 28_000
    rows = np.repeat(np.arange(4), n // 4)
    problem, phi = B.LeastSquares(np.eye(4)[rows], np.ones(n), "half_sum"), P.Identity(4)
    dynamics = D.GradientDescent(ut.optimizers.make("sgd", 0.1), batch_size, label_noise=0.5)
    found = ut.train(problem, phi, dynamics, params=jnp.ones(4), key=2, stop=ut.Stop(loss=None, steps=1), samples=2)
    # A batch is a quarter of the rows, each counted four times.
    spread = 0.1 * 0.5 * np.sqrt(n / 4 * (4 if batch_size else 1))
    moved = np.asarray(found.w) - 1
    assert np.all(np.abs(moved) < 5 * spread)
    assert np.linalg.norm(moved) > 0.2 * spread  # of chi with four degrees of freedom: once in 10,000
    assert len(np.unique(moved)) == 4


def test_every_term_of_every_step_has_noise_of_its_own():
    """With the same row twice, the same label twice would add up: the mean over 4,000 steps' variance is halved."""
    problem = B.LeastSquares(np.ones((2, 1)), np.zeros(2), "half_mean")
    dynamics = D.GradientDescent(ut.optimizers.make("sgd", 1.0), label_noise=1.0)
    found = ut.train(
        problem,
        P.Identity(1),
        dynamics,
        params=jnp.zeros(1),
        key=0,
        stop=ut.Stop(loss=None, steps=4_001),
        samples=np.arange(1, 4_001),
        probes=[ut.probes.Entry(0)],
    )
    drawn = found["entry_0"][1:4_001]  # with rate 1 w is the mean of the noise of the last step
    assert np.var(drawn) == pytest.approx(0.5, rel=5 * np.sqrt(2 / 4_000))
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 5 / np.sqrt(4_000)


@pytest.mark.long
def test_no_noise_is_descent_without():
    plain, zero = (
        run(noise={"label_noise": None, "gradient_noise": None}),
        run(noise=dict.fromkeys(("label_noise", "gradient_noise"), 0.0)),
    )
    np.testing.assert_allclose(plain.w, zero.w, rtol=1e-12)


def test_the_loss_that_counts_is_without_noise():
    found = run(steps=21)
    assert found["loss"][-1] == pytest.approx(float(PROBLEM.loss(found.w)), rel=1e-12)
    assert found.status == "stopped"


# What it follows from --------------------------------------------------------------------------------


def test_samples_chunks_and_checkpoints_change_no_bit(tmp_path, monkeypatch):
    found = run()
    assert_same_bits(found.params, run(samples=[7, 250]).params)
    monkeypatch.setattr(_run, "CHUNK_SECONDS", 1e-6)
    path = tmp_path / "run.npz"
    for steps in (17, 100, 400):
        further = run(steps=steps, checkpoint=path)
    assert_same_bits((found.params, found.records), (further.params, further.records))


@pytest.mark.long
def test_a_sweep_over_keys_and_noise_is_the_runs_one_by_one():
    axes = {"key": [0, 1], "sigma": [0.1, 0.3]}
    made = lambda key, sigma: run(key, noise={"label_noise": sigma})
    together = ut.sweep(made, over=axes)
    for key in axes["key"]:
        for sigma in axes["sigma"]:
            alone = made(key, sigma)["loss"][-1]
            np.testing.assert_allclose(together["final_loss"].sel(key=key, sigma=sigma), alone, rtol=1e-9)
    assert len(np.unique(together["final_loss"])) == 4


def test_another_key_or_size_compiles_nothing():
    run()
    with compilations() as count:
        run(3, noise={"label_noise": 0.1, "gradient_noise": 0.5})
    assert count.programs == 0


@pytest.mark.parametrize(
    "problem",
    [completion(), B.MatrixSensing(A[:5, :12].reshape(5, 4, 3), np.ones(5)), PROBLEM],
    ids=["completion", "sensing", "least-squares"],
)
def test_labels_that_change_are_those_of_the_equations(problem):
    changed = problem.relabeled(lambda b: b + jnp.arange(b.size, dtype=b.dtype))
    before, after = problem.equations(), changed.equations()
    np.testing.assert_allclose(np.asarray(after.b) - np.asarray(before.b), np.arange(len(before.b)), rtol=1e-12)
    part = problem.part(jnp.array([2, 0]), jnp.ones(2)).relabeled(jnp.zeros_like)
    assert part is not None
    assert float(part.loss(jnp.zeros(problem.shape))) == 0.0


# What it is refused for --------------------------------------------------------------------------------


def train(dynamics, problem=PROBLEM, phi=PHI, key=0):
    return ut.train(problem, phi, dynamics, params=jnp.zeros(phi.shape), key=key, stop=ut.Stop(steps=1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: descent(label_noise=-1), "label_noise: expected a finite number of at least 0"),
        (lambda: descent(gradient_noise=np.nan), "gradient_noise: expected a finite number of at least 0"),
        (
            lambda: train(descent(label_noise=1.0), B.Classification(A, np.sign(A[:, 0]))),
            "label_noise: expected None, since Classification does not say what its labels are",
        ),
        (lambda: train(descent(gradient_noise=1.0), key=None), "key: expected a random key or a seed"),
        (
            lambda: train(D.GradientDescent(ut.optimizers.make("lbfgs", 1.0), gradient_noise=1.0)),
            "optimizer: expected one without a line search",
        ),
    ],
)
def test_noise_that_makes_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()
