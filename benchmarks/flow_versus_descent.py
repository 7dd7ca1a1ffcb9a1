"""Gradient flow solved as an ODE, against the small steps of the papers in PyTorch, on deep matrix completion."""

import dataclasses
import os
import statistics
import time
from typing import Any

import jax
import numpy as np

import undertow as ut
from undertow.datasets import low_rank_matrix, observe

from ._base import Benchmark, Outcome, Scope, timed
from ._group_rmsprop import DECAY, EPS, RATE, group_rmsprop, times

LOSS = 1e-6
LIMIT = 1_000_000
RTOL = 1e-4
REPEATS = 5
"""Runs of the flow for each seed; their median counts. One is short, so that any disturbance shows."""
TRIAL = 300
"""Iterations that decide how PyTorch runs fastest."""
WORTH = 0.8
"""More than one thread is used where an iteration then takes at most this share of its time with one."""
DISTURBED = 1.5
"""A run whose iterations took this much longer than in the trial was held up by other work on the machine."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """The size of the problem; ``scale`` is the root-mean-square entry of W(0)."""

    size: int
    rank: int
    observed: int
    scale: float
    depths: tuple[int, ...]


# Arora et al. quote an initialization a = 1e-3 with entries of W(0) of standard deviation a / sqrt(n).
FULL = Setting(size=100, rank=5, observed=2000, scale=1e-3 / 100**0.5, depths=(2, 3, 4))
QUICK = Setting(size=20, rank=1, observed=200, scale=1e-3 / 20**0.5, depths=(2, 3))


@dataclasses.dataclass(frozen=True)
class Case:
    """One draw of the data and of the initial factors, in float32, as plain arrays that both sides start from."""

    depth: int
    seed: int
    truth: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    factors: tuple[np.ndarray, ...]

    def test_error(self, product: Any) -> float:
        """Mean square over all entries, observed or not."""
        return float(np.mean((np.asarray(product, float) - self.truth) ** 2))


def draw(setting: Setting, depth: int, seed: int) -> Case:
    """The data depend on the seed only; the factors on seed and depth."""
    shape = (setting.size, setting.size)
    truth_key, entries_key, start_key = jax.random.split(jax.random.key(seed), 3)
    truth = np.asarray(low_rank_matrix(truth_key, shape, setting.rank))
    rows, columns = observe(entries_key, shape, setting.observed)
    factors = ut.parameterizations.DeepMatrix(shape, depth).init(start_key, setting.scale)
    return Case(depth, seed, truth, rows, columns, tuple(np.asarray(factor) for factor in factors))


def in_undertow(case: Case, dynamics: ut.dynamics.Dynamics, precision: str, limit: int = LIMIT) -> dict[str, Any]:
    """A run of ``ut.train``; only the ends are sampled, since the loop in PyTorch records nothing either."""
    shape = case.truth.shape
    with jax.enable_x64(precision == "float64"), timed() as clock:
        values = case.truth[case.rows, case.columns].astype(precision)
        problem = ut.problems.MatrixCompletion(shape, case.rows, case.columns, values)
        trajectory = ut.train(
            problem,
            ut.parameterizations.DeepMatrix(shape, case.depth),
            dynamics,
            params=tuple(factor.astype(precision) for factor in case.factors),
            stop=ut.Stop(loss=LOSS, steps=limit),
            samples=2,
        )
        product = np.asarray(trajectory.w)
    return {
        "status": trajectory.status,
        "steps": int(trajectory.steps[-1]),
        "gradients": trajectory.gradient_evaluations,
        "loss": float(trajectory["loss"][-1]),
        "test_error": case.test_error(product),
    } | times(clock)


def in_pytorch(case: Case, way: str, threads: int, limit: int = LIMIT) -> dict[str, Any]:
    """Group RMSprop as the papers describe it: automatic gradients, one running mean square for all factors.

    ``way`` is how the loss looks at the observed entries: "select" picks them, "mask" multiplies the rest by zero.
    """
    import torch

    torch.set_num_threads(threads)
    truth = torch.tensor(case.truth)
    index = torch.tensor(case.rows * case.truth.shape[1] + case.columns)
    values = truth.flatten()[index]
    mask = torch.zeros(truth.numel()).index_fill_(0, index, 1.0).view_as(truth)
    seen = mask * truth
    share = mask.numel() / values.numel()

    def error(product: Any) -> Any:
        if way == "select":
            return torch.nn.functional.mse_loss(product.flatten().index_select(0, index), values)
        return share * torch.nn.functional.mse_loss(mask * product, seen)

    found = group_rmsprop(case.factors, error, LOSS, limit)
    return {"test_error": case.test_error(found.pop("product"))} | found


@dataclasses.dataclass(frozen=True)
class Way:
    """How PyTorch runs fastest here: how the loss is written, threads, and seconds for an iteration in the trial."""

    loss: str
    threads: int
    seconds: float


def fastest_pytorch(case: Case) -> Way:
    """The better of two ways to write the loss, with one thread or with all, by short trials in turn.

    Threads that wait for each other at every small product stand still as soon as anything else runs, so that
    they have to win clearly to be used.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    candidates = [(loss, threads) for threads in sorted({1, cores}) for loss in ("select", "mask")]
    seconds: dict[tuple[str, int], list[float]] = {candidate: [] for candidate in candidates}
    for _ in range(3):
        for loss, threads in candidates:
            seconds[loss, threads].append(in_pytorch(case, loss, threads, limit=TRIAL)["seconds"] / TRIAL)
    ways = [Way(loss, threads, min(seconds[loss, threads])) for loss, threads in candidates]
    alone = min((way for way in ways if way.threads == 1), key=lambda way: way.seconds)
    together = min(ways, key=lambda way: way.seconds)
    return together if together.seconds <= WORTH * alone.seconds else alone


