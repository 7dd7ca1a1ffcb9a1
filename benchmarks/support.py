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

WAYS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "SparseRegressor": lambda X, y: SparseRegressor().fit(X, y).coef_,
    "abess": lambda X, y: importlib.import_module("abess").LinearRegression().fit(X, y).coef_,
    "LassoCV": lambda X, y: LassoCV().fit(X, y).coef_,
}


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
                        found = WAYS[way](X, y)
                    both = int(((found != 0) & (truth != 0)).sum())
                    f1 = 2 * both / int((found != 0).sum() + (truth != 0).sum())
                    error = float(np.linalg.norm(found - truth))
                    runs.append(
                        case | {"way": way, "seed": seed, "f1": f1, "error": error, "s": clock.processor_seconds}
                    )
    summary = []
    for n, p, rho, ratio in dict.fromkeys((row["n"], row["p"], row["rho"], row["ratio"]) for row in runs):
        row: dict[str, Any] = {"n": n, "p": p, "rho": rho, "ratio": ratio}
        for way in ways:
            of = [r for r in runs if (r["n"], r["p"], r["rho"], r["ratio"], r["way"]) == (n, p, rho, ratio, way)]
            row[way] = {key: statistics.fmean(r[key] for r in of) for key in ("f1", "error", "s")}
        summary.append(row)
    notes = ["F1 of the support, distance of the coefficients from the truth, processor seconds; means over draws."]
    notes += ["not run: abess, not installed"] * ("abess" not in ways)
    return Outcome({"ways": "as they come"}, runs, summary, COLUMNS, tuple(notes))


def _cell(way: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: f"{row[way]['f1']:.2f}; {row[way]['error']:.2f}; {row[way]['s']:.2f}" if way in row else "-"


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
