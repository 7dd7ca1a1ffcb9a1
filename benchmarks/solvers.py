"""The solvers of gradient flow on problems that suit one or another: whether "auto" picks well and ends well."""

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import undertow as ut
from undertow.datasets import low_rank_matrix, observe

from ._base import Benchmark, Outcome, Scope, timed

FIXED = ("explicit", "implicit", "stabilized")
SOLVERS = (*FIXED, "auto")
IMPLICIT_SIZE = 400
LIMIT = 40_000
"""Accepted steps after which a run has failed."""
REFERENCE = 1e-8
"""Relative tolerance of the run that the others are compared with."""
REPEATS = 3


@dataclasses.dataclass(frozen=True)
class Start:
    """A problem, and where its flow starts."""

    problem: ut.problems.Problem
    parameterization: ut.parameterizations.Parameterization
    params: Any

    @property
    def size(self) -> int:
        """How many parameters."""
        return sum(x.size for x in jax.tree.leaves(self.params))


@dataclasses.dataclass(frozen=True)
class Task:
    """A row of the table: ``make`` draws it from a seed, and ``loss`` is where it stops."""

    name: str
    make: Callable[[int], Start]
    loss: float = 1e-6


def completion(size: int, depth: int, scale: float, rank: int = 2, share: float = 0.5) -> Task:
    """A random low-rank matrix, a share of its entries observed, W(0) with entries of root mean square ``scale``."""

    def make(seed: int) -> Start:
        truth_key, entries_key, start_key = jax.random.split(jax.random.key(seed), 3)
        truth = low_rank_matrix(truth_key, (size, size), rank)
        rows, columns = observe(entries_key, (size, size), round(share * size**2))
        phi = ut.parameterizations.DeepMatrix((size, size), depth)
        return Start(
            ut.problems.MatrixCompletion((size, size), rows, columns, truth[rows, columns]),
            phi,
            phi.init(start_key, scale),
        )

    return Task(f"completion {size}x{size}, depth {depth}, scale {scale:g}", make)


def to_infinity(depth: int) -> Task:
    """2 x 2 completion whose only solutions are at infinity: the stiffest there is here."""

    def make(seed: int) -> Start:
        problem = ut.problems.MatrixCompletion((2, 2), [0, 1, 1], [1, 0, 1], [1.0, 1.0, 0.0])
        root = jnp.diag(jnp.array([0.1, 0.08 / (1 + 0.1 * seed)]))
        return Start(problem, ut.parameterizations.DeepMatrix((2, 2), depth), (root,) * depth)

    return Task(f"completion 2x2 to infinity, depth {depth}", make, loss=1e-4)


