"""Junk for constructors, and laws over random inputs."""

import contextlib
import math

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut

B, P, M = ut.problems, ut.parameterizations, ut.probes

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.just(10**400),
    st.just(object()),
    st.sampled_from([np.float64("nan"), np.int8(3), np.bool_(True), np.str_("x"), np.datetime64("2020-01-01")]),
)
arrays = hnp.arrays(
    dtype=st.sampled_from(["f2", "f4", "f8", "g", "i4", "u8", "b1", "c16", "U2", "O", "M8[D]"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
junk = st.one_of(
    scalars,
    arrays,
    st.lists(scalars, max_size=3),
    st.lists(st.lists(st.floats(), max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=2), scalars, max_size=2),
    st.builds(lambda x: lambda *args: x, scalars),
)

CONSTRUCTORS = {
    "Identity": (P.Identity, 2),
    "Power": (P.Power, 3),
    "SignedPower": (P.SignedPower, 3),
    "Exponential": (P.Exponential, 2),
    "Polar": (P.Polar, 1),
    "DeepMatrix": (P.DeepMatrix, 4),
    "PointTarget": (B.PointTarget, 1),
    "LineTarget": (B.LineTarget, 3),
    "LeastSquares": (B.LeastSquares, 3),
    "MatrixCompletion": (B.MatrixCompletion, 6),
    "SingularValues": (M.SingularValues, 1),
    "SchattenNorm": (M.SchattenNorm, 1),
    "DistanceTo": (M.DistanceTo, 1),
    "Entry": (M.Entry, 2),
    "TestError": (M.TestError, 2),
    "Stop": (ut.Stop, 4),
    "EarlyStopping": (ut.EarlyStopping, 3),
    "GradientFlow": (ut.dynamics.GradientFlow, 3),
    "GradientDescent": (ut.dynamics.GradientDescent, 1),
    "make": (ut.optimizers.make, 2),
    "lift": (P.Power(2, 2).lift, 1),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, on the way to finding that a value is junk
@pytest.mark.parametrize("name", CONSTRUCTORS)
@given(data=st.data())
def test_junk_gives_a_value_or_a_type_error(name, data):
    make, most = CONSTRUCTORS[name]
    arguments = data.draw(st.lists(junk, min_size=0, max_size=most))
    with contextlib.suppress(TypeError, ValueError):
        make(*arguments)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(
    shape=st.tuples(st.integers(-1, 3), st.integers(-1, 3)),
    rows=st.lists(st.integers(-1, 3), max_size=4),
    columns=st.lists(st.integers(-1, 3), max_size=4),
    values=st.lists(st.floats(), max_size=4),
)
def test_a_completion_is_right_or_refused(shape, rows, columns, values):
    """What is accepted is right: every entry once and inside, finite, and in place."""
    pairs = list(zip(rows, columns, strict=False))
    right = (
        min(shape) > 0
        and len(rows) == len(columns) == len(values) > 0
        and all(0 <= i < shape[0] and 0 <= j < shape[1] for i, j in pairs)
        and len(set(pairs)) == len(pairs)
        and all(math.isfinite(v) for v in values)
    )
    if not right:
        with pytest.raises(ValueError, match=r"shape|rows|columns|values"):
            B.MatrixCompletion(shape, rows, columns, values)
        return
    problem = B.MatrixCompletion(shape, rows, columns, values)
    given_entries = dict(zip(pairs, values, strict=True))
    found = zip(problem.rows.tolist(), problem.columns.tolist(), strict=True)
    assert dict(zip(found, problem.values.tolist(), strict=True)) == given_entries


entries = st.floats(-1e3, 1e3)


@given(w=hnp.arrays("f8", (2, 3), elements=entries), depth=st.integers(1, 4))
def test_deep_matrices_lift_any_matrix(w, depth):
    phi = P.DeepMatrix((2, 3), depth)
    np.testing.assert_allclose(phi(phi.lift(w)), w, atol=1e-9 * max(1.0, np.abs(w).max()))


@given(w=hnp.arrays("f8", 3, elements=entries), depth=st.floats(1, 8))
def test_signed_powers_lift_any_vector(w, depth):
    phi = P.SignedPower(3, depth)
    np.testing.assert_allclose(phi(phi.lift(w)), w, rtol=1e-9, atol=1e-200)


@given(w=hnp.arrays("f8", 3, elements=st.floats(1e-3, 1e3)), depth=st.floats(0.3, 8))
def test_the_field_of_a_power_is_its_closed_form(w, depth):
    target = np.array([3.0, 6.0, 1.0])
    phi = P.Power(3, depth)
    found = ut.velocity(B.PointTarget(target), phi, phi.lift(w))
    np.testing.assert_allclose(found, depth**2 * w ** (2 - 2 / depth) * (target - w), rtol=1e-8)


@given(singular=hnp.arrays("f8", 4, elements=st.floats(0, 1e6)))
def test_ranks_lie_between_one_and_the_number_of_values(singular):
    """The stable rank is at most the effective one wherever both are soft counts of the same values."""
    effective, stable = (float(f(jnp.asarray(singular))) for f in (ut.linalg.effective_rank, ut.linalg.stable_rank))
    if not singular.any():
        assert effective == stable == 0
        return
    rounding = 1 + 1e-9
    assert 1 / rounding <= stable <= np.count_nonzero(singular) * rounding
    assert 1 / rounding <= effective <= np.count_nonzero(singular) * rounding


@given(angle=st.floats(0, 6), factor=st.floats(0.1, 10))
def test_losses_do_not_change_with_a_rotation_or_a_factor_of_the_line(angle, factor):
    w = jnp.array([1.0, 8.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    a, b = turn @ [-1.0, -2.0]
    expected = B.LineTarget(-1.0, -2.0, 15.0).loss(w)
    found = B.LineTarget(factor * a, factor * b, factor * 15.0).loss(jnp.asarray(turn @ w))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 2**32), scale=st.floats(1e-6, 1e3))
def test_balanced_factors_are_balanced_at_any_scale(seed, scale):
    phi = P.DeepMatrix((3, 2), 3, initialization="balanced")
    first, second, third = (np.asarray(x) for x in phi.init(jax.random.key(seed), scale))
    size = float(np.linalg.norm(first) ** 2)
    np.testing.assert_allclose(second.T @ second, first @ first.T, atol=1e-12 * size)
    np.testing.assert_allclose(third.T @ third, second @ second.T, atol=1e-12 * size)
