"""What a sweep adds to runs of 0.1 s: in this process, on the embedded cluster; and two workers beside one."""

import concurrent.futures
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import undertow as ut

from ._base import Benchmark, Outcome, Scope

LINE = ut.problems.LineTarget(-1.0, -2.0, 15.0)
PHI = ut.parameterizations.Power(2, 1)
DESCENT = ut.dynamics.GradientDescent(ut.optimizers.make("gd", 1e-6))
SECONDS = 0.1
"""How long a run should take."""
TRIAL = 20_000
"""Steps of the run that tells how many these are."""


def run(steps: int, seed: int) -> ut.Trajectory:
    """Descent of two numbers for so many steps."""
    return ut.train(LINE, PHI, DESCENT, key=seed, scale=1.0, stop=ut.Stop(loss=0, steps=steps), samples=4)


def clocks() -> tuple[float, float]:
    """Seconds, and processor seconds of this process and of those that it started and that have ended."""
    times = os.times()
    return time.perf_counter(), sum(times[:4])


def bare(steps: int, count: int) -> tuple[float, float]:
    """Seconds and processor seconds of a run without a sweep."""
    began = clocks()
    for seed in range(count):
        run(steps, seed)
    ended = clocks()
    return (ended[0] - began[0]) / count, (ended[1] - began[1]) / count


def at_once(steps: int, count: int) -> float:
    """How many times as many runs two processes take as one does, without a sweep: what the machine's cores can."""
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(bare, (TRIAL, TRIAL), (1, 1)))  # starts both, and compiles
        alone = pool.submit(bare, steps, count).result()[0]
        together = [one.result()[0] for one in [pool.submit(bare, steps, count) for _ in range(2)]]
    return 2 * alone / max(together)


def swept(steps: int, count: int, **options: Any) -> tuple[float, float]:
    """Seconds and processor seconds of a sweep of so many runs, each alone."""
    with tempfile.TemporaryDirectory() as folder:
        began = clocks()
        over = {"steps": [steps], "seed": range(count)}
        found = ut.sweep(run, over, store=Path(folder) / "runs.zarr", side_by_side=1, **options)
        ended = clocks()
    if not (found["final_step"] == steps).all():
        raise RuntimeError("a run did not take all of its steps")
    return ended[0] - began[0], ended[1] - began[1]


def measure(scope: Scope) -> Outcome:
    """Runs without a sweep before and after, and in between by every engine."""
    count, some = (40, 10) if scope.quick else (2000, 200)
    bare(TRIAL, 1)  # compiles
    steps = TRIAL
    for _ in range(3):  # a run is not in proportion to its steps
        steps = max(round(steps * SECONDS / bare(steps, 10)[1]), 1)
    scope.report(f"runs of {steps} steps, without a sweep")
    pieces = [bare(steps, some)]  # between any two of the ways, because a machine is not equally fast for minutes
    ways: dict[str, dict[str, Any]] = {
        "here": {},
        "one process": {"engine": "processes", "workers": 1},
        "two processes": {"engine": "processes", "workers": 2},
        "the embedded cluster, two workers": {"engine": "dask", "workers": 2},
    }
    found = {}
    for name, options in ways.items():
        scope.report(f"{count} runs: {name}")
        found[name] = swept(steps, count, **options)
        pieces.append(bare(steps, some))
    rows = []
    for (name, (seconds, processor)), before, after in zip(found.items(), pieces, pieces[1:], strict=False):
        workers = ways[name].get("workers", 1)
        alone = [(a + b) / 2 for a, b in zip(before, after, strict=True)]
        rows.append(
            {
                "what": name,
                "alone": alone[0],
                "seconds": seconds,
                "processor": processor,
                "overhead": workers * seconds / (count * alone[0]) - 1,
                "processor_overhead": processor / (count * alone[1]) - 1,
            }
        )
    ratio = found["one process"][0] / found["two processes"][0]
    ceiling = at_once(steps, some)
    notes = (
        f"Two processes beside one: {ratio:.2f}x (aim: 1.8x); bare, two cores do {ceiling:.2f}x as much as one.",
        "Aims: here below 5%, on the cluster below 20%; starting processes and compiling in them is in.",
    )
    settings = {"runs": count, "steps": steps, "bare": pieces, "two processes beside one": ratio, "cores": ceiling}
    return Outcome(settings, rows, rows, COLUMNS, notes)


COLUMNS = {
    "where": lambda row: row["what"],
    "a run alone": lambda row: f"{1e3 * row['alone']:.1f} ms",
    "seconds": lambda row: f"{row['seconds']:.1f}",
    "overhead": lambda row: f"{row['overhead']:.1%}",
    "processor seconds": lambda row: f"{row['processor']:.1f}",
    "overhead in these": lambda row: f"{row['processor_overhead']:.1%}",
}

sweep_overhead = Benchmark(
    name="sweep-overhead",
    title="2,000 runs of 0.1 s, one at a time, in a sweep with a store",
    packages=("distributed",),
    run=measure,
)