def run(scope: Scope) -> Outcome:
    """All depths and seeds, both sides in turn."""
    setting = QUICK if scope.quick else FULL
    runs: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    ways: dict[str, Any] = {}
    for depth in setting.depths:
        found, way = _at_depth(setting, depth, scope)
        runs += found
        ways[f"depth {depth}"] = dataclasses.asdict(way)
        summary.append(_summary(depth, found, scope.seeds, way))
    settings = dataclasses.asdict(setting) | {
        "stop": f"mean square over observed entries at most {LOSS:g}",
        "test error": "mean square over all entries",
        "flow": f"GradientFlow(rtol={RTOL:g})",
        "descent": f"group RMSprop, rate {RATE:g}, decay {DECAY:g}, eps {EPS:g}; the loss is looked at every iteration",
        "descent in PyTorch": ways,
        "repeats of the flow": REPEATS,
        "precision": "float32 unless a run says otherwise",
    }
    return Outcome(settings, runs, summary, COLUMNS, _notes(setting, runs, summary))


def _at_depth(setting: Setting, depth: int, scope: Scope) -> tuple[list[dict[str, Any]], Way]:
    cases = [draw(setting, depth, seed) for seed in range(scope.seeds)]
    flow = ut.dynamics.GradientFlow(rtol=RTOL)
    descent = ut.dynamics.GradientDescent(ut.optimizers.make("group_rmsprop", RATE, decay=DECAY, eps=EPS))
    way = fastest_pytorch(cases[0])
    runs: list[dict[str, Any]] = []

    def record(method: str, case: Case, result: dict[str, Any], precision: str = "float32") -> None:
        runs.append({"method": method, "depth": depth, "seed": case.seed, "precision": precision} | result)

    # Everything is compiled here, on data that no later run sees.
    unseen = draw(setting, depth, scope.seeds)
    scope.report(f"depth {depth}: first calls")
    record("flow, first call", unseen, in_undertow(unseen, flow, "float32"))
    record("flow, first call", unseen, in_undertow(unseen, flow, "float64"), "float64")
    in_undertow(unseen, descent, "float32", limit=2000)
    for case in cases:
        scope.report(
            f"depth {depth}, seed {case.seed}: flow, then group RMSprop in PyTorch ({way.loss}, threads {way.threads})"
        )
        for repeat in range(REPEATS):
            # Half of them after the other side, so that both see the same moods of the machine.
            if repeat == REPEATS // 2:
                record("descent in PyTorch", case, in_pytorch(case, way.loss, way.threads))
                time.sleep(0.1)  # its idle threads spin for a moment
            record("flow", case, in_undertow(case, flow, "float32"))
        record("flow", case, in_undertow(case, flow, "float64"), "float64")
    scope.report(f"depth {depth}, seed {cases[0].seed}: group RMSprop in undertow")
    record("descent in undertow", cases[0], in_undertow(cases[0], descent, "float32"))
    return runs, way


