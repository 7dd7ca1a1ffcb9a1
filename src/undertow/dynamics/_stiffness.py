"""How stiff the flow is: the product of step size and spectral radius, from what a step has computed anyway."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..parameterizations._base import Params
from ._base import tree_norm

EXPLICIT_EDGE = 2.4
"""Step size times spectral radius above which stability, not accuracy, holds an explicit step back."""


def explicit_stiffness(tableau: diffrax.ButcherTableau, increments: Any) -> Float[Array, ""]:
    r"""Step size times spectral radius, from the last two stages of an explicit step, both at its end.

    :math:`h |f(Y_s) - f(Y_{s-1})| / |Y_s - Y_{s-1}|`, a power iteration that costs nothing.

    References
    ----------
    Hairer, Wanner. Solving Ordinary Differential Equations II, section IV.2. Springer 1996.
    """
    weights = jnp.asarray(tableau.b_sol[:-2] - tableau.a_lower[-2])
    change = jax.tree.map(lambda k: k[-1] - k[-2], increments)
    # Y_s - Y_{s-1} over the stages before s-1, and over stage s-1 itself.
    apart = jax.tree.map(
        lambda k: jnp.tensordot(weights.astype(k.dtype), k[:-2], axes=1) + tableau.b_sol[-2] * k[-2],
        increments,
    )
    distance = tree_norm(apart)
    return jnp.where(distance > 0, tree_norm(change) / jnp.where(distance > 0, distance, 1), 0)


def spectral_radius(gradient: Any, params: Params, direction: Params) -> tuple[Float[Array, ""], Params]:
    """One step of power iteration on the Hessian: the estimate, and the direction to go on with."""
    length = tree_norm(direction)
    unit = jax.tree.map(lambda x: x / jnp.where(length > 0, length, 1), direction)
    image = jax.jvp(gradient, (params,), (unit,))[1]
    return tree_norm(image), image
