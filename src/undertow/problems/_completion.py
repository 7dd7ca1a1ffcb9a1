"""Completion of a matrix or a tensor: what is the same for any number of axes."""

import math
from collections.abc import Callable, Mapping

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from .._arrays import placed
from .._validation import Numbers, check_array, check_indices
from ..linalg import EntryPattern, ManyAxes, axes_of
from ..linalg._many_axes import MANY_AXES
from ._base import ObservedEntries, check_normalization, normalized, scaled
from ._equations import Equations, entries, weight_of

DENSE_SIZE = 250_000
"""Up to this many entries a whole matrix costs less than a sparse layout of it."""
DENSE_SHARE = 0.06
"""Beyond that, a whole matrix is formed where more than this share of it is observed (measured on two cores)."""


class Completion(ObservedEntries):
    """Fit m entries of w at positions of any number of axes, kept in the order of the first axis, then the second, ...

    What a subclass adds is how positions are given, and their names for the errors.
    """

    shape: eqx.AbstractVar[tuple[int, ...]]
    indices: tuple[Int[Array, " m"], ...] | EntryPattern | ManyAxes
    values: Float[Array, " m"]
    truth: Float[Array, "..."] | None
    normalization: str = eqx.field(static=True)
    observed: int = eqx.field(static=True)
    counts: Float[Array, " m"] | None

    def __init__(
        self,
        shape: tuple[int, ...],
        positions: Mapping[str, Numbers],
        values: Numbers,
        truth: Numbers | None,
        normalization: str,
    ):
        self.shape = shape
        axes = [check_indices(name, axis, n) for (name, axis), n in zip(positions.items(), shape, strict=True)]
        self.values = check_array("values", values, dimensions=1)
        m = self.values.size
        if any(axis.size != m for axis in axes):
            found = ", ".join(
                f"{size} {name}"
                for name, size in zip([*positions, "values"], [*(a.size for a in axes), m], strict=True)
            )
            raise ValueError(f"{', '.join(positions)}, values: expected equal lengths, found {found}")
        if m == 0:
            raise ValueError("values: expected at least one observed entry, found none")
        order = np.lexsort(axes[::-1])
        _check_distinct(list(positions), axes, order)
        axes, self.values = [axis[order] for axis in axes], self.values[order]
        self.indices = _laid_out(axes, shape)
        self.truth = check_truth(truth, shape)
        self.normalization = check_normalization(normalization)
        self.observed, self.counts = m, None

    def loss_of_entries(self, entries: Float[Array, " m"]) -> Float[Array, ""]:
        return normalized(entries - self.values, self.normalization, self.counts, self.observed)

    @property
    def terms(self) -> int:
        """The observed entries."""
        return self.observed

    def part(self, positions: Int[Array, " k"], counts: Float[Array, " k"]) -> "Completion":
        if isinstance(self.indices, ManyAxes):
            indices = self.indices.at(positions)
        else:
            indices = tuple(axis[positions] for axis in axes_of(self.indices))
        return eqx.tree_at(
            lambda p: (p.indices, p.values, p.counts),
            self,
            (indices, self.values[positions], counts),
            is_leaf=lambda x: x is None,
        )

    def residuals(self, w: Float[Array, "..."]) -> Float[Array, " m"]:
        return scaled(w[axes_of(self.indices)] - self.values, self.normalization, self.counts, self.observed)

    def relabeled(self, change: Callable[[Array], Array]) -> "Completion":
        return eqx.tree_at(lambda p: p.values, self, change(self.values))

    def equations(self) -> Equations:
        where = np.ravel_multi_index([np.asarray(axis, np.int64) for axis in axes_of(self.indices)], self.shape)
        return entries(where, self.values, math.prod(self.shape), weight_of(self.normalization, where.size))


def check_truth(truth: Numbers | None, shape: tuple[int, ...]) -> Float[Array, "..."] | None:
    """``truth`` as an array of the given shape, where there is one."""
    if truth is None:
        return None
    array = check_array("truth", truth, dimensions=len(shape))
    if array.shape != shape:
        raise ValueError(f"truth: expected shape {shape}, found {array.shape}")
    return array


def _laid_out(axes: list[np.ndarray], shape: tuple[int, ...]) -> tuple[Int[Array, " m"], ...] | EntryPattern | ManyAxes:
    """Sorted positions, in the layout of a sparse matrix where they are few of a large one; as one array of many."""
    if len(shape) >= MANY_AXES:
        return ManyAxes(axes, max(shape))
    if len(shape) == 2:
        size = math.prod(shape)
        if size > DENSE_SIZE and axes[0].size < DENSE_SHARE * size:
            return EntryPattern(axes[0], axes[1], (shape[0], shape[1]))
    return tuple(placed(axis) for axis in axes)


def _check_distinct(names: list[str], axes: list[np.ndarray], order: np.ndarray) -> None:
    """Raise where a position stands twice; ``order`` sorts them, equal ones in the order in which they are given."""
    again = np.flatnonzero(np.logical_and.reduce([np.diff(axis[order]) == 0 for axis in axes]))
    if again.size:
        first, second = order[again[0]], order[again[0] + 1]
        position = ", ".join(str(axis[first]) for axis in axes)
        raise ValueError(
            f"{', '.join(names)}: expected every entry once, found ({position}) at positions {first} and {second}"
        )
