"""RankMinimizingAutoencoder beside principal components, and a plain and a variational autoencoder of its rank."""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import undertow as ut

from ._base import Benchmark, Outcome, Scope, timed

HIDDEN, STEPS, BATCH, RATE, BETA = (128, 64), 6000, 32, 1e-3, 0.1
MNIST_ROWS = 5000, 2000
"""Of MNIST, drawn at random: to train with, and to test with."""
OURS = "RankMinimizingAutoencoder"
DATA = ("breast cancer", "digits", "MNIST")


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


class Variational:
    """A VAE with the same layers, trained for as many steps as either part of the estimator; codes are the means."""

    def __init__(self, size: int, steps: int, seed: int):
        self.size, self.steps, self.seed = size, steps, seed

    def fit(self, X: np.ndarray) -> "Variational":
        self.phi = ut.networks.VAE(ut.networks.Dense(X.shape[1], self.size, HIDDEN), X.astype(np.float32), beta=BETA)
        descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", RATE), batch_size=BATCH)
        stop = ut.Stop(loss=None, steps=self.steps)
        problem = ut.problems.Reconstruction(self.phi.X)
        self.params = ut.train(problem, self.phi, descent, key=self.seed, scale=1.0, stop=stop, samples=2).params
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.phi.encode(self.params, X))

    def inverse_transform(self, codes: np.ndarray) -> np.ndarray:
        return np.asarray(self.phi.decode(self.params, codes))


class InUnits:
    """A way that has no units of its own, in those of the split."""

    def __init__(self, model: Any, data: Split):
        self.model, self.mean, self.unit = model, data.mean, np.where(data.unit > 0, data.unit, 1)

    def fit(self, X: np.ndarray) -> "InUnits":
        self.model.fit((X - self.mean) / self.unit)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        return self.model.transform((X - self.mean) / self.unit)

    def inverse_transform(self, codes: np.ndarray) -> np.ndarray:
        return self.mean + self.unit * self.model.inverse_transform(codes)


def ways(data: Split, steps: int, seed: int) -> dict[str, Callable[[int], Any]]:
    """Each by its name, a function of the rank."""
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
    return {
        OURS: lambda rank: estimator(**common),
        f"{OURS}, refit=False": lambda rank: estimator(refit=False, n_components=rank, **common),
        "PCA": lambda rank: InUnits(PCA(rank), data),
        "plain autoencoder": lambda rank: estimator(layers=0, refit=False, code_size=rank, n_components=rank, **common),
        "VAE": lambda rank: InUnits(Variational(rank, steps, seed), data),
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
    """All ways one after the other on each split, the others at the rank that the estimator finds."""
    runs: list[dict[str, Any]] = []
    steps = 100 if scope.quick else STEPS
    for name in DATA[:1] if scope.quick else DATA:
        for seed in range(1 if scope.quick else scope.seeds):
            data = split(name, seed)
            if data is None:
                scope.report(f"{name} is not there")
                break
            scope.report(f"{name}, split {seed}")
            rank = 0
            for way, make in ways(data, steps, seed).items():
                found = measure(make(rank), data)
                rank = found["dimensions"] if way == OURS else rank
                runs.append({"data": name, "seed": seed, "way": way} | found)
    summary = []
    for name, way in dict.fromkeys((r["data"], r["way"]) for r in runs):
        rows = [r for r in runs if (r["data"], r["way"]) == (name, way)]
        row: dict[str, Any] = {"data": name, "way": way, "dimensions": [r["dimensions"] for r in rows]}
        for key in ("error", "accuracy", "processor_seconds"):
            row[key] = statistics.fmean(r[key] for r in rows)
            row[f"{key}_range"] = [min(r[key] for r in rows), max(r[key] for r in rows)]
        summary.append(row)
    settings = {"hidden": HIDDEN, "steps": steps, "batch": BATCH, "rate": RATE, "beta": BETA, "MNIST": MNIST_ROWS}
    return Outcome(settings, runs, summary, COLUMNS, (NOTE,))


NOTE = (
    "Held-out error is a share of that of the mean; accuracy that of logistic regression on the codes. All ways at the "
    "dimensions that the first one finds. Means over splits, with the least and the largest; processor seconds of a "
    "fit with what it compiles."
)
COLUMNS = {
    "data": lambda row: row["data"],
    "way": lambda row: row["way"],
    "dimensions": lambda row: ", ".join(map(str, row["dimensions"])),
    "held-out error": lambda row: "{:.4f} ({:.4f} to {:.4f})".format(row["error"], *row["error_range"]),
    "accuracy": lambda row: "{:.3f} ({:.3f} to {:.3f})".format(row["accuracy"], *row["accuracy_range"]),
    "processor seconds": lambda row: f"{row['processor_seconds']:.2f}",
}

dimension_reduction = Benchmark(
    name="dimension-reduction",
    title="The rank-minimizing autoencoder beside principal components, a plain autoencoder and a VAE of its rank",
    packages=(),
    run=run,
)
