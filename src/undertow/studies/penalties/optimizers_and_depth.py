"""The ratio penalty under every optimizer, with and without depth: a table of errors and effective ranks."""

from collections.abc import Callable

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientDescent, Stop
from ...linalg import axes_of
from ...optimizers import make
from ...parameterizations import DeepMatrix
from ...penalties import NuclearFrobeniusRatio
from ...probes import EffectiveRank, TestError
from ...sweeps import sweep
from ...training import Trajectory, train
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import W
from ._shared import TINY, ZHAO, tiny, with_held_out

SIZES = {"smoke": (20, 2, 220, 30), "quick": (20, 2, 220, 30), "full": (100, 5, 2000, 200)}
"""Rows (as many columns), rank, observed entries, entries by which rates are chosen."""
DEPTHS = {"smoke": (1, 2), "quick": (1, 2), "full": (1, 2, 3, 4, 5)}
DRAWS = {"smoke": 1, "quick": 3, "full": 5}
STEPS = {"smoke": 8000, "quick": 8000, "full": 20_000}
SEARCHES = {"smoke": 300, "quick": 200, "full": 2000}
"""Steps of L-BFGS, each of which searches along its direction."""
WEIGHT = 1e-2
RECOVERED = 0.05
"""Error, in units of an entry, below which a matrix counts as recovered."""

