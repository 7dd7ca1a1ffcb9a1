"""Tables and images as rows of numbers around 0, of size 1, and the way back."""

import math
from typing import Any

import numpy as np

from .._validation import check_shape
from ._columns import Columns
from ._validation import check_no_times, check_unmasked

PRECISION = np.float32
"""What rows are rounded to, so that units, which change the last bits of wider floats, do not change what is fitted."""


def as_table(X: Any) -> tuple[Any, tuple[int, ...] | None]:
    """What scikit-learn's checks take, a row for each image, and (height, width, channels); None for two axes."""
    check_unmasked("X", X)
    check_no_times("X", X)
    if isinstance(X, (list, tuple)):
        try:
            X = np.asarray(X)
        except ValueError:  # ragged: scikit-learn says so
            return X, None
    if getattr(X, "ndim", 2) not in (3, 4):
        return X, None
    array = np.asarray(X)
    if array.size == 0:
        raise ValueError(f"X: expected at least one image, found shape {array.shape}")
    return array.reshape(len(array), -1), array.shape[1:] if array.ndim == 4 else (*array.shape[1:], 1)


def check_image_shape(shape: Any) -> tuple[int, ...]:
    """(height, width, channels); one channel may be left out."""
    shape = check_shape("image_shape", shape)
    if len(shape) not in (2, 3):
        raise ValueError(f"image_shape: expected (height, width) or (height, width, channels), found {shape}")
    return shape if len(shape) == 3 else (*shape, 1)


def pixels(X: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1; bytes as their 255th parts."""
    if X.dtype == np.uint8:
        return X.astype(PRECISION) / PRECISION(255)
    low, high = X.min(), X.max()
    if low < 0 or high > 1:
        bytes_ = low >= 0 and high <= 255
        hint = "; give bytes as uint8, or divide them by 255" if bytes_ else ""
        raise ValueError(f"X: expected pixels from 0 to 1, or bytes, found {low:g} to {high:g}{hint}")
    return X


def scaling_of(X: np.ndarray, images: bool) -> dict[str, np.ndarray]:
    """How rows become numbers around 0: 2^exponent (deviation z + centre), column by column.

    Of images the deviation, a root mean square, is the same for all pixels. Constant columns have deviation 0.
    """
    if images:
        mean = X.mean(axis=0, dtype=np.float64)
        if (X[:1] == X).all():
            mean = X[0].astype(np.float64)  # without a rounding error
        squares = sum(float(np.sum((rows - mean) ** 2)) for rows in np.array_split(X, math.ceil(len(X) / 1024)))
        deviation = np.full(len(mean), math.sqrt(squares / X.size))
        return {"exponent": np.zeros(len(mean), int), "centre": mean, "deviation": deviation}
    columns = Columns(np.asarray(X, np.float64), np.ones(X.shape, bool))
    return {"exponent": columns._exponents, "centre": columns._centre, "deviation": columns._deviation}


def standardized(X: np.ndarray, scaling: dict[str, np.ndarray]) -> np.ndarray:
    """Rows in these units; 0 in constant columns."""
    spread = scaling["deviation"]
    scaled = X if not scaling["exponent"].any() else np.ldexp(X.astype(np.float64), -scaling["exponent"])
    dtype = scaled.dtype
    with np.errstate(over="ignore"):
        z = (scaled - scaling["centre"].astype(dtype)) / np.where(spread > 0, spread, 1).astype(dtype)
        return np.where(spread > 0, z, 0).astype(PRECISION, copy=False)


def restored(z: np.ndarray, scaling: dict[str, np.ndarray]) -> np.ndarray:
    """Rows in units of the data."""
    return np.ldexp(scaling["centre"] + scaling["deviation"] * z.astype(np.float64), scaling["exponent"])
