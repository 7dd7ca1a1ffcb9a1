"""Polar coordinates of the plane: a map whose flow is no mirror flow."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._validation import Numbers, check_choice
from ._base import Parameterization, check_scale, check_w, draw_entries


class Polar(Parameterization):
    r"""Polar coordinates :math:`w = (r \cos t, r \sin t)`, params = (r, t), angle t in radians.

    :math:`J J^T = R\,\mathrm{diag}(1, r^2)\,R^T` with R the rotation by t: along the ray w moves as it would without
    reparameterization, across it :math:`r^2` times as fast.

    Parameters
    ----------
    initialization
        "gaussian": w(0) is N(0, scale^2) in each coordinate; "constant": w(0) = (scale, scale).

    Raises
    ------
    ValueError
        If ``initialization`` is unknown.

    References
    ----------
    Gissin. A Primer on Implicit Regularization. 2020.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Polar()(jnp.array([2.0, 0.0])).tolist()
    [2.0, 0.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    initialization: str = eqx.field(static=True)

    def __init__(self, initialization: str = "gaussian"):
        self.shape = (2,)
        self.initialization = check_choice("initialization", initialization, ("gaussian", "constant"))

    def init(self, key: Array, scale: ArrayLike) -> Float[Array, " 2"]:
        return self.lift(draw_entries(key, self.shape, check_scale(scale), self.initialization))

    def __call__(self, params: Float[Array, " 2"]) -> Float[Array, " 2"]:
        radius, angle = params
        return jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle)])

    def lift(self, w: Numbers) -> Float[Array, " 2"]:
        w = check_w(w, self.shape)
        return jnp.stack([jnp.hypot(w[0], w[1]), jnp.arctan2(w[1], w[0])])
