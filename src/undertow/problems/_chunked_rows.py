"""Rows of a data set that stays where it is, on a disk, and is read chunk by chunk.

What is compiled knows the data by their digest alone, an array like others: programs are shared by all data of a shape,
and a checkpoint is known again by what the data are. Rows come by callbacks: some thousand at once in training, where a
callback a step would take longer than the step (``Window``), and by pieces where the whole is looked at.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

from .._repr import called
from .._validation import check_integer, is_traced
from ._sources import Source, chunk_of, looked_at, make_known, on_disk, read_from, take_from


class ChunkedRows(eqx.Module):
    """Rows of a data set on a disk, read chunk by chunk: for sets that are larger than memory.

    ``Reconstruction``, autoencoders and their probes take it as they take an array. Of a ``numpy.memmap`` of more than
    32 MiB they make it themselves; for other arrays on a disk, as those of zarr and h5py, it is made by hand. The data
    are read once when it is made, to see that they are finite. They must not change as long as it is used: of a mapped
    file that is noticed, of other arrays only where rows are missing. Files have to stay open, and rows should lie
    together on the disk: in Fortran order every chunk is gathered from the whole file.
    What it costs is among the benchmarks in the documentation.

    In training a chunk of consecutive rows is in memory at a time. An epoch takes the chunks in random order and the
    rows of each in random order, every row once: the average over its batches is the whole gradient, but a batch has
    rows of one chunk. Where neighbors on the disk are alike, as in a file that is sorted by class, shuffle the file, or
    take larger chunks.

    Parameters
    ----------
    X
        What has a ``shape``, a ``dtype`` and gives rows by ``X[start:stop]``: N rows of any shape. Bytes (uint8) are
        kept as they are, and stand for their 255th parts.
    chunk
        Rows that are read together; left out: as many as 32 MiB hold. In training they are made a multiple of the
        batch, and at least one batch.

    Raises
    ------
    TypeError, ValueError
        If ``X`` is no such array, empty, has one axis, is not of real numbers, or one of them is not finite.
    OSError
        If its file cannot be read; while it is used, if the file is closed, or is found to have changed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryFile() as file:
    ...     X = np.memmap(file, np.uint8, "w+", shape=(1000, 8, 8))
    ...     X[:] = 255
    ...     rows = ChunkedRows(X, chunk=100)
    >>> rows.shape, rows.chunk
    ((1000, 8, 8), 100)
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)
    chunk: int = eqx.field(static=True)
    source: Source = eqx.field(static=True, repr=False)
    digest: UInt32[Array, "8"] = eqx.field(repr=False)

    def __init__(self, X: Any, chunk: int | None = None):
        if chunk is not None:
            chunk = check_integer("chunk", chunk, 1)
        source = X if isinstance(X, Source) else looked_at("X", X, chunk)
        make_known(source)
        self.source = source
        self.shape, self.dtype = source.shape, source.dtype
        self.chunk = min(chunk_of(self.shape, self.dtype) if chunk is None else chunk, len(self))
        self.digest = jnp.asarray(np.frombuffer(source.digest, np.uint32))

    def __repr__(self) -> str:
        return called("ChunkedRows", {"shape": self.shape, "dtype": str(self.dtype), "chunk": self.chunk})

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    def __getitem__(self, positions: Int[Array, " m"]) -> Array:
        """Rows at some positions; may be traced."""
        kind = jax.ShapeDtypeStruct((positions.size, *self.shape[1:]), self.dtype)
        return jax.pure_callback(take_from, kind, self.digest, positions, vmap_method="sequential")

    def window(self, start: Int[Array, ""], size: int) -> "Window":
        """So many consecutive rows, in memory; zeros beyond the last."""
        kind = jax.ShapeDtypeStruct((size, *self.shape[1:]), self.dtype)
        read = functools.partial(read_from, size, len(self))
        rows = jax.pure_callback(read, kind, self.digest, start, vmap_method="sequential")
        return Window(self.shape, rows, start)


class Window(eqx.Module):
    """Rows in memory of a larger data set, asked for by their positions in it."""

    shape: tuple[int, ...] = eqx.field(static=True)
    rows: Array
    start: Int[Array, ""]

    @property
    def dtype(self) -> Any:
        """The type of the numbers."""
        return self.rows.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, positions: Int[Array, " m"]) -> Array:
        return self.rows[positions - self.start]


Rows = Array | ChunkedRows | Window
"""What a data set may be where rows of it are asked for."""


def in_chunks(X: Any) -> "ChunkedRows | Window | None":
    """The rows where they are read chunk by chunk: they are so already, or are a mapped file larger than a chunk."""
    if isinstance(X, ChunkedRows | Window):
        return X
    return ChunkedRows(X) if on_disk(X) else None


def alike(X: Rows) -> bool:
    """Whether all rows are known to be the same."""
    if isinstance(X, Array):
        return not is_traced(X) and bool(np.all(np.asarray(X[1:] == X[:1])))
    return isinstance(X, ChunkedRows) and X.source.alike


def range_of(X: Rows) -> tuple[float, float] | None:
    """The least and the largest number, if they are known, and there is need to know them."""
    if isinstance(X, Window) or X.dtype == jnp.uint8 or is_traced(X):
        return None
    return (X.source.low, X.source.high) if isinstance(X, ChunkedRows) else (float(X.min()), float(X.max()))


def chunked(tree: Any) -> list[ChunkedRows]:
    """All that is read chunk by chunk in a PyTree, in its order."""
    return [x for x in jax.tree.leaves(tree, is_leaf=_is_chunked) if _is_chunked(x)]


def with_windows(tree: Any, windows: list[Window]) -> Any:
    """The PyTree with a window in place of each of these."""
    rest: Iterator[Window] = iter(windows)
    replaced: Callable[[Any], Any] = lambda x: next(rest) if _is_chunked(x) else x  # noqa: E731
    return jax.tree.map(replaced, tree, is_leaf=_is_chunked)


def _is_chunked(x: Any) -> bool:
    return isinstance(x, ChunkedRows)
