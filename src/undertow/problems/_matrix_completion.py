"""Matrix completion: fit the observed entries; the others are what the bias decides."""

import equinox as eqx
from jaxtyping import Array, Int

from .._validation import Numbers, check_shape
from ..linalg import axes_of
from ._completion import Completion


class MatrixCompletion(Completion):
    r"""Completion of a matrix from some of its entries: loss :math:`\frac1m \sum_{(i,j)} (W_{ij} - M_{ij})^2`.

    Time and memory of the loss grow with the m observed entries, not with rows x columns.

    Parameters
    ----------
    shape
        (rows, columns).
    rows, columns
        Where the observed entries are, counted from 0; no pair twice. m integers each.
    values
        The observed entries. They are kept in the order of rows, then columns.
    truth
        The whole matrix where it is known; used by probes only, never by the loss.
    normalization
        "mean" (the default, as written above), "half_mean", "sum" or "half_sum" over the m observed entries.

    Raises
    ------
    TypeError, ValueError
        If there is no observed entry, lengths differ, an index is out of range, a pair stands twice, a value is not
        finite, ``truth`` does not have the given shape, or ``normalization`` is unknown.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> problem = MatrixCompletion((2, 2), rows=[0, 1], columns=[1, 0], values=[1.0, 1.0])
    >>> float(problem.loss(jnp.zeros((2, 2))))
    1.0
    """

    shape: tuple[int, int] = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, int],
        rows: Numbers,
        columns: Numbers,
        values: Numbers,
        truth: Numbers | None = None,
        normalization: str = "mean",
    ):
        n, d = check_shape("shape", shape, dimensions=2)
        super().__init__((n, d), {"rows": rows, "columns": columns}, values, truth, normalization)

    @property
    def rows(self) -> Int[Array, " m"]:
        """Rows of the observed entries, in ascending order."""
        return axes_of(self.indices)[0]

    @property
    def columns(self) -> Int[Array, " m"]:
        """Columns of the observed entries, in the order of ``rows``."""
        return axes_of(self.indices)[1]