def regression(size: int, depth: int, scale: float) -> Task:
    """Sparse regression through a difference of powers, from a quarter as many equations."""

    def make(seed: int) -> Start:
        matrix_key, start_key = jax.random.split(jax.random.key(seed))
        A = jax.random.normal(matrix_key, (size // 4, size))
        phi = ut.parameterizations.SignedPower(size, depth)
        return Start(ut.problems.LeastSquares(A, A[:, :3].sum(axis=1)), phi, phi.init(start_key, scale))

    return Task(f"regression in {size} weights, depth {depth}, scale {scale:g}", make)


def linear(size: int, condition: float) -> Task:
    """Ill-conditioned linear regression without any depth."""

    def make(seed: int) -> Start:
        matrix_key, start_key = jax.random.split(jax.random.key(seed))
        rows = jnp.linalg.qr(jax.random.normal(matrix_key, (size, size // 4)))[0].T
        A = jnp.geomspace(1.0, condition**-0.5, size // 4)[:, None] * rows
        phi = ut.parameterizations.Identity(size)
        return Start(ut.problems.LeastSquares(A, A.sum(axis=1)), phi, phi.init(start_key, 1e-2))

    return Task(f"linear, {size} weights, condition {condition:g}", make)


FULL = (
    to_infinity(3),
    to_infinity(4),
    linear(80, 1e4),
    linear(800, 1e4),
    regression(50, 2, 1e-4),
    regression(1000, 3, 1e-3),
    completion(10, 2, 1e-3, rank=1),
    completion(20, 3, 1e-6),
    completion(40, 2, 1e-4),
    completion(40, 4, 1e-3),
    completion(60, 3, 1e-4, rank=5, share=0.3),
    completion(60, 5, 1e-2),
)
QUICK = (to_infinity(3), completion(10, 2, 1e-3, rank=1), linear(500, 1e3))


def solve(task: Task, start: Start, dynamics: ut.dynamics.GradientFlow) -> tuple[np.ndarray, dict[str, Any]]:
    """The end point, and what it took."""
    with timed() as clock:
        found = ut.train(
            start.problem,
            start.parameterization,
            dynamics,
            params=start.params,
            stop=ut.Stop(loss=task.loss, steps=LIMIT),
            samples=2,
        )
        w = np.asarray(found.w)
    return w, {
        "status": found.status,
        "steps": int(found.steps[-1]),
        "gradients": found.gradient_evaluations,
        "seconds": clock.seconds,
    }


def compare(task: Task, seed: int) -> list[dict[str, Any]]:
    """All solvers from one start, in double precision, which the reference needs."""
    runs = []
    with jax.enable_x64(True):
        start = task.make(seed)
        able = start.size <= IMPLICIT_SIZE
        exact = ut.dynamics.GradientFlow("implicit" if able else "explicit", rtol=REFERENCE)
        reference, _ = solve(task, start, exact)
        for solver in SOLVERS:
            if solver == "implicit" and not able:
                continue
            dynamics = ut.dynamics.GradientFlow(solver)
            solve(task, start, dynamics)  # compiles
            w, run = solve(task, start, dynamics)
            seconds = [run["seconds"], *(solve(task, start, dynamics)[1]["seconds"] for _ in range(REPEATS - 1))]
            error = float(np.linalg.norm(w - reference) / np.linalg.norm(reference))
            runs.append(
                {"task": task.name, "parameters": start.size, "seed": seed, "solver": solver}
                | run
                | {"seconds": min(seconds), "error": error}
            )
    return runs


def run(scope: Scope) -> Outcome:
    """All tasks, draws and solvers."""
    runs: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    for task in QUICK if scope.quick else FULL:
        scope.report(task.name)
        found = [row for seed in range(scope.seeds) for row in compare(task, seed)]
        runs += found
        summary.append(_summary(found, scope.seeds))
    settings = {
        "flow": "GradientFlow(solver)",
        "reference": f"implicit up to {IMPLICIT_SIZE} parameters, explicit beyond, rtol {REFERENCE:g}",
        "most accepted steps": LIMIT,
        "precision": "float64",
    }
    failed = [f"{r['task']}, seed {r['seed']}: {r['solver']} {r['status']}" for r in runs if r["status"] != "converged"]
    notes = (
        "Gradients, seconds without compilation, relative distance of the end point from a tight reference; medians.",
        "Auto / best: against the fastest fixed solver of each draw, the worst draw.",
        "An implicit step counts as 24 gradients for each parameter (12 Hessians).",
        *failed,
    )
    return Outcome(settings, runs, summary, COLUMNS, notes)


def _summary(runs: list[dict[str, Any]], seeds: int) -> dict[str, Any]:
    row: dict[str, Any] = {"task": runs[0]["task"], "parameters": runs[0]["parameters"]}
    for solver in SOLVERS:
        mine = [r for r in runs if r["solver"] == solver and r["status"] == "converged"]
        if len(mine) == seeds:
            row[solver] = {field: statistics.median(r[field] for r in mine) for field in ("gradients", "seconds")}
            row[solver]["error"] = max(r["error"] for r in mine)
    for field in ("gradients", "seconds"):
        row[f"auto_over_best_{field}"] = max(_ratio(runs, seed, field) for seed in range(seeds))
    return row


def _ratio(runs: list[dict[str, Any]], seed: int, field: str) -> float:
    done = {r["solver"]: r[field] for r in runs if r["seed"] == seed and r["status"] == "converged"}
    best = min(done[solver] for solver in FIXED if solver in done)
    return done["auto"] / best if "auto" in done else float("inf")


def _cell(solver: str) -> Callable[[dict[str, Any]], str]:
    def cell(row: dict[str, Any]) -> str:
        if solver not in row:
            return "-"
        values = row[solver]
        return f"{values['gradients']:,.0f}; {values['seconds']:.2f} s; {values['error']:.0e}"

    return cell


COLUMNS = {
    "until loss 1e-6 (to infinity: 1e-4)": lambda row: row["task"],
    "parameters": lambda row: f"{row['parameters']:,}",
    **{solver: _cell(solver) for solver in SOLVERS},
    "auto / best: gradients": lambda row: f"{row['auto_over_best_gradients']:.2f}",
    "seconds": lambda row: f"{row['auto_over_best_seconds']:.2f}",
}


solvers = Benchmark(
    name="solvers",
    title="The solvers of gradient flow, and whether auto picks well",
    packages=(),
    run=run,
)
