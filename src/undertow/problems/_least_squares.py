"""Least squares, as a rule with fewer equations than unknowns."""

from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float, Int

from .._validation import Numbers, check_array
from ._base import Problem, check_normalization, normalized, scaled
from ._equations import Equations, weight_of


class LeastSquares(Problem):
    r"""Linear least squares: loss :math:`\frac12 |A w - b|^2`.

    Parameters
    ----------
    A
        Matrix, m x d.
    b
        Right-hand side, m.
    normalization
        "half_sum" (the default, as written above), "sum", "mean" or "half_mean" over the m equations.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, ``A`` is empty, an entry is not finite, or ``normalization`` is unknown.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(LeastSquares(jnp.array([[1.0, 1.0]]), jnp.array([3.0])).loss(jnp.zeros(2)))
    4.5
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    A: Float[Array, "m d"]
    b: Float[Array, " m"]
    normalization: str = eqx.field(static=True)
    rows: int = eqx.field(static=True)
    counts: Float[Array, " m"] | None

    def __init__(self, A: Numbers, b: Numbers, normalization: str = "half_sum"):
        self.A = check_array("A", A, dimensions=2)
        self.b = check_array("b", b)
        if self.b.ndim != 1:
            raise ValueError(
                f"b: expected 1 dimension(s), found shape {self.b.shape}; a single column is b.ravel(), and several "
                "are a problem for each"
            )
        if self.A.size == 0:
            raise ValueError(f"A: expected at least one row and one column, found shape {self.A.shape}")
        if self.A.shape[0] != self.b.shape[0]:
            raise ValueError(
                f"b: expected one entry for each of the {self.A.shape[0]} rows of A, found {self.b.shape[0]}"
            )
        self.normalization = check_normalization(normalization)
        self.rows, columns = self.A.shape
        self.shape, self.counts = (columns,), None

    def loss(self, w: Float[Array, " d"]) -> Float[Array, ""]:
        return normalized(self.A @ w - self.b, self.normalization, self.counts, self.rows)

    @property
    def terms(self) -> int:
        """The rows of A."""
        return self.rows

    def part(self, positions: Int[Array, " k"], counts: Float[Array, " k"]) -> "LeastSquares":
        return eqx.tree_at(
            lambda p: (p.A, p.b, p.counts),
            self,
            (self.A[positions], self.b[positions], counts),
            is_leaf=lambda x: x is None,
        )

    def residuals(self, w: Float[Array, " d"]) -> Float[Array, " m"]:
        return scaled(self.A @ w - self.b, self.normalization, self.counts, self.rows)

    def relabeled(self, change: Callable[[Array], Array]) -> "LeastSquares":
        return eqx.tree_at(lambda p: p.b, self, change(self.b))

    def equations(self) -> Equations:
        return Equations(self.A, self.b, weight_of(self.normalization, self.b.size))
