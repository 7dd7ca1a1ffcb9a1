"""What a tensor's entries have by the indices of single axes, or of several: the baseline of a completion."""

import dataclasses
import itertools
import math

import numpy as np

from ._tensor_sums import DENSE

SWEEPS = 15
"""Rounds over the terms."""
LEAST = 1e-12
"""Of a variance, in that of the entries."""

Axes = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class TensorEffects:
    """``mean`` and, for each set of axes in ``terms``, a table of effects by their joint index."""

    mean: float
    terms: tuple[Axes, ...]
    tables: tuple[np.ndarray, ...]
    shape: tuple[int, ...]

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Their sum at ``indices`` (m x N)."""
        found = np.full(len(indices), self.mean)
        for axes, table in zip(self.terms, self.tables, strict=True):
            found += table[joint(indices, self.shape, axes)]
        return found


def joint(indices: np.ndarray, shape: tuple[int, ...], axes: Axes) -> np.ndarray:
    """One index for those of several axes."""
    if len(axes) == 1:
        return indices[:, axes[0]]
    return np.ravel_multi_index(tuple(indices[:, k] for k in axes), tuple(shape[k] for k in axes))


def fit_tensor_effects(
    indices: np.ndarray, values: np.ndarray, shape: tuple[int, ...], terms: tuple[Axes, ...]
) -> TensorEffects:
    """Random effects, alternating, each term's variance learned beside the noise's; 0 where nothing was observed."""
    mean = float(values.mean())
    left = values - mean
    size = float(left @ left) / len(left)
    codes = [joint(indices, shape, axes) for axes in terms]
    counts = [
        np.bincount(code, minlength=math.prod(shape[k] for k in axes)) for code, axes in zip(codes, terms, strict=True)
    ]
    tables = [np.zeros(len(count)) for count in counts]
    variances, noise = [size / (len(terms) + 1)] * len(terms), size / (len(terms) + 1)
    for _ in range(SWEEPS if terms and size > 0 else 0):
        spare = 0.0
        for k, code in enumerate(codes):
            left += tables[k][code]
            there = counts[k] > 0
            total = np.bincount(code, left, len(counts[k]))
            posterior = 1 / (counts[k] / noise + 1 / variances[k])
            tables[k] = posterior * total / noise
            left -= tables[k][code]
            variances[k] = max(float(np.mean((tables[k] ** 2 + posterior)[there])), LEAST * size)
            spare += float(np.sum((counts[k] * posterior)[there]))
        noise = max((float(left @ left) + spare) / len(left), LEAST * size)
    return TensorEffects(mean, terms, tuple(tables), shape)


def single_axes(order: int) -> tuple[Axes, ...]:
    """The terms of additive effects."""
    return tuple((k,) for k in range(order))


def fibers(shape: tuple[int, ...], count: int) -> tuple[Axes, ...]:
    """The terms of additive effects, and of all fibers and slices whose tables are not much larger than the data."""
    order = len(shape)
    several = (axes for size in range(2, order) for axes in itertools.combinations(range(order), size))
    return single_axes(order) + tuple(axes for axes in several if math.prod(shape[k] for k in axes) <= DENSE * count)
