"""Completion of a table by early-stopped gradient descent: what the estimators share.

Row and column effects are taken out first; what is left is fitted by a two-layer factorization from small
initialization, without a penalty. Its bias towards low rank is the regularizer, and how long it runs is the only thing
to choose: on held-out entries, by how far the training error had fallen when their error was lowest. All entries are
then fitted down to that same training error.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..dynamics import GradientDescent, Stop
from ..optimizers import make
from ..parameterizations import DeepMatrix
from ..probes import TestError
from ..problems import MatrixCompletion
from ..training import EarlyStopping, Trajectory, train
from ..training._progress import Report

POWER_ITERATIONS = 50
HALVINGS = 12


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a table is completed; lengths of descent in units that depend neither on its size nor on its scale."""

    depth: int = 2
    width: int = 200
    scale: float = 1e-4
    speed: float = 0.2
    ridge: float = 5.0
    validation_fraction: float = 0.1
    patience: int = 25
    max_iter: int = 2000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Effects:
    """Mean, row effects and column effects: the baseline ``mean + rows[i] + columns[j]``."""

    mean: float
    rows: np.ndarray
    columns: np.ndarray

    def at(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The baseline at pairs (i, j)."""
        return self.mean + self.rows[i] + self.columns[j]


@dataclasses.dataclass(frozen=True)
class Completion:
    """A completed table: baseline plus ``left @ right.T``, clipped to ``low`` .. ``high``."""

    effects: Effects
    left: np.ndarray
    right: np.ndarray
    low: float
    high: float
    n_iter: int
    validation: Trajectory | None

    def at(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The completed entries at pairs (i, j)."""
        out = self.effects.at(i, j)
        for start in range(0, len(i), 65536):  # rows of the factors are gathered a piece at a time
            piece = slice(start, start + 65536)
            out[piece] += np.einsum("ek,ek->e", self.left[i[piece]], self.right[j[piece]])
        return np.clip(out, self.low, self.high)

    def block(self, rows: slice) -> np.ndarray:
        """Whole completed rows."""
        base = self.effects.mean + self.effects.rows[rows, None] + self.effects.columns
        return np.clip(base + self.left[rows] @ self.right.T, self.low, self.high)


def fit_effects(
    i: np.ndarray, j: np.ndarray, values: np.ndarray, shape: tuple[int, int], ridge: float, sweeps: int = 50
) -> Effects:
    """Row and column effects by ridge regression, alternating; an unseen row or column has effect 0."""
    mean = float(values.mean())
    rows, columns = np.zeros(shape[0]), np.zeros(shape[1])
    row_weight = np.maximum(np.bincount(i, minlength=shape[0]) + ridge, np.finfo(float).tiny)
    column_weight = np.maximum(np.bincount(j, minlength=shape[1]) + ridge, np.finfo(float).tiny)
    for _ in range(sweeps):
        rows = np.bincount(i, values - mean - columns[j], shape[0]) / row_weight
        columns = np.bincount(j, values - mean - rows[i], shape[1]) / column_weight
    return Effects(mean, rows, columns)


def complete(
    i: np.ndarray,
    j: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    settings: Settings,
    *,
    clip: bool = True,
    progress: bool | Report = False,
) -> Completion:
    """Fit a table from its entries ``values`` at (i, j), no pair twice.

    Raises
    ------
    ValueError
        If there are fewer than two entries.
    """
    if len(values) < 2:
        raise ValueError(f"values: expected at least 2 entries, one to fit and one to hold out, found {len(values)}")
    order = np.random.default_rng(settings.seed).permutation(len(values))
    held = max(1, round(settings.validation_fraction * len(values)))
    validation, fitted = order[:held], order[held:]
    report = progress if callable(progress) else None

    effects = fit_effects(i[fitted], j[fitted], values[fitted], shape, settings.ridge)
    residual = values - effects.at(i, j)
    chosen = _descend(i, j, residual, fitted, validation, shape, settings, settings.speed, None, _half(report, 0, progress))
    effects = fit_effects(i, j, values, shape, settings.ridge)
    low, high = (float(values.min()), float(values.max())) if clip else (-np.inf, np.inf)
    if chosen is None or chosen.trajectory.chosen == 0:
        empty = np.zeros((shape[0], 1)), np.zeros((shape[1], 1))
        return Completion(effects, *empty, low, high, 0, None if chosen is None else chosen.trajectory)

    # The same training error, not the same number of steps: more entries take a little longer.
    trajectory = chosen.trajectory
    goal = float(trajectory["loss"][trajectory.chosen]), 2 * int(trajectory.steps[trajectory.chosen])
    everything = np.arange(len(values))
    residual = values - effects.at(i, j)
    final = _descend(i, j, residual, everything, None, shape, settings, chosen.speed, goal, _half(report, 1, progress))
    if final is None:
        raise RuntimeError("values: descent on all entries diverged at every rate; are there extreme outliers?")
    left, right = final.factors
    # What the factors leave is given to the effects once more.
    product = np.concatenate(
        [np.einsum("ek,ek->e", left[a], right[b]) for a, b in zip(_pieces(i), _pieces(j), strict=True)]
    )
    effects = fit_effects(i, j, values - product, shape, settings.ridge)
    return Completion(effects, left, right, low, high, int(final.trajectory.steps[-1]), trajectory)


@dataclasses.dataclass(frozen=True)
class _Descent:
    trajectory: Trajectory
    factors: tuple[np.ndarray, np.ndarray]
    speed: float


def _descend(
    i: np.ndarray,
    j: np.ndarray,
    residual: np.ndarray,
    fitted: np.ndarray,
    validation: np.ndarray | None,
    shape: tuple[int, int],
    settings: Settings,
    speed: float,
    goal: tuple[float, int] | None,
    progress: bool | Report,
) -> _Descent | None:
    """Descent on the residual in units of its size; None where there is nothing to fit.

    The rate makes the leading mode grow by a factor of 1 + speed a step at depth 2. Where the loss rises all the same,
    as with an outlier, the run starts again at half the speed.
    """
    unit = float(np.sqrt(np.mean(residual[fitted] ** 2)))
    if unit <= 1e-6 * np.abs(residual).max(initial=1e-300) or unit == 0:
        return None

    def problem(chosen: np.ndarray) -> MatrixCompletion:
        return MatrixCompletion(shape, i[chosen], j[chosen], (residual[chosen] / unit).astype(np.float32))

    observed = problem(fitted)
    phi = DeepMatrix(shape, settings.depth, width=min(settings.width, *shape))
    params = jax.tree.map(lambda x: x.astype(jnp.float32), phi.init(jax.random.key(settings.seed), settings.scale))
    density = len(fitted) / (shape[0] * shape[1])
    top = _largest_singular_value(i[fitted], j[fitted], residual[fitted] / unit, shape)
    pace = density * settings.depth / 2 * (top / density) ** (2 - 2 / settings.depth)
    steps = settings.max_iter if goal is None else goal[1]
    probes = [] if validation is None else [TestError(problem(validation))]
    for _ in range(HALVINGS):
        # The loss is a mean over the entries; the rate is meant for half their sum.
        optimizer = make("sgd", speed / pace * len(fitted) / 2)
        trajectory = train(
            observed,
            phi,
            GradientDescent(optimizer),
            params=params,
            probes=probes,
            stop=Stop(loss=None if goal is None else goal[0], steps=steps),
            early_stopping=EarlyStopping("test_error", settings.patience, loss_share=0.9) if probes else None,
            samples=np.arange(0, steps + 1) if probes else 64,
            progress=progress,
        )
        if trajectory.interrupted:
            raise KeyboardInterrupt
        loss = trajectory["loss"]
        if trajectory.status != "diverged" and (np.diff(loss) <= 1e-3 * loss[:-1] + 1e-6 * loss[0]).all():
            left, right = trajectory.params[-1], trajectory.params[0].T
            for factor in trajectory.params[-2:0:-1]:
                left = left @ factor
            return _Descent(trajectory, (np.asarray(left) * unit, np.asarray(right)), speed)
        speed /= 2
    return None


def _largest_singular_value(i: np.ndarray, j: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> float:
    """Of the matrix with these entries and zeros elsewhere."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import norm, svds

    matrix = coo_array((values.astype(np.float64), (i, j)), shape=shape).tocsr()
    if min(shape) < 3:
        return float(norm(matrix))
    return float(svds(matrix, k=1, tol=1e-2, return_singular_vectors=False, rng=0)[0])


def _pieces(index: np.ndarray) -> list[np.ndarray]:
    return [index[start : start + 65536] for start in range(0, len(index), 65536)]


def _half(report: Report | None, number: int, progress: bool | Report) -> bool | Report:
    """The progress of one of two runs as half of the whole."""
    if report is None:
        return progress
    return lambda fraction, message: report((number + fraction) / 2, message)
