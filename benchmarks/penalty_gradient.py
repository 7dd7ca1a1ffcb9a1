"""A step with the ratio penalty: undertow's, by products where they are faster, beside PyTorch's decomposition."""

import statistics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import undertow as ut

from ._base import Benchmark, Outcome, Scope, timed

WEIGHT, RATE = 0.1, 3e-3
# Rows, columns, rank, entries, steps.
FULL = ((100, 100, 5, 2000, 6000), (943, 1682, 10, 100_000, 100))
QUICK = ((20, 20, 2, 220, 200),)


def draw(rows: int, columns: int, rank: int, entries: int, seed: int) -> tuple[Any, Any]:
    """A matrix of entries of size 1, some of which are known, and the start: what is known, and zeros."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    truth = (truth / np.sqrt(np.mean(truth**2))).astype(np.float32)
    places = np.unravel_index(np.sort(rng.permutation(rows * columns)[:entries]), (rows, columns))
    start = np.zeros((rows, columns), np.float32)
    start[places] = truth[places]
    return ut.problems.MatrixCompletion((rows, columns), *places, truth[places], truth=truth), start


def by_undertow(problem: Any, start: np.ndarray, steps: int) -> tuple[float, np.ndarray]:
    """Seconds of a step, and W at the end."""
    probe = ut.probes.Function("w", lambda w: w)

    def run(steps: int) -> Any:
        return ut.train(
            problem,
            ut.parameterizations.Identity(problem.shape),
            ut.dynamics.GradientDescent(ut.optimizers.make("adam", RATE)),
            params=jnp.asarray(start),
            penalty=ut.penalties.NuclearFrobeniusRatio(WEIGHT),
            stop=ut.Stop(loss=None, steps=steps),
            samples=2,
            probes=[probe],
        )

    run(1)  # compiles
    with timed() as clock:
        found = run(steps)
    return clock.seconds / steps, np.asarray(found["w"][-1])


def by_torch(problem: Any, start: np.ndarray, steps: int) -> tuple[float, np.ndarray]:
    """The same, as one would write it there."""
    import torch

    w = torch.tensor(start, requires_grad=True)
    places = [torch.tensor(np.asarray(axis)).long() for axis in (problem.rows, problem.columns)]
    values = torch.tensor(np.asarray(problem.values))
    optimizer = torch.optim.Adam([w], lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        penalty = torch.linalg.matrix_norm(w, "nuc") / torch.linalg.matrix_norm(w)
        (((w[places[0], places[1]] - values) ** 2).mean() + WEIGHT * penalty).backward()
        optimizer.step()

    with timed() as clock:
        for _ in range(steps):
            step()
    return clock.seconds / steps, w.detach().numpy()


WAYS = {"undertow": by_undertow, "PyTorch": by_torch}


def run(scope: Scope) -> Outcome:
    """Every size, draw by draw, one way after the other."""
    runs, summary = [], []
    for rows, columns, rank, entries, steps in QUICK if scope.quick else FULL:
        scope.report(f"{rows} x {columns}, {steps} steps")
        found = []
        for seed in range(scope.seeds):
            problem, start = draw(rows, columns, rank, entries, seed)
            unseen = start == 0
            truth = np.asarray(problem.truth)
            result: dict[str, Any] = {"rows": rows, "columns": columns, "steps": steps, "seed": seed}
            for name, way in WAYS.items():
                seconds, w = way(problem, start, steps)
                result[name] = seconds
                result[f"{name}: error"] = float(np.sqrt(np.mean((w - truth)[unseen] ** 2)))
            found.append(result)
        runs += found
        numbers = (*WAYS, *(f"{name}: error" for name in WAYS))
        summary.append(
            {"rows": rows, "columns": columns, "steps": steps}
            | {name: statistics.median(result[name] for result in found) for name in numbers}
            | {"ratio": statistics.median(result["PyTorch"] / result["undertow"] for result in found)}
        )
    settings = {"weight": WEIGHT, "rate": RATE, "optimizer": "Adam", "precision": "float32"}
    settings["device"] = jax.default_backend()
    return Outcome(settings, runs, summary, COLUMNS, (NOTE,))


NOTE = (
    "Milliseconds of a step, medians over draws; both start from the data with zeros where none are. Error: root mean "
    "square over unobserved entries after the steps."
)
COLUMNS = {
    "size": lambda row: f"{row['rows']} x {row['columns']}",
    "undertow": lambda row: f"{1e3 * row['undertow']:.3g}",
    "PyTorch": lambda row: f"{1e3 * row['PyTorch']:.3g}",
    "times faster": lambda row: f"{row['ratio']:.1f}",
    "error": lambda row: f"{row['undertow: error']:.4f}",
    "error, PyTorch": lambda row: f"{row['PyTorch: error']:.4f}",
}

penalty_gradient = Benchmark(
    name="penalty-gradient",
    title="A step of Adam with the ratio penalty against PyTorch's, which differentiates a decomposition",
    packages=("torch",),
    run=run,
)
