"""Many arrays of parameters as one, for solvers whose arithmetic is compiled once for each array."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float

from .._validation import Numbers
from ..objective import Objective
from ..parameterizations import Parameterization
from ..parameterizations._base import Indices, Params

MANY = 5
"""Arrays from which they become one; fewer are left as they are."""


class OneArray(Parameterization):
    """A parameterization whose parameters are written one after the other in a vector."""

    shape: tuple[int, ...] = eqx.field(static=True)
    parameterization: Parameterization
    unravel: Callable[[Array], Params] = eqx.field(static=True)

    def init(self, key: Array, scale: ArrayLike) -> Array:
        return ravel_pytree(self.parameterization.init(key, scale))[0]

    def __call__(self, params: Any) -> Float[Array, "..."]:
        return self.parameterization(self.unravel(params))

    def lift(self, w: Numbers) -> Array:
        return ravel_pytree(self.parameterization.lift(w))[0]

    def entries(self, params: Any, indices: Indices) -> Float[Array, " m"]:
        return self.parameterization.entries(self.unravel(params), indices)


def in_one_array(objective: Objective, params: Params) -> tuple[Objective, Params, Callable[[Any], Params]]:
    """Objective and parameters as a solver sees them, and the way back to the parameters as they were given."""
    if len(jax.tree.leaves(params)) < MANY:
        return objective, params, lambda params: params
    flat, unravel = ravel_pytree(params)
    phi = objective.parameterization
    return dataclasses.replace(objective, parameterization=OneArray(phi.shape, phi, unravel)), flat, unravel
