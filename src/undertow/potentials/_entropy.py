"""The entropies of the positive orthant."""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from jaxtyping import Array, Float

from ._base import Entrywise
from ._remainders import NEAR, exp_remainder, log_ratio


def relative_entropy(x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r""":math:`x \log(x/z) - x + z` for x >= 0 and z > 0 entry by entry, infinite for x < 0."""
    inside = x > 0
    ratio = log_ratio(jnp.where(inside, x, z), z)
    near = jnp.abs(ratio) < NEAR
    close = x * exp_remainder(-jnp.where(near, ratio, 0))
    found = jnp.where(near & inside, close, jnp.where(inside, x * ratio, 0) - x + z)
    return jnp.where(x < 0, jnp.inf, found)


class Entropy(Entrywise):
    r"""Negative entropy :math:`\sum_i w_i \log w_i - w_i` in nats, of positive w; gradient :math:`\log w_i`.

    Mirror descent is exponentiated gradient. The flow is that of :math:`w = u^2`, run four times as fast. From
    w(0) = alpha the end point on underdetermined least squares tends to that of smallest l1 norm as alpha tends to 0;
    of several, to that of largest entropy. The divergence is the relative entropy
    :math:`\sum_i x_i \log(x_i / z_i) - x_i + z_i`, finite on the boundary: D(0, z) = z.

    References
    ----------
    Kivinen, Warmuth. Exponentiated Gradient versus Gradient Descent for Linear Predictors. Inf. Comput. 1997.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Entropy().inverse_gradient(jnp.zeros(2)).tolist()
    [1.0, 1.0]
    """

    @property
    def interval(self) -> tuple[float, float]:
        return (0.0, np.inf)

    def values(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.where(w < 0, jnp.inf, xlogy(w, w) - w)

    def gradient(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.log(w)

    def inverse_gradient(self, dual: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.exp(dual)

    def divergences(self, x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return relative_entropy(x, z)


class Burg(Entrywise):
    r"""Burg's entropy :math:`-\sum_i \log w_i` of positive w, with gradient :math:`-1 / w_i`.

    The flow is that of :math:`w = e^u`. The divergence is that of Itakura and Saito,
    :math:`\sum_i x_i / z_i - \log(x_i / z_i) - 1`, infinite on the boundary.

    Notes
    -----
    Duals that are gradients are negative; for others ``inverse_gradient`` is infinite.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Burg().gradient(jnp.array([0.5, 2.0])).tolist()
    [-2.0, -0.5]
    """

    @property
    def interval(self) -> tuple[float, float]:
        return (0.0, np.inf)

    def values(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.where(w > 0, -jnp.log(jnp.where(w > 0, w, 1)), jnp.inf)

    def gradient(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return -1 / w

    def inverse_gradient(self, dual: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.where(dual < 0, -1 / jnp.where(dual < 0, dual, -1), jnp.inf)

    def divergences(self, x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        ratio = log_ratio(jnp.where(x > 0, x, z), z)
        near = jnp.abs(ratio) < NEAR
        found = jnp.where(near, exp_remainder(jnp.where(near, ratio, 0)), x / z - 1 - ratio)
        return jnp.where(x > 0, found, jnp.inf)
