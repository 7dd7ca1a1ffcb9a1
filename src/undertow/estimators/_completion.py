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
from scipy.sparse import coo_array
from scipy.sparse.linalg import norm, svds

from .._numpy_errors import usual_errors
from .._repr import shown
from .._validation import as_numpy, check_indices
from ..dynamics import GradientDescent, Stop
from ..optimizers import make
from ..parameterizations import DeepMatrix
from ..probes import TestError
from ..problems import MatrixCompletion
from ..training import EarlyStopping, Trajectory, train
from ..training._progress import Report

HALVINGS = 12
LARGEST = 1e100
"""Values beyond this are refused: their squares would not be numbers any more."""
ROUNDING = 1e-13
"""A residual smaller than this share of the largest value is rounding, and nothing to fit."""


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
class StoppingPoint:
    """Where descent should stop: a training error (mean square in units of the residual), within so many steps."""

    training_error: float
    max_iter: int


@dataclasses.dataclass(frozen=True)
class Effects:
    """Mean, row effects and column effects: the baseline ``mean + rows[i] + columns[j]``."""

    mean: float
    rows: np.ndarray
    columns: np.ndarray

    def __repr__(self) -> str:
        return shown(self)

    def at(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The baseline at pairs (i, j); -1 stands for a row or column that is not in the table, with effect 0."""
        return self.mean + np.where(i < 0, 0, self.rows[i]) + np.where(j < 0, 0, self.columns[j])


@dataclasses.dataclass(frozen=True)
class Completion:
    """A completed table: baseline plus ``left @ right.T``, clipped to ``low`` .. ``high``."""

    effects: Effects
    left: np.ndarray
    right: np.ndarray
    low: float
    high: float
    n_iter: int
    stopping_point: StoppingPoint
    validation: Trajectory | None

    def __repr__(self) -> str:
        return shown(self)

    def at(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The completed entries at pairs (i, j); with -1 for an unknown row or column, the baseline."""
        known = (i >= 0) & (j >= 0)
        product = np.where(known, _dots(self.left, self.right, i, j), 0)
        return np.clip(self.effects.at(i, j) + product, self.low, self.high)

    @property
    def validation_path(self) -> np.ndarray:
        """Step, training error and validation error along the search: (n, 3), empty where there was none."""
        path = self.validation
        if path is None:
            return np.empty((0, 3))
        return np.stack([path.steps, path["loss"], path["test_error"]], axis=1)

    def block(self, rows: slice) -> np.ndarray:
        """Whole completed rows."""
        base = self.effects.mean + self.effects.rows[rows, None] + self.effects.columns
        return np.clip(base + self.left[rows] @ self.right.T, self.low, self.high)


@usual_errors
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


@usual_errors
def complete(
    i: np.ndarray,
    j: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    settings: Settings,
    *,
    clip: bool = True,
    stopping_point: StoppingPoint | None = None,
    progress: bool | Report = False,
) -> Completion:
    """Fit a table from its entries ``values`` at (i, j), no pair twice.

    The stopping point is searched on a validation split, unless it is given.

    Raises
    ------
    ValueError
        If there are fewer than two entries, one is larger than 1e100, or descent diverges at every rate.
    """
    if len(values) < 2:
        raise ValueError(f"values: expected at least 2 entries, one to fit and one to hold out, found {len(values)}")
    check_size(values)
    i, j = check_indices("i", i, shape[0]), check_indices("j", j, shape[1])
    validation, speed = None, settings.speed
    if stopping_point is None:
        stopping_point, validation, speed = _search(i, j, values, shape, settings, _part(progress, 0, 2))
        progress = _part(progress, 1, 2)
    effects = fit_effects(i, j, values, shape, settings.ridge)
    left, right, n_iter = np.zeros((shape[0], 1)), np.zeros((shape[1], 1)), 0
    if stopping_point.max_iter > 0:
        # The same training error, not the same number of steps: more entries take a little longer.
        problem = _Residual(i, j, values - effects.at(i, j), shape, _negligible(values))
        descent = _descend(problem, None, settings, speed, stopping_point, progress)
        if descent is not None:
            (left, right), n_iter = descent.factors, int(descent.trajectory.steps[-1])
            # What the factors leave is given to the effects once more.
            effects = fit_effects(i, j, values - _dots(left, right, i, j), shape, settings.ridge)
    low, high = (float(values.min()), float(values.max())) if clip else (-np.inf, np.inf)
    return Completion(effects, left, right, low, high, n_iter, stopping_point, validation)


def check_size(values: np.ndarray) -> None:
    """Raise if a value is masked, or too large to be squared."""
    largest = float(np.abs(as_numpy("values", values)).max())
    if not largest <= LARGEST:
        raise ValueError(f"values: expected numbers of at most {LARGEST:g} in size, found {largest:g}")


def root_mean_square(values: np.ndarray) -> float:
    """Size of the values, also where their squares are too small for a number."""
    largest = float(np.abs(values).max())
    return largest * float(np.sqrt(np.mean((values / largest) ** 2))) if largest > 0 else 0.0


def _negligible(values: np.ndarray) -> float:
    return ROUNDING * float(np.abs(values).max())


def _search(
    i: np.ndarray,
    j: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    settings: Settings,
    progress: bool | Report,
) -> tuple[StoppingPoint, Trajectory | None, float]:
    """Where the error on a held-out part of the entries is lowest, and the speed that got there."""
    order = np.random.default_rng(settings.seed).permutation(len(values))
    held = max(1, round(settings.validation_fraction * len(values)))
    validation, fitted = order[:held], order[held:]
    effects = fit_effects(i[fitted], j[fitted], values[fitted], shape, settings.ridge)
    residual = values - effects.at(i, j)
    held_out = _Residual(i[validation], j[validation], residual[validation], shape, _negligible(values))
    observed = _Residual(i[fitted], j[fitted], residual[fitted], shape, _negligible(values))
    descent = _descend(observed, held_out, settings, settings.speed, None, progress)
    if descent is None or descent.trajectory.chosen == 0:
        return StoppingPoint(1.0, 0), None if descent is None else descent.trajectory, settings.speed
    trajectory = descent.trajectory
    training_error = float(trajectory["loss"][trajectory.chosen])
    point = StoppingPoint(training_error, 2 * int(trajectory.steps[trajectory.chosen]))
    return point, trajectory, descent.speed


@dataclasses.dataclass(frozen=True)
class _Residual:
    """Entries of a table, less their baseline; nothing to fit where they are smaller than ``negligible``."""

    i: np.ndarray
    j: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]
    negligible: float

    def problem(self, unit: float) -> MatrixCompletion:
        return MatrixCompletion(self.shape, self.i, self.j, (self.values / unit).astype(np.float32))


