"""Many arrays of parameters as one, for solvers whose arithmetic is compiled once for each array."""

from collections.abc import Callable

import jax
from jax.flatten_util import ravel_pytree

from ..parameterizations._base import Params

MANY = 5
"""Arrays from which they become one. Fewer are followed faster as they are, and compile in about the same time."""


def in_one_array(params: Params) -> tuple[Params, Callable[[Params], Params]]:
    """Parameters as a solver sees them, and the way back to the arrays as they were given."""
    if len(jax.tree.leaves(params)) < MANY:
        return params, lambda params: params
    return ravel_pytree(params)
