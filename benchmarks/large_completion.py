"""Completion at depth 3 and full width, 500 x 500 of rank 10: flow against group RMSprop, and how near to peak."""

import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import undertow as ut
from undertow.datasets import low_rank_matrix, observe

from ._base import Benchmark, Outcome, Scope, timed
from ._group_rmsprop import RATE, group_rmsprop

FULL, QUICK = (500, 10, 40_000), (40, 2, 640)
DEPTH, SIZE, LOSS = 3, 1e-3, 1e-6
PRODUCTS = 3 * (DEPTH - 1)
"""Products of two square matrices in a gradient: forward, and twice as many backward."""
TRIAL = 30
"""Iterations of PyTorch that are timed."""
ITERATIONS = 27_700
"""Of group RMSprop at depth 3 until the same loss, on 100 x 100 of rank 5 (benchmark flow-versus-descent)."""


def peak(size: int) -> float:
    """Floating-point operations a second of a chain of products of square matrices."""
    chain = jax.jit(lambda a: jax.lax.fori_loop(0, 50, lambda i, b: a @ b, a))
    a = jnp.eye(size) / 2 + 1e-3
    chain(a).block_until_ready()
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        chain(a).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return 50 * 2 * size**3 / min(seconds)


def run(scope: Scope) -> Outcome:
    """One draw: the flow twice (first call, and again), PyTorch for a few iterations."""
    import torch

    size, rank, count = QUICK if scope.quick else FULL
    truth_key, entries_key, start_key = jax.random.split(jax.random.key(0), 3)
    truth = np.asarray(low_rank_matrix(truth_key, (size, size), rank))
    rows, columns = observe(entries_key, (size, size), count)
    problem = ut.problems.MatrixCompletion((size, size), rows, columns, truth[rows, columns])
    phi = ut.parameterizations.DeepMatrix((size, size), DEPTH)
    params = phi.init(start_key, SIZE / math.sqrt(size))
    runs: list[dict[str, Any]] = []
    for call in ("first", "second"):
        scope.report(f"flow, {call} call")
        with timed() as clock:
            flow = ut.dynamics.GradientFlow(rtol=1e-4)
            found = ut.train(problem, phi, flow, params=params, stop=ut.Stop(loss=LOSS), samples=2)
            error = float(np.mean((np.asarray(found.w) - truth) ** 2))
        if found.status != "converged":
            raise RuntimeError(f"nothing to compare: the run {found.status}")
        runs.append(
            {
                "method": f"flow, {call} call",
                "status": found.status,
                "gradients": found.gradient_evaluations,
                "seconds": clock.seconds,
                "error": error,
            }
        )
    values, index = torch.tensor(truth[rows, columns]), torch.tensor(rows * size + columns)
    for threads in (1, 2):
        scope.report(f"PyTorch, {threads} threads")
        torch.set_num_threads(threads)
        trial = group_rmsprop(
            [np.asarray(p) for p in params],
            lambda product: torch.nn.functional.mse_loss(product.flatten().index_select(0, index), values),
            LOSS,
            TRIAL,
        )
        runs.append({"method": f"PyTorch, {threads} threads", "seconds_each": trial["seconds"] / TRIAL})
    first, again = runs[0], runs[1]
    each = min(r["seconds_each"] for r in runs[2:])
    rate = again["gradients"] * PRODUCTS * 2 * size**3 / again["seconds"]
    best = peak(size)
    summary = [
        {
            "size": size,
            "gradients": again["gradients"],
            "seconds": again["seconds"],
            "first": first["seconds"],
            "error": again["error"],
            "pytorch_seconds": each * ITERATIONS,
            "ratio": each * ITERATIONS / again["seconds"],
            "share": rate / best,
            "rate": rate,
        }
    ]
    settings = {
        "matrix": f"{size} x {size}, rank {rank}, {count} observed entries, depth {DEPTH}, full width, a = {SIZE:g}",
        "stop": f"mean square over observed entries {LOSS:g}",
        "device": str(jax.devices()[0]),
        "descent": f"group RMSprop, rate {RATE:g}: {TRIAL} iterations timed, {ITERATIONS:,} assumed",
        "precision": "float32",
    }
    notes = (
        f"PyTorch extrapolated: the time of an iteration ({1e3 * each:.1f} ms) times {ITERATIONS:,} iterations.",
        f"Share of peak: {PRODUCTS} products a gradient, against a chain of products alone ({best / 1e9:.0f} GFLOP/s).",
    )
    return Outcome(settings, runs, summary, COLUMNS, notes)


COLUMNS = {
    "size": lambda row: f"{row['size']}",
    "flow: gradients": lambda row: f"{row['gradients']:,}",
    "time": lambda row: f"{row['seconds']:.1f} s",
    "first call": lambda row: f"{row['first']:.1f} s",
    "error": lambda row: f"{row['error']:.1e}",
    "PyTorch, extrapolated": lambda row: f"{row['pytorch_seconds']:,.0f} s",
    "ratio": lambda row: f"{row['ratio']:.0f}×",
    "share of peak": lambda row: f"{100 * row['share']:.0f}%",
}

large_completion = Benchmark(
    name="large-completion",
    title="500 x 500 of rank 10 at depth 3: gradient flow against group RMSprop",
    packages=("torch",),
    run=run,
)
