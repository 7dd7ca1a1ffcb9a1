"""One target fitted by flows of diagonal networks from several initializations, averaged."""

import dataclasses
import warnings
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ._diagonal_flow import FlowState, Network, average, flow, last_column
from ._model_average import SURE, candidates, combined, shares_of_times, weigh
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
    frequency_: np.ndarray
    support_: np.ndarray
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
    averages = np.concatenate(
        [_averages(problem, run, e, network, n) for run, e, network in zip(runs, errors, traced, strict=True)]
    )
    options = candidates(len(averages), threshold)
    weights = weigh(problem, folds, averages, options, n)
    unexplained = min(e.min() for e in errors)  # y is in units of its deviation
    w, frequency = combined(averages, options, weights, folds, unexplained)
    coef = problem.coefficients(w)
    counts = {
        t: sum(q for option, q in zip(options, weights, strict=True) if option.threshold == t) for _, t in options
    }
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
        frequency_=frequency,
        support_=frequency > SURE,
        threshold_=max(counts, key=lambda t: (counts[t], t)),
        **_path(problem, run, network, traced[best], says),
    )


def _averages(problem: Standardized, run: FlowState, errors: np.ndarray, network: Network, n: float) -> np.ndarray:
    """Two means over times, (2, p, folds)."""
    count, length = len(errors), run.path.times.size
    shares = shares_of_times(errors, np.asarray(run.path.fitted, np.float64)[:count, -1], n)
    # To the fixed length of a path, so that one program serves all.
    padded = jnp.asarray(np.pad(shares, ((0, length - count), (0, 0))), problem.y.dtype)
    return np.asarray(average(problem.design, run.path, padded, network))[:, : problem.columns]


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
