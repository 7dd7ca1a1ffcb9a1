"""Pictures of shapes, made from seven numbers each: how many dimensions codes of them have."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...datasets import shape_images
from ...networks import IRMAE, VAE, Architecture, Dense, Shapes32
from .._base import AtLeast, Between, Budget, Study
from ._shared import BATCH, JING, SOURCE_BETA, Setting, Trained, follow

SETTINGS = {
    "smoke": Setting(steps=1500, rate=2e-3, seeds=1),
    "quick": Setting(steps=2000, rate=2e-3, seeds=3),
    "full": Setting(steps=156_250, rate=1e-4, seeds=3),
}
COUNTS = {"smoke": (2000, 500), "quick": (10_000, 1000), "full": (50_000, 1000)}
"""Pictures to train with, and held out."""
_Shapes32: Any = Shapes32  # its shape is no argument, which type checkers take it for
FACTORS, CODE, BLOCK = 7, 32, 4
MODELS = {"AE": 0, "l = 2": 2, "l = 4": 4, "l = 4, orthogonal": 4}


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    setting, whole = SETTINGS[budget], budget == "full"
    X, held_out = (
        _pictures(jax.random.fold_in(key, 0), count, part, whole=whole)
        for count, part in zip(COUNTS[budget], ("train", "test"), strict=True)
    )
    real, between = (_networks(output, whole=whole) for output in ("identity", "sigmoid"))
    beta = 2 * SOURCE_BETA * float(np.prod(X.shape[1:])) / CODE
    models: dict[str, Trained] = {}
    for name, layers in MODELS.items():
        start = "orthogonal" if "orthogonal" in name else "uniform"
        models[name] = IRMAE(real, X, layers), IRMAE(real, X, layers, initialization=start), None
    variational = VAE(between, X, beta)
    models["VAE"] = (variational, variational, None)
    return follow("model", models, held_out, setting, key, progress).assign_attrs(
        {
            "data": f"{COUNTS[budget][0]:,} pictures of one shape each, {COUNTS[budget][1]:,} others held out; "
            + ("32 x 32 in color" if whole else "means over blocks of 4 x 4 pixels: 8 x 8 in color"),
            "networks": ("the source's convolutions" if whole else "dense layers 192-128-32 and back, ReLU")
            + f", codes of {CODE} numbers",
            "descent": f"Adam, rate {setting.rate:g}, batches of {BATCH}, {setting.steps} steps, on mean squares",
            "variational": f"cross entropy and sigmoid, beta {beta:g}: the source's {SOURCE_BETA:g}, in nats",
        }
    )


def _pictures(key: Any, count: int, part: str, *, whole: bool) -> Any:
    found = shape_images(key, count, part).images
    if whole:
        return jax.numpy.asarray(found)
    side = found.shape[1] // BLOCK
    blocks = found.reshape(count, side, BLOCK, side, BLOCK, 3).mean(axis=(2, 4)) / 255
    return jax.numpy.asarray(blocks.reshape(count, -1), np.float32)


def _networks(output: str, *, whole: bool) -> Architecture:
    if whole:
        return _Shapes32(CODE, "tanh" if output == "identity" else output)
    return Dense(3 * (32 // BLOCK) ** 2, CODE, (128,), output)


def _end(data: xr.Dataset, name: str, model: str) -> float:
    return float(data[name].sel(model=model).isel(step=-1).mean("seed", skipna=False))


def _over(name: str, one: str, other: str) -> Callable[[xr.Dataset], float]:
    return lambda data: _end(data, name, one) / _end(data, name, other)


def _rank(model: str) -> Callable[[xr.Dataset], float]:
    return lambda data: _end(data, "rank", model)


def _rise(data: xr.Dataset) -> float:
    """Numerical rank with four layers at the end over that after a quarter of the steps."""
    along = data["rank"].sel(model="l = 4").mean("seed", skipna=False)
    return float(along.isel(step=-1) / along.sel(step=data["step"].values[-1] / 4, method="nearest"))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    colors = {"AE": "identity", "l = 2": 2, "l = 4": 4, "l = 4, orthogonal": "polar", "VAE": "gradient flow"}
    with plotting.figure(
        1,
        2,
        width=12.5,
        caption="Left: singular values of the covariance of codes of held-out pictures over the largest; dashed, the 7 "
        "numbers that a picture is made from. Right: variances above 1e-2 of the largest, along training. Means and "
        "ranges of seeds.",
    ) as (made, (left, right)):
        for model, color in colors.items():
            of_model, style = data.sel(model=model), {"color": plotting.color_of(color)}
            values = of_model["variances"] / of_model["variances"].max("direction")
            index = np.arange(1, values.sizes["direction"] + 1)
            for ax, x, y in ((left, index, values), (right, data["step"], of_model["rank"])):
                ax.plot(x, y.mean("seed"), label=model, **style)
                ax.fill_between(x, y.min("seed"), y.max("seed"), alpha=0.2, linewidth=0, **style)
        left.axvline(FACTORS, color=plotting.color_of("truth"), linestyle="--", linewidth=1.2)
        right.axhline(FACTORS, color=plotting.color_of("truth"), linestyle="--", linewidth=1.2)
        left.set(xlabel="index", ylabel="singular value / largest", ylim=(0, 0.4))
        right.set(xlabel="step", ylabel="rank of codes", xscale="log")
        left.legend()
    return {"spectrum": made}


EXAMPLE = """
import numpy as np
import undertow as ut

