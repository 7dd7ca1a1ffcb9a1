"""Basis pursuit by the flow of a diagonal network: beside a linear program, and many at once beside a loop of Lasso."""

import statistics
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linprog
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

import undertow as ut

from ._base import Benchmark, Outcome, Scope, timed

ALPHA, LOSS, RECOVERED = 1e-6, 1e-10, 1e-3
# Unknowns, measurements, nonzero entries, problems at once.
FULL = ((200, 80, 10, 1), (500, 200, 25, 1), (1000, 400, 50, 1), (80, 40, 8, 160))
QUICK = ((60, 30, 3, 1), (40, 20, 3, 8))
PENALTY = 1e-5
"""Of Lasso, over the least one that gives zero: small enough to stand for the equations."""


def draw(unknowns: int, equations: int, nonzero: int, seed: Any) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian matrix and a sparse vector."""
    rng = np.random.default_rng(seed)
    w = np.zeros(unknowns)
    w[rng.choice(unknowns, nonzero, replace=False)] = rng.standard_normal(nonzero)
    return rng.standard_normal((equations, unknowns)) / np.sqrt(equations), w


def by_flow(problems: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The end points of gradient flow on u^2 - v^2, all in one program."""
    size = problems[0][1].size
    start = jnp.full(size, ALPHA)
    phi = ut.parameterizations.SignedPower(size, 2)
    w = ut.probes.Function("w", lambda w: w)

    def run(number: int) -> ut.Trajectory:
        A, truth = problems[number]
        problem = ut.problems.LeastSquares(A, A @ truth)
        flow = ut.dynamics.GradientFlow("stabilized")
        return ut.train(problem, phi, flow, params=(start, start), stop=ut.Stop(loss=LOSS), samples=2, probes=[w])

    return ut.sweep(run, over={"number": range(len(problems))}, side_by_side=80)["final_w"].values


def by_linear_program(problems: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Least l1 norm by HiGHS, one after the other."""
    found = []
    for A, truth in problems:
        ends = linprog(np.ones(2 * truth.size), A_eq=np.hstack([A, -A]), b_eq=A @ truth).x
        found.append(ends[: truth.size] - ends[truth.size :])
    return np.array(found)


def by_lasso(problems: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Lasso with a tiny penalty by coordinate descent, one after the other."""
    found = []
    for A, truth in problems:
        b = A @ truth
        penalty = PENALTY * np.abs(A.T @ b).max() / len(b)
        found.append(Lasso(penalty, fit_intercept=False, max_iter=100_000, tol=1e-8).fit(A, b).coef_)
    return np.array(found)


METHODS = {"flow": by_flow, "linear program": by_linear_program, "Lasso": by_lasso}


def run(scope: Scope) -> Outcome:
    """Every size, every method in turn on each draw."""
    runs: list[dict[str, Any]] = []
    summary = []
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for unknowns, equations, nonzero, count in QUICK if scope.quick else FULL:
            scope.report(f"{count} of {equations} x {unknowns}, {nonzero} nonzero")
            case = {"unknowns": unknowns, "equations": equations, "nonzero": nonzero, "problems": count}
            by_flow([draw(unknowns, equations, nonzero, [99, i]) for i in range(count)])  # compiles
            found = []
            for seed in range(scope.seeds):
                problems = [draw(unknowns, equations, nonzero, [seed, i]) for i in range(count)]
                truths = np.array([truth for _, truth in problems])
                for method, solve in METHODS.items():
                    with timed() as clock:
                        ends = solve(problems)
                    error = np.linalg.norm(ends - truths, axis=1) / np.linalg.norm(truths, axis=1)
                    found.append(
                        {
                            "method": method,
                            "seed": seed,
                            "seconds": clock.seconds,
                            "compiled_programs": clock.compiled,
                            "recovered": float(np.mean(error < RECOVERED)),
                        }
                    )
            runs += [case | result for result in found]
            summary.append(case | _summary(found))
    settings = {"alpha": ALPHA, "loss": LOSS, "recovered below": RECOVERED, "Lasso penalty": PENALTY}
    notes = (
        f"Problems a second, medians over draws, nothing compiled; in brackets those with error < {RECOVERED:g}.",
        "Linear program: HiGHS. Lasso: scikit-learn's coordinate descent, penalty 1e-5 of the one that gives zero.",
    )
    return Outcome(settings, runs, summary, COLUMNS, notes)


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    of = lambda method, field: [r[field] for r in runs if r["method"] == method]  # noqa: E731
    return {
        f"{method}: {field}": value(of(method, field))
        for method in METHODS
        for field, value in (("seconds", statistics.median), ("recovered", statistics.fmean))
    } | {"compiled programs later": sum(of("flow", "compiled_programs"))}


def _speed(row: dict[str, Any], method: str) -> str:
    return f"{row['problems'] / row[f'{method}: seconds']:.3g}/s ({row[f'{method}: recovered']:.0%})"


COLUMNS = {
    "problems at once": lambda row: f"{row['problems']}",
    "equations x unknowns": lambda row: f"{row['equations']} x {row['unknowns']}",
    "k": lambda row: f"{row['nonzero']}",
    "flow (recovered)": lambda row: _speed(row, "flow"),
    "linear program": lambda row: _speed(row, "linear program"),
    "Lasso": lambda row: _speed(row, "Lasso"),
    "flow / LP": lambda row: f"{row['linear program: seconds'] / row['flow: seconds']:.2g}x",
    "flow / Lasso": lambda row: f"{row['Lasso: seconds'] / row['flow: seconds']:.2g}x",
}


sparse_recovery = Benchmark(
    name="sparse-recovery",
    title="Basis pursuit by gradient flow, against a linear program and a loop of Lasso",
    packages=(),
    run=run,
)
