"""The primer's two losses: a point, and a line of solutions in the plane."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._validation import Numbers, check_array, check_number, is_traced
from ._base import Problem
from ._equations import Equations, entries


class PointTarget(Problem):
    r"""One solution: loss :math:`\frac12 |w - w^*|^2`.

    Parameters
    ----------
    target
        :math:`w^*`, of any shape.

    Raises
    ------
    TypeError, ValueError
        If ``target`` is empty, not real, or has NaN or infinity.

    References
    ----------
    Gissin. A Primer on Implicit Regularization. 2020.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(PointTarget([3.0, 6.0]).loss(jnp.array([1.0, 8.0])))
    4.0
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    target: Float[Array, "..."]

    def __init__(self, target: Numbers):
        self.target = check_array("target", target)
        if self.target.size == 0:
            raise ValueError(f"target: expected at least one entry, found shape {self.target.shape}")
        self.shape = self.target.shape

    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return jnp.sum((w - self.target) ** 2) / 2

    def residuals(self, w: Float[Array, "..."]) -> Float[Array, " m"]:
        return jnp.ravel(w - self.target)

    def equations(self) -> Equations:
        return entries(np.arange(self.target.size), self.target, self.target.size, 1.0)


class LineTarget(Problem):
    r"""A line of solutions :math:`a w_1 + b w_2 + c = 0`: loss :math:`(a w_1 + b w_2 + c)^2 / (2 (a^2 + b^2))`.

    Half the squared distance of w from the line. The notebook of the primer draws a = -1, b = -2, c = 15.

    Parameters
    ----------
    a, b, c
        Coefficients of the line; a and b not both zero.

    Raises
    ------
    TypeError, ValueError
        If a coefficient is not a finite number, or a = b = 0.

    References
    ----------
    Gissin. A Primer on Implicit Regularization. 2020.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(LineTarget(-1.0, -2.0, 15.0).loss(jnp.array([3.0, 6.0])))
    0.0
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    normal: Float[Array, " 2"]
    offset: Float[Array, ""]

    def __init__(self, a: ArrayLike, b: ArrayLike, c: ArrayLike):
        coefficients = [check_number(name, value) for name, value in (("a", a), ("b", b), ("c", c))]
        if not any(is_traced(x) for x in coefficients) and coefficients[0] == 0 and coefficients[1] == 0:
            raise ValueError("a, b: expected at least one that is not zero, found a = b = 0")
        floating = [jnp.asarray(x, dtype=jnp.result_type(float)) for x in coefficients]
        self.normal = jnp.stack(floating[:2])
        self.offset = floating[2]
        self.shape = (2,)

    def loss(self, w: Float[Array, " 2"]) -> Float[Array, ""]:
        return (self.normal @ w + self.offset) ** 2 / (2 * (self.normal @ self.normal))

    def residuals(self, w: Float[Array, " 2"]) -> Float[Array, " 1"]:
        return (self.normal @ w + self.offset)[None] / jnp.sqrt(self.normal @ self.normal)

    def equations(self) -> Equations:
        normal = np.asarray(self.normal, np.float64)
        return Equations(normal[None, :], -np.asarray(self.offset, np.float64)[None], float(1 / (normal @ normal)))
