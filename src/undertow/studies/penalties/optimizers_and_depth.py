"""The ratio penalty under every optimizer, with and without depth: a table of errors and effective ranks."""

from collections.abc import Callable
from typing import NamedTuple

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
DEPTHS = {"smoke": (1, 2), "quick": (1, 2, 3), "full": (1, 2, 3, 4, 5)}
DRAWS = {"smoke": 2, "quick": 3, "full": 5}
STEPS = {"smoke": 5000, "quick": 5000, "full": 20_000}
SEARCHES = {"smoke": 300, "quick": 300, "full": 2000}
"""Steps of L-BFGS, each of which searches along its direction."""
WEIGHT = 1e-2
RECOVERED = 0.05
"""Error, in units of an entry, below which a matrix counts as recovered."""

SCALAR, ENTRYWISE, MATRIX = "one scale for all entries", "a scale for each entry", "by the whole matrix"


class Method(NamedTuple):
    """An optimizer, how it scales gradients, and the rates to choose from."""

    kind: str
    rates: tuple[float, ...]


METHODS = {
    "gd": Method(SCALAR, (0.2, 1.0, 5.0)),
    "momentum": Method(SCALAR, (0.02, 0.1, 0.5)),
    "nesterov": Method(SCALAR, (0.02, 0.1, 0.5)),
    "normalized": Method(SCALAR, (0.002, 0.01, 0.05)),
    "group_rmsprop": Method(SCALAR, (0.002, 0.01, 0.05)),
    "adam": Method(ENTRYWISE, (0.001, 0.003, 0.01)),
    "amsgrad": Method(ENTRYWISE, (0.001, 0.003, 0.01)),
    "adamw": Method(ENTRYWISE, (0.001, 0.003, 0.01)),
    "nadam": Method(ENTRYWISE, (0.001, 0.003, 0.01)),
    "radam": Method(ENTRYWISE, (0.001, 0.003, 0.01)),
    "adamax": Method(ENTRYWISE, (0.001, 0.003, 0.01)),
    "rmsprop": Method(ENTRYWISE, (0.001, 0.003, 0.01)),
    "adagrad": Method(ENTRYWISE, (0.02, 0.1, 0.5)),
    "adadelta": Method(ENTRYWISE, (0.1, 1.0, 10.0)),
    "sign": Method(ENTRYWISE, (0.0003, 0.001, 0.003)),
    "lbfgs": Method(MATRIX, (1.0,)),
    "muon": Method(MATRIX, (0.001, 0.003, 0.01)),
}
SMOKE = ("gd", "adam", "muon")
STAY = tuple(name for name in METHODS if name not in ("adamw", "muon"))
"""Those under which an entry that never had a gradient stays where it is: no weight decay, no mixing of entries."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    size, rank, entries, held_out = SIZES[budget]
    names = SMOKE if budget == "smoke" else tuple(METHODS)
    parts = [with_held_out(jax.random.fold_in(key, i), size, rank, entries, held_out) for i in range(DRAWS[budget])]

    draws = range(len(parts))
    table, moved = [], []
    for i, name in enumerate(names):
        method = METHODS[name]
        steps = SEARCHES[budget] if name == "lbfgs" else STEPS[budget]
        # The last goes without the penalty, in the same program.
        settings = (*((rate, WEIGHT) for rate in method.rates), (method.rates[-1], 0.0))

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
        table.append(_chosen(found.isel(setting=slice(None, -1)), method.rates))
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
            "kind": ("optimizer", [METHODS[name].kind for name in names]),
            "depth": list(DEPTHS[budget]),
            "rank": rank,
        },
        attrs={
            "problem": f"{size} x {size}, rank {rank}, {entries} entries at random, entries of size 1; "
            f"{len(parts)} draws; mean square over the entries",
            "penalty": f"nuclear over Frobenius norm, weight {WEIGHT:g}",
            "rates": "chosen for each optimizer and depth by the error on "
            f"{held_out} further entries, median of draws, from: "
            + "; ".join(f"{name} {', '.join(f'{rate:g}' for rate in METHODS[name].rates)}" for name in names),
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


def _median(data: xr.Dataset, names: tuple[str, ...] | str, name: str = "error") -> xr.DataArray:
    return data[name].sel(optimizer=names).median("draw", skipna=False)


def _present(data: xr.Dataset, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in data["optimizer"].values]


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
            away = values if name == "error" else np.abs(values / float(data["rank"]) - 1)
            shade = np.clip(np.log10(np.maximum(away, 1e-3)), -3, 1)
            ax.imshow(shade, aspect="auto", cmap="viridis_r", vmin=-3, vmax=1.0)
            for (i, j), value in np.ndenumerate(values):
                color = "white" if shade[i, j] > -1 else "black"
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
    source=f"{ZHAO} (the table of optimizers and depths)",
    claim="With the ratio penalty and no depth, optimizers that scale every entry by itself recover a matrix of low "
    "rank from a tiny start, and with depth all do.",
    standing="our own",
    run=_run,
    checks=(
        AtMost(
            "without the penalty, depth 1: largest move of an unobserved entry, all but AdamW and Muon",
            lambda data: float(data["moved_without"].sel(optimizer=_present(data, STAY)).max(skipna=False)),
            bound=0.0,
        ),
        AtMost("Adam, depth 1: error", lambda data: float(_median(data, "adam").sel(depth=1)), RECOVERED),
        AtLeast("gradient descent, depth 1: error", lambda data: float(_median(data, "gd").sel(depth=1)), 0.3),
    ),
    plot=_plot,
    example=EXAMPLE,
)
