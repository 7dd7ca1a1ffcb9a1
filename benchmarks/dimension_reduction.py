"""RankMinimizingAutoencoder beside principal components, plain and variational autoencoders, and the source's codes."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import undertow as ut
from undertow.estimators._rank_minimizing_fit import principal
from undertow.estimators._rank_minimizing_settings import WIDEST
from undertow.linalg import numerical_rank

from ._base import Benchmark, Outcome, Scope, timed

HIDDEN, BATCH, RATE, BETA = (128, 64), 32, 1e-3, 0.1
THRESHOLD = 1e-2
"""The estimator's: variances below this share of the largest are no dimension."""
MNIST_ROWS = 5000, 2000
"""Of MNIST, drawn at random: to train with, and to test with."""
OURS = "RankMinimizingAutoencoder"
SAME = ", same dimensions"
STEPS = {"breast cancer": 6000, "digits": 6000, "MNIST": 2000}
"""The estimator's at most, but of MNIST, where 6,000 take a minute of a processor for each network."""
LAYERS = {"breast cancer": (0, 2, 3, 4, 8), "digits": (0, 2, 3, 4, 8), "MNIST": (0, 4, 8)}
DATA = tuple(STEPS)
KEPT = Path("build/dimension-reduction.jsonl")
"""Each fit that was made, by its settings: what was cut short goes on where it was. Delete it to measure anew."""


class Split(NamedTuple):
    """Rows and their classes, to fit and to test with; an image's shape, or None; and what errors are measured in."""

    fit: np.ndarray
    fit_classes: np.ndarray
    test: np.ndarray
    test_classes: np.ndarray
    image_shape: tuple[int, int] | None

    @property
    def mean(self) -> np.ndarray:
        return self.fit.mean(axis=0)

    @property
    def unit(self) -> Any:
        """Standard deviations: of each column of a table, of all pixels together."""
        variances = self.fit.var(axis=0)
        return np.sqrt(variances if self.image_shape is None else variances.mean())


