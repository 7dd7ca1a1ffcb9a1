"""Where the rows of a data set on a disk are read from: on the host alone, by callbacks of compiled programs."""

import abc
import contextlib
import hashlib
import math
import mmap
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._validation import as_numpy

CHUNK_BYTES = 2**25
"""Of the rows that are read together, and held in memory."""


class Source(abc.ABC):
    """Where rows are read from; on the host alone. Its ``digest`` says what the rows are."""

    shape: tuple[int, ...]
    dtype: np.dtype
    digest: bytes  # of 32
    low: float = -math.inf
    high: float = math.inf
    alike: bool = False

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """The rows from ``start`` on, before ``stop``; an array of its own."""

    @abc.abstractmethod
    def take(self, positions: np.ndarray) -> np.ndarray:
        """The rows at increasing positions."""

    def __reduce__(self) -> Any:
        return type(self), ()  # to programs all are the same: which one is meant is said by the digest

    def __deepcopy__(self, memo: Any) -> "Source":
        return self


class ArraySource(Source):
    """An array on a disk: everything is read once, and looked at, when it is made."""

    def __init__(self, name: str, X: Any, chunk: int | None):
        self.name, self.X = name, X
        self.shape, kind = tuple(int(n) for n in X.shape), np.dtype(X.dtype)
        if kind.kind not in "uif":
            raise TypeError(f"{name}: expected an array of real numbers, found dtype {kind}")
        if len(self.shape) < 2 or 0 in self.shape:
            raise ValueError(f"{name}: expected rows of numbers, at least one, found shape {self.shape}")
        floating = kind.kind == "f" and kind != np.longdouble
        other = jax.dtypes.canonicalize_dtype(kind.newbyteorder("=")) if floating else jnp.result_type(float)
        self.dtype = np.dtype(np.uint8 if kind == np.uint8 else other)
        self._look(chunk_of(self.shape, self.dtype) if chunk is None else chunk)

    def _look(self, chunk: int) -> None:
        """At all rows: whether they are finite, their range, whether they differ, and their digest."""
        found = hashlib.sha256(f"{self.dtype.str}{self.shape}".encode())
        first, low, high, alike = self.read(0, 1), math.inf, -math.inf, True
        lost, kept = np.zeros(self.shape[1:], bool), np.zeros(self.shape[1:], bool)
        for start in range(0, self.shape[0], chunk):
            rows = self.read(start, min(start + chunk, self.shape[0]))
            if self.dtype != np.uint8:
                self._check_finite(rows, start)
                small = np.abs(rows) < jnp.finfo(self.dtype).tiny
                lost |= (small & (self._as_given(start, start + len(rows)) != 0)).any(axis=0)
                kept |= (~small).any(axis=0)
            low, high = min(low, float(rows.min())), max(high, float(rows.max()))
            alike = alike and bool((rows == first).all())
            found.update(rows.data)
        if (lost & ~kept).any():
            where = np.argwhere(lost & ~kept)[0].tolist()
            raise ValueError(
                f"{self.name}: expected numbers that {self.dtype} can hold, found a column of smaller ones, at {where} "
                "of each row; choose another unit, or 64-bit numbers"
            )
        self.low, self.high, self.alike, self.digest = low, high, alike, found.digest()

    def _check_finite(self, rows: np.ndarray, start: int) -> None:
        bad = ~np.isfinite(rows)
        if bad.any():
            row, *rest = np.argwhere(bad)[0].tolist()
            found = self._as_given(start + row, start + row + 1)[(0, *rest)]
            raise ValueError(
                f"{self.name}: expected finite numbers, found {found} at index {[start + row, *rest]}"
                + (f", which {self.dtype} cannot hold" if np.isfinite(found) else "")
            )

    def _as_given(self, start: int, stop: int) -> np.ndarray:
        return as_numpy(self.name, self.X[start:stop])

    def read(self, start: int, stop: int) -> np.ndarray:
        with np.errstate(all="ignore"):  # what is lost is said above
            rows = np.array(self._as_given(start, stop), self.dtype, order="C", subok=False)
        let_go(self.X)
        return rows

    def take(self, positions: np.ndarray) -> np.ndarray:
        if isinstance(self.X, np.ndarray):
            with np.errstate(all="ignore"):
                rows = np.asarray(self.X[positions]).astype(self.dtype)
            let_go(self.X)
            return rows
        runs = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
        return np.concatenate([self.read(int(run[0]), int(run[-1]) + 1) for run in runs])


