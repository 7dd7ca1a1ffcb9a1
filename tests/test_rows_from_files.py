"""Data on a disk: what is read of files and other arrays, and what is said where that cannot be done."""

import copy
import os
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr
from chunked_runs import CHUNKS, DENSE, B, N, X, run

from undertow.problems import _sources


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.random.default_rng(1).integers(0, 256, (50, 4, 4), np.uint8))
    return np.load(path, mmap_mode="r")


def test_a_mapped_file_is_chunked_where_it_is_large_and_looked_at_once(file, monkeypatch):
    assert isinstance(B.Reconstruction(file).X, jax.Array)
    monkeypatch.setattr(_sources, "CHUNK_BYTES", 160)
    looks, read = [], _sources.ArraySource._look
    monkeypatch.setattr(_sources.ArraySource, "_look", lambda self, chunk: looks.append(read(self, chunk)))
    problem, phi = B.Reconstruction(file, "cross_entropy"), N.AE(N.Dense((4, 4), 2, output="sigmoid"), file)
    assert isinstance(problem.X, B.ChunkedRows)
    assert (problem.X.chunk, problem.X.source, len(looks)) == (10, phi.X.source, 1)
    w = jnp.full((50, 4, 4), 0.25)
    np.testing.assert_allclose(problem.loss(w), B.Reconstruction(np.array(file), "cross_entropy").loss(w), rtol=1e-12)
    assert problem.truth is None
    with pytest.raises(ValueError, match="in memory"):
        B.Reconstruction(file).equations()
    assert isinstance(B.Reconstruction(file.astype(float)).X, jax.Array)  # it has a memmap's type, and no file


def test_rows_come_from_zarr_as_from_arrays(file, tmp_path):
    stored = zarr.create_array(tmp_path / "rows.zarr", shape=file.shape, dtype=file.dtype, chunks=(7, 4, 4))
    stored[:] = file
    for source in (stored, file):
        rows = B.ChunkedRows(source, chunk=10)
        for positions in ([3, 4, 5], [49, 0, 0, 30], [7]):
            np.testing.assert_array_equal(rows[jnp.asarray(positions)], file[positions])
        np.testing.assert_array_equal(rows.window(jnp.asarray(45), 10).rows, [*file[45:], *np.zeros((5, 4, 4))])


def test_integers_and_other_byte_orders_are_numbers_like_others():
    for kind in (">f4", "<f8", np.int16):
        rows = B.ChunkedRows(np.arange(12).reshape(4, 3).astype(kind))
        assert rows[jnp.asarray([2])].tolist() == [[6.0, 7.0, 8.0]]
    assert rows.dtype == np.float64


def test_wrong_data_are_refused_by_name_and_place():
    bad = X.copy()
    bad[17, 2] = np.nan
    for wrong, error, words in (
        (bad, ValueError, r"finite numbers, found nan at index \[17, 2\]"),
        (X[0], ValueError, "rows of numbers"),
        (X[:0], ValueError, "at least one"),
        (X.astype(complex), TypeError, "real numbers"),
        (X.tolist(), TypeError, "found list"),
    ):
        with pytest.raises(error, match=words):
            B.ChunkedRows(wrong, chunk=5)
    with pytest.raises(ValueError, match="chunk"):
        B.ChunkedRows(X, chunk=0)
    with pytest.raises(ValueError, match="from 0 to 1, found"):
        B.Reconstruction(B.ChunkedRows(3 * X), "cross_entropy")
    with pytest.raises(ValueError, match="23 times the same"):
        N.AE(DENSE, B.ChunkedRows(np.ones((23, 6)) / 2, chunk=5))
    with pytest.raises(ValueError, match="as Dense takes them"):
        N.AE(DENSE, B.ChunkedRows(X[:, :5]))


def test_what_could_not_be_read_or_pickled_is_said():
    class Closed:
        dtype, __getitem__ = X.dtype, None

        @property
        def shape(self):
            raise RuntimeError("its file is closed")

    with pytest.raises(OSError, match=r"that can be read, found Closed \(its file is closed\)"):
        B.ChunkedRows(Closed())
    with pytest.raises(TypeError, match="data stayed on their disk"):
        pickle.loads(pickle.dumps(CHUNKS))  # noqa: S301 - which is made here
    assert copy.deepcopy(CHUNKS).source is CHUNKS.source


