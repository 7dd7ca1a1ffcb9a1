"""Where the rows of a data set on a disk are read from: on the host alone, by callbacks of compiled programs."""

import abc
import contextlib
import hashlib
import math
import mmap
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
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

    def check(self) -> None:  # noqa: B027 - most do not know
        """Raise OSError where the rows are known to be others by now."""

    def __reduce__(self) -> Any:
        return unpickled, ()  # to programs all are the same: which one is meant is said by the digest

    def __deepcopy__(self, memo: Any) -> "Source":
        return self


def unpickled() -> Source:
    """What is left of a source where it is loaded."""
    raise TypeError(
        "ChunkedRows: the data stayed on their disk when this was pickled; open them anew, and keep of a run its params"
    )


class ArraySource(Source):
    """An array on a disk: everything is read once, and looked at, when it is made."""

    def __init__(self, name: str, X: Any, chunk: int | None):
        self.name, self.X = name, X
        self.shape, kind = tuple(int(n) for n in X.shape or ()), np.dtype(X.dtype)
        if kind.kind not in "uif":
            raise TypeError(f"{name}: expected an array of real numbers, found dtype {kind}")
        if len(self.shape) < 2 or 0 in self.shape:
            raise ValueError(f"{name}: expected rows of numbers, at least one, found shape {self.shape}")
        floating = kind.kind == "f" and kind != np.longdouble
        other = jax.dtypes.canonicalize_dtype(kind.newbyteorder("=")) if floating else jnp.result_type(float)
        self.dtype = np.dtype(np.uint8 if kind == np.uint8 else other)
        self.state = state_of(X)
        self._look(chunk_of(self.shape, self.dtype) if chunk is None else chunk)

    def _look(self, chunk: int) -> None:
        """At all rows: whether they are finite, their range, whether they differ, and their digest."""
        found = self._digest()
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

    def check(self) -> None:
        state = state_of(self.X)
        if state != self.state:  # it may be the same all the same, as where another file took the name
            found, size = self._digest(), chunk_of(self.shape, self.dtype)
            for start in range(0, self.shape[0], size):
                found.update(self.read(start, min(start + size, self.shape[0])).data)
            if found.digest() != self.digest:
                raise OSError("the data have changed")
            self.state = state

    def _digest(self) -> Any:
        """That of no rows yet."""
        return hashlib.sha256(f"{self.dtype.str}{self.shape}".encode())

    def _as_given(self, start: int, stop: int) -> np.ndarray:
        check_whole(self.X)
        try:
            return as_numpy(self.name, self.X[start:stop])
        except (OSError, RuntimeError) as error:  # as of an array whose file is closed
            raise _unreadable(self.name, self.X, error) from error

    def read(self, start: int, stop: int) -> np.ndarray:
        with np.errstate(all="ignore"):  # what is lost is said above
            rows = np.array(self._as_given(start, stop), self.dtype, order="C", subok=False)
        let_go(self.X)
        return rows

    def take(self, positions: np.ndarray) -> np.ndarray:
        if isinstance(self.X, np.ndarray):
            check_whole(self.X)
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


def state_of(X: Any) -> tuple[int, ...] | None:
    """What changes when the file is written to that an array is mapped from; None where nothing tells."""
    if getattr(X, "_mmap", None) is None or getattr(X, "mode", None) != "r":
        return None
    try:
        found = Path(X.filename).stat()
    except (OSError, TypeError):  # it has no name any more, or never had one
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def check_whole(X: Any) -> None:
    """Raise OSError where a mapped file ends before its map does: the system ends a process that reads beyond."""
    mapped = getattr(X, "_mmap", None)
    if mapped is None:
        return
    length = X.offset - X.offset % mmap.ALLOCATIONGRANULARITY + len(mapped)
    if mapped.size() < length:
        raise OSError(f"the data have changed: their file had {length} bytes, and has {mapped.size()}")


_sources: dict[bytes, list["weakref.ref[Source]"]] = {}
"""By their digests, the newest last: where the same rows were opened twice, the first file may be closed by now."""
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
    try:
        missing = [part for part in ("shape", "dtype", "__getitem__") if not hasattr(X, part)]
    except (OSError, RuntimeError) as error:
        raise _unreadable(name, X, error) from error
    if missing or isinstance(X, jax.Array) or hasattr(X, "toarray"):
        raise TypeError(f"{name}: expected an array with shape, dtype and rows X[start:stop], found {type(X).__name__}")
    key = id(X), str(jnp.result_type(float))
    source = _seen.get(key)
    if source is None or source.X is not X or source.state != state_of(X):
        source = ArraySource(name, X, chunk)
        if isinstance(X, np.ndarray) and not X.flags.writeable:
            _seen[key] = source
    return source


def _unreadable(name: str, X: Any, error: Exception) -> OSError:
    return OSError(f"{name}: expected an array that can be read, found {type(X).__name__} ({error})")


def make_known(source: Source) -> None:
    """From now on rows that are asked for by its digest may be read from this source."""
    for digest, some in list(_sources.items()):
        _sources[digest] = [one for one in some if one() is not None and one() is not source]
        if not _sources[digest]:
            del _sources[digest]
    _sources.setdefault(source.digest, []).append(weakref.ref(source))


def take_from(digest: Any, positions: Any) -> np.ndarray:
    where = np.asarray(positions)
    start, stop = int(where.min()), int(where.max()) + 1
    if stop - start <= 2 * where.size:
        return _read(digest, lambda source: source.read(start, stop), stop - start)[where - start]
    distinct, back = np.unique(where, return_inverse=True)
    return _read(digest, lambda source: source.take(distinct), len(distinct))[back]


def read_from(size: int, length: int, digest: Any, start: Any) -> np.ndarray:
    first = int(start)
    count = min(size, length - first)
    rows = _read(digest, lambda source: source.read(first, first + count), count)
    return rows if count == size else np.concatenate([rows, np.zeros((size - count, *rows.shape[1:]), rows.dtype)])


def _read(digest: Any, rows_of: Callable[[Source], np.ndarray], count: int) -> np.ndarray:
    """Rows, of the newest source that has them as they were at first."""
    known = [source for one in _sources.get(np.asarray(digest).tobytes(), []) if (source := one()) is not None]
    if not known:
        raise RuntimeError(
            "X: the data set that this program reads is gone; keep its ChunkedRows as long as it is used"
        )
    found: Exception | None = None
    for source in reversed(known):
        try:
            source.check()
            rows, expected = rows_of(source), (count, *source.shape[1:])
            if rows.shape != expected:
                raise ValueError(f"expected rows of shape {expected}, found {rows.shape}; the data have changed")
        except Exception as error:  # noqa: BLE001 - whatever arrays of other libraries raise
            found = found or error
        else:
            return rows
    _failures.append(
        OSError(
            f"X: rows could not be read again ({found}); keep their file open, and as it is, as long as they are used"
        )
    )
    raise _failures[-1] from found


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
