"""One target fitted by flows of diagonal networks from several initializations, averaged."""

import dataclasses
import warnings
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ._diagonal_flow import FlowState, Network, average, flow, last_column
from ._model_average import Thresholds, combined, shares_of_times, weighed_thresholds
from ._standardized import Standardized


@dataclasses.dataclass
class DiagonalFit:
    """What is fitted to one target; the attributes of the estimator."""

    coef_: np.ndarray
    intercept_: float
    n_iter_: int
    scale_: float
    stopping_time_: float
    threshold_: float
    path_times_: np.ndarray
    path_coefs_: np.ndarray
    path_train_errors_: np.ndarray
    path_validation_errors_: np.ndarray


def fit_diagonal(
    problem: Standardized, splits: list[Any], networks: list[Network], threshold: float | None, max_iter: int
) -> DiagonalFit:
    folds, n = problem.folds(splits), problem.weight.sum()
    dtype, says = problem.y.dtype, np.asarray(folds.shares, np.float64)
    traced = [eqx.tree_at(lambda x: x.scale, network, jnp.asarray(network.scale, dtype)) for network in networks]
    y, most = jnp.asarray(problem.y), jnp.asarray(max_iter)
    runs = [flow(problem.design, y, folds, network, most) for network in traced]
    errors = [np.asarray(run.path.held_out, np.float64)[: int(run.path.count)] @ says for run in runs]
    w: Any = 0
    for run, shares, network in zip(runs, shares_of_times(errors, n), traced, strict=True):
        if shares.any():
            # To the fixed length of a path, so that one program serves all.
            padded = jnp.asarray(np.pad(shares, (0, run.path.times.size - len(shares))), dtype)
            w = w + average(problem.design, run.path, padded, network)
    w = np.asarray(w, np.float64)[: problem.columns]
    if threshold is None:
        thresholds = weighed_thresholds(problem, folds, w, n)
    else:
        thresholds = Thresholds(np.array([float(threshold)]), np.ones(1))
    unexplained = min(e.min() for e in errors)  # y is in units of its deviation
    coef = problem.coefficients(combined(w, thresholds, folds, unexplained))
    best = int(np.argmin([e.min() for e in errors]))
    run, network = runs[best], networks[best]
    if int(run.trials) >= max_iter and errors[best].argmin() == len(errors[best]) - 1:
        warnings.warn(
            f"max_iter: the held-out error was still falling after {max_iter} steps; allow more",
            ConvergenceWarning,
            stacklevel=4,  # past the decorator
        )
    return DiagonalFit(
        coef,
        problem.y_mean - float(problem.means @ coef),
        int(run.steps),
        float(network.scale),
        threshold_=thresholds.best,
        **_path(problem, run, network, traced[best], says),
    )


def _path(problem: Standardized, run: FlowState, network: Network, traced: Network, says: np.ndarray) -> dict[str, Any]:
    count, path = int(run.path.count), run.path
    times = np.asarray(path.times, np.float64)[:count] / network.pace
    # Cut in numpy: a cut by JAX would be a program for every length.
    w = np.asarray(last_column(problem.design, path, traced))
    validation = np.asarray(path.held_out, np.float64)[:count] * problem.y_unit**2
    return {
        "stopping_time_": float(times[(validation @ says).argmin()]),
        "path_times_": times,
        "path_coefs_": problem.coefficients(w[:count]),
        "path_train_errors_": np.asarray(path.fitted, np.float64)[:count, -1] * problem.y_unit**2,
        "path_validation_errors_": validation,
    }