RATES = {
    "gd": (0.2, 1.0),
    "momentum": (0.02, 0.1),
    "nesterov": (0.02, 0.1),
    "normalized": (0.01, 0.05),
    "group_rmsprop": (0.01, 0.05),
    "rmsprop": (0.001, 0.003),
    "sign": (0.0003, 0.001),
    "muon": (0.003, 0.01),
    "adadelta": (1.0, 10.0),
    "adam": (0.003, 0.01),
    "adamw": (0.003, 0.01),
    "nadam": (0.003, 0.01),
    "radam": (0.003, 0.01),
    "amsgrad": (0.003, 0.01),
    "adamax": (0.003, 0.01),
    "adagrad": (0.1, 0.5),
    "lbfgs": (1.0,),
}
"""Of each optimizer, to choose from; the ends of a first search over three."""
SMOKE = ("gd", "normalized", "adam")
STAY = tuple(name for name in RATES if name not in ("adamw", "muon"))
"""Those under which an entry that never had a gradient stays where it is: no weight decay, no mixing of entries."""
OWN_LENGTH = ("normalized", "group_rmsprop", "rmsprop", "sign", "muon")
"""Their steps are of a length of their own: the size of the gradient is forgotten at once, or in a hundred steps."""
ADAMS = ("adam", "adamw", "nadam", "radam")
BY_THE_GRADIENT = ("gd", "momentum", "nesterov")
FOR_EVER = ("amsgrad", "adagrad")
"""What they divide by never shrinks: that of the first gradients, which are the largest."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    size, rank, entries, held_out = SIZES[budget]
    names = SMOKE if budget == "smoke" else tuple(RATES)
    parts = [with_held_out(jax.random.fold_in(key, i), size, rank, entries, held_out) for i in range(DRAWS[budget])]

    draws = range(len(parts))
    table, moved = [], []
    for i, name in enumerate(names):
        steps = SEARCHES[budget] if name == "lbfgs" else STEPS[budget]
        # The last goes without the penalty, in the same program.
        settings = (*((rate, WEIGHT) for rate in RATES[name]), (RATES[name][-1], 0.0))

        def run(
            depth: int, setting: int, draw: int, name: str = name, steps: int = steps, settings: tuple = settings
        ) -> Trajectory:
            problem, chosen, test = parts[draw]
            rate, weight = settings[setting]
            return train(
                problem,
                DeepMatrix((size, size), depth),
                GradientDescent(make(name, rate)),
                key=jax.random.fold_in(key, 1000 + draw),
                scale=tiny(size),
                penalty=NuclearFrobeniusRatio(weight),
                stop=Stop(loss=None, steps=steps),
                samples=2,
                probes=[TestError(chosen, "chosen_by"), TestError(test), EffectiveRank(), W],
            )

        def part(fraction: float, message: str, done: int = i, name: str = name) -> None:
            progress((done + fraction) / len(names), f"{name}: {message}")

        found = sweep(
            run, over={"depth": DEPTHS[budget], "setting": range(len(settings)), "draw": draws}, progress=part
        )
        table.append(_chosen(found.isel(setting=slice(None, -1)), RATES[name]))
        alone = found.sel(depth=1).isel(setting=-1)
        moved.append(_moved(alone["w"].values[:, 0], alone["final_w"].values, parts))
    dims = {"rate": ("optimizer", "depth")}
    return xr.Dataset(
        {
            **{
                name: (dims.get(name, ("optimizer", "depth", "draw")), np.stack([part[name] for part in table]))
                for name in table[0]
            },
            "moved_without": (("optimizer", "draw"), moved),
        },
        coords={
            "optimizer": list(names),
            "depth": list(DEPTHS[budget]),
            "rank": rank,
        },
        attrs={
            "problem": f"{size} x {size}, rank {rank}, {entries} entries at random, entries of size 1; "
            f"{len(parts)} draws; mean square over the entries",
            "penalty": f"nuclear over Frobenius norm, weight {WEIGHT:g}",
            "rates": "chosen for each optimizer and depth by the error on "
            f"{held_out} further entries, median of draws, from: "
            + "; ".join(f"{name} {', '.join(f'{rate:g}' for rate in RATES[name])}" for name in names),
            "steps": f"{STEPS[budget]}; lbfgs {SEARCHES[budget]}",
            "start": f"Gaussian factors, entries of W(0) of standard deviation {TINY:g} / sqrt(rows)",
            "precision": "float32",
        },
    )


def _chosen(found: xr.Dataset, rates: tuple[float, ...]) -> dict[str, np.ndarray]:
    """At each depth the rate with the least error on the entries held out, the median of draws."""
    error = found["final_chosen_by"].fillna(np.inf)
    best = error.median("draw").argmin("setting")
    at = found.isel(setting=best)
    return {
        "rate": np.asarray(rates)[best.values],
        "error": np.sqrt(at["final_test_error"].transpose("depth", "draw").values),
        "effective_rank": at["final_effective_rank"].transpose("depth", "draw").values,
    }


def _moved(starts: np.ndarray, ends: np.ndarray, parts: list) -> list[float]:
    """How far an unobserved entry is from its start, at most, draw by draw."""
    found = []
    for start, end, (problem, _, _) in zip(starts, ends, parts, strict=True):
        away = np.abs(end - start)
        away[tuple(np.asarray(axis) for axis in axes_of(problem.indices))] = 0
        found.append(float(away.max()))
    return found


def _medians(data: xr.Dataset, depth: int, names: tuple[str, ...] = tuple(RATES)) -> np.ndarray:
    """Of the errors, for those of the optimizers that ran."""
    present = [name for name in names if name in data["optimizer"].values]
    return data["error"].sel(depth=depth, optimizer=present).median("draw", skipna=False).values


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    titles = {"error": "error, unobserved entries", "effective_rank": "effective rank"}
    names = [str(name) for name in data["optimizer"].values]
    with plotting.figure(
        columns=2,
        width=11,
        height=1.5 + 0.42 * len(names),
        sharey=True,
        caption="With the ratio penalty, by optimizer and depth: error over unobserved entries and effective rank, the "
        "median of draws, at the rate that held-out entries chose. Darker is farther from recovery.",
    ) as (made, axes):
        for ax, (name, title) in zip(axes, titles.items(), strict=True):
            values = data[name].median("draw").values
            # From recovered to not at all: errors from 1e-3 to 1, effective ranks from the rank to five times as many.
            least, most = (1e-3, 1.0) if name == "error" else (float(data["rank"]), 5 * float(data["rank"]))
            shade = np.clip(np.log(values / least) / np.log(most / least), 0, 1)
            ax.imshow(shade, aspect="auto", cmap="viridis_r", vmin=0, vmax=1)
            for (i, j), value in np.ndenumerate(values):
                color = "white" if shade[i, j] > 0.5 else "black"
                ax.text(
                    j, i, f"{value:.2g}" if name == "error" else f"{value:.1f}", ha="center", va="center", color=color
                )
            ax.set_xticks(range(data.sizes["depth"]), [f"depth {depth}" for depth in data["depth"].values])
            ax.set_yticks(range(len(names)), names)
            ax.set_title(title)
            ax.grid(visible=False)
    return {"table": made}


EXAMPLE = """
import undertow as ut

