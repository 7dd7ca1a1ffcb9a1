"""Powers of the entries: the Euclidean potential, and its relatives."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._validation import check_number
from ._base import Entrywise
from ._remainders import exp_remainder


class Euclidean(Entrywise):
    r"""Half the squared norm :math:`\frac12 \sum_i w_i^2`: every w is its own dual.

    Mirror descent is gradient descent. The divergence is half the squared distance; on underdetermined least squares
    the end point is the one nearest to the start, so that of smallest l2 norm from w(0) = 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(Euclidean()(jnp.array([3.0, 4.0])))
    12.5
    """

    @property
    def interval(self) -> tuple[float, float]:
        return (-np.inf, np.inf)

    @property
    def degree(self) -> float:
        return 2.0

    def values(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return w * w / 2

    def gradient(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return w

    def inverse_gradient(self, dual: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return dual

    def divergences(self, x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return (x - z) ** 2 / 2


class PNorm(Entrywise):
    r"""The power :math:`\frac1p \sum_i |w_i|^p`, 1 < p < infinity, with gradient :math:`\mathrm{sign}(w_i)|w_i|^{p-1}`.

    From w(0) = 0 the divergence is the potential itself, and the end point on underdetermined least squares that of
    smallest :math:`\ell_p` norm: spread out for large p, nearly sparse for p close to 1.

    Parameters
    ----------
    p
        The exponent, above 1. Runs of a sweep over p share one compiled program.

    Raises
    ------
    TypeError, ValueError
        If ``p`` is not a finite number above 1.

    Notes
    -----
    For p > 2 the flow leaves 0 infinitely fast, and for p < 2 infinitely slowly; a flow or descent from exactly 0 is
    well defined all the same, because it is one of the dual.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> PNorm(3).gradient(jnp.array([2.0, -3.0])).tolist()
    [4.0, -9.0]
    """

    p: Float[Array, ""]

    def __init__(self, p: Any):
        self.p = jnp.asarray(check_number("p", p, 1, exclusive=True), dtype=jnp.result_type(float))

    @property
    def interval(self) -> tuple[float, float]:
        return (-np.inf, np.inf)

    @property
    def degree(self) -> Any:
        return self.p

    def values(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        p = self.p.astype(w.dtype)
        return jnp.abs(w) ** p / p

    def gradient(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.sign(w) * jnp.abs(w) ** (self.p.astype(w.dtype) - 1)

    def inverse_gradient(self, dual: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.sign(dual) * jnp.abs(dual) ** (1 / (self.p.astype(dual.dtype) - 1))

    def divergences(self, x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        p = self.p.astype(x.dtype)
        near = jnp.abs(x - z) < jnp.abs(z) / 2
        far = self.values(x) - self.values(z) - self.gradient(z) * (x - z)
        t = jnp.log1p(jnp.where(near, x - z, 0) / jnp.where(near, z, 1))
        # |z|^p ((e^{pt} - 1) / p - (e^t - 1)) with x = z e^t, the terms of first order taken off both.
        close = jnp.abs(z) ** p * (exp_remainder(p * t) / p - exp_remainder(t))
        return jnp.where(near, close, far)
