"""An epoch over a file of bytes that is mapped, beside one over the same array in memory: memory and time."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ._base import Benchmark, Outcome, Scope

COLUMNS_OF_ROWS, BATCH, CODE = 784, 512, 8
SIZES = (0.25, 1.0)
"""GiB of the files; a 32nd of it where it is quick."""
WAYS = ("mapped", "in memory")


def write(path: Path, rows: int) -> None:
    """Bytes of rank 8, block by block."""
    rng = np.random.default_rng(0)
    basis = rng.random((8, COLUMNS_OF_ROWS), np.float32)
    X = np.lib.format.open_memmap(path, "w+", np.uint8, (rows, COLUMNS_OF_ROWS))
    for start in range(0, rows, 50_000):
        block = rng.random((min(50_000, rows - start), 8), np.float32) @ basis
        X[start : start + len(block)] = 255 / 8 * block
    X.flush()


def measured(path: str, way: str) -> dict[str, Any]:
    """In a process of its own: peak memory beyond that of a fit of few rows, and seconds of an epoch."""
    import undertow as ut

    network = ut.networks.Dense(COLUMNS_OF_ROWS, code_size=CODE, hidden=())
    descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 1e-3), batch_size=BATCH)

    def go(data: Any, steps: int) -> tuple[Any, float, float]:
        processor, began = time.process_time(), time.perf_counter()
        problem, phi, stop = ut.problems.Reconstruction(data), ut.networks.AE(network, data), ut.Stop(None, steps)
        # At the end alone: a look at all rows costs as much as a third of an epoch, or more.
        found = ut.train(problem, phi, descent, key=0, scale=1.0, stop=stop, samples=[steps])
        return found, time.process_time() - processor, time.perf_counter() - began

    def peak() -> float:
        # Not by getrusage, whose figure a process begins with that of the one that started it.
        return float(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**10

    mapped = np.load(path, mmap_mode="r")
    go(np.array(mapped[:2048]), 20)
    before, epoch = peak(), -(-len(mapped) // BATCH)
    data = mapped if way == "mapped" else np.array(mapped)
    go(data, 1)  # compiles
    _, processor, seconds = go(data, 1)  # looks at everything as often as the next
    found, processor_after, seconds_after = go(data, 1 + epoch)
    return {
        "MiB": peak() - before,
        "processor": processor_after - processor,
        "seconds": seconds_after - seconds,
        "rest": processor,
        "loss": float(found["loss"][-1]),
    }


def run(scope: Scope) -> Outcome:
    """Both ways in turn, for two sizes of the file."""
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            rows = int(size * 2**30 / COLUMNS_OF_ROWS / (32 if scope.quick else 1))
            path = Path(folder, f"{rows}.npy")
            write(path, rows)
            for seed in range(scope.seeds):
                for way in WAYS:
                    scope.report(f"{rows} rows, {way}, run {seed + 1} of {scope.seeds}")
                    code = f"from benchmarks.rows_on_disk import *; print(json.dumps(measured({str(path)!r}, {way!r})))"
                    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
                    runs.append({"rows": rows, "way": way, **json.loads(done.stdout.splitlines()[-1])})
            path.unlink()
    summary = []
    for rows in dict.fromkeys(found["rows"] for found in runs):
        for way in WAYS:
            some = [found for found in runs if (found["rows"], found["way"]) == (rows, way)]
            middle = {
                name: float(np.median([found[name] for found in some])) for name in some[0] if name not in ("way",)
            }
            summary.append({**middle, "way": way, "file": rows * COLUMNS_OF_ROWS / 2**20})
    settings = {"columns": COLUMNS_OF_ROWS, "batch": BATCH, "code": CODE, "network": "dense, without hidden layers"}
    return Outcome(settings, runs, summary, TABLE)


TABLE = {
    "file": lambda row: f"{row['file']:.0f} MiB",
    "way": lambda row: row["way"],
    "memory": lambda row: f"{row['MiB']:.0f} MiB",
    "epoch, processor seconds": lambda row: f"{row['processor']:.1f}",
    "epoch, seconds": lambda row: f"{row['seconds']:.1f}",
    "loss": lambda row: f"{row['loss']:.3g}",
}

rows_on_disk = Benchmark("rows-on-disk", "Data read chunk by chunk, beside the same in memory", (), run)
