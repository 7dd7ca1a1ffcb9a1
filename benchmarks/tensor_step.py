"""A step of gradient descent on many entries of a large tensor: in pieces, all at once, and PyTorch's."""

import functools
import statistics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import undertow as ut

from ._base import Benchmark, Outcome, Scope, timed

RATE, TRIALS = 0.1, 20
# Shape, components, entries.
FULL = (((200, 200, 200), 64, 100_000), ((50, 50, 50, 50), 100, 100_000))
QUICK = (((30, 30, 30), 4, 500),)


def draw(shape: tuple[int, ...], components: int, entries: int, seed: int) -> tuple[Any, tuple[np.ndarray, ...]]:
    """Entries of size 1, at random positions, and factors that give entries of size 1."""
    rng = np.random.default_rng(seed)
    places = np.unravel_index(rng.choice(int(np.prod(shape)), entries, replace=False), shape)
    deviation = components ** (-0.5 / len(shape))
    factors = tuple(deviation * rng.standard_normal((n, components)).astype(np.float32) for n in shape)
    return ut.problems.TensorCompletion(shape, places, rng.standard_normal(entries).astype(np.float32)), factors


def by_jax(loss: Any, factors: tuple[np.ndarray, ...]) -> tuple[float, float]:
    """Seconds of a step by automatic differentiation, and the loss after all."""

    @jax.jit
    def step(factors: Any) -> Any:
        return jax.tree.map(lambda x, g: x - RATE * g, factors, jax.grad(loss)(factors))

    jax.block_until_ready(step(factors))  # compiles
    moved, seconds = factors, []
    for _ in range(TRIALS):
        with timed() as clock:
            moved = jax.block_until_ready(step(moved))
        seconds.append(clock.seconds)
    return statistics.median(seconds), float(loss(moved))


def by_undertow(problem: Any, factors: tuple[np.ndarray, ...]) -> tuple[float, float]:
    """As it is trained: rows are gathered in pieces, and again for the derivative."""
    phi = ut.parameterizations.CPTensor(problem.shape, factors[0].shape[1])
    return by_jax(lambda p: problem.loss_of_entries(phi.entries(p, problem.indices)), factors)


def at_once(problem: Any, factors: tuple[np.ndarray, ...]) -> tuple[float, float]:
    """As one would write it: gather, multiply, sum."""

    def loss(factors: Any) -> Any:
        rows = [jnp.asarray(factor)[axis] for factor, axis in zip(factors, problem.indices, strict=True)]
        return problem.loss_of_entries(jnp.sum(functools.reduce(jnp.multiply, rows), axis=1))

    return by_jax(loss, factors)


def by_torch(problem: Any, factors: tuple[np.ndarray, ...]) -> tuple[float, float]:
    """The same in PyTorch."""
    import torch

    moved = [torch.tensor(factor, requires_grad=True) for factor in factors]
    places = [torch.tensor(np.asarray(axis)).long() for axis in problem.indices]
    values = torch.tensor(np.asarray(problem.values))
    optimizer = torch.optim.SGD(moved, lr=RATE)

    def loss() -> Any:
        rows = [factor[axis] for factor, axis in zip(moved, places, strict=True)]
        return ((functools.reduce(torch.mul, rows).sum(1) - values) ** 2).mean()

    seconds = []
    for _ in range(TRIALS):
        with timed() as clock:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        seconds.append(clock.seconds)
    return statistics.median(seconds), float(loss().detach())


WAYS = {"undertow": by_undertow, "JAX, at once": at_once, "PyTorch": by_torch}


def run(scope: Scope) -> Outcome:
    """Every size, draw by draw, one way after the other; all have to end at one loss."""
    runs, summary = [], []
    for shape, components, entries in QUICK if scope.quick else FULL:
        size = {"shape": list(shape), "components": components, "entries": entries}
        scope.report(f"{' x '.join(map(str, shape))}, {components} components")
        found = []
        for seed in range(scope.seeds):
            problem, factors = draw(shape, components, entries, seed)
            result: dict[str, Any] = size | {"seed": seed}
            losses = []
            for name, way in WAYS.items():
                result[name], loss = way(problem, factors)
                losses.append(loss)
            if np.ptp(losses) > 1e-3 * losses[0]:
                raise RuntimeError(f"nothing to compare: the losses after the steps are {losses}")
            found.append(result | {"loss": losses[0]})
        runs += found
        summary.append(size | {name: statistics.median(result[name] for result in found) for name in WAYS})
    settings = {"rate": RATE, "steps": TRIALS, "precision": "float32", "device": jax.default_backend()}
    return Outcome(settings, runs, summary, COLUMNS, (NOTE,))


NOTE = "Milliseconds of a step, medians over steps and draws; all ways end at the same loss."
COLUMNS = {
    "shape": lambda row: " x ".join(map(str, row["shape"])),
    "components": lambda row: str(row["components"]),
    "entries": lambda row: f"{row['entries']:,}",
    **{name: lambda row, name=name: f"{1e3 * row[name]:.3g}" for name in WAYS},
    "times faster than PyTorch": lambda row: f"{row['PyTorch'] / row['undertow']:.1f}",
}

tensor_step = Benchmark(
    name="tensor-step",
    title="A step of descent on entries of a large CP tensor against PyTorch's, and JAX's as one would write it",
    packages=("torch",),
    run=run,
)
