"""Error and effective rank along training: descent and Adam, depths 1 to 5, with and without the ratio penalty."""

from collections.abc import Callable

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientDescent, Stop
from ...optimizers import make
from ...parameterizations import DeepMatrix
from ...penalties import NuclearFrobeniusRatio
from ...probes import EffectiveRank, TestError
from ...sweeps import sweep
from ...training import Trajectory, train
from .._base import AtLeast, AtMost, Budget, Study
from ._shared import TINY, ZHAO, completion, tiny

SIZES = {"smoke": (16, 2, 150), "quick": (30, 3, 350), "full": (100, 5, 2000)}
"""Rows (as many columns), rank, entries."""
DEPTHS = {"smoke": (1, 2, 4), "quick": (1, 2, 3, 4, 5), "full": (1, 2, 3, 4, 5)}
DRAWS = {"smoke": 1, "quick": 4, "full": 4}
STEPS = {"smoke": 12_000, "quick": 12_000, "full": 30_000}
RATES = {"smoke": (3e-3, 1.0), "quick": (3e-3, 1.0), "full": (1e-3, 5.0)}
"""Of Adam, and of gradient descent on the mean over the entries."""
ALONE, LIGHT, HEAVY = WEIGHTS = (0.0, 1e-3, 0.1)
ADAM, DESCENT = "Adam", "gradient descent"
BAND = 0.02
"""Depth invariance: at every depth the median error is at most this, the effective rank within 5% of the rank."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    size, rank, entries = SIZES[budget]
    rates: dict[str, float] = dict(zip((ADAM, DESCENT), RATES[budget], strict=True))
    draws = [completion(jax.random.fold_in(key, i), size, rank, entries) for i in range(DRAWS[budget])]
    samples = np.unique(np.concatenate([[1], np.linspace(0, STEPS[budget], 41)[1:].astype(int)]))

    def run(optimizer: str, depth: int, weight: float, draw: int) -> Trajectory:
        return train(
            draws[draw],
            DeepMatrix((size, size), depth),
            GradientDescent(make("adam" if optimizer == ADAM else "gd", rates[optimizer])),
            key=jax.random.fold_in(key, 1000 + draw),
            scale=tiny(size),
            penalty=NuclearFrobeniusRatio(weight),  # of weight 0 where there is none: in one program
            stop=Stop(loss=None, steps=STEPS[budget]),
            samples=samples,
            probes=[TestError(), EffectiveRank()],
        )

    over = {
        "optimizer": (DESCENT, ADAM),
        "depth": DEPTHS[budget],
        "weight": WEIGHTS,
        "draw": range(len(draws)),
    }
    found = sweep(run, over=over, progress=progress)
    truths = [np.linalg.svd(np.asarray(problem.truth), compute_uv=False) for problem in draws]
    return _record(found, samples, truths).assign_attrs(
        {
            "problem": f"{size} x {size}, rank {rank}, {entries} entries at random, entries of size 1; "
            f"{len(draws)} draws; mean square over the entries",
            "penalty": f"nuclear over Frobenius norm of W, weight {LIGHT:g} and {HEAVY:g}",
            "optimizers": f"Adam at rate {rates[ADAM]:g}, gradient descent at {rates[DESCENT]:g}, at every depth; "
            f"{STEPS[budget]} steps",
            "start": f"Gaussian factors, entries of W(0) of standard deviation {TINY:g} / sqrt(rows)",
            "band": f"median error at most {BAND:g}, effective rank within 5% of the rank",
            "precision": "float32",
        }
    )


def _record(found: xr.Dataset, samples: np.ndarray, truths: list[np.ndarray]) -> xr.Dataset:
    """By step; a run that stalled goes on where it is."""

    def table(name: str) -> tuple[tuple[str, ...], np.ndarray]:
        values = found[name].values.copy()
        for i in range(1, values.shape[-1]):
            values[..., i] = np.where(found["step"].values[..., i] < 0, values[..., i - 1], values[..., i])
        return ("optimizer", "depth", "weight", "draw", "step"), values

    dims, squares = table("test_error")
    return xr.Dataset(
        {
            "error": (dims, np.sqrt(squares)),
            "effective_rank": table("effective_rank"),
            "effective_rank_of_truth": ("draw", [_effective_rank(s) for s in truths]),
        },
        coords={name: found[name] for name in ("optimizer", "depth", "weight")} | {"step": np.append(0, samples)},
    )


def _effective_rank(s: np.ndarray) -> float:
    p = s[s > 1e-6 * s[0]] / s.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def _end(data: xr.Dataset, optimizer: str, weight: float, name: str = "error") -> xr.DataArray:
    """By depth and draw, after the last step."""
    return data[name].sel(optimizer=optimizer, weight=weight).isel(step=-1)


def _median(data: xr.Dataset, optimizer: str, weight: float) -> xr.DataArray:
    return _end(data, optimizer, weight).median("draw", skipna=False)


def _rank_off(data: xr.Dataset) -> float:
    """The largest distance over depths between the median effective rank and that of the truth, in units of it."""
    share = _end(data, ADAM, LIGHT, "effective_rank") / data["effective_rank_of_truth"]
    return float(np.abs(share.median("draw", skipna=False).values - 1).max())


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    panels = [(optimizer, weight) for optimizer in data["optimizer"].values for weight in data["weight"].values]
    with plotting.figure(
        rows=2,
        columns=len(panels),
        width=18,
        height=7.5,
        sharex=True,
        sharey="row",
        caption="Error over unobserved entries and effective rank, depths 1 to 5: the median of the draws (lines) and "
        "all of them (bands); dotted, the truth's. Without the penalty Adam needs depth; with a small weight it ends "
        "at the same error and rank from every depth; with a hundred times that weight the error is larger, "
        "and some deep runs escape to infinity.",
    ) as (made, axes):
        for column, (optimizer, weight) in enumerate(panels):
            for row, name in enumerate(("error", "effective_rank")):
                ax = axes[row, column]
                for depth in data["depth"].values:
                    lines = data[name].sel(optimizer=optimizer, weight=weight, depth=depth)
                    color = plotting.color_of(float(depth))
                    ax.plot(data["step"], lines.median("draw"), color=color, label=f"depth {depth}")
                    ax.fill_between(data["step"], lines.min("draw"), lines.max("draw"), color=color, alpha=0.15)
                ax.set(yscale="log")
            axes[0, column].set_title(f"{optimizer}\n{f'ratio, weight {weight:g}' if weight else 'no penalty'}")
            axes[1, column].set_xlabel("steps")
            level = float(data["effective_rank_of_truth"].median())
            axes[1, column].axhline(level, color=plotting.color_of("truth"), linestyle=":", linewidth=1.4)
        axes[0, 0].set_ylabel("error, unobserved entries")
        axes[1, 0].set_ylabel("effective rank")
        axes[1, len(panels) - 2].legend(loc="upper right")
    return {"error-and-effective-rank": made}


EXAMPLE = """
import undertow as ut

