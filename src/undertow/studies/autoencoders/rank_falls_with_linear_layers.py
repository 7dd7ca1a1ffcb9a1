"""Codes of autoencoders with linear layers in the middle: their rank, against the number of layers and its start."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...networks import IRMAE, VAE, Architecture
from .._base import AtLeast, AtMost, Between, Budget, Study
from ._shared import BATCH, JING, Setting, Trained, follow, images, principal_errors

SETTINGS = {
    "smoke": Setting(steps=1000, rate=2e-3, seeds=1),
    "quick": Setting(steps=2000, rate=2e-3, seeds=3),
    "full": Setting(steps=187_500, rate=1e-4, seeds=3),
}
LAYERS, TOO_MANY = (2, 4, 8), 16
STARTS = ("uniform", "lecun", "orthogonal")
NAMES = {"uniform": "source's start", "lecun": "gain 1", "orthogonal": "orthogonal"}


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    setting = SETTINGS[budget]
    data = images(budget, jax.random.fold_in(key, 0))
    real = data.networks("identity")
    plain = IRMAE(real, data.X, 0)
    models: dict[str, Trained] = {"AE": (plain, plain, None)}
    # The start is no part of what is compiled: of one number of layers, all run one program.
    for layers in LAYERS:
        models |= {f"{start} {layers}": _from(real, data.X, layers, start) for start in STARTS}
    models[f"uniform {TOO_MANY}"] = _from(real, data.X, TOO_MANY, "uniform")
    variational = VAE(data.networks("sigmoid"), data.X, data.beta)
    models["VAE"] = (variational, variational, None)
    found = follow("model", models, data.held_out, setting, key, progress)
    found["principal_error"] = "components", principal_errors(data.X, data.held_out, real.code_size)
    return found.assign_attrs(
        {
            "data": data.words,
            "descent": f"Adam, rate {setting.rate:g}, batches of {BATCH}, {setting.steps} steps, on mean squares",
            "variational": f"cross entropy and sigmoid, beta {data.beta:g}: the source's 0.1, in nats",
            "starts": "uniform: the source's, of gain 1/sqrt(3) a matrix; lecun: normal entries of gain 1; orthogonal",
        }
    )


def _from(architecture: Architecture, X: Any, layers: int, start: str) -> Trained:
    return IRMAE(architecture, X, layers), IRMAE(architecture, X, layers, initialization=start), None


def _end(data: xr.Dataset, name: str, model: str) -> float:
    """Over seeds, at the last step."""
    return float(data[name].sel(model=model).isel(step=-1).mean("seed", skipna=False))


def _of(model: str, name: str = "effective_rank") -> Callable[[xr.Dataset], float]:
    """In units of the plain autoencoder."""
    return lambda data: _end(data, name, model) / _end(data, name, "AE")


def _steepest(data: xr.Dataset) -> float:
    """Effective rank with more layers over that with fewer, the largest: below 1 it falls throughout."""
    along = np.array([_end(data, "effective_rank", m) for m in ("AE", *(f"uniform {n}" for n in LAYERS))])
    return float(np.max(along[1:] / along[:-1]))


def _share_left(data: xr.Dataset) -> float:
    """Of the fall at the most layers, in logarithms, what is left at gain 1."""
    falls = [
        np.log(_end(data, "effective_rank", f"{s} {LAYERS[-1]}") / _end(data, "effective_rank", "AE")) for s in STARTS
    ]
    return float(falls[1] / falls[0])


def _orthogonal(pick: Callable[[np.ndarray], np.floating]) -> Callable[[xr.Dataset], float]:
    return lambda data: float(pick(np.array([_of(f"orthogonal {n}")(data) for n in LAYERS])))


def _beside_principal(data: xr.Dataset) -> float:
    """Error over that of as many principal components as codes have dimensions; with 2 and 4 layers, the worst run."""
    models = data.sel(model=[f"uniform {n}" for n in LAYERS[:2]]).isel(step=-1)
    principal = data["principal_error"].values[models["rank"].values.astype(int)]
    return float(np.max(models["error"].values / principal))


def _without(data: xr.Dataset) -> xr.Dataset:
    """Without layers, from where the effective rank of codes begins to rise."""
    path = data[["effective_rank", "error"]].sel(model="AE").mean("seed", skipna=False)
    return path.isel(step=slice(int(path["effective_rank"].values.argmin()), None))


def _beside_stopped(data: xr.Dataset) -> float:
    """Error with four layers over that without, where its effective rank was as large on the way."""
    path, model = _without(data), f"uniform {LAYERS[1]}"
    at = np.interp(_end(data, "effective_rank", model), path["effective_rank"], np.log(path["error"]), left=np.nan)
    return _end(data, "error", model) / float(np.exp(at))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    return {"spectrum": _spectra(data), "rank-and-error": _ranks_and_errors(data)}


def _spectra(data: xr.Dataset) -> Figure:
    with plotting.figure(
        1,
        4,
        width=17,
        caption="Singular values of the covariance of codes of held-out images over the largest: mean and range over "
        "seeds. With linear layers from the source's start, from gain 1, and from orthogonal matrices.",
        sharey=True,
    ) as (made, axes):
        panels = {"AE and VAE": [("AE", "identity"), ("VAE", "polar")]}
        panels |= {NAMES[s]: [("AE", "identity"), *((f"{s} {n}", n) for n in LAYERS)] for s in STARTS}
        for ax, (title, lines) in zip(axes, panels.items(), strict=True):
            for model, color in lines:
                values = data["variances"].sel(model=model)
                values = values / values.max("direction")
                index = np.arange(1, values.sizes["direction"] + 1)
                label = model if model.isupper() else f"l = {model.split()[1]}"
                ax.plot(index, values.mean("seed"), color=plotting.color_of(color), label=label)
                low, high = values.min("seed"), values.max("seed")
                ax.fill_between(index, low, high, color=plotting.color_of(color), alpha=0.2, linewidth=0)
            ax.set(title=title, xlabel="index", ylim=(0, 0.4))
            ax.legend()
        axes[0].set_ylabel("singular value / largest")
    return made


def _ranks_and_errors(data: xr.Dataset) -> Figure:
    last = data.isel(step=-1)
    with plotting.figure(
        1,
        2,
        width=12,
        caption="Left: effective rank of codes against the number of linear layers. Right: mean square error on "
        "held-out images against it, beside principal components and training without layers. Means and deviations of "
        "seeds.",
    ) as (made, (left, right)):
        for start, color in zip(STARTS, ("optimum", "gradient flow", "polar"), strict=True):
            names = ["AE", *(m for m in map(str, data["model"].values) if m.startswith(start))]
            layers = [int(name.split()[1]) if " " in name else 0 for name in names]
            rank, error = (last[v].sel(model=names) for v in ("effective_rank", "error"))
            style = {"fmt": "o-", "color": plotting.color_of(color), "label": NAMES[start], "markersize": 5}
            left.errorbar(layers, rank.mean("seed"), yerr=rank.std("seed"), **style)
            bars = {"xerr": rank.std("seed"), "yerr": error.std("seed")}
            right.errorbar(rank.mean("seed"), error.mean("seed"), **bars, **style)
        vae = last.sel(model="VAE")
        style = {"fmt": "s", "color": plotting.color_of("muted"), "label": "VAE", "markersize": 6}
        right.errorbar(vae["effective_rank"].mean("seed"), vae["error"].mean("seed"), **style)
        path, style = _without(data), {"color": plotting.color_of("identity"), "label": "none, along training"}
        right.plot(path["effective_rank"], path["error"], "--", **style)
        components = np.arange(1, len(data["principal_error"]))
        right.plot(
            components, data["principal_error"][1:], ":", color=plotting.color_of("ink"), label="principal components"
        )
        left.set(xlabel="linear layers", ylabel="effective rank of codes", ylim=(0, None))
        right.set(xlabel="effective rank of codes", ylabel="held-out error", yscale="log")
        left.legend()
        right.legend()
    return made


EXAMPLE = """
import jax
import undertow as ut

