"""What several studies of this chapter share: images, networks for them, and how they are trained."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from ...datasets import load_digits_images, mnist, pad_images
from ...dynamics import GradientDescent, Stop
from ...linalg import effective_rank, numerical_rank
from ...networks import MNIST32, VAE, Architecture, Autoencoder, CodeVariances, Dense, HeldOutReconstruction, Weights
from ...optimizers import make
from ...problems import Reconstruction
from ...training import Trajectory, train
from .._base import Budget
from .._shared import generator

JING = "L. Jing, J. Zbontar, Y. LeCun, Implicit Rank-Minimizing Autoencoder, NeurIPS 2020, arXiv:2010.00679"
BATCH = 32
_MNIST32: Any = MNIST32  # its shape is no argument, which type checkers take it for
SOURCE_BETA = 0.1
"""Of the source's variational code, which takes means over code and pixels and no factor 1/2."""
SAMPLES = 10
"""Of each run."""
THRESHOLD = 1e-2
"""Variances below this share of the largest do not count as a dimension."""


class Setting(NamedTuple):
    """How long, and how often, networks are trained."""

    steps: int
    rate: float
    seeds: int


class Images(NamedTuple):
    """Images to train with, others to measure with, what they show, and networks for them."""

    X: Any
    labels: np.ndarray
    held_out: Any
    held_out_labels: np.ndarray
    networks: Callable[[str], Architecture]
    words: str

    @property
    def beta(self) -> float:
        """The weight of the divergence that is the source's, in nats."""
        size = int(np.prod(self.X.shape[1:]))
        return 2 * SOURCE_BETA * size / self.networks("sigmoid").code_size


def images(budget: Budget, key: Any) -> Images:
    """Digits of 8 x 8 pixels, split at random; MNIST as its authors split it where the budget is full."""
    if budget == "full":
        data = mnist()
        X, held_out = (jax.numpy.asarray(pad_images(x)) for x in (data.train_images, data.test_images))
        words = "MNIST, 60,000 images to train with, 10,000 held out; convolutions of the source, codes of 128 numbers"
        return Images(
            X,
            data.train_labels,
            held_out,
            data.test_labels,
            lambda output: _MNIST32(128, "tanh" if output == "identity" else output),
            words,
        )
    digits = load_digits_images()
    order = generator(key).permutation(len(digits.labels))
    X, labels = digits.images.reshape(-1, 64)[order], digits.labels[order]
    return Images(
        jax.numpy.asarray(X[:1297]),
        labels[:1297],
        jax.numpy.asarray(X[1297:]),
        labels[1297:],
        lambda output: Dense(64, 32, (128,), output),
        "digits, 8 x 8 pixels, 1297 to train with, 500 held out; dense layers 64-128-32 and back, ReLU",
    )


def fit(
    phi: Autoencoder,
    key: Any,
    setting: Setting,
    *,
    params: Weights | None = None,
    optimizer: Any = None,
    probes: Sequence[Any] = (),
    samples: Any = 2,
) -> Trajectory:
    """Train, from the architecture's own start where none is given."""
    return train(
        Reconstruction(phi.X, "cross_entropy" if isinstance(phi, VAE) else "squares"),
        phi,
        GradientDescent(optimizer or make("adam", setting.rate), batch_size=BATCH),
        params=phi.init(key, 1.0) if params is None else params,
        key=key,
        stop=Stop(loss=None, steps=setting.steps),
        probes=probes,
        samples=samples,
    )


Trained = tuple[Autoencoder, Autoencoder, Any]
"""What is trained, what draws its start, and the optimizer; None: Adam."""


def follow(
    dim: str,
    models: Mapping[str, Trained | Callable[[Any], Trained]],
    held_out: Any,
    setting: Setting,
    key: Any,
    progress: Callable[[float, str], None],
) -> xr.Dataset:
    """Variances of codes of held-out images, their ranks, and the error, of each model along ``dim``, from every seed.

    A model may be made by a function of the seed's key, where part of it is drawn.
    """
    samples = np.unique(np.geomspace(setting.steps / 64, setting.steps, SAMPLES).astype(int))
    variances, error = [], []
    for i, (name, model) in enumerate(models.items()):
        for seed in range(setting.seeds):
            progress((i + seed / setting.seeds) / len(models), f"{name}, seed {seed + 1}")
            of_seed = jax.random.fold_in(key, 1 + seed)
            phi, start, optimizer = model(of_seed) if callable(model) else model
            run = fit(
                phi,
                of_seed,
                setting,
                params=start.init(of_seed, 1.0),
                optimizer=optimizer,
                probes=[CodeVariances(held_out), HeldOutReconstruction(held_out)],
                samples=samples,
            )
            variances.append(run["code_variances"][-len(samples) :])
            error.append(run["held_out_reconstruction"][-len(samples) :])
    shape = (len(models), setting.seeds, len(samples))
    by_sample = np.reshape(variances, (*shape, -1))
    effective, numerical = ranks(by_sample)
    dims = (dim, "seed", "step")
    return xr.Dataset(
        {
            "variances": ((dim, "seed", "direction"), by_sample[:, :, -1]),
            "effective_rank": (dims, effective),
            "rank": (dims, numerical),
            "error": (dims, np.reshape(error, shape)),
        },
        coords={dim: list(models), "step": samples},
        attrs={
            "seeds": setting.seeds,
            "rank": f"variances above {THRESHOLD:g} of the largest; effective rank: exp of the entropy of variances",
            "precision": "float32",
        },
    )


def ranks(variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Effective and numerical rank along the last axis."""
    rows = variances.reshape(-1, variances.shape[-1])
    found = jax.vmap(lambda v: (effective_rank(v), numerical_rank(v, THRESHOLD)))(rows)
    effective, numerical = (np.asarray(x, float).reshape(variances.shape[:-1]) for x in found)
    return effective, numerical


def principal_errors(X: Any, held_out: Any, most: int) -> np.ndarray:
    """Mean square error on held-out rows of the mean and 0 to ``most`` principal components of the others."""
    rows, others = (numbers(x) for x in (X, held_out))
    mean = rows.mean(axis=0)
    directions = np.linalg.eigh((rows - mean).T @ (rows - mean))[1][:, ::-1][:, :most]
    along = (others - mean) @ directions
    left = np.sum((others - mean) ** 2) - np.append(0.0, np.cumsum(np.sum(along**2, axis=0)))
    return left / others.size


def numbers(X: Any) -> np.ndarray:
    """A row of numbers for each image, bytes as their 255th parts."""
    rows = np.asarray(X).reshape(len(X), -1)
    return rows.astype(np.float64) / (255 if rows.dtype == np.uint8 else 1)
