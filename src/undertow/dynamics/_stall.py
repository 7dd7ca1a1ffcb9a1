"""When a flow has got nowhere."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..parameterizations._base import Params
from ._base import tree_norm


def stands_still(
    before: tuple[Params, Float[Array, ""]], now: tuple[Params, Float[Array, ""]], rtol: float, atol: Array
) -> Bool[Array, ""]:
    """Whether parameters and loss are what they were, up to the tolerances of the solver.

    Near a saddle nothing seems to move for long, but something small grows, and will be large one day: parameters that
    grew by a hundredth of their size do not stand still, as small as they may be.
    """
    (old, old_loss), (new, new_loss) = before, now
    size = sum(x.size for x in jax.tree.leaves(new))
    moved = tree_norm(jax.tree.map(jnp.subtract, new, old))
    near = moved <= rtol * tree_norm(new) + atol * math.sqrt(size)
    grew = jax.tree.map(lambda x, y: jnp.any((jnp.abs(x) > 1.01 * jnp.abs(y)) & (jnp.abs(x) > 100 * atol)), new, old)
    return near & ~jnp.any(jnp.stack(jax.tree.leaves(grew))) & (new_loss > (1 - 1e-4) * old_loss)
