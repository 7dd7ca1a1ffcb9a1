"""Matrix sensing: fit linear measurements of a matrix; what they leave open is what the bias decides."""

import equinox as eqx
from jaxtyping import Array, Float

from .._validation import Numbers, check_array
from ._sensing import RankOne, Sensing, rank_one


class MatrixSensing(Sensing):
    r"""Sensing of a matrix by inner products: loss :math:`\frac1m \sum_i (\langle A_i, W \rangle - y_i)^2`.

    Parameters
    ----------
    measurements
        The matrices A_i, shape (m, rows, columns). Where all are of rank one, ``MatrixSensing.rank_one`` takes their
        factors instead.
    values
        The measured y_i, m of them.
    truth
        The whole matrix where it is known; used by probes only, never by the loss.
    normalization
        "mean" (the default, as written above), "half_mean", "sum" or "half_sum" over the m measurements.

    Raises
    ------
    TypeError, ValueError
        If there is no measurement, shapes do not fit, an entry is not finite, or ``normalization`` is unknown.

    References
    ----------
    Recht, Fazel, Parrilo. Guaranteed Minimum-Rank Solutions of Linear Matrix Equations via Nuclear Norm Minimization.
    SIAM Review 2010.
    Arora, Cohen, Hu, Luo. Implicit Regularization in Deep Matrix Factorization. NeurIPS 2019 (Section 3).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> trace = MatrixSensing(jnp.eye(2)[None], [3.0])
    >>> float(trace.loss(jnp.eye(2)))
    1.0
    >>> entry = MatrixSensing.rank_one([[1.0, 0.0]], [[0.0, 1.0]], [3.0])
    >>> float(entry.loss(jnp.array([[0.0, 3.0], [0.0, 0.0]])))
    0.0
    """

    shape: tuple[int, int] = eqx.field(static=True)

    def __init__(
        self,
        measurements: Numbers | RankOne,
        values: Numbers,
        truth: Numbers | None = None,
        normalization: str = "mean",
    ):
        if not isinstance(measurements, RankOne):
            measurements = check_array("measurements", measurements, dimensions=3)
        super().__init__(measurements, values, truth, normalization, "matrix")

    @classmethod
    def rank_one(
        cls, left: Numbers, right: Numbers, values: Numbers, truth: Numbers | None = None, normalization: str = "mean"
    ) -> "MatrixSensing":
        """Measurements :math:`A_i = a_i b_i^T` with a_i and b_i the rows of ``left`` and ``right``; never formed.

        Raises
        ------
        TypeError, ValueError
            As the class does.
        """
        return cls(rank_one(left=left, right=right), values, truth, normalization)

    @property
    def matrices(self) -> Float[Array, "m rows columns"]:
        """The measurements, written out as matrices."""
        return self.written_out()