pictures = ut.datasets.shape_images(0, 1000).images.reshape(1000, 8, 4, 8, 4, 3).mean((2, 4)) / 255
X = pictures.reshape(1000, -1).astype(np.float32)
dense = ut.networks.Dense(192, code_size=32, hidden=(64,))
descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 2e-3), batch_size=32)
for layers in (0, 4):
    phi, probe = ut.networks.IRMAE(dense, X, layers), ut.networks.CodeRank(1e-2)
    stop = ut.Stop(loss=None, steps=500)
    run = ut.train(ut.problems.Reconstruction(X), phi, descent, key=0, scale=1.0, stop=stop, samples=2, probes=[probe])
    print(f"{layers} linear layers: rank {run[probe.name][-1]:.0f}")
# 0 linear layers: rank 23
# 4 linear layers: rank 7
"""

study = Study(
    id="shapes-have-seven-factors",
    chapter="autoencoders",
    title="Shapes that are made from seven numbers",
    source=f"{JING} (Section 4, synthetic shapes)",
    claim="Of pictures that are made from 7 numbers each, four linear layers bring the dimensions of codes to between "
    "5 and 12 where an autoencoder without them uses all 32; but that is where their number is by then, rising as "
    "training goes on, and two layers leave more.",
    standing="amended",
    published="With two linear layers or more, the number of significant singular values comes down to about 7.",
    refutation=Between("l = 2: rank of codes", _rank("l = 2"), low=5.0, high=12.0),
    run=_run,
    checks=(
        Between("l = 4: rank of codes", _rank("l = 4"), low=5.0, high=12.0),
        AtLeast("rank without layers over that with l = 4", _over("rank", "AE", "l = 4"), bound=1.5),
        AtLeast("rank without layers over that with l = 2", _over("rank", "AE", "l = 2"), bound=1.5),
        AtLeast("l = 4: rank at the end over that after a quarter of the steps", _rise, bound=1.1),
        AtLeast(
            "l = 4, orthogonal: effective rank over that without layers",
            _over("effective_rank", "l = 4, orthogonal", "AE"),
            bound=0.8,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="At the quick budget pictures are averaged down to 8 x 8 and networks are dense. The rank with four layers is "
    "11 after 3000 steps, with an error 1.8 times that without layers; it passes 7 on its way up, after some 400. Two "
    "layers leave 18, at 1.35 times the error. The source's convolutions on 50,000 pictures have not been run.",
)
