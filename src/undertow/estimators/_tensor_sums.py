"""Sums over the observed entries of a tensor, one for each row of a factor: all that fitting it needs."""

import math
from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 21
"""Numbers that are made at a time."""
DENSE = 32
"""A tensor with at most this many entries for each observed one is summed by matrix products, zeros in its holes."""


class Entries:
    """Observed entries ``values`` (m) at ``indices`` (m x N) of a tensor.

    ``sums(n, tables)`` is, for each index of axis n, the sum over its entries of the products of the other axes'
    rows of ``tables``; with ``weighted``, each times its value. Work is that of the observed entries times the columns
    of the tables, at most ``DENSE`` times over where matrix products are the faster way.
    """

    def __init__(self, indices: np.ndarray, values: np.ndarray, shape: tuple[int, ...]):
        self.indices, self.values, self.shape = indices, values, shape
        size = math.prod(shape)
        self.dense = size <= DENSE * len(values)
        if self.dense:
            flat = np.ravel_multi_index(tuple(indices.T), shape)
            there, filled = np.zeros(size), np.zeros(size)
            there[flat], filled[flat] = 1, values
            self._unfolded = [[self._unfold(x.reshape(shape), n) for n in range(len(shape))] for x in (there, filled)]
        else:
            self._orders = [np.argsort(indices[:, n], kind="stable") for n in range(len(shape))]

    @staticmethod
    def _unfold(tensor: np.ndarray, axis: int) -> np.ndarray:
        """Rows are the indices of an axis; no copy for the first and the last."""
        if axis == tensor.ndim - 1:
            return tensor.reshape(-1, tensor.shape[axis]).T
        return np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)

    def sums(self, axis: int, tables: list[np.ndarray], *, weighted: bool) -> np.ndarray:
        """One row for each index of ``axis``, one column for each of the tables'."""
        others = [k for k in range(len(self.shape)) if k != axis]
        width = tables[others[0]].shape[1]
        found = np.zeros((self.shape[axis], width))
        if self.dense:
            unfolded = self._unfolded[int(weighted)][axis]
            for start, block in _products([tables[k] for k in others]):
                found += unfolded[:, start : start + len(block)] @ block
            return found
        step = max(1, BLOCK // width)
        order = self._orders[axis]
        for start in range(0, len(order), step):
            places = order[start : start + step]
            rows = tables[others[0]][self.indices[places, others[0]]]
            for k in others[1:]:
                rows *= tables[k][self.indices[places, k]]
            if weighted:
                rows *= self.values[places, None]
            to = self.indices[places, axis]
            cuts = np.flatnonzero(np.diff(to, prepend=-1))
            found[to[cuts]] += np.add.reduceat(rows, cuts, axis=0)
        return found


def _products(tables: list[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """All products of a row of each table, the last one's changing fastest, in blocks with the first one's number."""
    first, rest = tables[0], tables[1:]
    width, count = first.shape[1], math.prod(len(table) for table in rest)
    if count * width <= BLOCK:
        across = np.ones((1, width))
        for table in rest:
            across = (across[:, None] * table).reshape(-1, width)
        step = max(1, BLOCK // (count * width))
        for start in range(0, len(first), step):
            yield start * count, (first[start : start + step, None] * across).reshape(-1, width)
        return
    for number, row in enumerate(first):
        for start, block in _products(rest):
            yield number * count + start, row * block