truth = ut.datasets.low_rank_matrix(0, (20, 20), rank=2)
rows, columns = ut.datasets.observe(1, (20, 20), 220)
problem = ut.problems.MatrixCompletion((20, 20), rows, columns, truth[rows, columns], truth=truth)
phi = ut.parameterizations.Identity((20, 20))
for name, rate in {"gd": 1.0, "adam": 0.005, "rmsprop": 0.003, "sign": 0.001}.items():
    descent = ut.dynamics.GradientDescent(ut.optimizers.make(name, rate))
    run = ut.train(problem, phi, descent, key=2, scale=2e-4, penalty=ut.penalties.NuclearFrobeniusRatio(0.01),
                   stop=ut.Stop(loss=None, steps=8000), probes=[ut.probes.TestError(), ut.probes.EffectiveRank()])
    print(f"{name}: error {run['test_error'][-1] ** 0.5:.2f}, effective rank {run['effective_rank'][-1]:.1f}")
# gd: error 0.42, effective rank 4.4
# adam: error 0.00, effective rank 2.0
# rmsprop: error 0.00, effective rank 2.0
# sign: error 0.00, effective rank 2.0
"""

study = Study(
    id="optimizers-and-depth",
    chapter="penalties",
    title="The ratio penalty under every optimizer",
    source=f"{ZHAO} (optimizers and depths)",
    claim="With the ratio penalty, from a tiny start and without depth, optimizers whose steps have a length of their "
    "own recover a matrix of low rank, be it one length for all entries or one for each; those that remember the first "
    "gradients for ever, or step by the gradient, do not in as many steps. At depth 2 all recover.",
    standing="amended",
    published="Without depth the penalty only takes effect with adaptive gradient optimizers, such as Adam.",
    refutation=AtLeast(
        "normalized gradient descent, which adapts nothing to an entry, depth 1: error",
        lambda data: float(_medians(data, 1, ("normalized",)).max()),
        bound=0.5,
    ),
    run=_run,
    checks=(
        AtMost(
            "without the penalty, depth 1: largest move of an unobserved entry, all but AdamW and Muon",
            lambda data: float(
                data["moved_without"]
                .sel(optimizer=[n for n in STAY if n in data["optimizer"].values])
                .max(skipna=False)
            ),
            bound=0.0,
        ),
        AtMost(
            "steps of their own length, depth 1: worst error",
            lambda data: _medians(data, 1, OWN_LENGTH).max(),
            RECOVERED,
        ),
        AtMost("Adam and its kin, depth 1: worst error", lambda data: _medians(data, 1, ADAMS).max(), RECOVERED),
        AtLeast(
            "gradient descent, momentum, Nesterov, AMSGrad, AdaGrad, depth 1: least error",
            lambda data: _medians(data, 1, (*BY_THE_GRADIENT, *FOR_EVER)).min(),
            bound=0.2,
        ),
        AtMost("depth 2: error under the worst optimizer", lambda data: _medians(data, 2).max(), RECOVERED),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="One length for all entries is enough, so that it is not a scale of each entry that the penalty needs. What a "
    "tiny start asks for is a step that does not follow the gradient's size, which falls by orders of magnitude as W "
    "grows: a rate that is small enough for the first steps is too small for all later ones.",
)