def _summary(depth: int, runs: list[dict[str, Any]], seeds: int, way: Way) -> dict[str, Any]:
    def of(method: str, field: str, precision: str = "float32") -> float:
        chosen = [r for r in runs if r["method"] == method and r["precision"] == precision]
        by_seed = [statistics.median(r[field] for r in chosen if r["seed"] == s) for s in {r["seed"] for r in chosen}]
        return statistics.median(by_seed)

    pytorch, flow = of("descent in PyTorch", "seconds"), of("flow", "seconds")
    first = of("flow, first call", "seconds")
    held_up = [
        r["seed"]
        for r in runs
        if r["method"] == "descent in PyTorch" and r["seconds"] > DISTURBED * way.seconds * r["steps"]
    ]
    return {
        "depth": depth,
        "pytorch_iterations": of("descent in PyTorch", "steps"),
        "pytorch_seconds": pytorch,
        "pytorch_test_error": of("descent in PyTorch", "test_error"),
        "flow_steps": of("flow", "steps"),
        "flow_gradients": of("flow", "gradients"),
        "flow_seconds": flow,
        "flow_test_error": of("flow", "test_error"),
        "flow_first_call_seconds": first,
        "flow_float64_seconds": of("flow", "seconds", "float64"),
        "undertow_descent_seconds": of("descent in undertow", "seconds"),
        "undertow_descent_test_error": of("descent in undertow", "test_error"),
        "ratio_without_compilation": pytorch / flow,
        "ratio_of_processor_time": of("descent in PyTorch", "processor_seconds") / of("flow", "processor_seconds"),
        "ratio_with_compilation": pytorch / first,
        "ratio_of_all_seeds_with_compilation": seeds * pytorch / (first + (seeds - 1) * flow),
        "ratio_float64_without_compilation": pytorch / of("flow", "seconds", "float64"),
        "pytorch_seeds_held_up": held_up,
        "compiled_programs_first_call": of("flow, first call", "compiled_programs"),
        "compiled_programs_later": sum(r["compiled_programs"] for r in runs if r["method"] == "flow"),
    }


COLUMNS = {
    "depth": lambda row: f"{row['depth']}",
    "PyTorch: iterations": lambda row: f"{row['pytorch_iterations']:,.0f}",
    "time": lambda row: f"{row['pytorch_seconds']:.2f} s",
    "test error": lambda row: f"{row['pytorch_test_error']:.2e}",
    "flow: gradients": lambda row: f"{row['flow_gradients']:,.0f}",
    "time ": lambda row: f"{row['flow_seconds']:.3f} s",
    "test error ": lambda row: f"{row['flow_test_error']:.2e}",
    "first call": lambda row: f"{row['flow_first_call_seconds']:.2f} s",
    "ratio": lambda row: f"{row['ratio_without_compilation']:.0f}×",
    "ratio, processor time": lambda row: f"{row['ratio_of_processor_time']:.0f}×",
    "ratio, first call": lambda row: f"{row['ratio_with_compilation']:.1f}×",
    "ratio, float64": lambda row: f"{row['ratio_float64_without_compilation']:.0f}×",
}


def _notes(setting: Setting, runs: list[dict[str, Any]], summary: list[dict[str, Any]]) -> tuple[str, ...]:
    n = setting.size
    missed = sorted({(r["method"], r["depth"], r["seed"]) for r in runs if r["status"] != "converged"})
    own = [f"depth {r['depth']} {r['seconds']:.2f} s" for r in runs if r["method"] == "descent in undertow"]
    later = sum(r["compiled_programs"] for r in runs if r["method"] == "flow")
    data = f"{n} x {n}, rank {setting.rank}, {setting.observed} entries, W(0) of entries {setting.scale:.1e} (rms)"
    return (
        f"{data}, until train loss {LOSS:g}; medians over seeds, each with its own data and start.",
        f"Ratios: a run in PyTorch over a run of the flow, wall time. Programs compiled for further seeds: {later}.",
        f"The same descent in undertow, one seed: {', '.join(own)}.",
        *(f"Not converged: {method}, depth {depth}, seed {seed}." for method, depth, seed in missed),
        *(
            f"Depth {row['depth']}, seeds {row['pytorch_seeds_held_up']}: other work held PyTorch up; measure again."
            for row in summary
            if row["pytorch_seeds_held_up"]
        ),
    )


flow_versus_descent = Benchmark(
    name="flow-versus-descent",
    title="Gradient flow as an ODE, against group RMSprop at rate 1e-3 in PyTorch",
    packages=("torch",),
    run=run,
)
