"""The exponential map: the infinitely deep model of the primer."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._validation import Numbers, check_choice, check_shape
from ._base import Parameterization, check_scale, check_w, draw_entries


class Exponential(Parameterization):
    r"""The entrywise exponential :math:`w_i = e^{u_i}`, with :math:`J J^T = \mathrm{diag}(w_i^2)`.

    The limit of ``Power`` as the depth N grows, with time divided by :math:`N^2`; the flow is mirror flow with the
    Burg entropy :math:`-\sum_i \log w_i`.

    Parameters
    ----------
    shape
        Shape of w; one integer n means (n,).
    initialization
        "gaussian": w(0) is the absolute value of N(0, scale^2); "constant": every entry of w(0) equal to scale.

    Raises
    ------
    TypeError, ValueError
        If ``shape`` is not made of positive integers, or ``initialization`` is unknown; by ``lift`` if ``w`` has an
        entry that is not positive.

    References
    ----------
    Gissin. A Primer on Implicit Regularization. 2020.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Exponential(2)(jnp.zeros(2)).tolist()
    [1.0, 1.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    initialization: str = eqx.field(static=True)

    def __init__(self, shape: int | tuple[int, ...], initialization: str = "gaussian"):
        self.shape = check_shape("shape", shape)
        self.initialization = check_choice("initialization", initialization, ("gaussian", "constant"))

    def init(self, key: Array, scale: ArrayLike) -> Float[Array, "..."]:
        return jnp.log(jnp.abs(draw_entries(key, self.shape, check_scale(scale), self.initialization)))

    def __call__(self, params: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(params)

    def lift(self, w: Numbers) -> Float[Array, "..."]:
        return jnp.log(check_w(w, self.shape, positive=True))
