"""Data on a disk: which rows come in which order, and that a run on them is the run on the same array."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chunked_runs import CHUNKS, DENSE, SGD, B, D, N, X, run
from contract import assert_same_bits, compilations
from hypothesis import given
from hypothesis import strategies as st

from undertow.dynamics import _noise
from undertow.dynamics._batches import Batches, drawing_key
from undertow.objective import Objective
from undertow.problems import _reconstruction

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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
