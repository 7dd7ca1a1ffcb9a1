"""What is decoded between codes, along them, and from distributions fitted to them: how good it is, by numbers."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from sklearn.mixture import GaussianMixture
from sklearn.neural_network import MLPClassifier

from ... import plotting
from ...networks import IRMAE, VAE, Autoencoder
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import generator
from ._shared import BATCH, JING, Setting, fit, images, numbers

SETTINGS = {
    "smoke": Setting(steps=1000, rate=2e-3, seeds=1),
    "quick": Setting(steps=3000, rate=2e-3, seeds=3),
    "full": Setting(steps=187_500, rate=1e-4, seeds=3),
}
LAYERS = {"smoke": 4, "quick": 4, "full": 8}
PAIRS = {"smoke": 50, "quick": 200, "full": 1000}
STEPS, COMPONENTS = 10, 4
"""Of a path from one code to another, the last of which is left out, as in the source; of the mixture."""
WALK = np.linspace(-2, 2, 7)
MODELS, SAMPLERS = ("AE", "VAE", "IRMAE"), ("gaussian", "mixture")


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    setting, layers = SETTINGS[budget], LAYERS[budget]
    data = images(budget, jax.random.fold_in(key, 0))
    rng = generator(jax.random.fold_in(key, 1))
    X, held_out = numbers(data.X), numbers(data.held_out)
    judge = _Judge(X, data.labels)
    real = data.networks("identity")
    models: dict[str, Autoencoder] = {
        "AE": IRMAE(real, data.X, 0),
        "VAE": VAE(data.networks("sigmoid"), data.X, data.beta),
        "IRMAE": IRMAE(real, data.X, layers),
    }
    one, other = _pairs(rng, data.held_out_labels, PAIRS[budget])
    share = np.arange(STEPS)[:, None, None] / STEPS
    between = np.swapaxes((1 - share) * held_out[one] + share * held_out[other], 0, 1)
    shape = (len(MODELS), setting.seeds)
    distance = np.zeros((len(MODELS), len(SAMPLERS), setting.seeds))
    rebuilt, confidence, nearest = np.zeros((3, *shape))
    paths, walks = np.zeros((len(MODELS), STEPS, X.shape[1])), np.zeros((len(MODELS), *[len(WALK)] * 2, X.shape[1]))
    for i, (name, phi) in enumerate(models.items()):
        for seed in range(setting.seeds):
            progress((i + seed / setting.seeds) / len(MODELS), f"{name}, seed {seed + 1}")
            params = fit(phi, jax.random.fold_in(key, 2 + seed), setting).params

            def decode(codes: np.ndarray, phi: Autoencoder = phi, params: Any = params) -> np.ndarray:
                decoded = phi.decode(params, codes.reshape(-1, codes.shape[-1]).astype(np.float32))
                return np.asarray(decoded, np.float64).reshape(*codes.shape[:-1], -1)

            codes, of_held_out = (np.asarray(phi.encode(params, x), np.float64) for x in (data.X, data.held_out))
            for j, sampler in enumerate((_gaussian, _mixture)):
                distance[i, j, seed] = judge.distance(decode(sampler(codes, len(held_out), rng)), held_out)
            rebuilt[i, seed] = judge.distance(decode(of_held_out), held_out)
            path = decode(np.swapaxes((1 - share) * of_held_out[one] + share * of_held_out[other], 0, 1))
            confidence[i, seed], nearest[i, seed] = judge.along(path)
            if seed == 0:
                paths[i], walks[i] = path[0], decode(_walk(codes))
    of_pixels, of_images = judge.along(between), judge.along(held_out[None])
    return xr.Dataset(
        {
            "distance": (("model", "sampler", "seed"), distance),
            "rebuilt": (("model", "seed"), rebuilt),
            "confidence": (("model", "seed"), confidence),
            "nearest": (("model", "seed"), nearest),
            "pixels": ("measure", np.array(of_pixels)),
            "images": ("measure", np.array(of_images)),
            "least_distance": judge.distance(X[: len(held_out)], held_out),
            "judge_accuracy": judge.network.score(held_out, data.held_out_labels),
            "path": (("model", "place", "pixel"), paths.astype(np.float32)),
            "pixel_path": (("place", "pixel"), between[0].astype(np.float32)),
            "walk": (("model", "second", "first", "pixel"), walks.astype(np.float32)),
        },
        coords={"model": list(MODELS), "sampler": list(SAMPLERS), "measure": ["confidence", "nearest"]},
        attrs={
            "data": data.words,
            "layers": f"{layers}, from the source's start",
            "descent": f"Adam, rate {setting.rate:g}, batches of {BATCH}, {setting.steps} steps; {setting.seeds} seeds",
            "variational": f"beta {data.beta:g}; means of codes",
            "samples": f"a Gaussian, or a mixture of {COMPONENTS}, fitted to the codes of images to train with",
            "distance": "Frechet's, between Gaussians fitted to the features (a hidden layer of 64) of a network that "
            "is trained here to classify the images; as many samples as held-out images, and these",
            "paths": f"{PAIRS[budget]} pairs of held-out images of two classes, {STEPS} places, without the last",
        },
    )


class _Judge:
    """A classifier, its features, and the images to compare with."""

    def __init__(self, X: np.ndarray, labels: np.ndarray):
        self.X = X
        self.network = MLPClassifier((64,), max_iter=60, tol=0, n_iter_no_change=100, random_state=0)
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it stops after the epochs that it is given
            self.network.fit(X, labels)

    def features(self, rows: np.ndarray) -> np.ndarray:
        return np.maximum(rows @ self.network.coefs_[0] + self.network.intercepts_[0], 0)

    def distance(self, rows: np.ndarray, others: np.ndarray) -> float:
        """Frechet's, squared, between Gaussians fitted to features."""
        (a, A), (b, B) = ((f.mean(axis=0), np.cov(f.T)) for f in map(self.features, (rows, others)))
        values, vectors = np.linalg.eigh(A)
        root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
        overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ B @ root), 0)).sum()
        return float(((a - b) ** 2).sum() + np.trace(A) + np.trace(B) - 2 * overlap)

    def along(self, paths: np.ndarray) -> tuple[float, float]:
        """Probability of the likeliest class, and root mean square distance from the nearest image; without ends."""
        rows = paths[:, 1:].reshape(-1, paths.shape[-1])
        off = []
        for some in np.array_split(rows, max(1, len(rows) // 500)):
            squares = (some**2).sum(axis=1)[:, None] + (self.X**2).sum(axis=1) - 2 * some @ self.X.T
            off.append(np.sqrt(np.maximum(squares.min(axis=1), 0) / rows.shape[1]))
        return float(self.network.predict_proba(rows).max(axis=1).mean()), float(np.concatenate(off).mean())


def _pairs(rng: np.random.Generator, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of images of two classes."""
    one, other = rng.integers(len(labels), size=(2, 4 * count))
    differ = labels[one] != labels[other]
    return one[differ][:count], other[differ][:count]


def _gaussian(codes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), size=count, method="eigh")


def _mixture(codes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    least = 1e-6 * float(codes.var(axis=0).sum())  # below any direction that counts, whatever the size of codes
    seed = int(rng.integers(2**31))
    fitted = GaussianMixture(COMPONENTS, reg_covar=least, random_state=seed).fit(codes)
    return fitted.sample(count)[0]


def _walk(codes: np.ndarray) -> np.ndarray:
    """Codes along the two leading principal directions, two standard deviations either way, the rest at the mean."""
    values, vectors = np.linalg.eigh(np.cov(codes.T))
    first, second = (vectors[:, -i] * np.sqrt(values[-i]) for i in (1, 2))
    return codes.mean(axis=0) + WALK[:, None, None] * second + WALK[None, :, None] * first


def _mean(data: xr.Dataset, name: str, model: str) -> xr.DataArray:
    return data[name].sel(model=model).mean("seed", skipna=False)


def _ratio(name: str, one: str, other: str) -> Callable[[xr.Dataset], float]:
    """Of means over seeds; of samples, of the sampler for which it is the largest."""
    return lambda data: float((_mean(data, name, one) / _mean(data, name, other)).max(skipna=False))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    side = round(data.sizes["pixel"] ** 0.5)
    return {"paths": _paths(data, side), "walks": _walks(data, side), "numbers": _numbers_of(data)}


def _paths(data: xr.Dataset, side: int) -> Figure:
    rows = {"pixels": data["pixel_path"], **{m: data["path"].sel(model=m) for m in MODELS}}
    with plotting.figure(
        len(rows),
        1,
        width=11,
        height=5.6,
        caption="From one held-out image to another in ten steps, the last left out: "
        "pixels mixed, and what is decoded from codes in between.",
    ) as (made, axes):
        for ax, (name, path) in zip(axes, rows.items(), strict=True):
            tiles = path.values.reshape(-1, side, side).transpose(1, 0, 2).reshape(side, -1)
            ax.imshow(tiles, cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.set_ylabel(name, rotation=0, ha="right", va="center")
    return made


def _walks(data: xr.Dataset, side: int) -> Figure:
    with plotting.figure(
        1,
        len(MODELS),
        width=13,
        height=4.8,
        caption="Along the two leading principal directions of codes, from two "
        "standard deviations below the mean to two above, the other directions at the mean.",
    ) as (made, axes):
        for ax, name in zip(axes, MODELS, strict=True):
            grid = data["walk"].sel(model=name).values.reshape(*[len(WALK)] * 2, side, side)
            ax.imshow(grid.transpose(0, 2, 1, 3).reshape(len(WALK) * side, -1), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[], title=name, xlabel="first direction")
        axes[0].set_ylabel("second direction")
    return made


def _numbers_of(data: xr.Dataset) -> Figure:
    with plotting.figure(
        1,
        3,
        width=15,
        caption="Samples from distributions fitted to codes: Frechet distance from held-out images "
        "(dotted: of images to train with). Between pairs: probability of the likeliest class, and distance from the "
        "nearest image to train with (dotted: pixels mixed; dashed: held-out images). Means and deviations of seeds.",
    ) as (made, (left, middle, right)):
        at = np.arange(len(MODELS))
        marks = [
            ("rebuilt", data["rebuilt"], "muted"),
            *(
                (s, data["distance"].sel(sampler=s), c)
                for s, c in zip(SAMPLERS, ("gradient flow", "optimum"), strict=True)
            ),
        ]
        for i, (name, values, color) in enumerate(marks):
            style = {"fmt": "o", "color": plotting.color_of(color), "label": name, "markersize": 6}
            left.errorbar(at + 0.15 * (i - 1), values.mean("seed"), yerr=values.std("seed"), **style)
        left.axhline(float(data["least_distance"]), color=plotting.color_of("ink"), linestyle=":", linewidth=1.2)
        for ax, name in ((middle, "confidence"), (right, "nearest")):
            values = data[name]
            ax.errorbar(at, values.mean("seed"), yerr=values.std("seed"), fmt="o", markersize=6)
            for which, line in (("pixels", ":"), ("images", "--")):
                at_which = float(data[which].sel(measure=name))
                ax.axhline(at_which, color=plotting.color_of("ink"), linestyle=line, linewidth=1.2)
        for ax, label in ((left, "Frechet distance"), (middle, "confidence"), (right, "distance from the nearest")):
            ax.set(xticks=at, xticklabels=MODELS, ylabel=label, xlim=(-0.5, len(MODELS) - 0.5))
        left.set_yscale("log")
        left.legend()
    return made


EXAMPLE = """
import numpy as np
import undertow as ut

X = ut.datasets.load_digits_matrix()
dense, problem = ut.networks.Dense(64, code_size=32, hidden=(64,)), ut.problems.Reconstruction(X)
descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 2e-3), batch_size=64)
rng = np.random.default_rng(0)
for layers in (0, 4):
    phi = ut.networks.IRMAE(dense, X, layers)
    run = ut.train(problem, phi, descent, key=0, scale=1.0, stop=ut.Stop(loss=None, steps=1000), samples=2)
    codes = np.asarray(phi.encode(run.params, X), float)
    drawn = rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), size=300, method="eigh")
    made = np.asarray(phi.decode(run.params, drawn.astype(np.float32)))
    apart = np.sqrt(((made[:, None] - X) ** 2).mean(axis=-1).min(axis=1))
    print(f"{layers} layers: samples {apart.mean():.2f} from the nearest digit")
"""

study = Study(
    id="interpolation-and-samples",
    chapter="autoencoders",
    title="Between codes, and samples of them",
    source=f"{JING} (Section 4, interpolation and generation)",
    claim="Samples from a Gaussian or a mixture fitted to the codes behind linear layers are nearer to images than "
    "those of an autoencoder, and about as near as those of a variational one; on paths from code to code a classifier "
    "is no less sure than on those of an autoencoder.",
    standing="as published",
    run=_run,
    checks=(
        AtMost("samples: Frechet distance over that of the autoencoder, worst", _ratio("distance", "IRMAE", "AE"), 1.0),
        AtMost("samples: Frechet distance over the variational one's, worst", _ratio("distance", "IRMAE", "VAE"), 1.25),
        AtLeast("paths: confidence over that of the autoencoder", _ratio("confidence", "IRMAE", "AE"), bound=1.0),
        AtMost("paths: distance from the nearest image over the autoencoder's", _ratio("nearest", "IRMAE", "AE"), 1.0),
    ),
    plot=_plot,
    example=EXAMPLE,
)