truth = ut.datasets.low_rank_matrix(0, (20, 20), rank=2)
rows, columns = ut.datasets.observe(1, (20, 20), 220)
problem = ut.problems.MatrixCompletion((20, 20), rows, columns, truth[rows, columns], truth=truth)
adam = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 5e-3))
for penalty in (None, ut.penalties.NuclearFrobeniusRatio(1e-3)):
    for depth in (1, 2, 3):
        phi = ut.parameterizations.DeepMatrix((20, 20), depth)
        run = ut.train(problem, phi, adam, key=2, scale=2e-4, penalty=penalty, stop=ut.Stop(loss=None, steps=8000),
                       probes=[ut.probes.TestError()])
        print(f"{'ratio' if penalty else 'alone'}, depth {depth}: error {run['test_error'][-1] ** 0.5:.2f}")
# alone, depth 1: error 0.90
# alone, depth 2: error 0.15
# alone, depth 3: error 0.00
# ratio, depth 1: error 0.00
# ratio, depth 2: error 0.00
# ratio, depth 3: error 0.00
"""

study = Study(
    id="depth-and-the-penalty",
    chapter="penalties",
    title="Depth without and with the ratio penalty",
    source=f"{ZHAO} (error and effective rank along training, by depth)",
    claim="Adam without a penalty needs depth to recover a matrix of low rank; with the ratio penalty of small weight "
    "depths 1 to 5 all recover it, and gradient descent gains from the penalty at depth 2 as Adam does.",
    standing="amended",
    published="At any depth the penalty only takes effect with Adam, not with gradient descent.",
    refutation=AtLeast(
        "gradient descent, depth 2: error with the penalty over that without, medians",
        lambda data: float((_median(data, DESCENT, LIGHT) / _median(data, DESCENT, ALONE)).sel(depth=2)),
        bound=0.9,
    ),
    run=_run,
    checks=(
        AtMost(
            "Adam with the penalty: error at the worst depth, median of draws",
            lambda data: float(_median(data, ADAM, LIGHT).max(skipna=False)),
            bound=BAND,
        ),
        AtMost(
            "Adam with the penalty: effective rank, share away from the truth's at the worst depth", _rank_off, 0.05
        ),
        AtLeast("Adam alone, depth 1: error", lambda data: float(_median(data, ADAM, ALONE).sel(depth=1)), bound=0.9),
        AtLeast("Adam alone, depth 2: error", lambda data: float(_median(data, ADAM, ALONE).sel(depth=2)), bound=0.2),
        AtLeast(
            "gradient descent with the penalty, depth 1: error",
            lambda data: float(_median(data, DESCENT, LIGHT).sel(depth=1)),
            bound=0.5,
        ),
        AtLeast(
            "Adam with the penalty: least error over depths at a hundred times the weight, over the worst",
            lambda data: float(_median(data, ADAM, HEAVY).min(skipna=False) / _median(data, ADAM, LIGHT).max()),
            bound=10.0,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="Adam's part of the source's claim holds, with the weight small: the error that is left grows with it, and "
    "with a large one some deep runs end far away, where the ratio is below that of the truth. Without depth gradient "
    "descent is too slow from a tiny start; from depth 3 on it recovers without a penalty.",
)
