"""Sparse regression where few columns matter, and where all do, beside cross-validated Lasso."""

import warnings
from collections.abc import Callable

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import generator

ROWS = {"smoke": 60, "quick": 150, "full": 150}
COLUMNS = {"smoke": 40, "quick": 100, "full": 100}
COUNTS = {"smoke": (2, 40), "quick": (2, 8, 30, 100), "full": (1, 2, 4, 8, 15, 30, 60, 100)}
DRAWS = {"smoke": 5, "quick": 12, "full": 60}
RATIO = 3.0
"""Variance of the signal over that of the noise."""
ESTIMATORS = ("SparseRegressor", "LassoCV")
SUPPORTS = ("support_ of SparseRegressor", "coef_ of SparseRegressor", "coef_ of LassoCV")
FEW = 8
"""So many columns, or fewer, are few."""


def _f1(found: np.ndarray, truth: np.ndarray) -> float:
    """Harmonic mean of the shares of what is found that is true, and of what is true that is found."""
    return 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LassoCV

    from ...estimators import SparseRegressor

    rng = generator(key)
    n, p, counts, draws = ROWS[budget], COLUMNS[budget], COUNTS[budget], DRAWS[budget]
    error = np.zeros((len(counts), draws, len(ESTIMATORS)))
    f1 = np.zeros((len(counts), draws, len(SUPPORTS)))
    for done, (c, draw) in enumerate(np.ndindex(error.shape[:2])):
        progress(done / (len(counts) * draws), f"{counts[c]} of {p} columns")
        X, truth = rng.standard_normal((n, p)), np.zeros(p)
        truth[rng.choice(p, counts[c], replace=False)] = rng.choice([-1.0, 1.0], counts[c])
        y = X @ truth + np.sqrt(counts[c] / RATIO) * rng.standard_normal(n)
        flow = SparseRegressor(random_state=draw).fit(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # at the end of its path, which is not chosen
            lasso = LassoCV().fit(X, y)
        # Of the expected answer on fresh rows, in units of its variance: columns are independent.
        error[c, draw] = [np.sum((model.coef_ - truth) ** 2) / counts[c] for model in (flow, lasso)]
        f1[c, draw] = [_f1(found, truth != 0) for found in (flow.support_, flow.coef_ != 0, lasso.coef_ != 0)]
    return xr.Dataset(
        {"error": (("count", "draw", "estimator"), error), "f1": (("count", "draw", "support"), f1)},
        coords={"count": list(counts), "estimator": list(ESTIMATORS), "support": list(SUPPORTS)},
        attrs={
            "data": f"{n} rows of {p} independent normal columns; coefficients of 1 or -1 in so many of them, the "
            f"others 0; signal-to-noise ratio {RATIO:g}; {draws} draws each",
            "error": "mean square of the predicted signal on fresh rows, in units of the signal's variance",
            "f1": "of the columns said to count",
            "estimators": "SparseRegressor and LassoCV of scikit-learn, as they come",
        },
    )


def _ratio(data: xr.Dataset) -> xr.DataArray:
    """Mean error over that of LassoCV, by the number of columns that matter."""
    mean = data["error"].mean("draw", skipna=False)
    return mean.sel(estimator="SparseRegressor") / mean.sel(estimator="LassoCV")


def _few(data: xr.Dataset) -> xr.Dataset:
    return data.sel(count=data["count"] <= FEW)


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    counts = data["count"].values
    with plotting.figure(
        1,
        2,
        width=12.0,
        height=5.2,
        caption="Against the number of columns that matter. Left: error of the predicted signal, mean over the draws "
        "and its standard error. Right: how well the columns are told that count; support_ holds those that are kept "
        "by nine tenths of what is averaged.",
    ) as (made, axes):
        for name, color in zip(ESTIMATORS, ("gradient flow", "muted"), strict=True):
            some = data["error"].sel(estimator=name).transpose("count", "draw").values
            spread = some.std(axis=1, ddof=1) / np.sqrt(some.shape[1])
            axes[0].errorbar(
                counts, some.mean(1), spread, fmt="o-", capsize=3, color=plotting.color_of(color), label=name
            )
        axes[0].set(xlabel="columns that matter", ylabel="error, in variances of the signal", yscale="log")
        for name, color in zip(SUPPORTS, ("optimum", "gradient flow", "muted"), strict=True):
            axes[1].plot(
                counts, data["f1"].sel(support=name).mean("draw"), "o-", color=plotting.color_of(color), label=name
            )
        axes[1].set(xlabel="columns that matter", ylabel="F1 of the columns found", ylim=(0, 1.05))
        for ax in axes:
            ax.set_xscale("log")
            ax.set_xticks(counts, [str(count) for count in counts])
            ax.minorticks_off()
            ax.legend(loc="lower right")
    return {"few-or-many": made}


EXAMPLE = """
import numpy as np
import undertow as ut

rng = np.random.default_rng(0)
X = rng.standard_normal((80, 60))
for count in (3, 60):
    truth = np.zeros(60)
    truth[:count] = rng.choice([-1, 1], count)
    y = X @ truth + np.sqrt(count / 3) * rng.standard_normal(80)
    model = ut.estimators.SparseRegressor().fit(X, y)
    error = np.sum((model.coef_ - truth) ** 2) / count
    print(f"{count} matter: {np.count_nonzero(model.support_)} surely found, error {error:.2f}")
# 3 matter: 3 surely found, error 0.01
# 60 matter: 51 surely found, error 0.42
"""

study = Study(
    id="few-columns-or-many",
    chapter="data",
    title="Sparse regression where few columns matter, and where all do",
    source="this project; the flow: T. Vaskevicius, V. Kanade, P. Rebeschini, Implicit Regularization for Optimal "
    "Sparse Recovery, NeurIPS 2019, arXiv:1909.05122; the average: D. Dai, P. Rigollet, T. Zhang, Deviation Optimal "
    "Learning using Greedy Q-Aggregation, Annals of Statistics 2012",
    claim="SparseRegressor has at most half the squared error of LassoCV where 2 to 8 columns matter, and its support_ "
    "tells which; where 30 or all 100 do, it is not behind beyond chance.",
    standing="our own",
    run=_run,
    checks=(
        AtMost(
            f"error over that of LassoCV, up to {FEW} columns that matter, worst number of them",
            lambda data: float(_ratio(_few(data)).max(skipna=False)),
            bound=0.5,
        ),
        # A tenth is some two standard errors of the ratio over twelve draws.
        AtMost(
            "error over that of LassoCV, worst number of columns that matter",
            lambda data: float(_ratio(data).max(skipna=False)),
            bound=1.1,
        ),
        AtLeast(
            f"F1 of support_, up to {FEW} columns that matter, worst number of them",
            lambda data: float(_few(data)["f1"].sel(support=SUPPORTS[0]).mean("draw", skipna=False).min(skipna=False)),
            bound=0.9,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)
