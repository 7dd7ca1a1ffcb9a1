"""Is it Adam, or is it the start? The nuclear over Frobenius norm without depth, by Adam and by gradient descent."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientDescent, Stop
from ...linalg import axes_of
from ...optimizers import make
from ...parameterizations import Identity
from ...penalties import NuclearFrobeniusRatio
from ...probes import EffectiveRank, Function, TestError
from ...problems import MatrixCompletion
from ...sweeps import sweep
from ...training import train
from .._base import AtLeast, AtMost, Budget, Close, Study
from .._shared import W, generator

SIZES = {"smoke": (20, 2, 220), "quick": (20, 2, 220), "full": (100, 5, 2000)}
"""Rows (as many columns), rank, entries."""
DRAWS = {"smoke": 3, "quick": 20, "full": 20}
STEPS = {"smoke": 9000, "quick": 9000, "full": 30_000}
WEIGHT = 0.1
TINY = 1e-3
STARTS = ("tiny", "zero-filled data")
OPTIMIZERS = {
    "Adam": lambda entries: ("adam", 5e-3),
    "gradient descent": lambda entries: ("sgd", entries / 100),
    "gradient descent, slow": lambda entries: ("sgd", entries / 1000),
}
"""Rates of descent are in proportion to the entries, because the loss is their mean."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    rng = generator(key)
    size, rank, entries = SIZES[budget]
    steps = STEPS[budget]
    samples = np.unique(np.concatenate([[1], np.linspace(0, steps, 31)[1:].astype(int)]))
    names = list(OPTIMIZERS)
    with jax.enable_x64(True):
        draws = [_draw(rng, size, rank, entries) for _ in range(DRAWS[budget])]
        runs = {}
        for i, (name, start) in enumerate((name, start) for name in names for start in STARTS):
            progress(i / (len(names) * len(STARTS) + 1), f"{name}, from {start}")
            runs[name, start] = _follow(draws, OPTIMIZERS[name](entries), start, WEIGHT, steps, samples)
        progress(1 - 1 / (len(names) * len(STARTS) + 1), "without the penalty")
        alone = [_follow(draws, OPTIMIZERS[name](entries), "tiny", None, steps // 10, samples[:4]) for name in names]
    moved = [_moved_unobserved(run, draws) for run in alone]
    norm = runs["gradient descent", "tiny"]["norm"].values
    thrown = [_norm_after_a_step(starts["tiny"], entries / 100 * WEIGHT) for _, starts in draws]
    test, effective = TestError().name, EffectiveRank().name

    def table(name: str) -> list:
        return [[runs[optimizer, start][name].values for start in STARTS] for optimizer in names]

    dims = ("optimizer", "start", "draw", "step")
    return xr.Dataset(
        {
            "error": (dims, np.sqrt(table(test))),
            "effective_rank": (dims, table(effective)),
            "moved_without": (("optimizer", "draw"), moved),
            "thrown": ("draw", norm[:, 1] / np.array(thrown)),
            "norm": ("draw", norm[:, 1] / norm[:, 0]),
        },
        coords={"optimizer": names, "start": list(STARTS), "step": np.append(0, samples), "rank": rank},
        attrs={
            "problem": f"{size} x {size}, rank {rank}, {entries} entries at random, entries of size 1; "
            f"{DRAWS[budget]} draws; mean square over the entries",
            "penalty": f"nuclear over Frobenius norm, weight {WEIGHT:g}; no depth",
            "optimizers": f"Adam at rate 0.005, gradient descent at {entries / 100:g} and {entries / 1000:g}; "
            f"{steps} steps",
            "starts": f"Gaussian of scale {TINY:g} / sqrt(rows); or the data with zeros where none are",
            "precision": "float64",
        },
    )


def _draw(rng: np.random.Generator, size: int, rank: int, entries: int) -> tuple[MatrixCompletion, dict]:
    truth = rng.standard_normal((size, rank)) @ rng.standard_normal((rank, size))
    truth *= size / np.linalg.norm(truth)
    rows, columns = np.divmod(np.sort(rng.permutation(size**2)[:entries]), size)
    filled = np.zeros((size, size))
    filled[rows, columns] = truth[rows, columns]
    problem = MatrixCompletion((size, size), rows, columns, truth[rows, columns], truth=truth)
    tiny = TINY / np.sqrt(size) * rng.standard_normal((size, size))
    return problem, dict(zip(STARTS, (tiny, filled), strict=True))


def _follow(
    draws: list, optimizer: tuple[str, float], start: str, weight: float | None, steps: int, samples: np.ndarray
) -> xr.Dataset:
    def follow(draw: int) -> Any:
        problem, starts = draws[draw]
        return train(
            problem,
            Identity(problem.shape),
            GradientDescent(make(*optimizer)),
            params=jnp.asarray(starts[start]),
            penalty=None if weight is None else NuclearFrobeniusRatio(weight),
            stop=Stop(loss=None, steps=steps),
            samples=samples,
            probes=[TestError(), EffectiveRank(), Function("norm", jnp.linalg.norm), W],
        )

    return sweep(follow, over={"draw": range(len(draws))})


def _moved_unobserved(run: xr.Dataset, draws: list) -> list[float]:
    """How far an unobserved entry is from its start, at most, draw by draw."""
    found = []
    for w, (problem, starts) in zip(run["final_w"].values, draws, strict=True):
        away = np.abs(w - starts["tiny"])
        away[tuple(np.asarray(axis) for axis in axes_of(problem.indices))] = 0
        found.append(float(away.max()))
    return found


def _norm_after_a_step(w: np.ndarray, length: float) -> float:
    """Of W - length * gradient of the ratio, where that is orthogonal to W and of norm sqrt(rank - ratio^2) / |W|_F."""
    s = np.linalg.svd(w, compute_uv=False)
    size = np.linalg.norm(s)
    return float(np.hypot(size, length * np.sqrt(len(s) - (s.sum() / size) ** 2) / size))


def _end(data: xr.Dataset, optimizer: str, start: str, name: str = "error") -> float:
    """The median of the draws."""
    return float(data[name].sel(optimizer=optimizer, start=start).isel(step=-1).median("draw", skipna=False))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        columns=2,
        width=12,
        height=5.0,
        sharey=True,
        caption="Root-mean-square error over unobserved entries, with the ratio penalty and no depth: the median of "
        "the draws, and all of them (bands). From a tiny start (left) the first step of gradient descent throws the "
        "matrix far away, and Adam, whose steps are of its rate, recovers; from the data with zeros in their holes "
        "(right) both do.",
    ) as (errors, axes):
        for ax, start in zip(axes, STARTS, strict=True):
            for name, color in zip(data["optimizer"].values, ("train", "test", "theory"), strict=True):
                lines = data["error"].sel(optimizer=name, start=start)
                ax.semilogy(
                    data["step"], lines.median("draw", skipna=False), color=plotting.color_of(color), label=str(name)
                )
                ax.fill_between(
                    data["step"], lines.min("draw"), lines.max("draw"), color=plotting.color_of(color), alpha=0.2
                )
            ax.set(xlabel="steps", title=f"from {start}")
        axes[0].set_ylabel("error, unobserved entries")
        axes[1].legend()
    return {"errors": errors}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
truth = np.outer(rng.standard_normal(12), rng.standard_normal(12))
rows, columns = np.nonzero(rng.random((12, 12)) < 0.6)
problem = ut.problems.MatrixCompletion((12, 12), rows, columns, truth[rows, columns], truth=truth)
filled = np.zeros((12, 12))
filled[rows, columns] = problem.values
phi = ut.parameterizations.Identity((12, 12))
descent = ut.dynamics.GradientDescent(ut.optimizers.make("gd", 1.0))
stop, probes = ut.Stop(loss=None, steps=3000), [ut.probes.EffectiveRank(), ut.probes.TestError()]
for penalty in (None, ut.penalties.NuclearFrobeniusRatio(0.03)):
    run = ut.train(problem, phi, descent, params=filled, penalty=penalty, stop=stop, probes=probes)
    print(f"effective rank {run['effective_rank'][-1]:.1f}, error {run['test_error'][-1] ** 0.5:.2f}")
# effective rank 4.9, error 0.61
# effective rank 1.0, error 0.00
"""

study = Study(
    id="ratio-penalty-and-the-start",
    chapter="penalties",
    title="The ratio penalty: Adam, or the start?",
    source="D. Zhao, Combining Explicit and Implicit Regularization for Efficient Learning in Deep Networks, "
    "NeurIPS 2022, arXiv:2306.00342 (Sections 4 and 5)",
    claim="Without depth, the penalty of nuclear over Frobenius norm recovers a matrix of low rank from part of its "
    "entries, by Adam from a tiny start, and as well by plain gradient descent from the data with zeros in its holes.",
    standing="amended",
    published="The penalty only takes effect with Adam, not with gradient descent.",
    refutation=AtLeast(
        "gradient descent from the zero-filled data: error over that of Adam from a tiny start, medians",
        lambda data: _end(data, "gradient descent", STARTS[1]) / _end(data, "Adam", STARTS[0]),
        bound=2.0,
    ),
    run=_run,
    checks=(
        AtMost(
            "without the penalty: largest move of an unobserved entry, any optimizer and draw",
            lambda data: float(data["moved_without"].max(skipna=False)),
            bound=0.0,
        ),
        AtMost("Adam, tiny start: error", lambda data: _end(data, "Adam", STARTS[0]), bound=0.15),
        Close(
            "Adam, tiny start: effective rank over the rank",
            lambda data: _end(data, "Adam", STARTS[0], "effective_rank") / float(data["rank"]),
            expected=1.0,
            tolerance=0.05,
        ),
        AtMost(
            "gradient descent, zero-filled data: error", lambda d: _end(d, "gradient descent", STARTS[1]), bound=0.15
        ),
        AtMost("Adam, zero-filled data: error", lambda data: _end(data, "Adam", STARTS[1]), bound=0.15),
        AtLeast(
            "gradient descent, tiny start: error",
            lambda data: _end(data, "gradient descent", STARTS[0]),
            bound=0.5,
        ),
        Close(
            "gradient descent, tiny start: norm after the first step over the predicted one, median",
            lambda data: float(data["thrown"].median(skipna=False)),
            expected=1.0,
            tolerance=0.05,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="The gradient of the penalty is of norm sqrt(rank - ratio^2) / |W|: from a tiny start one step of gradient "
    "descent throws W away, orthogonally, while a step of Adam is of its rate whatever the gradient. A rate small "
    "enough for a tiny start takes correspondingly many steps. What error is left is that of the penalty's weight.",
)
