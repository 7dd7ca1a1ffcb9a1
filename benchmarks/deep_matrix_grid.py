"""The grid of Arora et al. (completion and sensing, 48 runs), against the papers' way in PyTorch."""

import dataclasses
import math
import statistics
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import undertow as ut
from undertow.studies.factorization.deep_matrix_factorization import DEPTHS, LOSS, RTOL, SETTINGS, SIZES, grid, instance

from ._base import Benchmark, Outcome, Scope, timed
from ._group_rmsprop import DECAY, EPS, RATE, group_rmsprop

TRIAL = 100
"""Iterations of PyTorch that are timed where a run is not made in full."""
KEY = 0


@dataclasses.dataclass(frozen=True)
class Panel:
    """One panel of the figure: a problem, which both sides fit from the same starts."""

    kind: str
    count: int
    problem: Any
    truth: np.ndarray

    def start(self, depth: int, a: float) -> tuple[np.ndarray, ...]:
        """The factors that `grid` starts from."""
        phi = ut.parameterizations.DeepMatrix(self.problem.shape, depth)
        factors = phi.init(jax.random.key(KEY), a / math.sqrt(self.problem.shape[0]))
        return tuple(np.asarray(factor) for factor in factors)


def panels(budget: str) -> list[Panel]:
    """Completion and sensing, from few and from many observations."""
    made = []
    for kind, (size, rank, counts) in SETTINGS[budget].items():
        for count in counts:
            problem, truth = instance(kind, size, rank, count, jax.random.key(count))
            made.append(Panel(kind, count, problem, truth))
    return made


def in_undertow(panel: Panel, depths: tuple[int, ...], sizes: tuple[float, ...]) -> dict[str, Any]:
    """All runs of a panel, one sweep, with all compilation."""
    jax.clear_caches()
    with timed() as clock:
        found = grid(panel.problem, depths, sizes, jax.random.key(KEY), lambda fraction, message: None)
    return {
        "method": "flow",
        "seconds": clock.seconds,
        "compiled_programs": clock.compiled,
        "converged": int((found["status"] == "converged").sum()),
        "gradients": found["gradient_evaluations"].values.tolist(),
        "errors": found["final_reconstruction_error"].values.tolist(),
    }


def torch_error(panel: Panel) -> Callable[[Any], Any]:
    """The training error of a product, in PyTorch."""
    import torch

    problem = panel.problem
    values = torch.tensor(np.asarray(problem.values))
    if panel.kind == "completion":
        index = torch.tensor(np.asarray(problem.rows) * problem.shape[1] + np.asarray(problem.columns))
        return lambda product: torch.nn.functional.mse_loss(product.flatten().index_select(0, index), values)
    measurements = torch.tensor(np.asarray(problem.measurements).reshape(values.numel(), -1))
    return lambda product: torch.nn.functional.mse_loss(measurements @ product.flatten(), values)


def in_pytorch(panel: Panel, depth: int, a: float, threads: int, limit: int) -> dict[str, Any]:
    """Group RMSprop from the same factors."""
    import torch

    torch.set_num_threads(threads)
    found = group_rmsprop(panel.start(depth, a), torch_error(panel), LOSS, limit)
    product = found.pop("product")
    return {
        "method": "PyTorch",
        "depth": depth,
        "a": a,
        "threads": threads,
        "error": float(np.mean((product - panel.truth) ** 2)),
    } | found


def run(scope: Scope) -> Outcome:
    """Every panel: the sweep, then PyTorch in full (completion) or timed and extrapolated (sensing)."""
    budget = "smoke" if scope.quick else "full"
    depths, sizes = DEPTHS[budget], SIZES[budget]
    runs: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    iterations: dict[tuple[int, float], float] = {}
    for panel in panels(budget):
        name = {"kind": panel.kind, "count": panel.count}
        scope.report(f"{panel.kind}, {panel.count}: flow, {len(depths) * len(sizes)} runs")
        flow = in_undertow(panel, depths, sizes)
        runs.append(name | flow)
        pytorch = 0.0
        errors = []
        for depth in depths:
            trials = [in_pytorch(panel, depth, sizes[0], threads, TRIAL) for threads in (1, 2)]
            best = min(trials, key=lambda trial: trial["seconds"] / trial["steps"])
            pace = best["seconds"] / best["steps"]
            runs += [name | trial | {"method": "PyTorch, trial"} for trial in trials]
            for a in sizes:
                if panel.kind == "completion":
                    scope.report(f"{panel.kind}, {panel.count}, depth {depth}, a {a:g}: PyTorch")
                    found = in_pytorch(panel, depth, a, best["threads"], 1_000_000)
                    iterations[depth, a] = max(found["steps"], iterations.get((depth, a), 0))
                    errors.append(found["error"])
                    pytorch += found["seconds"]
                    runs.append(name | found)
                else:
                    pytorch += pace * iterations[depth, a]
        summary.append(
            name
            | {
                "runs": len(depths) * len(sizes),
                "converged": flow["converged"],
                "flow_seconds": flow["seconds"],
                "pytorch_seconds": pytorch,
                "flow_error": statistics.median(np.ravel(flow["errors"]).tolist()),
                "pytorch_error": statistics.median(errors) if errors else None,
                "in_full": panel.kind == "completion",
            }
        )
    whole = {
        name: sum(row[name] for row in summary) for name in ("runs", "converged", "flow_seconds", "pytorch_seconds")
    }
    summary.append({"kind": "all", "count": 0, "flow_error": None, "pytorch_error": None, "in_full": False} | whole)
    settings = {
        "grid": f"depth {depths}, a {sizes}, {SETTINGS[budget]} (size, rank, observations)",
        "stop": f"mean square over observations {LOSS:g}",
        "flow": f"sweep over depth and a, tolerance {RTOL:g}, caches cleared before each panel: all compilation is in",
        "PyTorch": f"group RMSprop, rate {RATE:g}, decay {DECAY:g}, eps {EPS:g}, the faster of 1 and 2 threads",
        "precision": "float32",
    }
    notes = (
        "PyTorch on completion is run in full, one run after the other.",
        f"* On sensing: the time of an iteration ({TRIAL} timed) times the iterations of completion at that depth, a.",
        "Errors: median mean square over all entries.",
    )
    return Outcome(settings, runs, summary, COLUMNS, notes)


COLUMNS = {
    "": lambda row: row["kind"],
    "observations": lambda row: f"{row['count'] or '-'}",
    "runs (converged)": lambda row: f"{row['runs']} ({row['converged']})",
    "PyTorch": lambda row: f"{row['pytorch_seconds']:,.0f} s" + ("" if row["in_full"] else " *"),
    "error": lambda row: f"{row['pytorch_error']:.1e}" if row["pytorch_error"] else "-",
    "flow, with compilation": lambda row: f"{row['flow_seconds']:.1f} s",
    "error ": lambda row: f"{row['flow_error']:.1e}" if row["flow_error"] else "-",
    "ratio": lambda row: (
        f"{row['pytorch_seconds'] / row['flow_seconds']:.0f}×" if row["converged"] == row["runs"] else "-"
    ),
}

deep_matrix_grid = Benchmark(
    name="deep-matrix-grid",
    title="The 48 runs of Arora et al. by gradient flow, against group RMSprop in PyTorch (* extrapolated)",
    packages=("torch",),
    run=run,
)
