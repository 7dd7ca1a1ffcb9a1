"""What every room takes for numbers, and refuses: containers, byte orders, masks, units."""

from decimal import Decimal
from fractions import Fraction

import jax
import numpy as np
import pytest
from scipy.sparse import csr_array

import undertow as ut
from undertow._validation import as_numpy, check_array, check_indices, check_number

MASKED = np.ma.masked_equal([1.0, -99.0, 2.0], -99)


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i4", "<f8", "f2", "longdouble"])
def test_numbers_of_every_type_and_byte_order(dtype: str) -> None:
    given = np.array([[1, 2], [3, 4]], dtype)
    np.testing.assert_array_equal(check_array("x", given), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(check_array("x", given[::-1].T), [[3, 1], [4, 2]])
    assert check_number("x", given[1, 1]) == 4


@pytest.mark.parametrize("dtype", [">i8", ">u2", "i1", "u8"])
def test_indices_of_every_type_and_byte_order(dtype: str) -> None:
    assert check_indices("x", np.array([2, 0], dtype), 3).tolist() == [2, 0]


@pytest.mark.parametrize(
    "value",
    [MASKED, list(MASKED), [[1.0, 2.0], list(MASKED[:2])], MASKED[1], [MASKED, MASKED], MASKED.astype(int)],
    ids=["array", "list", "nested", "one", "arrays", "integers"],
)
def test_masked_numbers_are_refused(value) -> None:
    for check in (check_array, lambda name, value: check_indices(name, value, 3)):
        with pytest.raises(TypeError, match=r"^x: .* masked"):
            check("x", value)


def test_a_mask_on_nothing_is_none() -> None:
    assert check_array("x", np.ma.masked_equal([1.0, 2.0], 3)).tolist() == [1, 2]
    assert check_indices("x", np.ma.array([1, 2]), 3).tolist() == [1, 2]


def test_problems_refuse_what_is_masked() -> None:
    with pytest.raises(TypeError, match=r"^b: .* masked"):
        ut.problems.LeastSquares(np.eye(3), MASKED)
    with pytest.raises(TypeError, match=r"^rows: .* masked"):
        ut.problems.MatrixCompletion((3, 3), np.ma.masked_equal([0, 1], 1), [0, 1], [1.0, 2.0])


NO_NUMBERS = [
    np.array([1, 2], "m8[s]"),
    np.array([1, 2], "M8[s]"),
    np.array([1j, 2]),
    np.array([True, False]),
    np.array([1, 2.5], object),
    ["1", "2"],
    np.array([(1, 2.0)], [("a", int), ("b", float)]),
    [10**30, 1],
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: str(getattr(value, "dtype", value)))
def test_what_is_no_number_is_refused(value) -> None:
    with pytest.raises(TypeError, match=r"^x: "):
        check_array("x", value)
    with pytest.raises((TypeError, ValueError), match=r"^x: "):
        check_indices("x", value, 3)


def test_sparse_arrays_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"^x: expected a dense array, found a sparse csr_array"):
        as_numpy("x", csr_array([[1.0, 2.0]]))


@pytest.mark.parametrize("value", [np.timedelta64(5, "s"), np.datetime64("2020"), np.ma.masked, MASKED[1], None])
def test_one_number_is_a_number(value) -> None:
    with pytest.raises(TypeError, match=r"^x: expected a finite number"):
        check_number("x", value)


@pytest.mark.parametrize("value", [Decimal("0.5"), Fraction(1, 2), np.array(0.5, ">f8"), np.float16(0.5)])
def test_one_number_of_another_library(value) -> None:
    assert float(jax.numpy.asarray(check_number("x", value))) == 0.5


LOST = [1e-50, [1e-50, 0.0], [[1.0, 1e-50], [2.0, 1e-60]], [[1.0, 1.0], [1e-50, 0.0]], [1e-40]]


@pytest.mark.parametrize("value", LOST)
def test_numbers_that_would_all_become_zero_are_refused(value) -> None:
    assert check_array("x", value).dtype == np.float64
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"^x: expected numbers that float32 can hold"):
        check_array("x", value)


def test_small_beside_large_is_rounding() -> None:
    with jax.enable_x64(False), np.errstate(all="raise"):
        assert check_array("x", [1.0, 1e-50]).tolist() == [1, 0]
        kernel = check_array("x", np.exp(-np.square(np.subtract.outer(np.arange(12.0), np.arange(12.0)))))
        assert kernel.shape == (12, 12)
        assert check_array("x", np.zeros((2, 0))).shape == (2, 0)
        assert check_array("x", 0.0).shape == ()
