"""The linear equations whose solutions are the points of zero error, where there are such."""

import dataclasses

import numpy as np
import scipy.sparse

from .._repr import shown
from .._validation import Numbers


@dataclasses.dataclass(frozen=True)
class Equations:
    r"""The points of zero error :math:`\{w : A\, \mathrm{vec}(w) = b\}` of a problem.

    A problem that has them says so by its method ``equations``; theory asks for nothing else.

    Parameters
    ----------
    matrix
        A, one row for each equation and one column for each entry of w, in the order of ``w.ravel()``: an array, or a
        sparse matrix of scipy's. Where every row picks an entry of its own, a sparse one stays sparse.
    b
        Right-hand sides.
    weight
        c, if the loss is :math:`\frac{c}{2} |A w - b|^2`; it sets the clock of paths. None where it is another loss.

    Examples
    --------
    >>> import undertow as ut
    >>> ut.problems.LineTarget(-1.0, -2.0, 15.0).equations().b.tolist()
    [-15.0]
    """

    matrix: Numbers | scipy.sparse.sparray
    b: Numbers
    weight: float | None = None

    def __repr__(self) -> str:
        return shown(self)


def entries(where: np.ndarray, values: Numbers, size: int, weight: float | None = None) -> Equations:
    """Equations that give the entries of ``w.ravel()``, of this size, at ``where``."""
    m = where.size
    matrix = scipy.sparse.csr_array((np.ones(m), where, np.arange(m + 1)), shape=(m, size))
    return Equations(matrix, np.asarray(values, np.float64).ravel(), weight)


def weight_of(normalization: str, m: int) -> float:
    """The factor of half the sum of m squares."""
    return {"half_sum": 1.0, "sum": 2.0, "half_mean": 1 / m, "mean": 2 / m}[normalization]
