"""Maximum margin: the support vectors' own solution beside scikit-learn's, and the flow in log time beside descent."""

import statistics
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC, LinearSVC

import undertow as ut

from ._base import Benchmark, Outcome, Scope, timed

ACCURACY, DIRECTION = 1e-6, 1e-4
HARD = 1e10
"""The penalty of a point on the wrong side, which stands for a hard margin."""
FULL = ((1000, 50), (200, 1000))
QUICK = ((60, 5), (20, 40))
STEPS = {False: 1_000_000, True: 10_000}
"""Of plain descent: what it did not reach in them is extrapolated."""
Points = tuple[np.ndarray, np.ndarray]


def draw(points: int, features: int, seed: int) -> Points:
    """Gaussian points that a random w separates, moved apart a little where they are many."""
    rng = np.random.default_rng(seed)
    w, X = rng.standard_normal(features), rng.standard_normal((points, features))
    y = np.where(X @ w > 0, 1, -1)
    return X + (0.3 * (points > features)) * y[:, None] * w / np.linalg.norm(w), y


def by_theory(data: Points, *, free: bool) -> np.ndarray:
    """To rounding, with a proof."""
    problem = ut.problems.Classification(*data, intercept=free, separation="complete")
    w = ut.theory.maximum_margin(problem, free_intercept=free)
    return w[:-1] if free else w


def by_machine(fit: Callable[[float], Any], data: Points, least: float) -> tuple[np.ndarray, float]:
    """The loosest tolerance whose margin is within the accuracy of the largest, as far as there is one; and it."""
    X, y = data
    for tolerance in 10.0 ** -np.arange(2, 11):
        machine = fit(tolerance).fit(X, y)
        size = float(np.linalg.norm(machine.coef_)) / max(float(np.min(y * machine.decision_function(X))), 1e-300)
        if size <= least * (1 + ACCURACY):
            return machine, tolerance
    return machine, np.nan


MACHINES = {
    "SVC": lambda tol: SVC(kernel="linear", C=HARD, tol=tol),
    "LinearSVC": lambda tol: LinearSVC(C=HARD, loss="hinge", fit_intercept=False, tol=tol, max_iter=100_000),
}


def compare(points: int, features: int, seed: int) -> dict[str, Any]:
    """Seconds of each; a machine at its loosest tolerance that is accurate enough, known beforehand."""
    data, result = draw(points, features, seed), {}
    for name, free in (("SVC", True), ("LinearSVC", False)):
        by_theory(data, free=free)  # compiles what makes the problem
        with timed() as clock:
            w = by_theory(data, free=free)
        result[f"theory beside {name}"] = clock.seconds
        _, tolerance = by_machine(MACHINES[name], data, float(np.linalg.norm(w)))
        result[f"{name} accurate"] = bool(np.isfinite(tolerance))
        with timed() as clock:
            MACHINES[name](tolerance if np.isfinite(tolerance) else 1e-10).fit(*data)
        result[name] = clock.seconds
    return result


def flow_and_descent(quick: bool) -> dict[str, Any]:
    """Seconds and steps to the direction of largest margin, of the flow and of plain descent."""
    X, y = np.array([[1.0, 0.2], [0.4, 1.0], [-2.0, -1.5]]), [1, 1, -1]
    problem = ut.problems.Classification(X, y)
    rate = ut.theory.hard_margin_rate(problem)
    aim = rate.w_hat * rate.margin
    # error * log t tends to this
    constant = rate.margin * float(np.linalg.norm(rate.w_tilde - aim * np.vdot(aim, rate.w_tilde)))
    log_time = 1.1 * constant / DIRECTION
    error = lambda w: float(np.linalg.norm(w / np.linalg.norm(w) - aim))  # noqa: E731
    probe, phi, start = ut.probes.Function("w", lambda w: w), ut.parameterizations.Identity(2), jnp.zeros(2)

    def run(dynamics: Any, stop: Any) -> tuple[Any, float]:
        arguments = {"params": start, "stop": stop, "samples": 2, "probes": [probe]}
        ut.train(problem, phi, dynamics, **arguments)  # compiles
        with timed() as clock:
            trajectory = ut.train(problem, phi, dynamics, **arguments)
        return trajectory, clock.seconds

    flow, flow_seconds = run(ut.dynamics.GradientFlow(), ut.Stop(loss=None, log_time=log_time))
    steps = STEPS[quick]
    descent, seconds = run(ut.dynamics.GradientDescent(optax.sgd(0.1)), ut.Stop(loss=None, steps=steps))
    return {
        "flow: log time": log_time,
        "flow: seconds": flow_seconds,
        "flow: error": error(np.asarray(flow["w"][-1])),
        "descent: steps": steps,
        "descent: seconds": seconds,
        "descent: error": error(np.asarray(descent["w"][-1])),
        "descent: log10 of the steps needed, extrapolated": constant / DIRECTION / np.log(10),
    }


def run(scope: Scope) -> Outcome:
    """Every size on each draw, then the flow."""
    runs: list[dict[str, Any]] = []
    summary = []
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for points, features in QUICK if scope.quick else FULL:
            scope.report(f"{points} points of {features} features")
            case = {"points": points, "features": features}
            found = [compare(points, features, seed) for seed in range(scope.seeds)]
            runs += [case | {"seed": seed} | result for seed, result in enumerate(found)]
            medians = {name: statistics.median(result[name] for result in found) for name in found[0]}
            summary.append(case | medians)
        scope.report("the flow in log time, and plain descent")
        flow = flow_and_descent(scope.quick)
        runs.append(flow)
    told = (
        f"Direction to {DIRECTION:g}: the flow in log time at log t = {flow['flow: log time']:.0f}, error "
        f"{flow['flow: error']:.2g}, in {flow['flow: seconds']:.2g} s; plain descent has error "
        f"{flow['descent: error']:.2g} after {flow['descent: steps']} steps and {flow['descent: seconds']:.2g} s, and "
        f"would need 10^{flow['descent: log10 of the steps needed, extrapolated']:.0f} (extrapolated: the error falls "
        "as one over the logarithm of the steps)."
    )
    accurate = (
        f"Seconds, medians over draws. Both scikit-learn's at the loosest tolerance with a norm within {ACCURACY:g} of "
        "the least; '(not)': at none. Ours is exact to rounding and proved."
    )
    notes = (accurate, told)
    settings = {"accuracy": ACCURACY, "C": HARD, "direction": DIRECTION}
    return Outcome(settings, runs, summary, COLUMNS, notes)


def _machine(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.2g}" + ("" if row[f"{name} accurate"] else " (not)")


COLUMNS = {
    "points x features": lambda row: f"{row['points']} x {row['features']}",
    "free intercept": lambda row: f"{row['theory beside SVC']:.2g}",
    "SVC": lambda row: _machine(row, "SVC"),
    "no intercept": lambda row: f"{row['theory beside LinearSVC']:.2g}",
    "LinearSVC": lambda row: _machine(row, "LinearSVC"),
}


maximum_margin = Benchmark(
    name="maximum-margin",
    title="Maximum margin against scikit-learn's support vector machines, and the flow in log time against descent",
    packages=(),
    run=run,
)
