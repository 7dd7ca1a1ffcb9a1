"""Tables and images on a disk, as rows of numbers around 0: read block by block, as often as they are needed."""

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..problems import ChunkedRows
from ..problems._chunked_rows import Rows
from ..problems._sources import ArraySource, Source, check_whole, chunk_of, let_go, on_disk
from ._columns import ROUNDING
from ._rows import pixels, standardized

SWEEPS = 7
"""Of the subspace iteration, each of which reads all rows; as many as scikit-learn takes in memory at most."""
NEAR = 8
"""Rows between two that are asked for, up to which all of them are read in one go."""
MORE = 16
"""Directions that are carried along beside those that are asked for."""


class Blocks:
    """An array on a disk by blocks of rows, each an array of its own."""

    def __init__(self, X: Any):
        self.X: Any = X.source.X if isinstance(X, ChunkedRows) and isinstance(X.source, ArraySource) else X
        self.shape = tuple(int(n) for n in self.X.shape)
        # Twice as wide while they are looked at; and two at least, so that a first block says what rows are.
        chunk = X.chunk if isinstance(X, ChunkedRows) else chunk_of(self.shape, np.dtype(np.float64))
        self.size = max(2, chunk)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows from ``start`` on, before ``stop``."""
        check_whole(self.X)
        rows = np.array(self.X[start:stop], order="C", subok=False)
        let_go(self.X)
        return rows

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, self.shape[0], self.size):
            yield self.read(start, min(start + self.size, self.shape[0]))


def is_on_disk(X: Any) -> bool:
    """Whether rows are to be read block by block."""
    return isinstance(X, ChunkedRows) or on_disk(X)


def scaling_of_blocks(blocks: Callable[[], Iterator[np.ndarray]], images: bool) -> dict[str, np.ndarray]:
    """``scaling_of`` of rows that come block by block: once for their range, and once for their moments."""
    low, high = np.inf, -np.inf
    for rows in blocks():
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    exponent = np.zeros(len(low), int) if images else np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
    # From an entry on, so that a constant column is left without a rounding error.
    anchor = np.ldexp(low, -exponent)
    count, mean, squares = 0, np.zeros(len(low)), np.zeros(len(low))
    for rows in blocks():
        away = np.ldexp(rows.astype(np.float64), -exponent) - anchor
        many, of_block = len(away), away.mean(axis=0)
        step = of_block - mean
        squares += ((away - of_block) ** 2).sum(axis=0) + step**2 * (count * many / (count + many))
        mean += step * (many / (count + many))
        count += many
    centre = anchor + mean
    if images:
        deviation = np.full(len(mean), math.sqrt(squares.sum() / (count * len(mean))))
    else:
        deviation = np.sqrt(squares / count)
        deviation = np.where(deviation <= ROUNDING * np.abs(centre), 0, deviation)
    return {"exponent": exponent, "centre": centre, "deviation": deviation}


class StandardizedRows(Source):
    """Rows of an array on a disk, all or some, in units of their deviations."""

    def __init__(
        self,
        blocks: Blocks,
        images: bool,
        scaling: dict[str, np.ndarray],
        positions: np.ndarray | None = None,
        shape: tuple[int, ...] | None = None,
    ):
        self.blocks, self.images, self.scaling, self.positions = blocks, images, scaling, positions
        shape = (math.prod(blocks.shape[1:]),) if shape is None else shape
        self.shape = (blocks.shape[0] if positions is None else len(positions), *shape)
        self.dtype = np.dtype(jnp.result_type(float))
        self.digest = os.urandom(32)  # no other data are these, and no checkpoint asks for them

    def where(self, chosen: np.ndarray, shape: tuple[int, ...]) -> "StandardizedRows":
        """The chosen of all rows, in this shape."""
        return StandardizedRows(self.blocks, self.images, self.scaling, np.flatnonzero(chosen), shape)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._at(np.arange(start, stop) if self.positions is None else self.positions[start:stop])

    def take(self, positions: np.ndarray) -> np.ndarray:
        return self._at(positions if self.positions is None else self.positions[positions])

    def _at(self, positions: np.ndarray) -> np.ndarray:
        """Rows at increasing positions."""
        runs = np.split(positions, np.flatnonzero(np.diff(positions) > NEAR) + 1)
        rows = np.concatenate([self.blocks.read(int(run[0]), int(run[-1]) + 1)[run - run[0]] for run in runs])
        rows = rows.reshape(len(rows), -1)
        z = standardized(pixels(rows) if self.images else rows.astype(np.float64), self.scaling)
        return z.reshape(-1, *self.shape[1:]).astype(self.dtype, copy=False)


def rows_where(rows: np.ndarray | ChunkedRows, chosen: np.ndarray, shape: tuple[int, ...]) -> Rows:
    """The chosen rows in this shape, for networks: in memory where they are no more than a chunk."""
    if isinstance(rows, np.ndarray):
        return jnp.asarray(rows[chosen].reshape(-1, *shape), jnp.result_type(float))
    source = rows.source
    assert isinstance(source, StandardizedRows)  # as fit sees to
    some = source.where(chosen, shape)
    if some.shape[0] <= rows.chunk:
        return jnp.asarray(some.read(0, some.shape[0]))
    return ChunkedRows(some, rows.chunk)


def blocks_of(rows: np.ndarray | ChunkedRows) -> Iterator[np.ndarray]:
    """Rows in memory as one block, others chunk by chunk; flat."""
    if isinstance(rows, np.ndarray):
        yield rows
        return
    for start in range(0, len(rows), rows.chunk):
        yield rows.source.read(start, min(start + rows.chunk, len(rows))).reshape(-1, math.prod(rows.shape[1:]))


def principal_axes(rows: ChunkedRows, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Leading principal directions, one a row, and the mean: by subspace iteration, which keeps no rows.

    References
    ----------
    Halko, Martinsson, Tropp. Finding structure with randomness. SIAM Review 2011, algorithm 4.4.
    """
    p = math.prod(rows.shape[1:])
    mean = np.zeros(p)
    for block in blocks_of(rows):
        mean += block.sum(axis=0, dtype=np.float64) / len(rows)
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(p, min(rank + MORE, p))))[0]
    for _ in range(SWEEPS):
        product = np.zeros_like(Q)
        for block in blocks_of(rows):
            centered = block - mean
            product += centered.T @ (centered @ Q)
        # Rayleigh-Ritz: directions in the span, in the order of their variances.
        turn = np.linalg.eigh(Q.T @ product)[1]
        Q = np.linalg.qr(product @ turn[:, ::-1])[0]
    components = Q[:, :rank].T
    largest = np.abs(components).argmax(axis=1)  # positive, as scikit-learn has them
    return components * np.sign(components[np.arange(rank), largest])[:, None], mean
