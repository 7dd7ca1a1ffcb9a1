"""Reconstruction: rows of w near the rows of a data set."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._validation import Numbers, check_array, check_choice
from ..linalg import EntryPattern, ManyAxes, axes_of
from ._base import ObservedEntries, check_normalization
from ._chunked_rows import ChunkedRows, Rows, in_chunks, range_of
from ._equations import Equations, entries, weight_of

LOSSES = ("squares", "cross_entropy")
PIECE = 2**18
"""Most numbers of w that are looked at together: 256 images of 32 x 32. A network keeps some hundred times as many."""
LEAST_LOGARITHM = -100.0
"""Of a probability of zero, so that a network which is sure and wrong has a loss and a slope."""


class Reconstruction(ObservedEntries):
    r"""Rows of w near the rows of a data set: loss :math:`\frac{1}{N d} \sum_{ij} (W_{ij} - X_{ij})^2`.

    What an autoencoder is trained for (``networks.AE``). A term is a row, so that a mini-batch asks for its rows alone;
    the whole is looked at in pieces, and takes no more memory than one of them.

    Parameters
    ----------
    X
        The data, N rows of any shape: table rows, images. Bytes (uint8) are kept as they are, and stand for
        their 255th parts. An array of JAX's is shared by all that are given it, not copied. A ``numpy.memmap`` of more
        than 32 MiB is read chunk by chunk, as other arrays on a disk are by ``ChunkedRows``.
    loss
        "squares" (the default, as written above), or "cross_entropy", :math:`-X \log W - (1 - X) \log(1 - W)` in nats
        in place of each square, for X and W from 0 to 1; logarithms count as -100 at least. Its minimum is above zero
        where X is not 0 or 1 throughout.
    normalization
        "mean" (the default, as written above), "half_mean", "sum" or "half_sum" over all numbers of X.

    Raises
    ------
    TypeError, ValueError
        If ``X`` is empty, has one axis, or an entry is not finite; with "cross_entropy", if one is not from 0 to 1; if
        ``loss`` or ``normalization`` is unknown.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> problem = Reconstruction(np.array([[0, 255], [255, 255]], np.uint8))
    >>> float(problem.loss(jnp.zeros((2, 2))))
    0.75
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    X: Rows
    loss_name: str = eqx.field(static=True)
    normalization: str = eqx.field(static=True)
    indices: tuple[Int[Array, " m"], ...] | EntryPattern | ManyAxes
    counts: Float[Array, " m"] | None

    def __init__(self, X: Numbers | Rows, loss: str = "squares", normalization: str = "mean"):
        self.X = as_rows("X", X)
        self.shape = self.X.shape
        self.loss_name = check_choice("loss", loss, LOSSES)
        if loss == "cross_entropy":
            check_range("X", self.X, 0, 1)
        self.normalization = check_normalization(normalization)
        self.indices, self.counts = (jnp.arange(self.shape[0], dtype=jnp.int32),), None

    def loss_of_entries(self, entries: Float[Array, "m ..."]) -> Float[Array, ""]:
        x = rows_of(self.X, axes_of(self.indices)[0], entries.dtype)
        if self.loss_name == "squares":
            costs = (entries - x) ** 2
        else:
            yes, no = (jnp.maximum(jnp.log(w), LEAST_LOGARITHM) for w in (entries, 1 - entries))
            costs = -x * yes - (1 - x) * no
        return self._weighed(costs.reshape(len(costs), -1).sum(axis=1))

    def sum_of(self, costs: Float[Array, " m"]) -> Float[Array, ""]:
        """What rows cost, where a cost is for each of the numbers of the row."""
        return self._weighed(costs * math.prod(self.shape[1:]))

    def _weighed(self, rows: Float[Array, " m"]) -> Float[Array, ""]:
        total = rows.sum() if self.counts is None else jnp.vdot(self.counts.astype(rows.dtype), rows)
        if self.normalization.endswith("mean"):
            total = total / math.prod(self.shape)
        return total / 2 if self.normalization.startswith("half") else total

    @property
    def truth(self) -> Float[Array, "..."] | None:
        """The data as numbers; None where they are read chunk by chunk."""
        return rows_of(self.X, slice(None)) if isinstance(self.X, Array) else None

    @property
    def terms(self) -> int:
        """The rows."""
        return self.shape[0]

    @property
    def piece(self) -> int:
        return piece_of(self.shape)

    @property
    def chunk(self) -> int | None:
        return self.X.chunk if isinstance(self.X, ChunkedRows) and self.counts is None else None

    def part(self, positions: Int[Array, " k"], counts: Float[Array, " k"]) -> "Reconstruction":
        """Some of the rows; of a part, too."""
        if self.counts is not None:
            counts = counts * self.counts[positions]
        return eqx.tree_at(
            lambda p: (p.indices, p.counts),
            self,
            ((axes_of(self.indices)[0][positions],), counts),
            is_leaf=lambda x: x is None,
        )

    def equations(self) -> Equations | None:
        """All numbers of the rows; with "cross_entropy" none, whose least loss is not zero."""
        if self.loss_name != "squares":
            return None
        if not isinstance(self.X, Array):
            raise ValueError("X: expected an array in memory, for its numbers as equations; found one in chunks")
        rows, d = np.asarray(axes_of(self.indices)[0], np.int64), math.prod(self.shape[1:])
        where = (rows[:, None] * d + np.arange(d)).ravel()
        weight = weight_of(self.normalization, math.prod(self.shape)) if self.counts is None else None
        return entries(where, rows_of(self.X, rows, jnp.result_type(float)), math.prod(self.shape), weight)


def as_rows(name: str, X: Any) -> Rows:
    """A data set as an array, of bytes or of finite floating numbers, with rows first; in chunks where it is a file."""
    if (rows := in_chunks(X)) is not None:
        return rows
    checked = check_array(name, X) if getattr(X, "dtype", None) != jnp.uint8 else jnp.asarray(X)
    # One of JAX's own is not copied, so that problem, network and probes share it.
    array = X if isinstance(X, jax.Array) and X.dtype == checked.dtype else checked
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{name}: expected rows of numbers, at least one, found shape {array.shape}")
    return array


def check_range(name: str, X: Rows, least: float, most: float) -> None:
    """Raise where a number of a data set is outside the range that its reconstruction has."""
    found = range_of(X)
    if found is None:
        return
    low, high = found
    if low < least or high > most:
        hint = "; give bytes as uint8, or divide them by 255" if 1 < high <= 255 and low >= 0 else ""
        raise ValueError(f"{name}: expected numbers from {least:g} to {most:g}, found {low:g} to {high:g}{hint}")


def rows_of(X: Rows, positions: Any, dtype: Any = None) -> Float[Array, "m ..."]:
    """Rows of a data set as floating numbers; bytes as their 255th parts."""
    rows = X[positions]
    if X.dtype == jnp.uint8:
        dtype = jnp.result_type(float) if dtype is None else dtype
        return rows.astype(dtype) / 255
    return rows if dtype is None else rows.astype(dtype)


def piece_of(shape: tuple[int, ...]) -> int:
    """How many rows of such a data set are looked at together."""
    return max(1, PIECE // math.prod(shape[1:]))
