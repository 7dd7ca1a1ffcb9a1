"""Tensor rank as a measure of complexity: how well tensors of low rank fit labels of images, real ones and random."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure

from ... import plotting
from ...datasets import LabeledImages, fashion_mnist, mnist
from ...dynamics import GradientDescent, Stop
from ...optimizers import make
from ...parameterizations import CPTensor
from ...probes import Function
from ...problems import TensorCompletion
from ...sweeps import sweep
from ...training import train
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import generator
from ._shared import RAZIN_2021


class Setting(NamedTuple):
    """Images to train and to test with, ranks, images a step, steps."""

    training: int
    test: int
    ranks: tuple[int, ...]
    batch: int
    steps: int


SETTINGS: dict[str, Setting] = {
    "smoke": Setting(1500, 1000, (1,), 100, 400),
    "quick": Setting(4000, 2000, (1, 3), 100, 1600),
    "full": Setting(58_000, 9_800, (1, 3, 5, 10, 15), 5000, 120_000),
}
DATA: dict[str, Callable[[], LabeledImages]] = {"MNIST": mnist, "Fashion-MNIST": fashion_mnist}
PARTS = ("training", "test")
VARIANTS = ("original", "random images", "random labels")
PIXELS = 784
RATE, DEVIATION = 5e-4, 1e-3
"""Of Adam, and of the start around 1. Entries of w are products of 784 numbers, and one step moves all of them."""
FACTORS = Function("factors", lambda factors: factors, of="params")
LABEL, LARGEST = 2.0, 4.0
"""The value of the class; and the largest squared error that a test image counts with. Reported errors are over 4."""


class Sample(NamedTuple):
    """Entries of the tensor: positions, one image a row, and values."""

    images: np.ndarray
    labels: np.ndarray


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    setting, rng, parts = SETTINGS[budget], generator(key), []
    samples = {(name, part): _binary(load(), part) for name, load in DATA.items() for part in PARTS}
    drawn = {
        (name, variant, part): _drawn(samples[name, part], getattr(setting, part), variant, rng)
        for name in DATA
        for variant in VARIANTS
        for part in PARTS
    }
    label, start = int(rng.integers(10)), jax.random.key(int(rng.integers(2**31)))
    for i, rank in enumerate(setting.ranks):
        progress(i / len(setting.ranks), f"rank {rank}")
        near_one = 1 + DEVIATION * jax.random.normal(start, (PIXELS, 2, rank))
        parts.append(_fit(rank, setting, drawn, label, near_one))
    return (
        xr.concat(parts, "rank")
        .assign_coords(rank=list(setting.ranks))
        .assign_attrs(
            {
                "data": "MNIST and Fashion-MNIST, pixels rounded to 0 and 1; an image seen twice counts once",
                "images": f"{setting.training} to train with, {setting.test} to test with",
                "classes": f"mean over all ten; of what is random {label} alone",
                "tensor": f"{PIXELS} axes of 2; an image is a position, its value {LABEL:g} in the class, else 0",
                "share": f"mean square error over the variance of labels; a test image adds at most {LARGEST:g}",
                "start": f"factors around 1, with a standard deviation of {DEVIATION:g}",
                "descent": f"Adam, rate {RATE:g}, {setting.batch} images a step, {setting.steps} steps",
                "training_images": setting.training,
                "precision": "float32",
            }
        )
    )


def _binary(data: LabeledImages, part: str) -> Sample:
    """All different images, as zeros and ones."""
    images, labels = (
        (data.train_images, data.train_labels) if part == "training" else (data.test_images, data.test_labels)
    )
    rows = (images.reshape(-1, PIXELS) > 127).astype(np.uint8)
    first = np.sort(np.unique(np.packbits(rows, axis=1), axis=0, return_index=True)[1])
    return Sample(rows[first], labels[first])


def _drawn(sample: Sample, count: int, variant: str, rng: np.random.Generator) -> TensorCompletion:
    """Some images as positions; their classes are the values."""
    chosen = rng.permutation(len(sample.labels))[:count]
    images, labels = sample.images[chosen], sample.labels[chosen]
    if variant == "random images":
        images = rng.integers(0, 2, images.shape, dtype=np.uint8)
    if variant == "random labels":
        labels = rng.permutation(labels)
    return TensorCompletion((2,) * PIXELS, list(images.T), labels.astype(np.float32))


def _fit(rank: int, setting: Setting, drawn: Any, label: int, start: Array) -> xr.Dataset:
    """Errors of the original data for every class, and of what is random for one: there classes are alike."""
    phi = CPTensor((2,) * PIXELS, rank, stacked=True)

    def problem(data: str, variant: str, label: int, part: str) -> TensorCompletion:
        of_all = drawn[data, variant, part]
        return eqx.tree_at(lambda p: p.values, of_all, LABEL * (of_all.values == label).astype(of_all.values.dtype))

    def errors(variants: list[str], labels: list[int]) -> xr.DataArray:
        def run(data: str, variant: str, label: int) -> Any:
            return train(
                problem(data, variant, label, PARTS[0]),
                phi,
                GradientDescent(make("adam", RATE), batch_size=setting.batch),
                params=start,
                key=rank,
                stop=Stop(loss=None, steps=setting.steps),
                samples=[setting.steps],
                probes=[FACTORS],
            )

        axes = {"data": list(DATA), "variant": variants, "label": labels}
        # One by one: side by side all would look at their whole loss whenever one does.
        found = sweep(run, over=axes, side_by_side=1)["final_factors"].transpose(*axes, ...).values
        shares = np.zeros((*found.shape[:3], 2))
        for at in np.ndindex(found.shape[:3]):
            point = list(DATA)[at[0]], variants[at[1]], labels[at[2]]
            for i, part in enumerate(PARTS):
                seen = problem(*point, part)
                off = (_entries(phi, jnp.asarray(found[at]), seen.indices) - seen.values) ** 2
                error = jnp.mean(jnp.minimum(off, LARGEST) if i else off)
                shares[(*at, i)] = float(error) / float(jnp.var(seen.values))
        return xr.DataArray(shares, dims=(*axes, "part"), coords={**axes, "part": list(PARTS)}).mean("label")

    found = errors([VARIANTS[0]], list(range(10))), errors(list(VARIANTS[1:]), [label])
    return xr.Dataset({"share": xr.concat(found, "variant")})


@eqx.filter_jit
def _entries(phi: CPTensor, factors: Array, indices: Any) -> Array:
    return phi.entries(factors, indices)


def _original(data: xr.Dataset, name: str, part: str) -> float:
    return float(data["share"].sel(rank=1, data=name, variant="original", part=part))


def _random(data: xr.Dataset, rank: int, part: str) -> float:
    """The least share of what is random."""
    return float(data["share"].sel(variant=list(VARIANTS[1:]), part=part, rank=rank).min(skipna=False))


def _beside_random(data: xr.Dataset) -> float:
    """Rank 1: the training error of the original data over the least of what is random, the largest of the data."""
    shares = data["share"].sel(part=PARTS[0], rank=1)
    random = shares.sel(variant=list(VARIANTS[1:])).min("variant", skipna=False)
    return float((shares.sel(variant=VARIANTS[0]) / random).max(skipna=False))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        1,
        2,
        width=13.0,
        height=5.4,
        caption="Error of tensors of each rank on labels of one class against all others, over the variance of the "
        "labels, which is what the best constant makes (dotted): of images as they are, of random ones, and of random "
        "labels. Full lines: training, dashed: test; mean over classes.",
    ) as (made, axes):
        for ax, name in zip(axes, data["data"].values, strict=True):
            for variant, shade in zip(VARIANTS, (2, 4, 16), strict=True):
                for part, line in zip(PARTS, ("-", "--"), strict=True):
                    values = data["share"].sel(data=name, variant=variant, part=part)
                    label = variant if part == PARTS[0] else None
                    ax.plot(data["rank"], values, "o" + line, color=plotting.color_of(shade), label=label, markersize=5)
            ax.axhline(1, color=plotting.color_of("baseline"), linestyle=":", linewidth=1.2)
            ax.set(title=str(name), xlabel="tensor rank", ylim=(0, 2.2), xticks=data["rank"].values)
        for part, line in zip(PARTS, ("-", "--"), strict=True):
            axes[0].plot([], [], line, color=plotting.color_of("muted"), label=part)
        axes[0].set_ylabel("error over variance")
        axes[0].legend()
    return {"error-and-rank": made}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

# Looks in the folder that the environment variable UNDERTOW_DATA names, and says where to get the data.
data = ut.datasets.mnist()
images = (data.train_images[:2000].reshape(2000, 784) > 127).astype(int)
labels = 2.0 * (data.train_labels[:2000] == 0)
# An image is a position in a tensor of 784 axes of length 2: an entry for each image there can be.
phi = ut.parameterizations.CPTensor((2,) * 784, components=1, stacked=True)
start = 1 + 1e-3 * jax.random.normal(jax.random.key(0), (784, 2, 1))
descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 5e-4), batch_size=250)
for name, y in {"labels": labels, "shuffled": np.random.default_rng(0).permutation(labels)}.items():
    problem = ut.problems.TensorCompletion(phi.shape, list(images.T), y)
    run = ut.train(problem, phi, descent, params=start, key=0, stop=ut.Stop(loss=None, steps=400))
    print(f"{name}: error of rank 1 over the variance {run['loss'][-1] / y.var():.1f}")
# labels: error of rank 1 over the variance 0.2
# shuffled: error of rank 1 over the variance 1.0
"""

