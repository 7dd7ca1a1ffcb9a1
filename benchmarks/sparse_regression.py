"""Sparse regression by an early-stopped flow, against cross-validated Lasso of scikit-learn and of celer."""

import dataclasses
import statistics
import warnings
from typing import Any

import jax
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV
from sklearn.model_selection import KFold, RepeatedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from undertow.estimators import SparseRegressor

from ._base import Benchmark, Outcome, Scope, timed

FOLDS, ALPHAS, SHORTEST = 5, 100, 1e-3
"""Of ``LassoCV``, its defaults; celer is given the same."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """Tables of n rows and p columns; ``support`` coefficients are 1 or -1, in places drawn at random.

    Rows are normal with correlation rho^|i - j| of columns i and j. The signal-to-noise ratio is of variances.
    ``seeds`` draws count towards the means, or more if more are asked for; celer runs on ``celer`` of them.
    """

    n: int
    p: int
    support: int
    cases: tuple[tuple[float, float], ...]
    seeds: int
    celer: int


ALL = tuple((rho, ratio) for rho in (0.0, 0.5, 0.9) for ratio in (1.0, 3.0, 10.0))
FULL = (
    Setting(100, 200, 5, ALL, 20, 3),
    Setting(200, 1000, 10, ALL, 20, 1),
    Setting(500, 5000, 20, ((0.5, 1.0), (0.5, 3.0), (0.9, 10.0)), 3, 1),
    Setting(2000, 50_000, 50, ((0.5, 3.0),), 1, 1),
)
QUICK = (Setting(60, 100, 3, ((0.5, 3.0),), 2, 1),)


def draw(setting: Setting, rho: float, ratio: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A table, its responses, and the coefficients behind them."""
    rng = np.random.default_rng([seed, setting.n, setting.p])
    X = rng.standard_normal((setting.n, setting.p))
    for j in range(1, setting.p):
        X[:, j] = rho * X[:, j - 1] + np.sqrt(1 - rho**2) * X[:, j]
    places = rng.choice(setting.p, setting.support, replace=False)
    truth = np.zeros(setting.p)
    truth[places] = rng.choice([-1.0, 1.0], setting.support)
    variance = truth[places] @ rho ** np.abs(np.subtract.outer(places, places)) @ truth[places]
    return X, X @ truth + np.sqrt(variance / ratio) * rng.standard_normal(setting.n), truth


