"""Sparse regression on data of many kinds, few coefficients and many: no kind should be far behind Lasso."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV

from undertow.estimators import SparseRegressor

from ._base import Benchmark, Outcome, Scope, timed
from .kinds_of_designs import KINDS, Kind

QUICK = 3
"""Kinds of a quick run."""
WAYS = {"flow": SparseRegressor, "lasso": LassoCV}


def run(scope: Scope) -> Outcome:
    """All kinds, both ways on each draw."""
    kinds = dict(list(KINDS.items())[:QUICK]) if scope.quick else KINDS
    runs = [row for name, kind in kinds.items() for row in _of_kind(name, kind, scope)]
    summary = [_summary(name, [row for row in runs if row["kind"] == name]) for name in kinds]
    said = (
        "Error: mean square of the predicted signal on 2,000 fresh rows over the signal's variance; its ratio is of "
        "the means over draws, with its standard error, by the draws as pairs."
    )
    notes = (said, "LassoCV as it comes. Coefficients that are not 0, and median processor seconds, of both.")
    return Outcome({"ways": "as they come"}, runs, summary, COLUMNS, notes)


def _of_kind(name: str, kind: Kind, scope: Scope) -> list[dict[str, Any]]:
    scope.report(name)
    runs: list[dict[str, Any]] = []
    for seed in range(scope.seeds):
        drawn = kind.draw(name, seed)
        row: dict[str, Any] = {"kind": name, "seed": seed}
        for way, make in WAYS.items():
            with warnings.catch_warnings(), timed() as clock:
                warnings.simplefilter("ignore", ConvergenceWarning)  # of the end of the path of Lasso
                model = make().fit(drawn.X, drawn.y)
            row[way] = float(np.mean((model.predict(drawn.fresh) - drawn.signal) ** 2) / drawn.signal.var())
            row[f"{way}_count"] = int((model.coef_ != 0).sum())
            row[f"{way}_seconds"] = clock.processor_seconds
        runs.append(row)
    return runs


def _summary(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    flow, lasso = (np.array([row[way] for row in runs]) for way in WAYS)
    ratio = flow.mean() / lasso.mean()
    # Of a ratio of means, to first order.
    spread = (flow - ratio * lasso).std(ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.nan
    of = {way: [row[f"{way}_count"] for row in runs] for way in WAYS}
    seconds = {way: float(np.median([row[f"{way}_seconds"] for row in runs])) for way in WAYS}
    return {
        "kind": name,
        "draws": len(runs),
        "lasso_error": float(lasso.mean()),
        "ratio": float(ratio),
        "standard_error": float(spread / lasso.mean()),
        "counts": {way: float(np.mean(count)) for way, count in of.items()},
        "seconds": seconds,
    }


COLUMNS = {
    "kind": lambda row: row["kind"],
    "draws": lambda row: f"{row['draws']}",
    "LassoCV: error": lambda row: f"{row['lasso_error']:.3f}",
    "SparseRegressor over it": lambda row: f"{row['ratio']:.3f} +- {row['standard_error']:.3f}",
    "coefficients": lambda row: f"{row['counts']['flow']:.0f} / {row['counts']['lasso']:.0f}",
    "seconds": lambda row: f"{row['seconds']['flow']:.2f} / {row['seconds']['lasso']:.2f}",
}

sparse_kinds = Benchmark(
    name="sparse-kinds",
    title="Sparse regression on data of many kinds, against cross-validated Lasso",
    packages=(),
    run=run,
)
