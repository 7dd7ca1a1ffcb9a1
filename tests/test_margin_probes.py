"""The probes of margins and directions: what they do at any size of w, along a run, and with wrong input."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import undertow as ut
from undertow.probes._margins import NORMS

B, M, P = ut.problems, ut.probes, ut.parameterizations
X, Y = np.array([[1.0, 0.2], [-0.2, -1.0], [2.0, 1.5]]), [1, -1, 1]
PROBLEM, PLANE = B.Classification(X, Y), P.Identity(2)
POINT = B.PointTarget([3.0, 6.0])


@pytest.mark.parametrize("size", [1e-300, 1e-3, 1e300])
def test_the_size_of_w_plays_no_part(size):
    w = jnp.array([1.0, 2.0])
    for probe in (M.Margin(), M.Margin("l1"), M.Margin("linf"), M.DirectionError([2.0, 1.0])):
        np.testing.assert_allclose(probe(PROBLEM, PLANE, size * w), probe(PROBLEM, PLANE, w), rtol=1e-13)
        np.testing.assert_allclose(
            M.DirectionError(size * w)(PROBLEM, PLANE, jnp.array([2.0, 1.0])), np.sqrt(2 - 2 * 4 / 5), rtol=1e-13
        )


def test_at_zero_there_is_no_direction():
    assert M.Margin()(PROBLEM, PLANE, jnp.zeros(2)) == 0
    assert M.DirectionError([3.0, 4.0])(PROBLEM, PLANE, jnp.zeros(2)) == 1


def test_opposite_and_equal_directions():
    probe = M.DirectionError([3.0, 4.0])
    assert probe(PROBLEM, PLANE, jnp.array([6.0, 8.0])) == pytest.approx(0, abs=1e-15)
    assert probe(PROBLEM, PLANE, jnp.array([-6.0, -8.0])) == pytest.approx(2, rel=1e-15)


def test_a_point_on_the_wrong_side_has_a_negative_margin():
    assert M.Margin()(PROBLEM, PLANE, jnp.array([1.0, -1.0])) == pytest.approx(-0.8 / np.sqrt(2), rel=1e-14)


@pytest.mark.long
def test_a_run_in_log_time_under_all_of_them():
    """The hard margin is at w = (5/6, 5/6): a margin of 0.8485 there, of 0.6 in l1 and of 1.2 in linf."""
    probes = [M.Margin(), M.Margin("l1"), M.Margin("linf"), M.DirectionError([1.0, 1.0])]
    probes.append(M.DirectionError([1.0, 0.0], label="away"))
    flow, stop = ut.dynamics.GradientFlow("implicit"), ut.Stop(loss=None, log_time=1e5)
    run = ut.train(PROBLEM, PLANE, flow, params=jnp.zeros(2), stop=stop, samples=4, probes=probes)
    assert (run["margin"][0], run["direction_error"][0]) == (0, pytest.approx(1))
    assert run["direction_error"][-1] < 1e-5
    for name, margin in (("margin", 0.848528), ("margin_l1", 0.6), ("margin_linf", 1.2)):
        np.testing.assert_allclose(run[name][-1], margin, rtol=1e-5)
    np.testing.assert_allclose(run["away"][-1], 2 * np.sin(np.pi / 8), rtol=1e-5)


def test_a_problem_from_outside_needs_margins_only():
    class Outside(B.PointTarget):
        def margins(self, w):
            return w - w[::-1]

    problem = Outside([1.0, 2.0])
    M.Margin().check(problem, PLANE)
    assert M.Margin()(problem, PLANE, jnp.array([3.0, 4.0])) == pytest.approx(-0.2, rel=1e-14)


def test_all_norms_have_a_name_of_their_own():
    assert len({M.Margin(norm).name for norm in NORMS}) == len(NORMS)


BAD = [
    (lambda: M.Margin("l3"), ValueError, "norm: unknown choice 'l3'; expected one of l1, l2, linf"),
    (lambda: M.Margin().check(POINT, PLANE), ValueError, "Margin: expected a problem with margins"),
    (lambda: M.Margin("nuclear").check(PROBLEM, PLANE), ValueError, "margin_nuclear: expected w to be a matrix"),
    (lambda: M.DirectionError([0.0, 0.0]), ValueError, "target: expected a vector with a direction, found zeros only"),
    (lambda: M.DirectionError([np.nan, 0.0]), ValueError, "target: expected finite numbers, found nan"),
    (lambda: M.DirectionError([1.0, 0.0], label=""), TypeError, "label: expected a name"),
    (lambda: M.DirectionError([1.0]).check(POINT, PLANE), ValueError, "target: expected shape (2,), found (1,)"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
