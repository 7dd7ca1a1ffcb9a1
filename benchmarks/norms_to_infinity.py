"""A 2 x 2 matrix on its way to infinity: derivatives that gradient flow and the published descent take."""

import statistics
from typing import Any

import jax
import numpy as np

import undertow as ut
from undertow.datasets import one_hidden_entry
from undertow.studies.norms._shared import PUBLISHED, start

from ._base import Benchmark, Outcome, Scope, timed

LOSS, COUNTED = 1e-6, 1e-3
"""Where the flow stops, and down to where the iterations of descent are counted."""


def compare(depth: int, seed: int) -> dict[str, Any]:
    """The flow to the end, descent at the published rate to the loss to which it is counted, from one start."""
    rate, scale = PUBLISHED[depth][0]
    problem, phi = one_hidden_entry(), ut.parameterizations.DeepMatrix((2, 2), depth)
    params = phi.lift(start(jax.random.key(seed), scale, 1))
    probes = [ut.probes.Determinant(), ut.probes.Entry(0, 0)]

    def flow(loss: float) -> ut.Trajectory:
        return ut.train(
            problem, phi, ut.dynamics.GradientFlow(), params=params, stop=ut.Stop(loss=loss), samples=2, probes=probes
        )

    flow(LOSS)  # compiles
    with timed() as clock:
        found = flow(LOSS)
        entry = float(found["entry_0_0"][-1])
    sgd = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate))
    counted = ut.train(
        problem, phi, sgd, params=params, stop=ut.Stop(loss=COUNTED, steps=100_000_000), samples=2, probes=probes
    )
    for run in (found, counted):
        if run.status != "converged":
            raise RuntimeError(f"depth {depth}, seed {seed}: nothing to compare, a run {run.status}")
    return {
        "depth": depth,
        "seed": seed,
        "status": found.status,
        "flow_gradients": found.gradient_evaluations,
        "flow_steps": int(found.steps[-1]),
        "flow_seconds": clock.seconds,
        "entry_over_exact": abs(entry) * float(np.sqrt(2 * LOSS)),
        "determinant": float(found["determinant"][-1]),
        "counted": counted.gradient_evaluations,
        "counted_status": counted.status,
        "counted_expected": float(flow(COUNTED).times[-1]) / rate,
        "descent_gradients": float(found.times[-1]) / rate,
    }


def run(scope: Scope) -> Outcome:
    """Depth 3 and 4, each at its published rate and start."""
    runs = []
    with jax.enable_x64(True):
        for depth in (3,) if scope.quick else (3, 4):
            for seed in range(scope.seeds):
                scope.report(f"depth {depth}, seed {seed}")
                runs.append(compare(depth, seed))
    summary = [
        {name: statistics.median(r[name] for r in runs if r["depth"] == depth) for name in MEDIANS} | {"depth": depth}
        for depth in sorted({r["depth"] for r in runs})
    ]
    settings = {
        "problem": "W12 = W21 = 1, W22 = 0, balanced start with positive determinant, float64",
        "flow": f"GradientFlow() to loss {LOSS:g}",
        "descent": "published learning rate; iterations to the loss of the flow: time of the flow over the rate",
    }
    notes = (
        "An implicit step counts as 24 gradients for each parameter (12 Hessians).",
        f"Iterations of descent: time of the flow over the rate; counted down to loss {COUNTED:g} they are "
        + ", ".join(f"{r['counted']:,} against {r['counted_expected']:,.0f}" for r in runs)
        + ".",
    )
    return Outcome(settings, runs, summary, COLUMNS, notes)


MEDIANS = ("flow_gradients", "flow_steps", "flow_seconds", "entry_over_exact", "descent_gradients")
COLUMNS = {
    "depth": lambda row: f"{row['depth']}",
    "descent: gradients": lambda row: f"{row['descent_gradients']:.2g}",
    "flow: gradients": lambda row: f"{row['flow_gradients']:,.0f}",
    "steps": lambda row: f"{row['flow_steps']:,.0f}",
    "time": lambda row: f"{row['flow_seconds']:.3f} s",
    "size of W11 √(2 loss)": lambda row: f"{row['entry_over_exact']:.4f}",
    "ratio of gradients": lambda row: f"{row['descent_gradients'] / row['flow_gradients']:,.0f}×",
}

norms_to_infinity = Benchmark(
    name="norms-to-infinity",
    title=f"2 x 2 completion to loss {LOSS:g}: gradient flow against descent at the published rate",
    packages=(),
    run=run,
)
