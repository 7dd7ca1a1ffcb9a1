"""Tensors of TensorLy with entries removed: TensorCompleter beside masked CP at its best rank, and means of fibers."""

import statistics
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorly
import tensorly.datasets
from tensorly.decomposition import parafac

import undertow as ut

from ._base import Benchmark, Outcome, Scope, timed

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
RANKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)
LARGE_RANKS = (1, 5, 12, 30)
"""Of Indian Pines, where a fit of TensorLy takes a minute."""


def _kinetic() -> np.ndarray:
    found = tensorly.datasets.load_kinetic()
    return np.where(found["missing_values_position"], np.nan, found["tensor"])


TENSORS: dict[str, Callable[[], np.ndarray]] = {
    "IL-2": lambda: np.asarray(tensorly.datasets.load_IL2data()["tensor"], float),
    "serology": lambda: np.asarray(tensorly.datasets.load_covid19_serology()["tensor"], float),
    "kinetic": _kinetic,
    "Indian Pines": lambda: np.asarray(tensorly.datasets.load_indian_pines()["tensor"], float),
}


def fiber_means(given: np.ndarray, axis: int) -> np.ndarray:
    """The mean of each fiber along an axis in all its places; the mean of all where it has no entry."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of fibers without an entry
        means = np.nanmean(given, axis=axis, keepdims=True)
    return np.broadcast_to(np.where(np.isnan(means), np.nanmean(given), means), given.shape)


def compare(name: str, share: float, seed: int) -> dict[str, Any]:
    """One tensor, one draw of what is removed: errors there over the deviation of the removed entries, and seconds."""
    truth = TENSORS[name]()
    hidden = (np.random.default_rng(seed).random(truth.shape) < share) & ~np.isnan(truth)
    given = np.where(hidden, np.nan, truth)
    row: dict[str, Any] = {"tensor": name, "share": share, "seed": seed}

    def error(guess: np.ndarray) -> float:
        return float(np.sqrt(np.mean((guess - truth)[hidden] ** 2)) / truth[hidden].std())

    row["fiber means"] = min(error(fiber_means(given, axis)) for axis in range(truth.ndim))
    seen = ~np.isnan(given)
    errors = {}
    with timed() as clock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rank in LARGE_RANKS if truth.size > 10**6 else RANKS:
            found = parafac(np.where(seen, given, 0), rank, mask=seen, random_state=seed)
            errors[rank] = error(tensorly.cp_to_tensor(found))
    row |= {"TensorLy by rank": errors, "TensorLy": min(errors.values()), "TensorLy: seconds": clock.seconds}
    row["TensorLy: rank"] = min(errors, key=errors.__getitem__)
    model = ut.estimators.TensorCompleter(random_state=seed, empty_slices="fill")
    with timed() as clock:
        model.fit(given)
    places = np.argwhere(hidden)
    found, std = model.predict(places, return_std=True)
    row["TensorCompleter"] = float(np.sqrt(np.mean((found - truth[hidden]) ** 2)) / truth[hidden].std())
    row["TensorCompleter: seconds"] = clock.seconds
    row["within"] = float(np.mean(np.abs(found - truth[hidden]) <= 1.645 * std))
    row["parts"] = [[[list(axes) for axes in groups], centered] for groups, centered in model.parts_]
    return row


def run(scope: Scope) -> Outcome:
    """Every tensor at every share; of Indian Pines one draw."""
    runs = []
    for name in list(TENSORS)[:1] if scope.quick else TENSORS:
        for share in SHARES[2:3] if scope.quick else SHARES:
            scope.report(f"{name}, {share:.0%}")
            runs += [compare(name, share, seed) for seed in range(1 if name == "Indian Pines" else scope.seeds)]
    return Outcome({"shares": SHARES, "ranks": RANKS}, runs, summarized(runs), COLUMNS, (NOTE,))


def summarized(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the draws."""
    summary = []
    for name, share in dict.fromkeys((row["tensor"], row["share"]) for row in runs):
        rows = [row for row in runs if (row["tensor"], row["share"]) == (name, share)]
        keys = [key for key, value in rows[0].items() if isinstance(value, float) and key != "share"]
        means = {key: statistics.fmean(row[key] for row in rows) for key in keys}
        ranks = sorted({row["TensorLy: rank"] for row in rows})
        summary.append({"tensor": name, "share": share, "ranks": ranks} | means)
    return summary


NOTE = (
    "Root-mean-square error over the removed entries in their standard deviation; means over draws. Masked CP is "
    "TensorLy's parafac(mask=...) as it comes (100 iterations) at the rank that is best on the removed entries, which "
    "nobody knows; its seconds are those of all ranks. Means of fibers are those along the best axis."
)

COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "tensor": lambda row: row["tensor"],
    "removed": lambda row: f"{row['share']:.0%}",
    "TensorCompleter": lambda row: f"{row['TensorCompleter']:.4f}",
    "masked CP, best rank": lambda row: f"{row['TensorLy']:.4f} ({', '.join(map(str, row['ranks']))})",
    "fiber means": lambda row: f"{row['fiber means']:.4f}",
    "within 90% interval": lambda row: f"{row['within']:.0%}",
    "seconds": lambda row: f"{row['TensorCompleter: seconds']:.1f}",
    "masked CP, all ranks": lambda row: f"{row['TensorLy: seconds']:.1f}",
}

tensor_completion = Benchmark(
    name="tensor-completion",
    title="Tensors with holes: TensorCompleter beside TensorLy's masked CP at its best rank",
    packages=(),
    run=run,
)