def in_celer(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients by celer's path solver, on the folds and the path of ``LassoCV``.

    Its own ``LassoCV`` does the same, but cannot be made under a scikit-learn that has no ``n_alphas`` any more.
    """
    from celer import celer_path

    def path(rows: np.ndarray, alphas: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        means, mean = X[rows].mean(0), y[rows].mean()
        return means, mean, celer_path(np.asfortranarray(X[rows] - means), y[rows] - mean, "lasso", alphas=alphas)[1]

    largest = np.abs((y - y.mean()) @ (X - X.mean(0))).max() / len(y)
    alphas = np.geomspace(largest, SHORTEST * largest, ALPHAS)
    errors = np.zeros(ALPHAS)
    for fitted, held_out in KFold(FOLDS).split(X):
        means, mean, coefficients = path(fitted, alphas)
        errors += ((y[held_out, None] - mean - (X[held_out] - means) @ coefficients) ** 2).mean(0)
    return path(np.arange(len(y)), alphas[[errors.argmin()]])[2][:, 0]


METHODS = {
    "flow": lambda X, y: SparseRegressor().fit(X, y).coef_,
    "LassoCV": lambda X, y: LassoCV(cv=FOLDS).fit(X, y).coef_,
    "celer": in_celer,
}


def measure(method: str, X: np.ndarray, y: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """A fit: its time, the distance of the coefficients from the truth, and how well the support is found."""
    with warnings.catch_warnings(), timed() as clock:
        warnings.simplefilter("ignore", ConvergenceWarning)  # at the end of the path of Lasso, which is not chosen
        found = METHODS[method](X, y)
    both = int(((found != 0) & (truth != 0)).sum())
    return {
        "method": method,
        "seconds": clock.seconds,
        "compiled_programs": clock.compiled,
        "error": float(np.linalg.norm(found - truth)),
        "f1": 2 * both / int((found != 0).sum() + (truth != 0).sum()),
    }


def run(scope: Scope) -> Outcome:
    """All designs, all methods in turn on each draw."""
    runs: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    settings = QUICK if scope.quick else FULL
    for setting in settings:
        for rho, ratio in setting.cases:
            case = {"n": setting.n, "p": setting.p, "support": setting.support, "rho": rho, "ratio": ratio}
            found = _of_case(setting, rho, ratio, scope)
            runs += [case | result for result in found]
            summary.append(case | _summary(found))
    scope.report("diabetes")
    notes = (
        "Error: |coef - truth|, mean over seeds, in units of LassoCV's; F1 of the support; median seconds.",
        f"LassoCV: {FOLDS} folds, {ALPHAS} penalties, defaults of scikit-learn; celer: its path solver on the same.",
        *_diabetes(2 if scope.quick else 20),
    )
    described = {"designs": [dataclasses.asdict(s) for s in settings], "precision of the flow": "float32"}
    return Outcome(described, runs, summary, COLUMNS, notes)


def _of_case(setting: Setting, rho: float, ratio: float, scope: Scope) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    seeds = setting.seeds if scope.quick else max(setting.seeds, scope.seeds)
    scope.report(f"{setting.n} x {setting.p}, rho {rho:g}, SNR {ratio:g}, {seeds} seeds")
    jax.clear_caches()
    # Compiled on data that no later run sees.
    first = measure("flow", *draw(setting, rho, ratio, seeds))
    runs.append(first | {"method": "flow, first call", "seed": seeds})
    for seed in range(seeds):
        data = draw(setting, rho, ratio, seed)
        methods = ("flow", "LassoCV", "celer") if seed < setting.celer else ("flow", "LassoCV")
        runs += [measure(method, *data) | {"seed": seed} for method in methods]
    return runs


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    def of(method: str, field: str) -> list[float]:
        return [r[field] for r in runs if r["method"] == method]

    return {
        "seeds": len(of("LassoCV", "error")),
        "lasso_error": statistics.fmean(of("LassoCV", "error")),
        "flow_error": statistics.fmean(of("flow", "error")),
        "lasso_f1": statistics.fmean(of("LassoCV", "f1")),
        "flow_f1": statistics.fmean(of("flow", "f1")),
        "first_seconds": of("flow, first call", "seconds")[0],
        "flow_seconds": statistics.median(of("flow", "seconds")),
        "lasso_seconds": statistics.median(of("LassoCV", "seconds")),
        "celer_seconds": statistics.median(of("celer", "seconds")),
        "compiled_programs_later": sum(of("flow", "compiled_programs")),
    }


COLUMNS = {
    "n x p": lambda row: f"{row['n']} x {row['p']}",
    "k": lambda row: f"{row['support']}",
    "rho": lambda row: f"{row['rho']:g}",
    "SNR": lambda row: f"{row['ratio']:g}",
    "seeds": lambda row: f"{row['seeds']}",
    "LassoCV: error": lambda row: f"{row['lasso_error']:.3f}",
    "F1": lambda row: f"{row['lasso_f1']:.2f}",
    "time": lambda row: f"{row['lasso_seconds']:.2f} s",
    "celer: time": lambda row: f"{row['celer_seconds']:.2f} s",
    "flow: error / LassoCV's": lambda row: f"{row['flow_error'] / row['lasso_error']:.3f}",
    "F1 ": lambda row: f"{row['flow_f1']:.2f}",
    "time ": lambda row: f"{row['flow_seconds']:.2f} s",
    "first call": lambda row: f"{row['first_seconds']:.2f} s",
}


def _diabetes(splits: int) -> tuple[str, ...]:
    """Test R2 on real data: 442 patients, 10 measurements and their products, 65 columns."""
    X, y = load_diabetes(return_X_y=True)
    X = PolynomialFeatures(2, include_bias=False).fit_transform(X)
    models = {"flow": SparseRegressor(), "flow, threshold 0.01": SparseRegressor(threshold=0.01)}
    models |= {"LassoCV": make_pipeline(StandardScaler(), LassoCV(cv=FOLDS))}
    scores: dict[str, list[float]] = {name: [] for name in models}
    sizes: dict[str, list[int]] = {name: [] for name in models}
    for fitted, held_out in list(RepeatedKFold(n_splits=5, n_repeats=4, random_state=0).split(X))[:splits]:
        for name, model in models.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(X[fitted], y[fitted])
            scores[name].append(model.score(X[held_out], y[held_out]))
            fit = model if isinstance(model, SparseRegressor) else model[-1]
            sizes[name].append(int((fit.coef_ != 0).sum()))
    told = ", ".join(
        f"{name} {statistics.fmean(scores[name]):.3f} with {statistics.fmean(sizes[name]):.0f} coefficients"
        for name in models
    )
    return (f"Diabetes with squares and products, 442 x 65, test R2, mean of {splits} splits: {told}.",)


sparse_regression = Benchmark(
    name="sparse-regression",
    title="Early-stopped flow of a diagonal network, against cross-validated Lasso",
    packages=("celer",),
    run=run,
)
