"""The ratio beside other penalties: nuclear norm, Schatten quasi-norms and their ratio, L2 of w and of the factors."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientDescent, Stop
from ...optimizers import make
from ...parameterizations import DeepMatrix
from ...penalties import L2, Nuclear, NuclearFrobeniusRatio, OnParameters, SchattenQuasiNorm, SchattenRatio
from ...probes import EffectiveRank, TestError
from ...sweeps import sweep
from ...training import Trajectory, train
from .._base import AtLeast, AtMost, Budget, Study
from ._shared import TINY, ZHAO, tiny, with_held_out

SIZES = {"smoke": (16, 1, 110, 20), "quick": (20, 2, 220, 30), "full": (100, 5, 2000, 200)}
"""Rows (as many columns), rank, observed entries, entries by which weights are chosen."""
DEPTHS = (1, 2)
DRAWS = {"smoke": 2, "quick": 3, "full": 5}
STEPS = {"smoke": 5000, "quick": 8000, "full": 30_000}
RATES = {"smoke": 5e-3, "quick": 5e-3, "full": 1e-3}
WEIGHTS = (1e-4, 1e-3, 1e-2)
PENALTIES: dict[str, Callable[[Any], Any]] = {
    "ratio": NuclearFrobeniusRatio,
    "nuclear norm": Nuclear,
    "Schatten 1/2": lambda weight: SchattenQuasiNorm(weight, 1 / 2),
    "Schatten 2/3": lambda weight: SchattenQuasiNorm(weight, 2 / 3),
    "Schatten 1/2 over 2/3": lambda weight: SchattenRatio(weight, 1 / 2, 2 / 3),
    "L2 of W": L2,
    "weight decay": lambda weight: OnParameters(L2(weight)),
}
SMOKE = ("ratio", "nuclear norm", "L2 of W", "weight decay")


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    size, rank, entries, held_out = SIZES[budget]
    names = SMOKE if budget == "smoke" else tuple(PENALTIES)
    parts = [with_held_out(jax.random.fold_in(key, i), size, rank, entries, held_out) for i in range(DRAWS[budget])]

    def run(penalty: str, depth: int, weight: float, draw: int) -> Trajectory:
        problem, chosen, test = parts[draw]
        return train(
            problem,
            DeepMatrix((size, size), depth),
            GradientDescent(make("adam", RATES[budget])),
            key=jax.random.fold_in(key, 1000 + draw),
            scale=tiny(size),
            penalty=PENALTIES[penalty](weight),
            stop=Stop(loss=None, steps=STEPS[budget]),
            samples=2,
            probes=[TestError(chosen, "chosen_by"), TestError(test), EffectiveRank()],
        )

    over = {"penalty": names, "depth": DEPTHS, "weight": WEIGHTS, "draw": range(len(parts))}
    found = sweep(run, over=over, progress=progress)
    best = found["final_chosen_by"].fillna(np.inf).median("draw").argmin("weight")
    dims = ("penalty", "depth", "draw")
    at = found.isel(weight=best)
    return xr.Dataset(
        {
            "by_weight": found["final_test_error"] ** 0.5,
            "chosen": (dims[:-1], np.asarray(WEIGHTS)[best.values]),
            "error": (dims, np.sqrt(at["final_test_error"].transpose(*dims).values)),
            "effective_rank": at["final_effective_rank"].transpose(*dims),
        },
        coords={"rank": rank},
        attrs={
            "problem": f"{size} x {size}, rank {rank}, {entries} entries at random, entries of size 1; "
            f"{len(parts)} draws; mean square over the entries",
            "weights": f"chosen for each penalty and depth from {', '.join(f'{weight:g}' for weight in WEIGHTS)} by "
            f"the error on {held_out} further entries, median of draws",
            "optimizer": f"Adam at rate {RATES[budget]:g}, {STEPS[budget]} steps",
            "start": f"Gaussian factors, entries of W(0) of standard deviation {TINY:g} / sqrt(rows)",
            "precision": "float32",
        },
    )


def _median(data: xr.Dataset, penalty: str, depth: int) -> float:
    return float(data["error"].sel(penalty=penalty, depth=depth).median("draw", skipna=False))


def _decay_apart(data: xr.Dataset) -> float:
    """Weight decay at depth 2 beside the nuclear norm at depth 1, of one weight: errors apart, relative."""
    decay = data["by_weight"].sel(penalty="weight decay", depth=2, weight=WEIGHTS[-1])
    nuclear = data["by_weight"].sel(penalty="nuclear norm", depth=1, weight=WEIGHTS[-1])
    return float(np.abs(decay.values / nuclear.values - 1).max())


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    names = [str(name) for name in data["penalty"].values]
    place = np.arange(len(names))[::-1]
    with plotting.figure(
        columns=2,
        width=12,
        height=1.5 + 0.5 * len(names),
        sharey=True,
        caption="Adam with different penalties at depths 1 and 2, the weight chosen by held-out entries: error over "
        "unobserved entries and effective rank, every draw (dots) and their median (bars); dotted, the rank.",
    ) as (made, axes):
        for ax, name in zip(axes, ("error", "effective_rank"), strict=True):
            for depth, shift in zip(DEPTHS, (0.15, -0.15), strict=True):
                values = data[name].sel(depth=depth).transpose("penalty", "draw").values
                color = plotting.color_of(float(depth))
                ax.plot(
                    values, place[:, None] + np.full(values.shape, shift), "o", color=color, markersize=4, alpha=0.6
                )
                ax.plot(np.median(values, axis=1), place + shift, "|", color=color, markersize=14, markeredgewidth=3)
                ax.plot([], [], "o", color=color, label=f"depth {depth}")
        axes[0].set_yticks(place, names)
        axes[0].set_xscale("log")
        axes[0].set_xlabel("error, unobserved entries")
        axes[1].set_xlabel("effective rank")
        axes[1].axvline(float(data["rank"]), color=plotting.color_of("truth"), linestyle=":")
        axes[1].legend()
    return {"penalties": made}


EXAMPLE = """
import undertow as ut

