"""A completion problem without a solution of finite size on one side of the determinant."""

from collections.abc import Sequence

import numpy as np

from undertow._validation import check_integer, check_number
from undertow.problems import MatrixCompletion


def one_hidden_entry(
    size: int = 2,
    corner: Sequence[float] = (1.0, 1.0, 0.0),
    hidden: Sequence[int] = (0, 0),
) -> MatrixCompletion:
    r"""A completion problem whose hidden entry has to go to infinity: size x size, all entries seen but one.

    With ``corner`` :math:`(z, z', e)` the leading block is :math:`(?, z; z', e)`; the other diagonal entries are 1, all
    else is 0. For e = 0 every solution has determinant :math:`-z z'`. The loss is half the sum of squares.

    Parameters
    ----------
    size
        At least 2.
    corner
        Three numbers: W_12, W_21 and W_22; the first two not 0.
    hidden
        Where the hidden entry is, as a row and a column counted from 0: its row and the first are exchanged, its column
        and the first as well. Each exchange changes the sign of the determinant of the solutions.

    Raises
    ------
    TypeError, ValueError
        If ``size`` is below 2, an entry is not finite or is 0, or ``hidden`` is not a position in the matrix.

    References
    ----------
    Razin, Cohen. Implicit Regularization in Deep Learning May Not Be Explainable by Norms. NeurIPS 2020, Section 3.

    Examples
    --------
    >>> one_hidden_entry(3).values.tolist()
    [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    """
    seen, w = _pattern(size, corner, hidden)
    rows, columns = np.nonzero(seen)
    return MatrixCompletion((size, size), rows, columns, w[seen], normalization="half_sum")


def sign_of_solutions(size: int = 2, corner: Sequence[float] = (1.0, 1.0, 0.0), hidden: Sequence[int] = (0, 0)) -> int:
    """The sign of the determinant of every solution of `one_hidden_entry` (of that with a hidden 0 where e is not)."""
    _, w = _pattern(size, corner, hidden)
    return int(np.sign(np.linalg.det(w)))


def _pattern(size: int, corner: Sequence[float], hidden: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Which entries are seen, and the solution with 0 in the hidden one."""
    check_integer("size", size, 2)
    for name, value, length in (("corner", corner, 3), ("hidden", hidden, 2)):
        if not isinstance(value, Sequence) or len(value) != length:
            raise ValueError(f"{name}: expected {length} numbers, found {value!r}")
    z, other, e = (check_number(f"corner[{i}]", value) for i, value in enumerate(corner))
    if z == 0 or other == 0:
        raise ValueError(f"corner: expected W_12 and W_21 other than 0, found {tuple(corner)}")
    row, column = (check_integer(f"hidden[{i}]", value, 0) for i, value in enumerate(hidden))
    if max(row, column) >= size:
        raise ValueError(f"hidden: expected a position in {size} x {size}, counted from 0, found {tuple(hidden)}")
    w = np.eye(size)
    w[:2, :2] = [[0, z], [other, e]]
    seen = np.ones((size, size), bool)
    seen[0, 0] = False
    for array in (w, seen):
        array[[0, row]] = array[[row, 0]]
        array[:, [0, column]] = array[:, [column, 0]]
    return seen, w
