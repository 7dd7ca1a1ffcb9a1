"""Entrywise norms."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._validation import check_number
from ._base import Penalty


def check_weight(weight: Any) -> Array:
    """``weight`` as an array, if it is a number of at least 0."""
    return jnp.asarray(check_number("weight", weight, 0), jnp.result_type(float))


class L1(Penalty):
    r"""The sum of absolute values: :math:`\lambda |w|_1`. At 0 the subgradient is 0.

    Parameters
    ----------
    weight
        :math:`\lambda`, at least 0.

    Raises
    ------
    TypeError, ValueError
        If ``weight`` is not a finite number of at least 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(L1(2.0)(jnp.array([3.0, -4.0])))
    14.0
    """

    weight: Float[Array, ""]

    def __init__(self, weight: Any):
        self.weight = check_weight(weight)

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return self.weight.astype(w.dtype) * jnp.abs(w).sum()


class L2(Penalty):
    r"""Half the sum of squares: :math:`\frac{\lambda}{2} |w|^2`, whose gradient is :math:`\lambda w`.

    Parameters
    ----------
    weight
        :math:`\lambda`, at least 0.

    Raises
    ------
    TypeError, ValueError
        If ``weight`` is not a finite number of at least 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(L2(1.0)(jnp.array([3.0, -4.0])))
    12.5
    """

    weight: Float[Array, ""]

    def __init__(self, weight: Any):
        self.weight = check_weight(weight)

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return self.weight.astype(w.dtype) / 2 * (w**2).sum()