def let_go(X: Any) -> None:
    """Of the pages of a mapped file that were read: the system has them, and this process need not."""
    mapped = getattr(X, "_mmap", None)
    if mapped is not None and getattr(X, "mode", None) == "r" and hasattr(mmap, "MADV_DONTNEED"):
        with contextlib.suppress(OSError, ValueError):  # a hint, which some file systems do not take
            mapped.madvise(mmap.MADV_DONTNEED)


_sources: "weakref.WeakValueDictionary[bytes, Source]" = weakref.WeakValueDictionary()
_seen: "weakref.WeakValueDictionary[tuple[int, str], ArraySource]" = weakref.WeakValueDictionary()


_failures: list[OSError] = []


def on_disk(X: Any) -> bool:
    """Whether an array is a mapped file that is larger than a chunk."""
    return isinstance(X, np.memmap) and getattr(X, "_mmap", None) is not None and X.nbytes > CHUNK_BYTES


def chunk_of(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Rows of a chunk where nothing is said."""
    return max(1, CHUNK_BYTES // (math.prod(shape[1:]) * dtype.itemsize))


def looked_at(name: str, X: Any, chunk: int | None) -> Source:
    """A source, and the one that is known where an array that cannot be written to comes again."""
    missing = [part for part in ("shape", "dtype", "__getitem__") if not hasattr(X, part)]
    if missing or isinstance(X, jax.Array) or hasattr(X, "toarray"):
        raise TypeError(f"{name}: expected an array with shape, dtype and rows X[start:stop], found {type(X).__name__}")
    key = id(X), str(jnp.result_type(float))
    source = _seen.get(key)
    if source is None or source.X is not X:
        source = ArraySource(name, X, chunk)
        if isinstance(X, np.ndarray) and not X.flags.writeable:
            _seen[key] = source
    return source


def known(source: Source) -> Source:
    """The source by whose digest these rows are asked for from now on: this one, or another of the same rows."""
    return _sources.setdefault(source.digest, source)


def _source(digest: Any) -> Source:
    source = _sources.get(np.asarray(digest).tobytes())
    if source is None:
        raise RuntimeError(
            "X: the data set that this program reads is gone; keep its ChunkedRows as long as it is used"
        )
    return source


def take_from(digest: Any, positions: Any) -> np.ndarray:
    source, where = _source(digest), np.asarray(positions)
    start, stop = int(where.min()), int(where.max()) + 1
    if stop - start <= 2 * where.size:
        return _checked(source, stop - start, lambda: source.read(start, stop))[where - start]
    distinct, back = np.unique(where, return_inverse=True)
    return _checked(source, len(distinct), lambda: source.take(distinct))[back]


def _checked(source: Source, count: int, read: Callable[[], np.ndarray]) -> np.ndarray:
    """What is read, if it is what was there at first."""
    try:
        rows, expected = read(), (count, *source.shape[1:])
        if rows.shape != expected:
            raise ValueError(f"expected rows of shape {expected}, found {rows.shape}; the data have changed")
    except Exception as error:
        _failures.append(OSError(f"X: rows could not be read again ({error})"))
        raise _failures[-1] from error
    return rows


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """What could not be read is the error, not what JAX makes of an error in a callback."""
    _failures.clear()
    try:
        yield
    except Exception as error:
        if _failures:
            raise _failures.pop() from error
        raise


def read_from(size: int, digest: Any, start: Any) -> np.ndarray:
    source, first = _source(digest), int(start)
    count = min(size, source.shape[0] - first)
    rows = _checked(source, count, lambda: source.read(first, first + count))
    return (
        np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)]) if len(rows) < size else rows
    )
