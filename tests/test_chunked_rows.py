"""Data on a disk: what is read when, in which order, and that a run on them is the run on the same array."""

import copy
import functools
import os
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr
from contract import assert_same_bits, compilations
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow.dynamics import _noise
from undertow.dynamics._batches import Batches, drawing_key
from undertow.objective import Objective
from undertow.problems import _reconstruction, _sources

N, B, D = ut.networks, ut.problems, ut.dynamics
X = np.random.default_rng(0).uniform(size=(23, 6))
DENSE = N.Dense(6, code_size=2, hidden=(3,), output="sigmoid")
CHUNKS = B.ChunkedRows(X, chunk=8)  # of two batches of three, but for the last, of five rows
SGD = D.GradientDescent(ut.optimizers.make("sgd", 0.5), batch_size=3)


def run(data, network=N.VAE, steps=20, descent=SGD, key=3, **options):
    phi, stop = network(DENSE, data), ut.Stop(loss=None, steps=steps)
    return ut.train(B.Reconstruction(data), phi, descent, key=key, scale=1.0, stop=stop, samples=4, **options)


# The order -----------------------------------------------------------------------------------------


@functools.cache
def epoch_of(terms, size, chunk):
    """For every step of an epoch its batch, its part, and that one's first and next step and first row at hand."""
    batches = Batches(size, terms, replacement=False, chunk=chunk)

    def of(key, step):
        part, first, beyond = batches.place(key, step)
        return *batches.draw(key, batches.order(key, part), step, first), part, first, beyond, batches.first(key, part)

    steps = jnp.arange(batches.per_epoch, dtype=jnp.int32)
    return batches, jax.jit(lambda key, epoch: jax.lax.map(lambda s: of(key, epoch * batches.per_epoch + s), steps))


@given(
    st.sampled_from([(23, 3, 8), (24, 3, 6), (11, 4, 2), (9, 2, 9)]),
    st.integers(0, 2**31 - 1),
    st.integers(0, 9),
)
def test_an_epoch_takes_every_row_once_and_a_batch_those_of_one_chunk(sizes, seed, epoch):
    batches, steps = epoch_of(*sizes)
    found = steps(jax.random.key(seed), jnp.asarray(epoch, jnp.int32))
    positions, counts, part, first, beyond, start = map(np.asarray, found)
    seen = np.zeros(batches.terms)
    np.add.at(seen, positions, counts / batches.per_epoch)
    np.testing.assert_allclose(seen, 1.0, rtol=1e-12)
    within = positions - start[:, None]
    assert within.min() >= 0
    assert within.max() < batches.per_part * batches.size
    # Parts follow each other without a gap, and each has rows of its own.
    number = epoch * batches.per_epoch + np.arange(batches.per_epoch)
    assert ((first <= number) & (number < beyond)).all()
    np.testing.assert_array_equal(np.unique(part), epoch * batches.parts + np.arange(batches.parts))
    assert len(np.unique(start)) == batches.parts