truth = ut.datasets.low_rank_matrix(0, (16, 16), rank=1)
rows, columns = ut.datasets.observe(1, (16, 16), 110)
problem = ut.problems.MatrixCompletion((16, 16), rows, columns, truth[rows, columns], truth=truth)
adam = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 5e-3))
for penalty, depth in ((ut.penalties.L2(0.01), 1), (ut.penalties.Nuclear(0.01), 1),
                       (ut.penalties.OnParameters(ut.penalties.L2(0.01)), 2)):
    phi = ut.parameterizations.DeepMatrix((16, 16), depth)
    run = ut.train(problem, phi, adam, key=2, scale=2e-4, penalty=penalty, stop=ut.Stop(loss=None, steps=5000),
                   probes=[ut.probes.TestError()])
    print(f"{penalty}, depth {depth}: error {run['test_error'][-1] ** 0.5:.2f}")
# L2(weight=0.01), depth 1: error 1.00
# Nuclear(weight=0.01), depth 1: error 0.13
# OnParameters(penalty=L2(weight=0.01)), depth 2: error 0.13
"""

study = Study(
    id="other-penalties",
    chapter="penalties",
    title="The ratio beside other penalties",
    source=f"{ZHAO} (the other penalties that are compared)",
    claim="Without depth, Adam with the ratio comes nearer to a matrix of low rank than with the nuclear norm, which "
    "shrinks what it should keep; L2 recovers nothing. At depth 2 weight decay does what the nuclear norm does without "
    "depth.",
    standing="our own",
    run=_run,
    checks=(
        AtMost("ratio, depth 1: error", lambda data: _median(data, "ratio", 1), bound=0.05),
        AtLeast(
            "nuclear norm over ratio, depth 1: errors",
            lambda data: _median(data, "nuclear norm", 1) / _median(data, "ratio", 1),
            bound=3.0,
        ),
        AtLeast("L2 of W, depth 1: error", lambda data: _median(data, "L2 of W", 1), bound=0.9),
        AtMost(
            "weight decay at depth 2 beside the nuclear norm at depth 1, weight 0.01: errors apart, any draw",
            _decay_apart,
            bound=0.1,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)
