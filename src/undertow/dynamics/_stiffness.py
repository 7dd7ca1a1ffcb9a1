"""How stiff the flow is: the product of step size and spectral radius, from what a step has computed anyway."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..parameterizations._base import Params
from ._base import tree_norm, tree_where

EXPLICIT_EDGE = 2.25
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


def power_method(
    field: Any, params: Params, value: Params, direction: Params, radius: Array, due: Array
) -> tuple[Float[Array, ""], Params, Int[Array, ""]]:
    """The spectral radius of the derivative of a field where its ``value`` is known, if it is ``due``.

    By differences of the field, since not every problem can be differentiated forward over reverse. It starts from an
    earlier direction and estimate, and ends once that changes by less than a tenth: the estimate, the direction to go
    on with, and how often the field was evaluated.
    """
    size = tree_norm(params)
    step = jnp.sqrt(jnp.finfo(radius.dtype).eps) * jnp.where(size > 0, size, 1)

    def going(carry: tuple) -> Bool[Array, ""]:
        new, old, _, count = carry
        return due & (count < 50) & ((count == 0) | (jnp.abs(new - old) > 0.1 * new))

    def iterate(carry: tuple) -> tuple:
        old, _, direction, count = carry
        length = tree_norm(direction)
        along = jax.tree.map(lambda x: step / jnp.where(length > 0, length, 1) * x, direction)
        moved = field(jax.tree.map(jnp.add, params, along))
        image = jax.tree.map(lambda a, b: (a - b) / step, moved, value)
        new = tree_norm(image)
        # Beyond the domain of the field nothing is learnt.
        sound = jnp.isfinite(new) & (new > 0)
        return jnp.where(sound, new, old), old, tree_where(sound, image, direction), count + 1

    zero = jnp.zeros((), jnp.int32)
    new, _, direction, count = jax.lax.while_loop(going, iterate, (radius, radius, direction, zero))
    return new, direction, count