def test_chunks_come_in_another_order_each_epoch_and_so_do_their_rows():
    positions = np.asarray(SGD.batches(B.Reconstruction(CHUNKS), 0, 80)[0]).reshape(10, 8, 3)
    assert len({tuple(epoch[:, 0] // 6) for epoch in positions}) > 5
    assert len({tuple(epoch[(epoch // 6 == 0).all(axis=1)].ravel()) for epoch in positions}) > 5


def test_the_average_over_an_epoch_is_the_whole_gradient():
    objective = Objective(B.Reconstruction(CHUNKS), N.AE(DENSE, CHUNKS))
    params = objective.parameterization.init(jax.random.key(0), 1.0)
    gradient = jax.jit(lambda positions, counts: jax.grad(lambda p: objective.part(positions, counts)(p)[0])(params))
    drawn = [gradient(*batch) for batch in zip(*SGD.batches(objective.problem, 0, 8), strict=True)]
    rows = np.arange(24, dtype=np.int32).reshape(8, 3)
    parts = [gradient(jnp.asarray(np.minimum(some, 22)), jnp.asarray((some < 23) * 1.0)) for some in rows]
    for a, b in zip(*(jax.tree.leaves(jax.tree.map(lambda *gs: sum(gs), *of)) for of in (drawn, parts)), strict=True):
        np.testing.assert_allclose(a / 8, b, rtol=1e-10, atol=1e-13)


def test_one_chunk_is_drawn_from_as_an_array_is():
    for a, b in zip(*(SGD.batches(B.Reconstruction(data), 3, 20) for data in (X, B.ChunkedRows(X))), strict=True):
        np.testing.assert_array_equal(a, b)


# The run -------------------------------------------------------------------------------------------


def stepping(objective, key):
    @jax.jit
    def step(params, batch, number):
        noise = _noise.of_step(key, _noise.PARAMETERIZATION, number)
        gradient = jax.grad(lambda p: objective.part(*batch).drawn(noise)(p)[0])(params)
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient)

    return step


@pytest.mark.parametrize("replacement", [False, True])
def test_a_run_takes_the_steps_that_its_batches_say(replacement, monkeypatch):
    """By hand, on the array in memory, with the noise that each step draws for the rows by their numbers."""
    monkeypatch.setattr(_reconstruction, "PIECE", 24)  # the whole by four rows at a time
    descent = D.GradientDescent(SGD.optimizer, 3, replacement)
    found = run(CHUNKS, descent=descent)
    objective, key = Objective(B.Reconstruction(X), N.VAE(DENSE, X)), drawing_key(3)
    params = objective.parameterization.init(jax.random.key(3), 1.0)

    step, loss = stepping(objective, key), jax.jit(lambda params: objective(params)[1])
    losses = [loss(params)]
    for number, batch in enumerate(zip(*descent.batches(B.Reconstruction(CHUNKS), 3, 20), strict=True)):
        params = step(params, batch, number)
    losses.append(loss(params))
    np.testing.assert_allclose(found["loss"][[0, -1]], losses, rtol=1e-10)
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_a_run_goes_on_from_a_checkpoint_and_knows_its_data(tmp_path):
    path, straight = tmp_path / "run.npz", run(CHUNKS)
    run(CHUNKS, steps=7, checkpoint=path)  # within a chunk
    other = X.copy()
    other[17, 2] += 0.1
    with pytest.raises(ValueError, match="belongs to another run"):
        run(B.ChunkedRows(other, chunk=8), checkpoint=path)
    assert_same_bits(run(B.ChunkedRows(X.copy(), chunk=8), checkpoint=path).params, straight.params)
    with compilations() as compiled:
        different = run(B.ChunkedRows(other, chunk=8))
    assert not compiled.programs
    assert different["loss"][0] != straight["loss"][0]  # a shared program, and its own data


def test_codes_and_probes_are_those_of_the_array(monkeypatch):
    monkeypatch.setattr(_reconstruction, "PIECE", 24)
    phi, of_array = N.AE(DENSE, CHUNKS), N.AE(DENSE, X)
    params = phi.init(jax.random.key(0), 1.0)
    np.testing.assert_allclose(phi(params), of_array(params), rtol=1e-12)
    np.testing.assert_allclose(phi.encode(params, B.ChunkedRows(X[:9])), of_array.encode(params, X[:9]), rtol=1e-12)
    for probe, same in (
        (N.CodeVariances(), N.CodeVariances()),
        (N.HeldOutReconstruction(CHUNKS), N.HeldOutReconstruction(X)),
    ):
        measured = probe(B.Reconstruction(CHUNKS), phi, params)
        np.testing.assert_allclose(measured, same(B.Reconstruction(X), of_array, params), rtol=1e-10)


# The file ------------------------------------------------------------------------------------------


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

    with pytest.raises(OSError, match="that can be read, found Closed .its file is closed"):
        B.ChunkedRows(Closed())
    with pytest.raises(TypeError, match="data stayed on their disk"):
        pickle.loads(pickle.dumps(CHUNKS))
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
    monkeypatch.setattr(_reconstruction, "PIECE", 24)
    reads, read = [], _sources._read
    monkeypatch.setattr(_sources, "_read", lambda *args: reads.append(args[2]) or read(*args))
    run(CHUNKS)
    # Looked at for four samples: the start, the steps 1 to 4, 6, 8, 12 and 16, and the end; of all 20 it would be 22.
    # Each reads the last chunk, of seven rows, for problem and network; the gradient at the start reads it again.
    assert reads.count(7) < 2 * 15


def test_data_that_change_on_the_way_end_the_run_and_say_so():
    data = OnDisk()
    rows = B.ChunkedRows(data, chunk=8)
    data.length = 20
    with pytest.raises(OSError, match="the data have changed"):
        run(rows)  # of the same program as other runs
