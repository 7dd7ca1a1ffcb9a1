"""How a rank-minimizing autoencoder is fitted to rows around 0: its rank first, and then a map of that rank."""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from ..dynamics import GradientDescent, Stop
from ..linalg import numerical_rank
from ..networks import AE, HeldOutReconstruction, Weights
from ..networks._linear import product
from ..optimizers import make
from ..problems import ChunkedRows, Reconstruction
from ..problems._chunked_rows import Rows
from ..training import EarlyStopping, Trajectory, train
from ..training._progress import Report
from ._linear_path import Bottleneck, WithLinearPath, by_name, from_names, principal_start, without_linear_paths
from ._rows_on_disk import blocks_of, principal_axes

PIECE = 256
"""Rows that are encoded or decoded together: always so many, so that there is one program, and a row is the same
whatever is beside it."""
LOOKS = 200
"""How often the held-out rows are looked at, at most, and every how many steps at most."""
EVERY = 25
ERRORS = 2
"""Standard errors that what is gained over principal components has to exceed."""
MOVED = 0.95
"""Patience counts once the loss is below this share of its start: from small initialization nothing moves at first."""


@dataclasses.dataclass(frozen=True)
class Training:
    """What is the same for all runs of a fit."""

    steps_per_epoch: int
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    held_out: Rows

    @property
    def looks(self) -> np.ndarray:
        """Steps at which the held-out rows are looked at."""
        steps = self.steps_per_epoch * self.epochs
        every = max(EVERY, self.steps_per_epoch, math.ceil(steps / LOOKS))
        return np.unique([*range(every, steps, every), steps])

    def run(self, phi: Bottleneck, params: Weights, seed: int, report: Report) -> Trajectory:
        """Descend, and keep the weights that reconstruct the held-out rows best, the start's among them."""
        held_out = HeldOutReconstruction(self.held_out)
        found = train(
            Reconstruction(phi.X),
            phi,
            GradientDescent(make("adam", self.learning_rate), self.batch_size),
            params=params,
            key=seed,
            probes=(held_out,),
            stop=Stop(loss=None, steps=int(self.looks[-1])),
            early_stopping=EarlyStopping(held_out.name, self.patience, MOVED),
            samples=self.looks,
            progress=report,
        )
        if found.status == "diverged":
            warnings.warn(
                f"learning_rate: the run diverged after {found.steps[-1]} steps at {self.learning_rate:g}; the weights "
                "that were best before are kept, a smaller rate goes on",
                ConvergenceWarning,
                stacklevel=2,
            )
        return found


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What is fitted: weights, the spectrum of the codes of the first run, mean squares on held-out rows."""

    weights: dict[str, np.ndarray]
    singular_values: np.ndarray
    rank: int
    errors: dict[str, float]
    path: np.ndarray


def fit(
    rows: np.ndarray | ChunkedRows,
    held: np.ndarray,
    phi: Bottleneck,
    training: Training,
    threshold: float,
    components: int | None,
    refit: bool,
    seed: int,
    report: Report,
) -> Fitted:
    """Train ``phi``, whose data are the rows that are not ``held``; the parameters are the estimator's."""
    key, name = jax.random.key(seed), "held_out_reconstruction"
    run = training.run(phi, phi.init(key, 1.0), seed, lambda done, line: report(done / 2, f"rank: {line}"))
    path, params = np.asarray(run[name], np.float64), without_linear_paths(run.params)
    variances = principal(_codes(phi, params, rows))[1]
    rank = int(numerical_rank(jnp.asarray(variances), threshold))
    if rank == 0:
        warnings.warn(
            f"layers: with {phi.layers} all codes came out alike after {run.steps[-1]} steps, so that one component is "
            "kept; take fewer layers, or more epochs",
            ConvergenceWarning,
            stacklevel=4,
        )
    rank = max(rank, 1) if components is None else components

    def costs(of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return np.concatenate([np.mean((of(some) - some) ** 2, axis=1) for some in _where(held, rows)])

    trained = sum(some.sum(axis=0, dtype=np.float64) for some in _where(~held, rows)) / (~held).sum()
    errors = {"mean": float(costs(lambda some: trained).mean())}

    if not refit:
        model = _model(phi, params, rank, rows)
    else:
        # From components of all rows, and away from them only where rows that they have seen come out better.
        start = principal_start(phi.init(jax.random.fold_in(key, 1), 1.0), *_components(rows, rank, seed))
        narrow = phi.of_rank(rank)
        run = training.run(narrow, start, seed + 1, lambda done, line: report((1 + done) / 2, f"map: {line}"))
        model, straight = (_model(narrow, params, rank, rows) for params in (run.params, start))
        without, with_network = costs(straight.again), costs(model.again)
        gain, errors["linear"] = without - with_network, float(without.mean())
        # Of few rows that differ much a mean tells little, and of all looks at them the best one was taken.
        if len(gain) < 2 or gain.mean() <= ERRORS * gain.std(ddof=1) / math.sqrt(len(gain)):
            model = straight
    errors["network"] = float(costs(model.again).mean())
    return Fitted(model.weights, np.sqrt(variances), rank, errors, path)


def _where(chosen: np.ndarray, rows: np.ndarray | ChunkedRows) -> Iterator[np.ndarray]:
    """The chosen rows, block by block."""
    start = 0
    for block in blocks_of(rows):
        some = block[chosen[start : start + len(block)]]
        start += len(block)
        if len(some):
            yield some


def _components(rows: np.ndarray | ChunkedRows, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal directions, one a row, and the mean."""
    if isinstance(rows, ChunkedRows):
        return principal_axes(rows, rank, seed)
    found: Any = PCA(rank, random_state=seed).fit(rows)
    return found.components_, found.mean_


def _codes(phi: Bottleneck, params: Weights, rows: np.ndarray | ChunkedRows) -> Iterator[np.ndarray]:
    network, matrix = Network(phi.architecture, params), _matrix(phi, params)
    for block in blocks_of(rows):
        yield network.features(block) @ matrix.T


def _matrix(phi: Bottleneck, params: Weights) -> np.ndarray:
    """What features are multiplied with, as one matrix."""
    inside = product(params.linear) if params.linear else np.eye(phi.architecture.code_size)
    return np.asarray(phi.P, np.float64) @ np.asarray(inside, np.float64)


def _model(phi: Bottleneck, params: Weights, rank: int, rows: np.ndarray | ChunkedRows) -> "Model":
    """The maps between rows and the leading principal directions of their codes."""
    mean, _, directions = principal(_codes(phi, params, rows))
    kept = directions[:, :rank]
    weights = by_name(params._replace(linear=())) | {
        "code.matrix": kept.T @ _matrix(phi, params),
        "code.offset": -kept.T @ mean,
        "directions.matrix": kept,
        "directions.offset": mean,
    }
    return Model(phi.architecture, weights)


def principal(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of codes, block by block: mean, variances (over m - 1) in descending order, and directions.

    Directions are one a column, their largest entry positive.
    """
    count, mean, products = 0, 0.0, 0.0
    for codes in blocks:
        of_block, many = codes.mean(axis=0), len(codes)
        centered, step = codes - of_block, of_block - mean
        products += centered.T @ centered + np.outer(step, step) * (count * many / (count + many))
        mean += step * (many / (count + many))
        count += many
    variances, directions = np.linalg.eigh(np.asarray(products) / max(count - 1, 1))
    variances, directions = np.maximum(variances[::-1], 0), directions[:, ::-1]
    largest = np.abs(directions).argmax(axis=0)
    signs = np.where(directions[largest, np.arange(len(directions))] < 0, -1, 1)
    return np.asarray(mean), variances, directions * signs


class Network:
    """Encoder and decoder of an architecture with weights, for any number of rows."""

    def __init__(self, architecture: WithLinearPath, params: Weights):
        self.phi, self.params = _without_data(architecture), params._replace(linear=())

    def features(self, rows: np.ndarray) -> np.ndarray:
        """What the encoder makes of rows (m x p)."""
        shape = self.phi.architecture.shape
        return _by_pieces(lambda some: self.phi.features(self.params, some.reshape(-1, *shape)), rows)

    def rows(self, codes: np.ndarray) -> np.ndarray:
        """What is decoded (m x p)."""
        return _by_pieces(lambda some: self.phi.decode(self.params, some), codes)


class Model:
    """The fitted maps between rows and coordinates, from the arrays that are kept of them."""

    def __init__(self, architecture: WithLinearPath, weights: dict[str, np.ndarray]):
        self.weights = weights
        self.network = Network(architecture, from_names(architecture, weights))

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """Coordinates (m x r) of rows (m x p)."""
        return self.network.features(rows) @ self.weights["code.matrix"].T + self.weights["code.offset"]

    def rows(self, codes: np.ndarray) -> np.ndarray:
        """Rows (m x p) from coordinates (m x r)."""
        return self.network.rows(codes @ self.weights["directions.matrix"].T + self.weights["directions.offset"])

    def again(self, rows: np.ndarray) -> np.ndarray:
        """What is made of rows by way of their coordinates."""
        return self.rows(self.codes(rows))


@functools.lru_cache(16)
def _without_data(architecture: WithLinearPath) -> AE:
    """It asks for some to be made; what is encoded is no part of it."""
    data = np.zeros((2, *architecture.shape), np.float32)
    data[1] = 1
    return AE(architecture, jnp.asarray(data))


def _by_pieces(f: Any, rows: np.ndarray) -> np.ndarray:
    found = []
    for start in range(0, len(rows), PIECE):
        some = np.asarray(rows[start : start + PIECE], jnp.result_type(float))
        filled = np.zeros((PIECE, *some.shape[1:]), some.dtype)
        filled[: len(some)] = some
        found.append(np.asarray(f(filled), np.float64)[: len(some)].reshape(len(some), -1))
    return np.concatenate(found)