def split(name: str, seed: int) -> Split | None:
    """A quarter of the rows are to test with; None where the data is not there."""
    rng = np.random.default_rng(seed)
    if name == "MNIST":
        try:
            data = ut.datasets.mnist()
        except ut.datasets.DataNotFound:
            return None
        some, others = (rng.permutation(n)[:k] for n, k in zip((60_000, 10_000), MNIST_ROWS, strict=True))
        fit, test = (x.reshape(len(x), -1) / 255 for x in (data.train_images[some], data.test_images[others]))
        return Split(fit, data.train_labels[some], test, data.test_labels[others], (28, 28))
    X, y = load_digits(return_X_y=True) if name == "digits" else load_breast_cancer(return_X_y=True)
    X, image_shape = (X / 16, (8, 8)) if name == "digits" else (X, None)
    order = rng.permutation(len(X))
    test_rows, fit_rows = order[: len(X) // 4], order[len(X) // 4 :]
    return Split(X[fit_rows], y[fit_rows], X[test_rows], y[test_rows], image_shape)


def rank_of(variances: np.ndarray) -> int:
    """How many dimensions the estimator would say that there are."""
    return max(1, int(numerical_rank(np.asarray(variances), THRESHOLD)))


class Principal:
    """Principal components: so many, or all whose variance is above the threshold."""

    def __init__(self, rank: int | None):
        self.rank = rank

    def fit(self, X: np.ndarray) -> "Principal":
        self.pca = PCA(self.rank or rank_of(PCA().fit(X).explained_variance_)).fit(X)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        return self.pca.transform(X)

    def inverse_transform(self, codes: np.ndarray) -> np.ndarray:
        return self.pca.inverse_transform(codes)


class Variational:
    """A VAE with the same layers, trained for the most steps of the others; codes are the means.

    With a ``rank``, it has so many numbers in a code; otherwise as many as the estimator's first part, and codes are
    cut to their leading directions as there.
    """

    def __init__(self, rank: int | None, steps: int, seed: int):
        self.rank, self.steps, self.seed = rank, steps, seed

    def fit(self, X: np.ndarray) -> "Variational":
        size = self.rank or min(X.shape[1], WIDEST)
        self.phi = ut.networks.VAE(ut.networks.Dense(X.shape[1], size, HIDDEN), X.astype(np.float32), beta=BETA)
        descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", RATE), batch_size=BATCH)
        stop = ut.Stop(loss=None, steps=self.steps)
        problem = ut.problems.Reconstruction(self.phi.X)
        self.params = ut.train(problem, self.phi, descent, key=self.seed, scale=1.0, stop=stop, samples=2).params
        self.mean, variances, directions = principal([self._means(X)])
        self.kept = directions[:, : self.rank or rank_of(variances)]
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        return (self._means(X) - self.mean) @ self.kept

    def inverse_transform(self, codes: np.ndarray) -> np.ndarray:
        return np.asarray(self.phi.decode(self.params, self.mean + codes @ self.kept.T))

    def _means(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.phi.encode(self.params, X), np.float64)


class InUnits:
    """A way that has no units of its own, in those of the split; pixels from 0 to 1, as the estimator gives them."""

    def __init__(self, model: Any, data: Split):
        self.model, self.mean, self.unit = model, data.mean, np.where(data.unit > 0, data.unit, 1)
        self.pixels = data.image_shape is not None

    def fit(self, X: np.ndarray) -> "InUnits":
        self.model.fit((X - self.mean) / self.unit)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        return self.model.transform((X - self.mean) / self.unit)

    def inverse_transform(self, codes: np.ndarray) -> np.ndarray:
        rows = self.mean + self.unit * self.model.inverse_transform(codes)
        return np.clip(rows, 0, 1) if self.pixels else rows


def ways(data: Split, layers: tuple[int, ...], steps: int, seed: int) -> dict[str, Callable[[int | None], Any]]:
    """Each by its name, a function of the rank; those that are called with None find their own."""
    epochs = -(-steps // -(-len(data.fit) * 9 // (10 * BATCH)))
    common = {
        "hidden": HIDDEN,
        "batch_size": BATCH,
        "learning_rate": RATE,
        "max_epochs": epochs,
        "image_shape": data.image_shape,
        "random_state": seed,
    }
    estimator = ut.estimators.RankMinimizingAutoencoder
    narrow = {"layers": 0, "refit": False}
    return {
        OURS: lambda rank: estimator(**common),
        f"PCA{SAME}": lambda rank: InUnits(Principal(rank), data),
        f"AE{SAME}": lambda rank: estimator(code_size=rank, n_components=rank, **narrow, **common),
        f"VAE{SAME}": lambda rank: InUnits(Variational(rank, steps, seed), data),
        "PCA": lambda rank: InUnits(Principal(None), data),
        "VAE": lambda rank: InUnits(Variational(None, steps, seed), data),
        **{
            f"IRMAE, l = {n}" if n else "AE": lambda rank, n=n: estimator(refit=False, layers=n, **common)
            for n in layers
        },
    }


def measure(model: Any, data: Split) -> dict[str, Any]:
    """A fit: its time, held-out error as a share of that of the mean, and the accuracy of a linear classifier."""
    with timed() as clock:
        model.fit(data.fit)
    codes, test = model.transform(data.fit), model.transform(data.test)
    squares = [np.sum(((x - data.test) / data.unit) ** 2) for x in (model.inverse_transform(test), data.mean)]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(codes, data.fit_classes)
    return {
        "dimensions": codes.shape[1],
        "error": float(squares[0] / squares[1]),
        "accuracy": float(classifier.score(test, data.test_classes)),
        "seconds": clock.seconds,
        "processor_seconds": clock.processor_seconds,
        "compiled_programs": clock.compiled,
    }


def run(scope: Scope) -> Outcome:
    """All ways one after the other on each split; the estimator first, which finds dimensions that others are given."""
    runs: list[dict[str, Any]] = []
    common = {"hidden": HIDDEN, "batch": BATCH, "rate": RATE, "beta": BETA, "threshold": THRESHOLD, "MNIST": MNIST_ROWS}
    kept = [] if scope.quick or not KEPT.exists() else [json.loads(line) for line in KEPT.read_text().splitlines()]
    for name in DATA[:1] if scope.quick else DATA:
        steps = 100 if scope.quick else STEPS[name]
        settings = json.loads(json.dumps(common | {"steps": steps}))
        for seed in range(1 if scope.quick else scope.seeds):
            data = split(name, seed)
            if data is None:
                scope.report(f"{name} is not there")
                break
            ours: dict[str, Any] = {}
            for way, make in ways(data, LAYERS[name], steps, seed).items():
                which = {"data": name, "seed": seed, "way": way}
                found = next((r for r in kept if r.items() >= (which | {"settings": settings}).items()), None)
                if found is None:
                    found = which | measure(make(ours.get("dimensions")), data) | {"settings": settings}
                    if not scope.quick:
                        _keep(found)
                    scope.report(f"{name}, split {seed}, {way}: {found['error']:.4f} at {found['dimensions']}")
                ours = ours or found
                ratio = found["error"] / ours["error"] if way.endswith(SAME) else None
                runs.append(found | {"ratio": ratio})
    return Outcome(common | {"steps": STEPS}, runs, summarize(runs), COLUMNS, (NOTE,))


def _keep(found: dict[str, Any]) -> None:
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    with KEPT.open("a") as file:
        file.write(json.dumps(found) + "\n")


def summarize(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over splits; of seconds, over the fits that compiled nothing, and the others."""
    summary = []
    for name in DATA:
        for way in dict.fromkeys(r["way"] for r in runs if r["data"] == name):
            rows = [r for r in runs if (r["data"], r["way"]) == (name, way)]
            row: dict[str, Any] = {"data": name, "way": way, "splits": len(rows)}
            for key in ("dimensions", "error", "accuracy", "ratio"):
                row[key] = spread([r[key] for r in rows if r[key] is not None])
            for key, compiles in (("seconds", False), ("compiling", True)):
                row[key] = spread([r["processor_seconds"] for r in rows if (r["compiled_programs"] > 0) is compiles])
            summary.append(row)
    return summary


def spread(values: list[float]) -> list[float] | None:
    """Mean and standard deviation (over splits - 1; 0 of a single one)."""
    return [statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0] if values else None


def _cell(key: str, digits: int) -> Callable[[dict[str, Any]], str]:
    return lambda row: "" if row[key] is None else " ± ".join(f"{x:.{digits}f}" for x in row[key])


NOTE = (
    "Mean ± standard deviation over splits. Held-out error is a share of that of the mean; accuracy that of logistic "
    "regression on the codes. Of the same dimensions: as many as the first way finds; error over its, split by split. "
    "The others find their own, cut to the directions whose variance is above a hundredth of the largest. Processor "
    "seconds of the fits that compiled nothing, and of those that did."
)
COLUMNS = {
    "data": lambda row: row["data"],
    "way": lambda row: row["way"],
    "splits": lambda row: str(row["splits"]),
    "dimensions": _cell("dimensions", 1),
    "held-out error": _cell("error", 4),
    "over the first": _cell("ratio", 3),
    "accuracy": _cell("accuracy", 3),
    "seconds": _cell("seconds", 2),
    "compiling": _cell("compiling", 1),
}

dimension_reduction = Benchmark(
    name="dimension-reduction",
    title="The rank-minimizing autoencoder beside principal components, plain and variational autoencoders",
    packages=(),
    run=run,
)