@dataclasses.dataclass(frozen=True)
class _Descent:
    trajectory: Trajectory
    factors: tuple[np.ndarray, np.ndarray]
    speed: float


def _descend(
    fitted: _Residual,
    held_out: _Residual | None,
    settings: Settings,
    speed: float,
    stopping_point: StoppingPoint | None,
    progress: bool | Report,
) -> _Descent | None:
    """Descent on the residual in units of its size; None where there is nothing to fit.

    The rate makes the leading mode grow by a factor of 1 + speed a step at depth 2. Where the loss rises all the same,
    as with an outlier, the run starts again at half the speed.
    """
    unit = root_mean_square(fitted.values)
    if unit <= fitted.negligible:
        return None
    observed, shape, count = fitted.problem(unit), fitted.shape, len(fitted.values)
    phi = DeepMatrix(shape, settings.depth, width=min(settings.width, *shape))
    params = jax.tree.map(lambda x: x.astype(jnp.float32), phi.init(jax.random.key(settings.seed), settings.scale))
    density = count / (shape[0] * shape[1])
    pace = density * settings.depth / 2 * (_spectral_norm(fitted, unit) / density) ** (2 - 2 / settings.depth)
    steps = settings.max_iter if stopping_point is None else stopping_point.max_iter
    goal = None if stopping_point is None else stopping_point.training_error
    probes = [] if held_out is None else [TestError(held_out.problem(unit))]
    for _ in range(HALVINGS):
        # The loss is a mean over the entries; the rate is meant for half their sum.
        trajectory = train(
            observed,
            phi,
            GradientDescent(make("sgd", speed / pace * count / 2)),
            params=params,
            probes=probes,
            stop=Stop(loss=goal, steps=steps),
            early_stopping=EarlyStopping("test_error", settings.patience, loss_share=0.9) if probes else None,
            samples=np.arange(steps + 1),
            progress=progress,
        )
        if trajectory.interrupted:
            raise KeyboardInterrupt
        loss = trajectory["loss"]
        if trajectory.status != "diverged" and (np.diff(loss) <= 1e-3 * loss[:-1] + 1e-6 * loss[0]).all():
            left, right = trajectory.params[-1], trajectory.params[0].T
            for factor in trajectory.params[-2:0:-1]:
                left = left @ factor
            # In double precision, where a unit of 1e50 is a number too.
            factors = np.asarray(left, np.float64) * unit, np.asarray(right, np.float64)
            return _Descent(trajectory, factors, speed)
        speed /= 2
    raise ValueError(f"values: descent diverged at {HALVINGS} rates; are there extreme outliers?")


def _spectral_norm(entries: _Residual, unit: float) -> float:
    """Largest singular value, in units of ``unit``, of the matrix with these entries and zeros elsewhere."""
    matrix = coo_array((entries.values.astype(np.float64) / unit, (entries.i, entries.j)), shape=entries.shape).tocsr()
    if min(entries.shape) < 3:
        return float(norm(matrix))
    values: Any = svds(matrix, k=1, tol=1e-2, return_singular_vectors=False, rng=0)  # pyright: ignore[reportArgumentType] - tol is a float
    return float(values[0])


def _dots(left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """``(left @ right.T)[i, j]``; rows of the factors are gathered a piece at a time."""
    out = np.empty(len(i))
    for start in range(0, len(i), 65536):
        piece = slice(start, start + 65536)
        out[piece] = np.einsum("ek,ek->e", left[i[piece]], right[j[piece]])
    return out


def _part(progress: bool | Report, number: int, count: int) -> bool | Report:
    """The progress of one of several runs as its share of the whole."""
    if not callable(progress):
        return progress
    return lambda fraction, message: progress((number + fraction) / count, message)
