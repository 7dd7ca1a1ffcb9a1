"""Matrix sensing: fit linear measurements of a matrix; what they leave open is what the bias decides."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._repr import shown
from .._validation import Numbers, check_array
from ._base import Problem, check_normalization, normalized
from ._equations import Equations, weight_of


class RankOne(NamedTuple):
    """Matrices a_i b_i^T, by the rows a_i and b_i."""

    left: Float[Array, "m rows"]
    right: Float[Array, "m columns"]

    def __repr__(self) -> str:
        return shown(self)


class MatrixSensing(Problem):
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
    measurements: Float[Array, "m rows columns"] | RankOne
    values: Float[Array, " m"]
    truth: Float[Array, "rows columns"] | None
    normalization: str = eqx.field(static=True)
    measured: int = eqx.field(static=True)
    counts: Float[Array, " m"] | None

    def __init__(
        self,
        measurements: Numbers | RankOne,
        values: Numbers,
        truth: Numbers | None = None,
        normalization: str = "mean",
    ):
        if isinstance(measurements, RankOne):
            left = check_array("left", measurements.left, dimensions=2)
            right = check_array("right", measurements.right, dimensions=2)
            if left.shape[0] != right.shape[0]:
                raise ValueError(f"left, right: expected equal lengths, found shapes {left.shape} and {right.shape}")
            self.measurements = RankOne(left, right)
            m, rows, columns = left.shape[0], left.shape[1], right.shape[1]
        else:
            self.measurements = check_array("measurements", measurements, dimensions=3)
            m, rows, columns = self.measurements.shape
        self.values = check_array("values", values, dimensions=1)
        if 0 in (m, rows, columns):
            raise ValueError(
                f"measurements: expected at least one matrix with entries, found shape {(m, rows, columns)}"
            )
        if self.values.shape[0] != m:
            raise ValueError(f"values: expected one number for each of the {m} measurements, found {len(self.values)}")
        self.shape, self.measured, self.counts = (rows, columns), m, None
        self.truth = None if truth is None else check_array("truth", truth, dimensions=2)
        if self.truth is not None and self.truth.shape != self.shape:
            raise ValueError(f"truth: expected shape {self.shape}, found {self.truth.shape}")
        self.normalization = check_normalization(normalization)

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
        return cls(RankOne(left, right), values, truth, normalization)  # pyright: ignore[reportArgumentType]

    def loss(self, w: Float[Array, "rows columns"]) -> Float[Array, ""]:
        if isinstance(self.measurements, RankOne):
            left, right = self.measurements
            products = jnp.sum((left @ w) * right, axis=1)
        else:  # one product of a matrix and a vector, which is what it is
            products = self.measurements.reshape(self.values.size, -1) @ jnp.ravel(w)
        return normalized(products - self.values, self.normalization, self.counts, self.measured)

    @property
    def terms(self) -> int:
        """The measurements."""
        return self.measured

    def part(self, positions: Int[Array, " k"], counts: Float[Array, " k"]) -> "MatrixSensing":
        measurements = jax.tree.map(lambda x: x[positions], self.measurements)
        return eqx.tree_at(
            lambda p: (p.measurements, p.values, p.counts),
            self,
            (measurements, self.values[positions], counts),
            is_leaf=lambda x: x is None,
        )

    def equations(self) -> Equations:
        m = self.values.size
        return Equations(self.matrices.reshape(m, -1), self.values, weight_of(self.normalization, m))

    @property
    def matrices(self) -> Float[Array, "m rows columns"]:
        """The measurements, written out as matrices."""
        if isinstance(self.measurements, RankOne):
            left, right = self.measurements
            return left[:, :, None] * right[:, None, :]
        return self.measurements