images = ut.datasets.load_digits_matrix()
problem, dense = ut.problems.Reconstruction(images), ut.networks.Dense(64, code_size=16, hidden=(64,))
descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 2e-3), batch_size=64)
network, probe = ut.networks.IRMAE(dense, images, layers=8), ut.networks.CodeEffectiveRank()
for start in ("uniform", "orthogonal"):
    params = ut.networks.IRMAE(dense, images, layers=8, initialization=start).init(jax.random.key(0), 1.0)
    stop = ut.Stop(loss=None, steps=500)
    run = ut.train(problem, network, descent, params=params, key=0, stop=stop, samples=2, probes=[probe])
    print(f"{start}: effective rank {run['code_effective_rank'][-1]:.0f}")
# uniform: effective rank 2
# orthogonal: effective rank 9
"""

study = Study(
    id="rank-falls-with-linear-layers",
    chapter="autoencoders",
    title="Linear layers lower the rank of codes, if they start uneven",
    source=f"{JING} (Sections 3 and 4, and its ablation over l)",
    claim="Linear layers between encoder and decoder lower the rank of codes, the more of them the lower, and too many "
    "leave nothing; about half of the fall is the source's start, which shrinks codes by the square root of 3 a layer, "
    "the other half the uneven singular values of random matrices: from orthogonal ones the rank is as without.",
    standing="amended",
    published="Linear layers between encoder and decoder lower the rank of codes, by the implicit bias of gradient "
    "descent on products of matrices.",
    refutation=AtMost(
        "orthogonal layers: effective rank over that without, the least over l", _orthogonal(np.min), bound=0.8
    ),
    run=_run,
    checks=(
        AtMost("source's start: effective rank with more layers over that with fewer, worst", _steepest, bound=1.0),
        AtMost("source's start, l = 8: effective rank over that without layers", _of("uniform 8"), bound=0.5),
        Between("share of the fall that is left at gain 1, l = 8, in logarithms", _share_left, low=0.25, high=0.75),
        AtLeast("orthogonal: effective rank over that without layers, least", _orthogonal(np.min), bound=0.8),
        AtMost("orthogonal: effective rank over that without layers, largest", _orthogonal(np.max), bound=1.2),
        AtMost("l = 2 and 4: error over that of as many principal components, worst", _beside_principal, bound=1.0),
        AtMost("l = 4: error over that without layers, stopped at the same effective rank", _beside_stopped, bound=1.0),
        AtLeast("l = 16: error over that without layers", _of("uniform 16", "error"), bound=5.0),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="What the layers save in rank they pay for in error: on digits, at the quick budget, the error on held-out "
    "images is 2.6 (l = 2), 4.6 (l = 4) and 10 (l = 8) times that without layers, and all of it lies on one curve "
    "of error against effective rank, whatever the start. The curve is below that of an autoencoder stopped where its "
    "rank was as low, so that linear layers are not only a slower training. The rank rises as training goes on: with "
    "four layers from 8 after 2000 steps of rate 2e-3 to 12 after 15,000 of 1e-3 (one seed). At the source's size, "
    "where training is longer, this has not been run.",
)
