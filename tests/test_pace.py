"""Chunks of steps take about as long as they should, whatever a step and a chunk take."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from undertow.training._pace import FIRST_STEPS, SHARE, Pace


def paced(beside: float, step: float, compiling: float = 0.0, chunks: int = 30, noise: float = 0.0) -> list[int]:
    """The steps of each chunk, where chunks take so long beside their steps."""
    pace, found, rng = Pace(0.4), [], np.random.default_rng(0)
    for number in range(chunks):
        found.append(pace.steps)
        took = beside + step * pace.steps + (compiling if number == 0 else 0.0)
        pace.took(took * rng.uniform(1, 1 + noise), pace.steps)
    return found


@hypothesis.given(beside=st.floats(0.0, 10.0), step=st.floats(1e-5, 1e-1), compiling=st.sampled_from([0.0, 0.5, 30.0]))
def test_chunks_take_as_long_as_they_should(beside, step, compiling):
    last = min(paced(beside, step, compiling, chunks=60)[-2:])
    wanted = (max(0.4, SHARE * beside) - beside) / step
    assert last == pytest.approx(wanted, rel=0.05, abs=1)


def test_what_a_chunk_takes_beside_its_steps_is_not_all_of_it():
    """A quarter of a second for each chunk, a hundredth for a step: in chunks of one step 25 times as slow."""
    steps = paced(0.25, 0.01, compiling=3.0, chunks=20)
    assert 20 * 0.25 + 0.01 * sum(steps) < 2 * 0.01 * sum(steps)


@pytest.mark.parametrize("beside", [0.0, 0.3])
def test_a_machine_that_others_use_too(beside):
    steps = np.array(paced(beside, 1e-3, chunks=400, noise=2.0)[20:])
    took = beside + 1e-3 * steps
    assert np.median(took) < 3 * max(0.4, SHARE * beside)
    assert len(steps) * beside < 1e-3 * steps.sum()


def test_slow_steps_go_one_or_two_at_a_time():
    assert paced(0.0, 2.0, chunks=4) == [FIRST_STEPS, 1, 2, 1]


def test_chunks_that_something_ends_do_not_make_later_ones_long():
    pace = Pace(0.4)
    for _ in range(20):  # ten steps and a sample, whatever was asked for
        taken = min(pace.steps, 10)
        pace.took(1e-4 * taken, taken)
    assert pace.steps <= 40
