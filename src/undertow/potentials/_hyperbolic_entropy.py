"""The hyperbolic entropy, the potential behind the difference of two squares."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._validation import check_array, is_traced
from ._base import Entrywise
from ._remainders import NEAR, sinh_remainder


class HyperbolicEntropy(Entrywise):
    r"""Hyperbolic entropy :math:`\sum_i w_i \operatorname{arcsinh}(w_i/b) - \sqrt{w_i^2 + b^2} + b`.

    The potential behind :math:`w = u^2 - v^2` from u = v = alpha, whose gradient flow is this mirror flow run four
    times as fast, with :math:`b = 2\alpha^2`. Near :math:`w^2 / 2b` for large b (end points of smallest l2 norm from
    w(0) = 0), near :math:`\log(2 |w| / b)\, |w|` for small b (smallest l1 norm).

    Parameters
    ----------
    alpha
        The size that u and v start at: positive, one number or one for each entry of w. In units of the square root
        of w.
    b
        Given instead of ``alpha``: the scale in w at which the potential turns from quadratic to nearly linear (the
        beta of Ghai et al.), :math:`2\alpha^2`. Where u and v start at different sizes, it is :math:`2 u_i v_i`.

    Raises
    ------
    TypeError, ValueError
        If not just one of ``alpha`` and ``b`` is given, or it is not positive and finite; at the first use, if it is
        an array of another shape than w.

    Notes
    -----
    The constant b makes the value 0 at w = 0, which is exact where w is much smaller than b.

    References
    ----------
    Ghai, Hazan, Singer. Exponentiated Gradient Meets Gradient Descent. ALT 2020 (the hypentropy).
    Woodworth et al. Kernel and Rich Regimes in Overparametrized Models. COLT 2020, Theorem 1.

    Examples
    --------
    >>> float(HyperbolicEntropy(alpha=0.1).b), float(HyperbolicEntropy(b=0.5).b)
    (0.020000000000000004, 0.5)
    """

    b: Float[Array, "..."]

    def __init__(self, alpha: Any = None, *, b: Any = None):
        if (alpha is None) == (b is None):
            raise ValueError(f"alpha: expected either alpha or b, found alpha={alpha!r} and b={b!r}")
        name, given = ("alpha", alpha) if b is None else ("b", b)
        array = check_array(name, given)
        if not is_traced(array) and not np.all(np.asarray(array) > 0):
            raise ValueError(f"{name}: expected positive numbers, found {float(np.min(np.asarray(array))):g}")
        self.b = 2 * array**2 if b is None else array
        if not is_traced(self.b) and not np.all(np.isfinite(self.b) & (np.asarray(self.b) > 0)):
            raise ValueError(f"{name}: expected numbers whose squares {self.b.dtype} can hold, found {given!r}")

    @property
    def interval(self) -> tuple[float, float]:
        return (-np.inf, np.inf)

    def _scale(self, w: Float[Array, "..."]) -> Array:
        if self.b.shape not in ((), w.shape):
            raise ValueError(f"w: expected the shape of b, {self.b.shape}, found {w.shape}")
        return self.b.astype(w.dtype)

    def values(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        b = self._scale(w)
        return w * jnp.arcsinh(w / b) - w * (w / (jnp.hypot(w, b) + b))

    def gradient(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.arcsinh(w / self._scale(w))

    def inverse_gradient(self, dual: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return self._scale(dual) * jnp.sinh(dual)

    def divergences(self, x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        b = self._scale(x)
        root_x, root_z = jnp.hypot(x, b), jnp.hypot(z, b)
        # d = arcsinh(x/b) - arcsinh(z/b), in which all cancels that can: sinh(d) from the addition theorem.
        sine_x, sine_z = x / root_x, z / root_z
        same = sine_x * sine_z > 0
        total = jnp.where(same, sine_x + sine_z, 1)
        sinh_d = (x - z) * ((sine_x / root_z + sine_z / root_x) / total)
        gap = jnp.where(same, sinh_d, 0)
        d = jnp.where(same, jnp.arcsinh(gap), jnp.arcsinh(x / b) - jnp.arcsinh(z / b))
        near = jnp.abs(d) < NEAR
        small = jnp.where(near, d, 0)
        close = 2 * root_x * jnp.sinh(small / 2) ** 2 - x * sinh_remainder(small)
        far = x * d - (x - z) * ((x + z) / (root_x + root_z))
        return jnp.where(near, close, far)