study = Study(
    id="tensor-rank-of-images",
    chapter="tensors",
    title="Natural labels have low tensor rank",
    source=f"{RAZIN_2021} (experiments); the data are Y. LeCun, C. Cortes, C. Burges, MNIST, and H. Xiao, K. "
    "Rasul, R. Vollgraf, Fashion-MNIST, 2017",
    claim="Labels of MNIST and Fashion-MNIST, one class against all others, are fit by tensors of rank 1 with errors "
    "far below their variance, on unseen images too; random images and random labels are not.",
    standing="as published",
    run=_run,
    checks=(
        AtMost("MNIST, rank 1: training error over variance", lambda d: _original(d, "MNIST", "training"), bound=0.3),
        AtMost("MNIST, rank 1: test error over variance", lambda d: _original(d, "MNIST", "test"), bound=0.4),
        AtMost(
            "Fashion-MNIST, rank 1: training error over variance",
            lambda d: _original(d, "Fashion-MNIST", "training"),
            bound=0.45,
        ),
        AtMost(
            "Fashion-MNIST, rank 1: test error over variance",
            lambda d: _original(d, "Fashion-MNIST", "test"),
            bound=0.6,
        ),
        AtMost("rank 1: training error of the original over that of what is random, the largest", _beside_random, 0.75),
        # What is random has nothing to be learned: on unseen images nothing beats the mean but by chance.
        AtLeast("random, rank 1: test error over variance, the least", lambda d: _random(d, 1, PARTS[1]), bound=0.95),
        AtLeast(
            "random, highest rank: test error over variance, the least",
            lambda d: _random(d, int(d["rank"].max()), PARTS[1]),
            bound=0.95,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="Binary images are positions in a tensor of 784 axes, and labels its entries there: this is completion, of "
    "4000 entries out of 2^784 at the quick budget. Of so few, rank 1 fits a third of what is random by heart, which "
    "the test error says: published, of 60,000 images, is a training error of 0.99 of the variance. Nor "
    "are 1600 steps enough for rank 3, whose training errors are still above those of rank 1. An image that "
    "stands twice, as some of Fashion-MNIST do once they are black and white, counts once.",
)
