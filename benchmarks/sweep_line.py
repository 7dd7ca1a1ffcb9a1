"""Ten thousand runs of the primer's line in one process, kept in a store: time, memory, files."""

import tempfile
from pathlib import Path
from typing import Any

import xarray as xr

import undertow as ut

from ._base import Benchmark, Outcome, Scope, timed

LINE = ut.problems.LineTarget(-1.0, -2.0, 15.0)
FLOW = ut.dynamics.GradientFlow()
DEPTHS = [1, 2]
SEEDS = 100
LOOKS = (0.1, 0.5, 1.0)
"""Shares of the runs after which memory is looked at."""


def run(depth: int, scale: float, key: int) -> ut.Trajectory:
    """A flow of two numbers to the line."""
    return ut.train(LINE, ut.parameterizations.Power(2, depth), FLOW, key=key, scale=scale)


def resident() -> float:
    """MiB of this process that are in memory; NaN where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def swept(store: Path, scales: int, memory: dict[int, float]) -> tuple[int, xr.Dataset]:
    """So many sizes of the start of each depth and key; memory by the runs that are done."""
    over = {"depth": DEPTHS, "scale": [0.1 * (1 + i) for i in range(scales)], "key": range(SEEDS)}
    count = scales * SEEDS * len(DEPTHS)
    looks = [share * count for share in LOOKS]

    def look(fraction: float, message: str) -> None:
        while looks and fraction * count >= looks[0] - 0.5:
            memory[round(looks.pop(0))] = resident()

    return count, ut.sweep(run, over, store=store, progress=look)


def measure(scope: Scope) -> Outcome:
    """The grid, the grid with 30% more, and the store from outside."""
    scales = 2 if scope.quick else 50
    memory: dict[int, float] = {}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "line.zarr"
        before = resident()
        scope.report(f"{scales * SEEDS * len(DEPTHS)} runs")
        with timed() as clock:
            count, found = swept(store, scales, memory)
        left = int((found["status"] != "converged").sum())
        rows.append(
            _row(f"{count:,} runs, {left} of them not converged", "60 s", clock.seconds, clock.processor_seconds)
        )
        with timed() as clock:
            swept(store, scales, {})
        rows.append(_row("the same again, all of them there", "", clock.seconds, clock.processor_seconds))
        more, _ = swept(store, scales * 13 // 10, {})
        with timed() as clock, xr.open_zarr(store) as data:
            known, size = data.sizes["run"], int((data["status"] == "converged").sum())
        files = sum(path.is_file() for path in store.rglob("*"))
        rows.append(
            _row(
                f"opening {known:,} rows of {more:,} runs in {files} files",
                "2 s",
                clock.seconds,
                clock.processor_seconds,
            )
        )
    stretches = [f"{done:,} runs: {found:.0f}" for done, found in memory.items()]
    each = 1e3 * rows[0]["processor"] / count
    notes = (
        f"MiB in memory before: {before:.0f}; after {', '.join(stretches)}.",
        f"{size:,} of {known:,} rows say converged; a run took {each:.2f} ms of the processor.",
    )
    settings = {"memory": memory, "before": before, "files": files, "rows": known, "runs": count, "samples": 256}
    return Outcome(settings, rows, rows, COLUMNS, notes)


def _row(what: str, aim: str, seconds: float, processor: float) -> dict[str, Any]:
    return {"what": what, "aim": aim, "seconds": seconds, "processor": processor}


COLUMNS = {
    "what": lambda row: row["what"],
    "aim": lambda row: row["aim"],
    "seconds": lambda row: f"{row['seconds']:.2f}",
    "processor seconds": lambda row: f"{row['processor']:.2f}",
}

sweep_line = Benchmark(
    name="sweep-line",
    title="Ten thousand runs of the primer's line in one process, with a store",
    packages=(),
    run=measure,
)
