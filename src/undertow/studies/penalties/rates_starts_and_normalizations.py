"""What decides whether the ratio penalty takes effect: rate, start and weight, by Adam and by gradient descent."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientDescent, Stop
from ...optimizers import make
from ...parameterizations import Identity
from ...penalties import NuclearFrobeniusRatio
from ...probes import TestError
from ...problems import MatrixCompletion
from ...sweeps import sweep
from ...training import train
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import W, generator

SIZES = {"smoke": (10, 1, 56), "quick": (10, 1, 56), "full": (40, 3, 700)}
"""Rows (as many columns), rank, entries."""
DRAWS = {"smoke": 3, "quick": 20, "full": 50}
STEPS = {"smoke": 2000, "quick": 2000, "full": 6000}
STARTS = ("0.001", "0.1", "1", "data")
"""Gaussian, in units of one whose entries have variance 1 / rows; or the data, with zeros elsewhere."""
RATES = {"Adam": (3e-3, 1e-2, 3e-2, 1e-1), "gradient descent": (1e-3, 1e-2, 1e-1, 4e-1)}
"""Those of gradient descent in units of the entries, since the loss is their mean."""
WEIGHT = 0.1
SHORT = 100
"""Steps of the runs that are compared number by number."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    rng = generator(key)
    size, rank, entries = SIZES[budget]
    weights = {"mean": WEIGHT, "sum": WEIGHT / entries}
    with jax.enable_x64(True):
        draws = [_draw(rng, size, rank, entries) for _ in range(DRAWS[budget])]
        errors = []
        for i, optimizer in enumerate(RATES):
            progress(i / 2, optimizer)

            def run(weight: float, start: int, rate: float, draw: int, optimizer: str = optimizer) -> Any:
                rate = rate * entries if optimizer != "Adam" else rate
                return _train(draws[draw], "mean", optimizer, rate, weight, start, STEPS[budget])

            axes = {"weight": list(weights.values()), "start": range(len(STARTS)), "rate": RATES[optimizer]}
            found = sweep(run, over={**axes, "draw": range(len(draws))})
            errors.append(np.sqrt(found[f"final_{TestError().name}"].values))
        progress(0.95, "sums beside means")
        apart = [_apart(draws[0], optimizer) for optimizer in RATES]
    return xr.Dataset(
        {
            "error": (("optimizer", "normalization", "start", "position", "draw"), errors),
            "apart": ("optimizer", apart),
            "rate": (("optimizer", "position"), list(RATES.values())),
        },
        coords={"optimizer": list(RATES), "normalization": list(weights), "start": list(STARTS)},
        attrs={
            "problem": f"{size} x {size}, rank {rank}, {entries} entries, entries of size 1; {len(draws)} draws",
            "penalty": f"nuclear over Frobenius norm, weight {WEIGHT:g}, beside the mean or the sum of squares",
            "steps": STEPS[budget],
            "rates": "of gradient descent on the mean, in units of the number of entries",
            "precision": "float64",
        },
    )


def _draw(rng: np.random.Generator, size: int, rank: int, entries: int) -> dict[str, Any]:
    truth = rng.standard_normal((size, rank)) @ rng.standard_normal((rank, size))
    truth *= size / np.linalg.norm(truth)
    rows, columns = np.divmod(np.sort(rng.permutation(size**2)[:entries]), size)
    filled = np.zeros((size, size))
    filled[rows, columns] = truth[rows, columns]
    gaussian = rng.standard_normal((size, size)) / np.sqrt(size)
    problems = {
        name: MatrixCompletion((size, size), rows, columns, truth[rows, columns], truth=truth, normalization=name)
        for name in ("mean", "sum")
    }
    return {**problems, "starts": [filled if name == "data" else float(name) * gaussian for name in STARTS]}


def _train(
    draw: dict[str, Any], normalization: str, optimizer: str, rate: float, weight: float, start: int, steps: int
) -> Any:
    problem = draw[normalization]
    # Adam's epsilon in units of the gradient, so that sum and mean can be compared number by number.
    unit = problem.observed if normalization == "sum" else 1
    made = make("adam", rate, eps=1e-8 * unit) if optimizer == "Adam" else make("gd", rate)
    return train(
        problem,
        Identity(problem.shape),
        GradientDescent(made),
        params=jnp.asarray(draw["starts"][start]),
        penalty=NuclearFrobeniusRatio(weight),
        stop=Stop(loss=None, steps=steps),
        samples=2,
        probes=[TestError(), W],
    )


def _apart(draw: dict[str, Any], optimizer: str) -> float:
    """Largest difference of W after a few steps between the sum of m squares and their mean, where they are the same.

    The sum at weight m lambda is m times the mean at weight lambda: gradient descent takes the same steps at a rate of
    1 / m, and Adam, which divides by the size of the gradient, at the same rate and m times its epsilon.
    """
    entries = draw["mean"].observed
    rate, start = RATES[optimizer][1], STARTS.index("1")
    larger = 1 if optimizer == "Adam" else entries
    mean = _train(draw, "mean", optimizer, rate * larger, WEIGHT, start, SHORT)
    total = _train(draw, "sum", optimizer, rate, WEIGHT * entries, start, SHORT)
    return float(np.max(np.abs(np.asarray(mean.w) - np.asarray(total.w))))


def _medians(data: xr.Dataset, optimizer: str, normalization: str = "mean") -> xr.DataArray:
    return data["error"].sel(optimizer=optimizer, normalization=normalization).median("draw", skipna=False)


def _best(data: xr.Dataset, optimizer: str, normalization: str, *starts: str) -> float:
    """The least median error over the rates, at the worst of the starts."""
    return float(_medians(data, optimizer, normalization).sel(start=list(starts)).min("position").max(skipna=False))


