"""Any function of w as a penalty."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._description import Static
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ._base import Penalty


class Function(Penalty):
    """Any function of w; ``train`` takes the function itself as well.

    What it binds is part of the program: a penalty whose weight varies over a sweep is better a class of its own with
    the weight as a field, as ``L2`` is.

    Parameters
    ----------
    f
        ``f(w) -> scalar``, written with jax.numpy. An equinox module may stand here: its arrays are traced.

    Raises
    ------
    TypeError, ValueError
        If ``f`` is not callable; before a run, if it does not return one number.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(Function(lambda w: jnp.max(w))(jnp.array([3.0, -4.0])))
    3.0
    """

    f: Any

    def __init__(self, f: Any):
        if not callable(f) or isinstance(f, type):
            found = f"the class {f.__name__} itself: call it" if isinstance(f, type) else repr(f)
            raise TypeError(
                f"penalty: expected an undertow.penalties.Penalty, a function w -> scalar or None, found {found}"
            )
        self.f = f if isinstance(f, eqx.Module) else _Plain(f)

    def __call__(self, w: Float[Array, "..."]) -> Array:
        return jnp.asarray(self.f(w))

    def check(self, parameterization: Parameterization, params: Params) -> None:
        out = jax.eval_shape(lambda params: jnp.asarray(self.f(parameterization(params))), params)
        if out.shape != ():
            raise ValueError(f"penalty: expected one number, found an array of shape {out.shape}")


class _Plain(eqx.Module):
    function: Static = eqx.field(static=True, converter=Static)

    def __call__(self, w: Float[Array, "..."]) -> Array:
        return self.function(w)