class OnDisk:
    """An array whose file may be closed, or lose rows."""

    shape, dtype, length, closed = X.shape, X.dtype, 23, False

    def __getitem__(self, rows):
        if self.closed:
            raise RuntimeError("its file is closed")
        return X[::-1][: self.length][rows]


def test_the_same_rows_opened_again_are_read_where_they_can_be():
    first, second = OnDisk(), OnDisk()
    rows, again = B.ChunkedRows(first), B.ChunkedRows(second)
    for one, other in ((first, second), (second, first)):
        one.closed, other.closed = True, False
        for some in (rows, again):
            np.testing.assert_array_equal(some[jnp.asarray([4, 2])], X[::-1][[4, 2]])
            np.testing.assert_array_equal(some.window(jnp.asarray(20), 5).rows[:3], X[::-1][20:])


def test_a_file_that_is_written_to_is_no_longer_read(file):
    """Nor is one that was cut: the system would end the process. One that was touched, or replaced, still is."""
    path = Path(file.filename)
    np.save(path, np.array(file)[::-1])  # rows that no other test has, and keeps
    file = np.load(path, mmap_mode="r")
    rows, before, where = B.ChunkedRows(file, chunk=10), np.array(file), jnp.asarray([45])
    path.touch()
    np.testing.assert_array_equal(rows[where], before[45:46])
    with path.open("r+b") as handle:
        handle.seek(-1, os.SEEK_END)
        handle.write(bytes([255 - before[-1, -1, -1]]))
    os.utime(path, ns=(0, 0))  # clocks of file systems may be too coarse to tell
    with pytest.raises(Exception, match="the data have changed"):
        jax.block_until_ready(rows[where])
    assert B.ChunkedRows(file).digest.tolist() != rows.digest.tolist()  # the array is looked at again
    os.truncate(path, 500)
    with pytest.raises(Exception, match="had 928 bytes, and has 500"):
        jax.block_until_ready(B.ChunkedRows(file))


def test_rows_come_from_hdf5_as_from_arrays(file, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "rows.h5"
    with h5py.File(path, "w") as stored:
        stored.create_dataset("X", data=file, chunks=(7, 2, 4), compression="gzip")
        stored["nothing"] = h5py.Empty("f")
        with pytest.raises(ValueError, match=r"found shape \(\)"):
            B.ChunkedRows(stored["nothing"])
    with h5py.File(path) as stored:
        rows = B.ChunkedRows(stored["X"], chunk=10)
        np.testing.assert_array_equal(rows[jnp.asarray([49, 0, 0, 30])], file[[49, 0, 0, 30]])
    with pytest.raises(OSError, match="that can be read"):
        B.ChunkedRows(rows.source.X)
    with h5py.File(path) as stored:  # the rows that were made of the closed file are there again
        kept = B.ChunkedRows(stored["X"])
        for some in (rows, kept):
            np.testing.assert_array_equal(some.window(jnp.asarray(45), 5).rows, file[45:])


def test_few_samples_are_few_looks_at_all_rows(monkeypatch):
    reads, read = [], _sources._read
    monkeypatch.setattr(_sources, "_read", lambda *args: reads.append(args[2]) or read(*args))
    run(CHUNKS)  # of the same program as other runs, which may look at all at once, or by chunks, seven in the last
    # Looked at for four samples: the start, the steps 1 to 4, 6, 8, 12 and 16, and the end; of all 20 it would be 22.
    # Each reads for problem and network; the gradient at the start may read again.
    assert reads.count(len(X)) + reads.count(7) < 2 * 15


def test_data_that_change_on_the_way_end_the_run_and_say_so():
    data = OnDisk()
    rows = B.ChunkedRows(data, chunk=8)
    data.length = 20
    with pytest.raises(OSError, match="the data have changed"):
        run(rows)  # of the same program as other runs