def _cell(data: xr.Dataset, optimizer: str, start: str, position: int) -> float:
    return float(_medians(data, optimizer).sel(start=start).isel(position=position))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        2,
        2,
        width=12.5,
        height=9,
        caption="Median error over unobserved entries after the same number of steps, by rate and start, with the "
        "ratio penalty at the same weight beside the mean (above) and the sum of squares (below). Rates of gradient "
        "descent are those on the mean, in units of the entries. Dark: recovered.",
    ) as (made, axes):
        for row, normalization in zip(axes, data["normalization"].values, strict=True):
            for ax, optimizer in zip(row, data["optimizer"].values, strict=True):
                medians = _medians(data, str(optimizer), str(normalization))
                rates = data["rate"].sel(optimizer=optimizer).values
                ax.imshow(np.clip(medians, 1e-3, 1), norm=LogNorm(1e-3, 1), cmap="viridis", aspect="auto")
                for (i, j), error in np.ndenumerate(medians.values):
                    color = "white" if error < 0.1 else "black"
                    ax.text(j, i, f"{error:.2g}", ha="center", va="center", color=color, fontsize=13)
                ax.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
                ax.set_yticks(range(len(STARTS)), STARTS)
                ax.grid(visible=False)
                ax.set(title=f"{optimizer}, {normalization}", xlabel="rate", ylabel="start")
    return {"map": made}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
truth = np.outer(rng.standard_normal(10), rng.standard_normal(10))
rows, columns = np.divmod(np.sort(rng.permutation(100)[:56]), 10)
problem = ut.problems.MatrixCompletion((10, 10), rows, columns, truth[rows, columns], truth=truth)
phi, ratio = ut.parameterizations.Identity((10, 10)), ut.penalties.NuclearFrobeniusRatio(0.1)
start, stop = rng.standard_normal((10, 10)) / 10**0.5, ut.Stop(loss=None, steps=4000)
for name, rate in (("adam", 0.03), ("gd", 5.6)):
    descent = ut.dynamics.GradientDescent(ut.optimizers.make(name, rate))
    for size in (1e-3, 0.1, 1.0):
        run = ut.train(
            problem, phi, descent, params=size * start, penalty=ratio, stop=stop, probes=[ut.probes.TestError()]
        )
        print(f"{name}, start {size:g}: error {run['test_error'][-1] ** 0.5:.2f}")
# adam, start 0.001: error 0.00
# adam, start 0.1: error 0.00
# adam, start 1: error 0.01
# gd, start 0.001: error 35.29
# gd, start 0.1: error 0.02
# gd, start 1: error 0.02
"""

study = Study(
    id="rates-starts-and-normalizations",
    chapter="penalties",
    title="The ratio penalty over rates, starts and normalizations",
    source="D. Zhao, Combining Explicit and Implicit Regularization for Efficient Learning in Deep Networks, NeurIPS "
    "2022, arXiv:2306.00342 (Sections 4 and 5): the penalty was said to take effect with Adam only",
    claim="The ratio penalty takes effect with gradient descent too, at every size of the start but a tiny one, "
    "where its weight beside the mean of squares and its rate are large enough; Adam is indifferent to the weight, "
    "and from a tiny start slower as well.",
    standing="our own",
    run=_run,
    checks=(
        AtMost(
            "gradient descent: error at its best rate, the worst start but the tiny one",
            lambda data: _best(data, "gradient descent", "mean", *STARTS[1:]),
            bound=0.05,
        ),
        AtMost("Adam: the same", lambda data: _best(data, "Adam", "mean", *STARTS[1:]), bound=0.02),
        AtLeast(
            "gradient descent, tiny start: error at its best rate",
            lambda data: _best(data, "gradient descent", "mean", STARTS[0]),
            bound=0.5,
        ),
        AtLeast(
            "Adam at rate 0.03: error from the tiny start over that from one of 0.1",
            lambda data: _cell(data, "Adam", STARTS[0], 2) / _cell(data, "Adam", STARTS[1], 2),
            bound=10.0,
        ),
        AtLeast(
            "Adam from a start of 1: error at rate 0.1 over that at 0.01",
            lambda data: _cell(data, "Adam", STARTS[2], 3) / _cell(data, "Adam", STARTS[2], 1),
            bound=3.0,
        ),
        AtMost(
            "Adam, the same weight beside a sum: best error, worst start but the tiny one",
            lambda data: _best(data, "Adam", "sum", *STARTS[1:]),
            bound=0.02,
        ),
        AtLeast(
            "gradient descent, the same weight beside a sum, over that beside a mean",
            lambda d: (
                _best(d, "gradient descent", "sum", *STARTS[1:]) / _best(d, "gradient descent", "mean", *STARTS[1:])
            ),
            bound=3.0,
        ),
        AtMost(
            "gradient descent: sum at weight m λ and rate 1/m beside mean, largest difference",
            lambda data: float(data["apart"].sel(optimizer="gradient descent")),
            bound=1e-10,
        ),
        AtMost(
            "Adam: sum at weight m λ, the same rate, m times epsilon beside mean, largest difference",
            lambda data: float(data["apart"].sel(optimizer="Adam")),
            bound=1e-10,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="A sum of m squares at weight m λ is m times their mean at weight λ. Gradient descent takes the same steps "
    "at a rate of 1/m, and Adam, which divides by the size of the gradient, at the same rate and m times its "
    "epsilon: so for both the normalization of the loss is a matter of the weight. Beside a sum, the same weight is "
    "m times weaker. Gradient descent then moves what is not observed m times more slowly, Adam as fast as before, "
    "as it normalizes the weight away there. From a tiny start one step of gradient descent throws W away (see the "
    "study before), and no rate is good. Adam's own error grows with its rate, which sets how far from rest its "
    "steps stay.",
)
