"""Closed forms of the primer: times of a mode, thresholds of incremental learning, paths under one equation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from undertow.theory import incremental_threshold, mode_time, single_constraint_path

DEPTHS = [0.5, 1, 1.5, 2, 3, 4, 6, math.inf]


@pytest.mark.parametrize(("depth", "time"), [(3, 9.600648), (4, 21.044597), (math.inf, 334.133242)])
def test_published_times(depth, time):
    assert mode_time(depth, 3.0, 1e-3, 2.0) == pytest.approx(time, abs=2e-6)


@given(depth=st.sampled_from(DEPTHS), target=st.floats(0.5, 5), start=st.floats(0.05, 0.9), level=st.floats(0.05, 0.95))
def test_times_are_those_of_the_differential_equation(depth, target, start, level):
    """From below and, mirrored, from above the target."""
    for s0, s in ((start * level, level), (2 - start * level, 2 - level)):
        end = mode_time(depth, target, target * s0, target * s)
        run = solve_ivp(
            lambda _, x: x ** (2 - 2 / depth) * (target - x), (0, end), [target * s0], rtol=1e-9, atol=1e-12
        )
        assert run.y[0, -1] == pytest.approx(target * s, rel=1e-6)


@pytest.mark.parametrize("depth", [3, 6, math.inf])
def test_time_from_a_small_start(depth):
    """Grows like N / (N - 2) s0^-(1 - 2/N) / S."""
    power = 1 - 2 / depth
    for start, tolerance in ((1e-8, 0.1), (1e-12, 0.01)):
        expected = start**-power / power / 3.0
        assert mode_time(depth, 3.0, start, 2.0) == pytest.approx(expected, rel=tolerance)


TABLE = {  # ratio: thresholds at depth 2, 3, 4, 6 for f = 0.05
    2.0: (7.29e-5, 6.04e-3, 1.12e-2, 1.61e-2),
    1.5: (1.79e-7, 1.73e-3, 4.61e-3, 8.21e-3),
    1.2: (3.45e-15, 2.06e-4, 1.06e-3, 2.67e-3),
    1.1: (5.40e-28, 3.28e-5, 3.00e-4, 1.03e-3),
}


@pytest.mark.parametrize("ratio", TABLE)
def test_published_thresholds(ratio):
    found = [incremental_threshold(depth, ratio) for depth in (2, 3, 4, 6)]
    np.testing.assert_allclose(found, TABLE[ratio], rtol=5e-3)  # three digits are published


def test_no_start_is_small_enough_for_depth_one():
    assert incremental_threshold(1, 3.0) == 0.0


@given(
    depth=st.sampled_from(DEPTHS),
    start=st.lists(st.floats(0.05, 2), min_size=2, max_size=4),
    seed=st.integers(0, 1000),
)
def test_paths_end_on_the_hyperplane_and_satisfy_the_optimality_conditions(depth, start, seed):
    w0 = np.array(start)
    a = np.random.default_rng(seed).uniform(0.3, 1.5, w0.size)
    offset = 3 * float(a @ w0)
    path = single_constraint_path(depth, w0, a, offset, points=20)
    assert path.shape == (21, w0.size)
    np.testing.assert_allclose(path[0], w0, rtol=1e-12)
    assert float(a @ path[-1]) == pytest.approx(offset, rel=1e-9)
    assert np.all(np.diff(path @ a) > 0)
    power = 2 / depth - 1
    dual = np.log(path / w0) if power == 0 else (path**power - w0**power) / power
    multiplier = dual / a  # the same for every coordinate, at every point
    np.testing.assert_allclose(multiplier, np.broadcast_to(multiplier[:, :1], path.shape), rtol=1e-7, atol=1e-10)


def test_a_start_on_the_hyperplane_stays():
    path = single_constraint_path(3, [1.0, 2.0], [1.0, 1.0], 3.0, points=4)
    np.testing.assert_allclose(path, [[1.0, 2.0]] * 5, rtol=1e-15)


def test_downhill_and_mixed_signs():
    """From above, and with a weight that has to shrink while the other grows."""
    for depth in DEPTHS:
        for start, normal, offset in (([5.0, 6.0], [1.0, 1.0], 8.0), ([1.0, 1.0], [1.0, -1.0], 0.5)):
            end = single_constraint_path(depth, start, normal, offset, points=2)[-1]
            assert end @ np.array(normal) == pytest.approx(offset, rel=1e-9)
            assert end.min() > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mode_time(0, 1.0, 0.1, 0.5), "depth"),
        (lambda: mode_time(2, 1.0, 0.1, 1.5), "level: expected a value between start = 0.1 and target = 1, found 1.5"),
        (lambda: mode_time(2, 1.0, 0.5, 0.1), "level"),
        (lambda: mode_time(2, 1.0, 0.0, 0.1), "start"),
        (lambda: incremental_threshold(0.5, 2.0), "depth: expected at least 1, found 0.5"),
        (lambda: incremental_threshold(2, 1.0), "ratio"),
        (lambda: incremental_threshold(2, 2.0, 0.5), "share: expected less than 1/2, found 0.5"),
        (lambda: single_constraint_path(2, [0.0, 1.0], [1.0, 1.0], 3.0), "start: expected positive entries, found 0"),
        (lambda: single_constraint_path(2, [1.0], [1.0, 1.0], 3.0), "normal: expected a vector as long as start"),
        (lambda: single_constraint_path(2, [1.0, 1.0], [1.0, 1.0], 3.0, points=3), "points: expected an even number"),
        (lambda: single_constraint_path(0.2, [4.8, 9.6], [1.0, 2.0], 15.0), "reaches the boundary of its domain"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
