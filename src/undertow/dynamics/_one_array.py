"""Many arrays of parameters as one, for solvers whose arithmetic is compiled once for each array."""

from collections.abc import Callable
from typing import Any

import jax
from jax.flatten_util import ravel_pytree

from ..parameterizations._base import Params

MANY = 5
"""Arrays from which they become one. Fewer are followed faster as they are, and compile in about the same time."""


def in_one_array(objective: Any, params: Params) -> tuple[Any, Params, Callable[[Params], Params]]:
    """Objective and parameters as a solver sees them, and the way back to the parameters as they were given."""
    if len(jax.tree.leaves(params)) < MANY:
        return objective, params, lambda params: params
    flat, unravel = ravel_pytree(params)
    return lambda flat: objective(unravel(flat)), flat, unravel
