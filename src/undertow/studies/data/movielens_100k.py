"""MovieLens-100K: what early-stopped descent predicts, beside the baselines, on the same splits."""

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...datasets import load_movielens_100k
from ...estimators import Settings, held_out_errors
from .._base import AtMost, Budget, Close, Study

SEEDS = {"smoke": 2, "quick": 5, "full": 20}


def _run(budget: Budget, key: jax.Array, progress) -> xr.Dataset:
    table = load_movielens_100k()
    errors = []
    count = SEEDS[budget]
    for seed in range(count):

        def part(fraction: float, message: str, seed: int = seed) -> None:
            progress((seed + fraction) / count, f"split {seed + 1} of {count}: {message}")

        errors.append(
            held_out_errors(
                table.users,
                table.items,
                table.ratings,
                table.shape,
                Settings(seed=seed),
                test_fraction=0.1,
                seed=seed,
                progress=part,
            )
        )
    columns = ("mean", "effects", "completion", "n_iter", "unseen")
    return xr.Dataset(
        {name: ("seed", np.array([getattr(error, name) for error in errors], float)) for name in columns},
        coords={"seed": np.arange(count)},
        attrs={
            "data": "MovieLens-100K (Harper and Konstan 2015), 943 users, 1682 items, 100,000 ratings",
            "splits": f"{count} random 90:10 splits of all ratings, seeds 0 to {count - 1}",
            "method": "biases (ridge 5), then depth 2, width 200, scale 1e-4, gradient descent without penalty",
            "stopping": "by 10% of the training ratings, then all training ratings to the same training error",
            "error": "root mean square over all test ratings, predictions clipped to the range seen",
            "precision": "float32",
        },
    )


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        width=9.0,
        caption="Root-mean-square error on the test ratings of each split; lines join the same split. Splits differ "
        "more from each other than methods do: compare along the lines.",
    ) as (made, ax):
        names = ["user + item\nbiases", "early-stopped\ndescent"]
        for seed in range(data.sizes["seed"]):
            pair = [float(data["effects"][seed]), float(data["completion"][seed])]
            ax.plot([0, 1], pair, "o-", color=plotting.color_of("muted"), linewidth=1.2)
        means = [float(data["effects"].mean()), float(data["completion"].mean())]
        ax.plot([0, 1], means, "D-", color=plotting.color_of("gradient descent"), markersize=11)
        for x, mean in enumerate(means):
            ax.annotate(
                f"{mean:.4f}",
                (x, mean),
                xytext=(14 if x else -14, 0),
                textcoords="offset points",
                ha="left" if x else "right",
                va="center",
                fontweight="bold",
                color=plotting.color_of("gradient descent"),
            )
        ax.axhline(0.917, color=plotting.color_of("theory"), linestyle=":", linewidth=1.4)
        ax.annotate(
            "asked for: 0.917",
            (0.5, 0.917),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=12,
        )
        ax.set(xticks=[0, 1], xticklabels=names, xlim=(-0.5, 1.5), ylabel="test error (RMSE)")
        ax.grid(axis="x", visible=False)
    return {"test-error": made}


EXAMPLE = """
import undertow as ut

# Looks in the folder that the environment variable UNDERTOW_DATA names, and says where to get the data.
table = ut.datasets.load_movielens_100k()
for seed in (0, 1):  # of the split: a tenth of the ratings is held out
    settings = ut.estimators.Settings(seed=seed)
    found = ut.estimators.held_out_errors(
        table.users, table.items, table.ratings, table.shape, settings, test_fraction=0.1, seed=seed
    )
    print(f"split {seed}: user + item biases {found.effects:.3f}, early-stopped descent {found.completion:.3f}")
# split 0: user + item biases 0.923, early-stopped descent 0.891
# split 1: user + item biases 0.947, early-stopped descent 0.908
"""

study = Study(
    id="movielens-100k",
    chapter="data",
    title="Film ratings without a penalty",
    source="F. M. Harper, J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015 (data); "
    "A. Zhao, Combining Explicit and Implicit Regularization for Efficient Learning in Deep Networks, NeurIPS 2022 "
    "(0.915 with Adam and a penalty)",
    claim="On random 90:10 splits of MovieLens-100K, early-stopped gradient descent on a depth-2 factorization "
    "predicts with an error of at most 0.917, without a penalty or side information.",
    standing="our own",
    run=_run,
    checks=(
        AtMost(
            "test error, mean over the splits",
            lambda data: float(data["completion"].mean(skipna=False)),
            bound=0.917,
        ),
        Close(
            "test error of user + item biases, mean over the splits",
            lambda data: float(data["effects"].mean(skipna=False)),
            expected=0.941,
            tolerance=0.01,
        ),
        AtMost(
            "largest difference to the biases on one split",
            lambda data: float((data["completion"] - data["effects"]).max(skipna=False)),
            bound=-0.02,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)
