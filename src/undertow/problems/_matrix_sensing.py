"""Matrix sensing: fit linear measurements of a matrix; what they leave open is what the bias decides."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._validation import Numbers, check_array
from ._base import Problem, check_normalization, normalized


class MatrixSensing(Problem):
    r"""Sensing of a matrix by inner products: loss :math:`\frac1m \sum_i (\langle A_i, W \rangle - y_i)^2`.

    Parameters
    ----------
    measurements
        The matrices A_i, shape (m, rows, columns).
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
    """

    shape: tuple[int, int] = eqx.field(static=True)
    measurements: Float[Array, "m rows columns"]
    values: Float[Array, " m"]
    truth: Float[Array, "rows columns"] | None
    normalization: str = eqx.field(static=True)

    def __init__(
        self, measurements: Numbers, values: Numbers, truth: Numbers | None = None, normalization: str = "mean"
    ):
        self.measurements = check_array("measurements", measurements, dimensions=3)
        self.values = check_array("values", values, dimensions=1)
        m, rows, columns = self.measurements.shape
        if self.measurements.size == 0:
            raise ValueError(
                f"measurements: expected at least one matrix with entries, found shape {(m, rows, columns)}"
            )
        if self.values.shape[0] != m:
            raise ValueError(f"values: expected one number for each of the {m} measurements, found {len(self.values)}")
        self.shape = (rows, columns)
        self.truth = None if truth is None else check_array("truth", truth, dimensions=2)
        if self.truth is not None and self.truth.shape != self.shape:
            raise ValueError(f"truth: expected shape {self.shape}, found {self.truth.shape}")
        self.normalization = check_normalization(normalization)

    def loss(self, w: Float[Array, "rows columns"]) -> Float[Array, ""]:
        # One product of a matrix and a vector, which is what it is.
        flat = self.measurements.reshape(self.values.size, -1)
        return normalized(flat @ jnp.ravel(w) - self.values, self.normalization)
