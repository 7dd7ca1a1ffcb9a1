"""The grid of Razin and Cohen (order 3, rank 1: numbers of entries, starts, draws), against their way in PyTorch."""

import itertools
import statistics
from typing import Any

import jax
import numpy as np

import undertow as ut
from undertow.studies.tensors._shared import low_rank_tensor, weighted_completion

from ._base import Benchmark, Outcome, Scope, timed

SIZE, COMPONENTS = 8, 64
SHAPE = (SIZE,) * 3
ENTRIES = (50, *range(100, 500, 50), 511)
STARTS = (1e-2, 1e-3)
LOSS, RATE, DECAY, EPS = 1e-6, 1e-2, 0.99, 1e-6
CHECKED, LIMIT = 100, 100_000
RTOL, STEPS = 1e-3, 3000


def instances(draws: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Truths, and the order in which their entries are seen."""
    rng = np.random.default_rng(0)
    return [(low_rank_tensor(rng, SHAPE, 1), rng.permutation(SIZE**3)) for _ in range(draws)]


def in_undertow(drawn: list[Any], entries: tuple[int, ...]) -> dict[str, Any]:
    """All runs as one sweep."""
    phi = ut.parameterizations.CPTensor(SHAPE, COMPONENTS)
    error = ut.probes.ReconstructionError(relative=True)

    def run(start: float, count: int, draw: int) -> Any:
        truth, seen = drawn[draw]
        return ut.train(
            weighted_completion(truth, seen[:count]),
            phi,
            ut.dynamics.GradientFlow("stabilized", rtol=RTOL),
            key=draw,
            scale=phi.scale_of(start),
            stop=ut.Stop(loss=LOSS, steps=STEPS),
            samples=2,
            probes=[error],
        )

    with timed() as clock:
        found = ut.sweep(run, over={"start": STARTS, "count": entries, "draw": range(len(drawn))})
    return {
        "method": "flow",
        "seconds": clock.seconds,
        "processor_seconds": clock.processor_seconds,
        "compiled_programs": clock.compiled,
        "converged": int((found["status"] == "converged").sum()),
        "errors": found[f"final_{error.name}"].values.ravel().tolist(),
    }


def in_pytorch(truth: np.ndarray, seen: np.ndarray, start: float, seed: int) -> dict[str, Any]:
    """Group RMSprop on Gaussian factors, by automatic gradients; the loss is looked at every hundred iterations."""
    import torch

    torch.set_num_threads(1)  # a step is too small to share
    generator = torch.Generator().manual_seed(seed)
    factors = [(start * torch.randn(SIZE, COMPONENTS, generator=generator)).requires_grad_() for _ in SHAPE]
    index, values = torch.tensor(seen), torch.tensor(truth.ravel()[seen], dtype=torch.float32)
    whole, mean_square, steps, loss = torch.tensor(truth, dtype=torch.float32), 0.0, 0, np.inf

    def product() -> Any:
        return torch.einsum("ir,jr,kr->ijk", *factors)

    with timed() as clock:
        while loss >= LOSS and steps < LIMIT:
            for number in range(CHECKED):
                steps += 1
                now = torch.nn.functional.mse_loss(product().flatten()[index], values)
                loss = now.item() if number == CHECKED - 1 else loss
                gradients = torch.autograd.grad(now, factors)
                square = float(torch.stack(torch._foreach_norm(gradients)).square().sum())
                mean_square = DECAY * mean_square + (1 - DECAY) * square
                step = RATE / ((mean_square / (1 - DECAY**steps)) ** 0.5 + EPS)
                with torch.no_grad():
                    torch._foreach_add_(factors, gradients, alpha=-step)
    return {
        "method": "PyTorch",
        "start": start,
        "entries": len(seen),
        "seconds": clock.seconds,
        "processor_seconds": clock.processor_seconds,
        "steps": steps,
        "error": float((product().detach() - whole).norm() / whole.norm()),
    }


def run(scope: Scope) -> Outcome:
    """The sweep, the first time and again; and PyTorch, one draw of every cell, which stands for the others."""
    draws, entries = (1, ENTRIES[2:4]) if scope.quick else (5, ENTRIES)
    drawn = instances(draws)
    scope.report("the sweep")
    jax.clear_caches()
    first = in_undertow(drawn, entries)
    again = in_undertow(drawn, entries)
    scope.report("PyTorch")
    sample = [
        in_pytorch(drawn[i % draws][0], drawn[i % draws][1][:count], start, i)
        for i, (start, count) in enumerate(itertools.product(STARTS, entries))
    ]
    pytorch = draws * sum(found["seconds"] for found in sample)
    summary = [
        {
            "flow": name,
            "runs": draws * len(sample),
            "converged": found["converged"],
            "seconds": found["seconds"],
            "error": statistics.median(found["errors"]),
            "pytorch_seconds": pytorch,
            "pytorch_error": statistics.median(one["error"] for one in sample),
            "ratio": pytorch / found["seconds"],
            "processor_ratio": draws * sum(one["processor_seconds"] for one in sample) / found["processor_seconds"],
        }
        for name, found in (("with compilation", first), ("again", again))
    ]
    settings = {
        "grid": f"entries {entries}, starts {STARTS}, {draws} draws; order 3, axes of {SIZE}, rank 1, "
        f"{COMPONENTS} components",
        "stop": f"mean square over observed entries {LOSS:g}",
        "flow": f"one sweep, stabilized, tolerance {RTOL:g}",
        "PyTorch": f"group RMSprop, rate {RATE:g}, decay {DECAY:g}, eps {EPS:g}, one thread, the loss "
        f"every {CHECKED} iterations",
        "precision": "float32",
    }
    notes = (f"PyTorch: one run of every cell, times {draws}.", "Errors: median relative error over all entries.")
    return Outcome(settings, [first, again, *sample], summary, COLUMNS, notes)


COLUMNS = {
    "": lambda row: row["flow"],
    "runs (converged)": lambda row: f"{row['runs']} ({row['converged']})",
    "PyTorch": lambda row: f"{row['pytorch_seconds']:,.0f} s",
    "error": lambda row: f"{row['pytorch_error']:.1e}",
    "flow": lambda row: f"{row['seconds']:.1f} s",
    "error ": lambda row: f"{row['error']:.1e}",
    "ratio": lambda row: f"{row['ratio']:.0f}×",
    "of processor time": lambda row: f"{row['processor_ratio']:.0f}×",
}

tensor_grid = Benchmark(
    name="tensor-grid",
    title="The 100 runs of Razin and Cohen by gradient flow, against group RMSprop in PyTorch (a fifth of them run)",
    packages=("torch",),
    run=run,
)
