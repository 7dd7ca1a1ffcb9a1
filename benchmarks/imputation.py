"""Tables of scikit-learn with entries removed: LowRankImputer beside the imputers of scikit-learn."""

import statistics
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes the next import possible
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import undertow as ut

from ._base import Benchmark, Outcome, Scope, timed

SHARES = (0.1, 0.2, 0.3, 0.5, 0.7)
TABLES = ("iris", "wine", "diabetes", "breast_cancer", "linnerud", "digits")
WAYS: dict[str, Callable[[int], Any]] = {
    "LowRankImputer": lambda seed: ut.estimators.LowRankImputer(random_state=seed),
    "column means": lambda seed: SimpleImputer(),
    "nearest neighbours": lambda seed: KNNImputer(),
    "IterativeImputer": lambda seed: IterativeImputer(random_state=seed, max_iter=20),
}
SLOW = {("digits", "IterativeImputer")}
"""Minutes a fit: left out."""


def remove(X: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which entries are removed: at random, but every column keeps two."""
    rng = np.random.default_rng(seed)
    hidden = rng.random(X.shape) < share
    hidden[rng.permutation(len(X))[:2]] = False
    return hidden


def run(scope: Scope) -> Outcome:
    """Every table at every share, the ways one after the other on the same entries."""
    runs: list[dict[str, Any]] = []
    for name in TABLES[:2] if scope.quick else TABLES:
        X = getattr(datasets, f"load_{name}")().data.astype(float)
        X = X[:, X.std(0) > 0]
        scope.report(name)
        for share in SHARES[1:2] if scope.quick else SHARES:
            for seed in range(scope.seeds):
                hidden = remove(X, share, seed)
                given = np.where(hidden, np.nan, X)
                row: dict[str, Any] = {"table": name, "share": share, "seed": seed}
                for way, make in WAYS.items():
                    if (name, way) in SLOW:
                        continue
                    with timed() as clock, warnings.catch_warnings():
                        warnings.simplefilter("ignore", ConvergenceWarning)
                        filled = make(seed).fit_transform(given)
                    row[way] = float(np.sqrt(np.mean(((filled - X) / X.std(0))[hidden] ** 2)))
                    row[f"{way}: seconds"] = clock.seconds
                model = ut.estimators.LowRankImputer(random_state=seed)
                filled, std = model.fit_transform(given, return_std=True)
                row["within"] = float(np.mean((np.abs(filled - X) <= 1.645 * std)[hidden]))
                runs.append(row)
    summary = []
    for name in dict.fromkeys(row["table"] for row in runs):
        for share in dict.fromkeys(row["share"] for row in runs):
            rows = [row for row in runs if (row["table"], row["share"]) == (name, share)]
            keys = [key for key in rows[0] if key not in ("table", "share", "seed")]
            summary.append(
                {"table": name, "share": share} | {key: statistics.fmean(row[key] for row in rows) for key in keys}
            )
    note = (
        "Root-mean-square error over the removed entries, each in standard deviations of its column; means over draws. "
        "Tables are given as they are, in their own units. The interval is 1.645 standard deviations to either side."
    )
    return Outcome({"shares": SHARES}, runs, summary, COLUMNS, (note,))


def _cell(way: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: f"{row[way]:.3f}" if way in row else "-"


COLUMNS = {
    "table": lambda row: row["table"],
    "removed": lambda row: f"{row['share']:.0%}",
    **{way: _cell(way) for way in WAYS},
    "seconds": lambda row: f"{row['LowRankImputer: seconds']:.2f}",
    "within 90% interval": lambda row: f"{row['within']:.0%}",
}

imputation = Benchmark(
    name="imputation",
    title="Tables with holes: LowRankImputer beside the imputers of scikit-learn",
    packages=(),
    run=run,
)
