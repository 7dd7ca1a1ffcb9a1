"""The 48 runs of Arora et al. as one sweep a panel: with and without a store, and once all are there."""

import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from undertow.studies.factorization.deep_matrix_factorization import DEPTHS, SETTINGS, SIZES, grid, instance
from undertow.sweeps._kept_in import kept_in

from ._base import Benchmark, Outcome, Scope, timed

KEY = 0


def measure(scope: Scope) -> Outcome:
    """Every panel, compiled before, without a store, then with one, then again."""
    budget = "smoke" if scope.quick else "full"
    depths, sizes = DEPTHS[budget], SIZES[budget]
    rows: list[dict[str, Any]] = []

    def swept(problem: Any) -> Any:
        return grid(problem, depths, sizes, jax.random.key(KEY), lambda fraction, message: None)

    for kind, (size, rank, counts) in SETTINGS[budget].items():
        for count in counts:
            problem, _ = instance(kind, size, rank, count, jax.random.key(count))
            runs = len(depths) * len(sizes)
            scope.report(f"{kind}, {count} observations: {runs} runs, three times")
            with timed() as first:
                swept(problem)
            with timed() as plain:
                expected = swept(problem)
            with tempfile.TemporaryDirectory() as folder, kept_in(Path(folder)):
                with timed() as kept:
                    found = swept(problem)
                with timed() as again:
                    swept(problem)
            names = [name for name in expected.data_vars if expected[name].dtype.kind in "iuf"]
            rows.append(
                {
                    "what": f"{kind}, {count}",
                    "runs": runs,
                    "same": all(np.array_equal(found[name], expected[name], equal_nan=True) for name in names),
                }
                | {f"{name}_seconds": clock.seconds for name, clock in _named(first, plain, kept, again)}
                | {f"{name}_processor": clock.processor_seconds for name, clock in _named(first, plain, kept, again)}
            )
    notes = ("Processor seconds; the numbers of a store are compared to those without one, bit by bit.",)
    return Outcome({"depths": depths, "sizes": sizes, "settings": SETTINGS[budget]}, rows, rows, COLUMNS, notes)


def _named(*clocks: Any) -> Any:
    return zip(("first", "plain", "kept", "again"), clocks, strict=True)


COLUMNS = {
    "panel": lambda row: row["what"],
    "runs": lambda row: f"{row['runs']}",
    "with compilation": lambda row: f"{row['first_processor']:.1f}",
    "compiled before": lambda row: f"{row['plain_processor']:.1f}",
    "with a store": lambda row: f"{row['kept_processor']:.1f}",
    "all there": lambda row: f"{row['again_processor']:.2f}",
    "same numbers": lambda row: "yes" if row["same"] else "no",
}

sweep_grid = Benchmark(
    name="sweep-grid",
    title="The 48 runs of Arora et al. with and without a store",
    packages=(),
    run=measure,
)
