"""What a tensor with holes may be given as: an array with NaN or a mask, or indices and values."""

import dataclasses
import math
from typing import Any

import numpy as np

from .._validation import as_numpy, check_shape
from ._columns import ROUNDING
from ._validation import check_no_times, check_vector


@dataclasses.dataclass(frozen=True)
class Observed:
    """Observed entries ``values`` (m) at distinct ``indices`` (m x N) of a tensor of a shape."""

    indices: np.ndarray
    values: np.ndarray
    shape: tuple[int, ...]

    def units(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the entries of each slice; 0 where it is constant or empty."""
        place, length = self.indices[:, axis], self.shape[axis]
        many = np.maximum(np.bincount(place, minlength=length), 1)
        largest = np.zeros(length)
        np.maximum.at(largest, place, np.abs(self.values))
        scale = np.where(largest > 0, largest, 1)
        scaled = self.values / scale[place]
        means = np.bincount(place, scaled, length) / many
        deviations = np.sqrt(np.bincount(place, (scaled - means[place]) ** 2, length) / many)
        return scale * means, np.where(deviations > ROUNDING, scale * deviations, 0)


def observed_tensor(X: Any, shape: tuple[int, ...] | None) -> Observed:
    """The entries of an array that are not NaN, nor masked."""
    check_no_times("X", X)
    if isinstance(X, np.ma.MaskedArray):
        _check_real(X.dtype)
        X = np.ma.filled(X.astype(np.float64), np.nan)
    array = as_numpy("X", X)
    _check_real(array.dtype)
    if array.ndim < 2:
        raise ValueError(f"X: expected a tensor of order 2 or higher, found shape {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"X: expected no axis of length 0, found shape {array.shape}")
    if shape is not None and check_shape("shape", shape) != array.shape:
        raise ValueError(f"X: expected the shape that was given, {tuple(shape)}, found {array.shape}")
    array = array.astype(np.float64)
    infinite = np.isinf(array)
    if infinite.any():
        where = [int(k[0]) for k in np.nonzero(infinite)]
        raise ValueError(
            f"X: expected finite numbers, and NaN in the holes, found {array[tuple(where)]} at index {where}"
        )
    seen = ~np.isnan(array)
    return Observed(np.argwhere(seen), array[seen], array.shape)


def observed_entries(X: Any, y: Any, shape: tuple[int, ...] | None) -> Observed:
    """Entries ``y`` at indices ``X``, none of them twice."""
    indices = check_indices_of("X", X, shape)
    values = check_vector("y", y, len(indices))
    if not len(indices):
        raise ValueError("X: expected at least 2 observed entries, found none")
    shape = tuple(int(n) + 1 for n in indices.max(0)) if shape is None else check_shape("shape", shape)
    if math.prod(shape) >= 2**63:
        raise ValueError(f"shape: expected fewer than 2^63 entries in all, found {shape}")
    flat = np.asarray(np.ravel_multi_index(tuple(indices.T), shape))
    order = np.argsort(flat, kind="stable")
    again = np.flatnonzero(np.diff(flat[order]) == 0)
    if again.size:
        first, second = order[again[0]], order[again[0] + 1]
        raise ValueError(f"X: expected every index once, found {indices[first].tolist()} in rows {first} and {second}")
    return Observed(indices, values, shape)


def check_indices_of(name: str, X: Any, shape: tuple[int, ...] | None) -> np.ndarray:
    """``X`` as m x N integers from 0, below ``shape`` where it is known."""
    check_no_times(name, X)
    array = as_numpy(name, X)
    if array.ndim != 2:
        raise ValueError(f"{name}: expected a row of indices for each entry, found shape {array.shape}")
    order = array.shape[1]
    if shape is not None and order != len(shape):
        raise ValueError(f"{name}: expected {len(shape)} indices a row, for shape {tuple(shape)}, found {order}")
    if order < 2:
        raise ValueError(f"{name}: expected 2 indices a row or more, found {order}")
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, found dtype {array.dtype}")
    limit = np.array(shape if shape is not None else [2**62] * order)
    bad = np.argwhere((array < 0) | (array >= limit))
    if bad.size:
        row, axis = bad[0].tolist()
        expected = f"indices from 0 to {limit[axis] - 1}" if shape is not None else "indices from 0"
        raise ValueError(f"{name}: expected {expected} on axis {axis}, found {array[row, axis]} in row {row}")
    return array.astype(np.int64)


def _check_real(dtype: np.dtype) -> None:
    if dtype.kind not in "iufb":
        raise TypeError(f"X: expected a tensor of real numbers, found dtype {dtype}")
