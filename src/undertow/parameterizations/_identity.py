"""The model as it is: no reparameterization."""

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from .._validation import Numbers, check_choice, check_shape
from ._base import Parameterization, check_scale, check_w, draw_entries


class Identity(Parameterization):
    r"""The identity :math:`w = u`, so that :math:`J J^T = I`: plain gradient flow.

    From zero on least squares it ends at the solution of smallest l2 norm.

    Parameters
    ----------
    shape
        Shape of w; one integer n means (n,).
    initialization
        "gaussian": entries N(0, scale^2); "constant": every entry equal to scale.

    Raises
    ------
    TypeError, ValueError
        If ``shape`` is not made of positive integers, or ``initialization`` is unknown.

    References
    ----------
    Gissin. A Primer on Implicit Regularization. 2020.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Identity(2)(jnp.array([1.0, 8.0])).tolist()
    [1.0, 8.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    initialization: str = eqx.field(static=True)

    def __init__(self, shape: int | tuple[int, ...], initialization: str = "gaussian"):
        self.shape = check_shape("shape", shape)
        self.initialization = check_choice("initialization", initialization, ("gaussian", "constant"))

    def init(self, key: Array, scale: ArrayLike) -> Float[Array, "..."]:
        return draw_entries(key, self.shape, check_scale(scale), self.initialization)

    def __call__(self, params: Float[Array, "..."]) -> Float[Array, "..."]:
        return params

    def lift(self, w: Numbers) -> Float[Array, "..."]:
        return check_w(w, self.shape)
