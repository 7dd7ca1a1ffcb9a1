"""A photograph with most of its pixels gone, completed by early-stopped descent: no data to download, no penalty."""

import jax
import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...datasets import load_photograph
from ...estimators import Settings, complete, fit_effects
from .._base import AtLeast, AtMost, Budget, Study

SIZES = {"smoke": (60, 90), "quick": (214, 320), "full": (427, 640)}
SHARES = (0.5, 0.3)
RIDGE = 0.1
"""Weight of the row and column effects: pixels are measurements, with little noise."""


def _run(budget: Budget, key: jax.Array, progress) -> xr.Dataset:
    truth = load_photograph("china", SIZES[budget]).astype(float)
    given, completed, rows = [], [], []
    for number, share in enumerate(SHARES):
        mask = np.asarray(jax.random.uniform(jax.random.fold_in(key, number), truth.shape)) < share
        holes = np.where(mask, truth, np.nan)

        def part(fraction: float, message: str, number: int = number) -> None:
            progress((number + fraction) / len(SHARES), message)

        i, j = np.nonzero(mask)
        completion = complete(i, j, truth[mask], truth.shape, Settings(ridge=RIDGE, seed=number), progress=part)
        found = np.where(mask, truth, completion.block(slice(None)))
        effects = fit_effects(i, j, truth[mask], truth.shape, RIDGE).at(*np.nonzero(~mask))
        hidden = truth[~mask]
        path = completion.validation_path
        rows.append(
            (
                _decibels(np.full(hidden.size, truth[mask].mean()), hidden),
                _decibels(np.clip(effects, 0, 1), hidden),
                _decibels(found[~mask], hidden),
                completion.n_iter,
                float(path[path[:, 2].argmin(), 2] / path[-1, 2]),
            )
        )
        given.append(holes)
        completed.append(found)
    names = ("mean_psnr", "effects_psnr", "completion_psnr", "steps", "best_over_last")
    columns = {
        name: ("share", np.array(values, float)) for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    return xr.Dataset(
        {
            **columns,
            "truth": (("row", "column"), truth),
            "given": (("share", "row", "column"), np.stack(given)),
            "completed": (("share", "row", "column"), np.stack(completed)),
        },
        coords={"share": list(SHARES)},
        attrs={
            "picture": f"china.jpg of scikit-learn, gray, {truth.shape[0]} x {truth.shape[1]}",
            "method": "row and column means, then depth 2, full width, early-stopped descent",
            "stopping": "by 10% of the given pixels",
            "error": "PSNR in dB on the removed pixels only",
            "precision": "float32",
        },
    )


def _decibels(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio for values in [0, 1]."""
    return float(-10 * np.log10(np.mean((prediction - truth) ** 2)))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    shares = data["share"].values
    gray = mpl.colormaps["gray"].with_extremes(bad=plotting.color_of("optimum"))
    with plotting.figure(
        len(shares),
        3,
        width=13.0,
        height=3.5 * len(shares),
        squeeze=False,
        caption="Left: what is given (removed pixels in red). Middle: completed. Right: the truth.",
    ) as (made, axes):
        for row, share in enumerate(shares):
            psnr = float(data["completion_psnr"][row])
            panels = {
                f"{share:.0%} of the pixels": data["given"][row],
                f"completed, {psnr:.1f} dB": data["completed"][row],
                "truth": data["truth"],
            }
            for ax, (title, picture) in zip(axes[row], panels.items(), strict=True):
                ax.imshow(picture, cmap=gray, vmin=0, vmax=1, interpolation="nearest")
                ax.set_title(title)
                ax.set(xticks=[], yticks=[])
                ax.grid(False)
                for spine in ax.spines.values():
                    spine.set_visible(False)
    return {"before-after-truth": made}


EXAMPLE = """
import numpy as np
import undertow as ut

truth = ut.datasets.load_photograph("china", (60, 90))
given = np.random.default_rng(0).random(truth.shape) < 0.5  # half of the pixels
entries = (*np.nonzero(given), truth[given], truth.shape)
holes, settings = np.nonzero(~given), ut.estimators.Settings(ridge=0.1)
completed = ut.estimators.complete(*entries, settings).at(*holes)
means = ut.estimators.fit_effects(*entries, ridge=0.1).at(*holes)
for name, guess in (("row and column means", np.clip(means, 0, 1)), ("completed", completed)):
    print(f"{name}: {-10 * np.log10(np.mean((guess - truth[~given]) ** 2)):.1f} dB")
# row and column means: 15.3 dB
# completed: 21.4 dB
"""

study = Study(
    id="image-completion",
    chapter="data",
    title="A photograph from half of its pixels",
    source="S. Arora, N. Cohen, W. Hu, Y. Luo, Implicit Regularization in Deep Matrix Factorization, NeurIPS 2019: "
    "depth 2 from small initialization prefers low rank (shown there on synthetic matrices)",
    claim="Early-stopped gradient descent on an over-parameterized factorization, without any penalty, fills in "
    "removed pixels far better than row and column means do.",
    standing="our own",
    run=_run,
    checks=(
        AtLeast(
            "PSNR gained over row and column means, half of the pixels given (dB)",
            lambda data: float((data["completion_psnr"] - data["effects_psnr"])[0]),
            bound=4.0,
        ),
        AtLeast(
            "PSNR gained over row and column means, 30% given (dB)",
            lambda data: float((data["completion_psnr"] - data["effects_psnr"])[1]),
            bound=3.0,
        ),
        AtMost(
            "validation error at the chosen step over that of going on",
            lambda data: float(data["best_over_last"].max(skipna=False)),
            bound=0.9999,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)
