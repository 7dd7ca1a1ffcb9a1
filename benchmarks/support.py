"""Which columns count: the support of SparseRegressor beside best subsets by abess and cross-validated Lasso."""

import importlib
import importlib.util
import statistics
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV

from undertow.estimators import SparseRegressor

from ._base import Benchmark, Outcome, Scope, timed
from .sparse_regression import FULL, QUICK, draw

Found = tuple[np.ndarray, np.ndarray]
"""Coefficients, and which columns are said to count."""


def _flow(X: np.ndarray, y: np.ndarray) -> Found:
    model = SparseRegressor().fit(X, y)
    return model.coef_, model.support_


def _by_coefficients(make: Callable[[], Any]) -> Callable[[np.ndarray, np.ndarray], Found]:
    def fit(X: np.ndarray, y: np.ndarray) -> Found:
        coef = make().fit(X, y).coef_
        return coef, coef != 0

    return fit


WAYS: dict[str, Callable[[np.ndarray, np.ndarray], Found]] = {
    "SparseRegressor": _flow,
    "abess": _by_coefficients(lambda: importlib.import_module("abess").LinearRegression()),
    "LassoCV": _by_coefficients(LassoCV),
}


KEYS = ("f1", "f1 of coef", "error", "s")


def run(scope: Scope) -> Outcome:
    """The two smaller designs of ``sparse-regression``, all ways in turn on each draw."""
    ways = [way for way in WAYS if way != "abess" or importlib.util.find_spec("abess") is not None]
    runs: list[dict[str, Any]] = []
    for setting in QUICK if scope.quick else FULL[:2]:
        for rho, ratio in setting.cases:
            case = {"n": setting.n, "p": setting.p, "rho": rho, "ratio": ratio}
            scope.report(f"{setting.n} x {setting.p}, correlation {rho:g}, SNR {ratio:g}")
            for seed in range(scope.seeds):
                X, y, truth = draw(setting, rho, ratio, seed)
                for way in ways:
                    with warnings.catch_warnings(), timed() as clock:
                        warnings.simplefilter("ignore", ConvergenceWarning)  # of the end of the path of Lasso
                        coef, found = WAYS[way](X, y)
                    known = {"way": way, "seed": seed, "error": float(np.linalg.norm(coef - truth))}
                    known |= {"f1": _f1(found, truth), "f1 of coef": _f1(coef != 0, truth)}
                    runs.append(case | known | {"s": clock.processor_seconds})
    summary = []
    for n, p, rho, ratio in dict.fromkeys((row["n"], row["p"], row["rho"], row["ratio"]) for row in runs):
        row: dict[str, Any] = {"n": n, "p": p, "rho": rho, "ratio": ratio}
        for way in ways:
            of = [r for r in runs if (r["n"], r["p"], r["rho"], r["ratio"], r["way"]) == (n, p, rho, ratio, way)]
            row[way] = {key: statistics.fmean(r[key] for r in of) for key in KEYS}
        summary.append(row)
    said = (
        "F1 of the support (of SparseRegressor: of support_, in brackets of the coefficients that are not 0), distance "
        "of the coefficients from the truth, processor seconds; means over draws."
    )
    notes = [said, *["not run: abess, not installed"] * ("abess" not in ways)]
    return Outcome({"ways": "as they come"}, runs, summary, COLUMNS, tuple(notes))


def _f1(found: np.ndarray, truth: np.ndarray) -> float:
    both = int((found & (truth != 0)).sum())
    return 2 * both / int(found.sum() + (truth != 0).sum())


def _cell(way: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: (
        f"{row[way]['f1']:.2f} ({row[way]['f1 of coef']:.2f}); {row[way]['error']:.2f}; {row[way]['s']:.2f}"
        if way in row
        else "-"
    )


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "n x p": lambda row: f"{row['n']} x {row['p']}",
    "correlation": lambda row: f"{row['rho']:g}",
    "SNR": lambda row: f"{row['ratio']:g}",
    **{way: _cell(way) for way in WAYS},
}

support = Benchmark(
    name="support",
    title="Which columns count: SparseRegressor beside abess and LassoCV",
    packages=(),  # abess is left out where it is not installed, and said so
    run=run,
)
